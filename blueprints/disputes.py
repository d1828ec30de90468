"""Disputes over HTTP: parse, call the service, render (payments page, section 6)."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID  # noqa: TC003  # `operation` reads the annotation.

from flask import Blueprint

from blueprints.bodies.disputes import (
    DisputeAnswer,
    DisputeBody,
    DisputeList,
    DisputeMade,
    ResolveBody,
)
from blueprints.bodies.payments import PartsQuery
from blueprints.edge import Call, operation, respond
from blueprints.hooks import services
from blueprints.keyed import COMMAND, LEDGER, answered, columns, command_of, given
from blueprints.policy import scope
from errors import (
    AmountExceedsRefundable,
    CurrencyMismatch,
    CursorInvalid,
    DuplicateReference,
    InsufficientFunds,
    NotFound,
)

if TYPE_CHECKING:
    from flask import Response

routes = Blueprint("disputes", __name__)


@routes.post("/v1/payments/<payment_id>/disputes")
@operation(
    policy=scope("payments:dispute"),
    body=DisputeBody,
    answers={201: DisputeMade},
    errors=(*COMMAND, DuplicateReference, AmountExceedsRefundable, CurrencyMismatch, *LEDGER),
    keyed=True,
)
def open_(call: Call, payment_id: UUID) -> Response:
    """Note that the payer's bank has taken money back; it is set aside until that is resolved."""
    answer = services().disputes.open(command_of(call), payment_id, **given(call))
    return answered(answer, DisputeMade, {"Location": f"/v1/disputes/{answer.data['id']}"})


@routes.get("/v1/payments/<payment_id>/disputes")
@operation(
    policy=scope("payments:read"),
    query=PartsQuery,
    answers={200: DisputeList},
    errors=(NotFound, CursorInvalid),
)
def list_by_payment(call: Call, payment_id: UUID) -> Response:
    """List the disputes of a payment, newest first."""
    rows, cursor = services().payment_queries.parts(
        call.actor, "disputes", payment_id, call.query.limit, call.query.cursor
    )
    return respond(200, DisputeList, {"data": [*map(columns, rows)], "next_cursor": cursor})


@routes.get("/v1/disputes/<dispute_id>")
@operation(policy=scope("payments:read"), answers={200: DisputeAnswer}, errors=(NotFound,))
def get(call: Call, dispute_id: UUID) -> Response:
    """Read one dispute."""
    return respond(
        200, DisputeAnswer, columns(services().payment_queries.dispute(call.actor, dispute_id))
    )


@routes.post("/v1/disputes/<dispute_id>/resolve")
@operation(
    policy=scope("payments:dispute"),
    body=ResolveBody,
    answers={200: DisputeMade},
    errors=(*COMMAND, InsufficientFunds, *LEDGER),
    keyed=True,
)
def resolve(call: Call, dispute_id: UUID) -> Response:
    """Note how a dispute has ended; one that was lost may be won afterwards."""
    answer = services().disputes.resolve(command_of(call), dispute_id, **given(call))
    return answered(answer, DisputeMade, {})
