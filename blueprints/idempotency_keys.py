"""What became of a key: for a client that never saw its answer (K8)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Blueprint

from blueprints.bodies.payments import KeyAnswer, KeyQuery
from blueprints.edge import Call, operation, respond
from blueprints.hooks import services
from blueprints.policy import scope

if TYPE_CHECKING:
    from flask import Response

routes = Blueprint("idempotency_keys", __name__)


@routes.get("/v1/idempotency-keys")
@operation(policy=scope("payments:create"), query=KeyQuery, answers={200: KeyAnswer})
def look_up(call: Call) -> Response:
    """Tell what became of a key of yours; a query, as proxies rewrite what keys may hold."""
    key = call.query.key
    row, running = services().idempotency.find(call.actor.tenant_id, call.actor.subject, key)
    if row is None:
        state = "in_progress" if running else "unknown"
        return respond(
            200, KeyAnswer, {**dict.fromkeys(KeyAnswer.model_fields), "key": key, "state": state}
        )
    facts = {name: getattr(row, name) for name in row.__slots__}
    return respond(200, KeyAnswer, {**facts, "key": key, "state": row.kind})
