"""Is the process alive, is it ready, how is everything, what has been counted (OH1, OH2)."""

from __future__ import annotations

from hmac import compare_digest
from ipaddress import ip_address
from typing import TYPE_CHECKING

from flask import Blueprint, Response, request

import observability
from blueprints.bodies.ops import Health, Live, Ready
from blueprints.edge import Call, operation, respond
from blueprints.hooks import services
from blueprints.policy import PUBLIC, admit, scope
from blueprints.refusals import WITH_CREDENTIAL
from errors import AppError, ScopeMissing
from services.scrape import measure

if TYPE_CHECKING:
    from services import Services

routes = Blueprint("ops", __name__)

OPERATORS = scope("ops:read")


@routes.get("/livez")
@operation(policy=PUBLIC, answers={200: Live}, cost="free")
def livez(_: Call) -> Response:
    """Tell that the process answers; touches no store."""
    return respond(200, Live, {"status": "pass"})


@routes.get("/readyz")
@operation(policy=PUBLIC, answers={200: Ready, 503: Ready}, cost="free")
def readyz(_: Call) -> Response:
    """Tell whether requests may be sent here."""
    ready = services().health.readyz()
    data = {"status": ready.status, "checks": ready.checks}
    return _probed(respond(200, Ready, data), ready.is_ready)


@routes.get("/healthz")
@operation(policy=PUBLIC, answers={200: Health, 503: Health}, cost="free")
def healthz(_: Call) -> Response:
    """Tell how everything is, to this machine and to keys with `ops:read`; to others in a word."""
    held = services()
    ready = held.health.readyz()
    data = held.health.healthz() if _may_know(held) else {"status": ready.status}
    text = Health.model_validate(data).model_dump_json(exclude_unset=True)
    return _probed(Response(text, content_type="application/json"), ready.is_ready)


@routes.get("/metrics")
@operation(
    policy=PUBLIC,
    answers={200: "text/plain"},
    errors=(*WITH_CREDENTIAL, ScopeMissing),
    cost="free",
)
def metrics(_: Call) -> Response:
    """Show what has been counted, in Prometheus' text; as /healthz, or by METRICS_TOKEN."""
    held = services()
    if not (_is_local(held) or _has_token(held)):
        _admit(held)
    measure(held.health)
    return Response(observability.metrics(), content_type=observability.METRICS_TYPE)


def _probed(answer: Response, is_ready: bool) -> Response:
    if not is_ready:
        answer.status_code = 503
        answer.headers["Retry-After"] = "1"
    return answer


def _may_know(held: Services) -> bool:
    try:
        return _is_local(held) or _admit(held)
    except AppError:  # Whoever may not know, and while the database is away: nobody may.
        return False


def _is_local(held: Services) -> bool:
    """Whether it is this machine that asks: through a proxy everybody would be."""
    if held.config.trusted_proxy_hops:
        return False
    try:
        return ip_address(request.remote_addr or "").is_loopback
    except ValueError:  # A Unix socket has no address.
        return False


def _has_token(held: Services) -> bool:
    token = held.config.metrics_token
    if token is None:
        return False
    wanted = f"Bearer {token.get_secret_value()}".encode()
    return compare_digest(request.headers.get("Authorization", "").encode(), wanted)


def _admit(held: Services) -> bool:
    headers = request.headers
    tenant = headers.get("Strongroom-Tenant")
    address = request.remote_addr or ""
    admit(OPERATORS, headers.get("Authorization"), tenant, address, held.credentials)
    return True
