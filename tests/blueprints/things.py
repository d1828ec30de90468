"""A small application in the real frame: routes of its own, one of each kind, and no store."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from uuid import UUID

from flask import Blueprint, Flask, Response

import observability
from blueprints import docs, hooks, ops, problems
from blueprints.edge import Call, operation, respond
from blueprints.fields import (
    AmountMinor,
    Answer,
    Currency,
    Cursor,
    Id,
    Limit,
    Maybe,
    Metadata,
    Model,
    Reference,
    Timestamp,
)
from blueprints.policy import ANY, PUBLIC, scope
from config import Config
from errors import ApiKeyInvalid, InvalidState, OutcomeUnknown, VersionMismatch
from persistence.kv import Kv
from services.actors import Actor
from services.health import Readiness
from services.rate_limits import POLICIES, RateLimits

if TYPE_CHECKING:
    import io

    from flask.testing import FlaskClient
    from werkzeug.test import TestResponse

THING = "0198c5a0-7d1f-7c3a-9d2e-5b6f7a8c9d0e"
CREDENTIAL = {"Authorization": "Bearer good"}
KEYED = CREDENTIAL | {"Idempotency-Key": "key-1"}


class MakeBody(Model):
    """What a thing is made of."""

    amount_minor: AmountMinor
    currency: Currency
    reference: Maybe[Reference] = None
    owner_id: Maybe[Id] = None
    due_at: Maybe[Timestamp] = None
    final: Maybe[bool] = None
    metadata: Maybe[Metadata] = None


class ChangeBody(Model):
    """What of a thing is changed."""

    amount_minor: Maybe[AmountMinor] = None


class ListQuery(Model):
    """Which things."""

    limit: Limit = 50
    cursor: Maybe[Cursor] = None
    currency: Maybe[list[Currency]] = None
    metadata: Maybe[Metadata] = None


class Thing(Answer):
    """What a view saw."""

    seen: dict[str, Any]


SCOPES = {
    "good": frozenset({"payments:create", "payments:read"}),
    "operator": frozenset({"ops:read"}),
    "weak": frozenset[str](),
}
USER_ID, SESSION_ID = UUID(int=1), UUID(int=2)


@dataclass
class Door:
    """Knows three credentials, by their scopes."""

    touched: list[str] = field(default_factory=list)

    def authenticate(self, bearer: str, _address: str, _trip: object = None) -> Actor:
        if bearer not in SCOPES:
            if bearer == "person":
                reach = SCOPES["good"]
                return Actor("default", "user:1", reach, user_id=USER_ID, session_id=SESSION_ID)
            raise ApiKeyInvalid
        return Actor("default", "key:1", SCOPES[bearer], key_id=bearer)

    def touch(self, actor: Actor, _address: str) -> None:
        self.touched.append(actor.subject)


@dataclass
class Told:
    """What health has found; the real one is tested with real stores."""

    checks: dict[str, str] = field(default_factory=lambda: {"database": "pass", "redis": "warn"})

    def readyz(self) -> Readiness:
        return Readiness(checks=self.checks, reasons={})

    def ledger(self) -> None:
        return None

    def event_feed_lag_s(self) -> float:
        return 1.5

    def healthz(self) -> dict[str, Any]:
        return {"status": self.readyz().status, "version": "1.2.3", "checks": self.checks}


routes = Blueprint("things", __name__)


def _shown(call: Call, **more: Any) -> Response:
    seen = {
        "body": call.body and call.body.model_dump(mode="json", exclude_unset=True),
        "query": call.query and call.query.model_dump(mode="json", exclude_unset=True),
        "if_match": call.if_match,
        "key": call.claim and call.claim.key,
        "operation": call.claim and call.claim.operation,
        "fingerprint": call.claim and call.claim.fingerprint.hex(),
        "fault": call.fault and list(call.fault.errors),
    }
    return respond(200, Thing, {"seen": seen | more})


@routes.post("/v1/things")
@operation(policy=scope("payments:create"), body=MakeBody, answers={200: Thing}, keyed=True)
def make(call: Call) -> Response:
    """Make a thing, once per key."""
    return _shown(call)


@routes.post("/v1/plain-things")
@operation(policy=scope("payments:create"), body=MakeBody, answers={200: Thing})
def make_plain(call: Call) -> Response:
    """Make a thing."""
    return _shown(call)


@routes.patch("/v1/things/<thing_id>")
@operation(
    policy=scope("payments:create"),
    body=ChangeBody,
    answers={200: Thing},
    errors=(VersionMismatch, InvalidState),
    keyed=True,
)
def change(call: Call, thing_id: UUID) -> Response:
    """Change a thing."""
    return _shown(call, thing_id=str(thing_id))


@routes.post("/v1/things/<thing_id>/end")
@operation(policy=scope("payments:create"), answers={200: Thing}, keyed=True)
def end(call: Call, thing_id: UUID) -> Response:
    """End a thing."""
    return _shown(call, thing_id=str(thing_id))


@routes.get("/v1/things")
@operation(policy=scope("payments:read"), query=ListQuery, answers={200: Thing})
def list_(call: Call) -> Response:
    """List things."""
    return _shown(call)


@routes.get("/v1/named/<name>")
@operation(policy=ANY, answers={200: Thing})
def named(call: Call, name: str) -> Response:
    """Read a thing by its name."""
    return _shown(call, name=name, deadline=observability.current().deadline)


class LongQuery(Model):
    """Whether it fails."""

    fail: Maybe[str] = None


@routes.get("/v1/long")
@operation(policy=ANY, query=LongQuery, answers={200: "text/plain"}, cost="heavy")
def long(call: Call) -> Response:
    """Answer part by part."""
    if call.query.fail:
        raise OutcomeUnknown
    return Response(iter([b"part"]), content_type="text/plain")


@routes.post("/v1/broken")
@operation(policy=PUBLIC, answers={200: Thing})
def broken(_: Call) -> Response:
    """Fail as no code should."""
    raise ZeroDivisionError("secret srk_default_abc")


@routes.post("/v1/lost")
@operation(policy=ANY, answers={200: Thing}, keyed=True)
def lost(_: Call) -> Response:
    """Do not know what became of it."""
    raise OutcomeUnknown


@routes.post("/v1/later")
@operation(policy=ANY, answers={200: Thing})
def later(call: Call) -> Response:
    """Do something after the answer, and something that fails."""
    call.after_answer(lambda: 1 / 0)
    return _shown(call)


@dataclass
class Framed:
    """The application, its client, what it logged, and who was let in."""

    app: Flask
    client: FlaskClient
    log: io.StringIO
    door: Door
    health: Told

    def lines(self, event: str = "request") -> list[dict[str, Any]]:
        """Return the log lines of an event."""
        found = [json.loads(line) for line in self.log.getvalue().splitlines()]
        return [line for line in found if line["event"] == event]

    def make(self, body: str | bytes, path: str = "/v1/things", **more: Any) -> TestResponse:
        """Send a body, with a key and a credential."""
        headers = KEYED | more.pop("headers", {})
        given: dict[str, Any] = {"content_type": "application/json"} | more
        return self.client.post(path, data=body, headers=headers, **given)


def build(log: io.StringIO, **environment: str) -> Framed:
    """Put the routes into the frame, with these settings."""
    door, health = Door(), Told()
    app = Flask("framed", static_folder=None)
    kv = Kv("off")
    config = Config.load({"RATE_LIMIT_ENABLED": "false", **environment})
    held: Any = SimpleNamespace(
        config=config,
        db=SimpleNamespace(stats=lambda: {"size": 8, "available": 7, "waiting": 0}),
        credentials=door,
        health=health,
        kv=kv,
        rate_limits=_rate_limits(config, kv),
    )
    hooks.install(app, held)
    problems.install(app)
    for each in (routes, ops.routes, docs.routes):
        app.register_blueprint(each)
    return Framed(app, app.test_client(), log, door, health)


def _rate_limits(config: Config, kv: Kv) -> RateLimits:
    limits = {policy: getattr(config, f"rate_limit_{policy}") for policy in POLICIES}
    return RateLimits(
        kv,
        limits,
        enabled=config.rate_limit_enabled,
        processes=config.web_concurrency,
        of_tenant=lambda *_: None,
    )


def problem(answer: TestResponse) -> dict[str, Any]:
    """Return a problem document, whose shape is checked on the way."""
    assert answer.content_type == "application/problem+json"
    found: dict[str, Any] = json.loads(answer.get_data())
    assert found["status"] == answer.status_code
    assert found["type"] == f"/problems/{found['code']}"
    return found
