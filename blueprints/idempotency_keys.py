"""What became of a key, and its end: for a client that never saw its answer (K8, K9)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from flask import Blueprint, request

from blueprints.bodies.idempotency_keys import (
    CancelByKeyAnswer,
    CancelByKeyBody,
    KeyAnswer,
    KeyQuery,
)
from blueprints.edge import Call, operation, respond
from blueprints.exchange import exchange
from blueprints.hooks import services
from blueprints.keyed import shown
from blueprints.policy import require, scope
from errors import FeatureDisabled, InvalidState

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


@routes.post("/v1/payments/cancel-by-key")
@operation(
    policy=scope("payments:create"),
    body=CancelByKeyBody,
    answers={200: CancelByKeyAnswer},
    errors=(InvalidState, FeatureDisabled),
)
def cancel_by_key(call: Call) -> Response:
    """End the payment that a key of yours has made, or will make; needs no key of its own.

    An authorised payment is voided, which needs `payments:void`.
    """
    address = request.remote_addr or ""
    may_void = partial(require, call.actor, "payments:void", services().credentials, address)
    done = services().key_cancellation.cancel(
        call.actor, exchange().request_id, call.body.idempotency_key, may_void
    )
    payment = None if done.payment is None else shown(done.payment)
    return respond(200, CancelByKeyAnswer, {"outcome": done.outcome, "payment": payment})
