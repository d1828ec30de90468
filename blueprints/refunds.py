"""Refunds over HTTP: parse, call the service, render (payments page, section 6)."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID  # noqa: TC003  # `operation` reads the annotation.

from flask import Blueprint, request

from blueprints.bodies.payments import PartsQuery
from blueprints.bodies.refunds import RefundAnswer, RefundBody, RefundList, RefundMade
from blueprints.edge import Call, operation, respond
from blueprints.hooks import services
from blueprints.keyed import COMMAND, LEDGER, answered, columns, command_of, given
from blueprints.policy import require, scope
from errors import (
    AmountExceedsRefundable,
    CurrencyMismatch,
    CursorInvalid,
    DuplicateReference,
    FeeExceedsAmount,
    InsufficientFunds,
    NotFound,
)

if TYPE_CHECKING:
    from flask import Response

routes = Blueprint("refunds", __name__)


@routes.post("/v1/payments/<payment_id>/refunds")
@operation(
    policy=scope("payments:refund"),
    body=RefundBody,
    answers={201: RefundMade},
    errors=(
        *COMMAND,
        DuplicateReference,
        AmountExceedsRefundable,
        FeeExceedsAmount,
        CurrencyMismatch,
        InsufficientFunds,
        *LEDGER,
    ),
    keyed=True,
)
def create(call: Call, payment_id: UUID) -> Response:
    """Give back money that was captured, in whole or in part."""
    if call.body and call.body.allow_negative:
        address = request.remote_addr or ""
        require(call.actor, "ledger:post", services().credentials, address)
    answer = services().refunds.create(command_of(call), payment_id, **given(call))
    return answered(answer, RefundMade, {"Location": f"/v1/refunds/{answer.data['id']}"})


@routes.get("/v1/payments/<payment_id>/refunds")
@operation(
    policy=scope("payments:read"),
    query=PartsQuery,
    answers={200: RefundList},
    errors=(NotFound, CursorInvalid),
)
def list_by_payment(call: Call, payment_id: UUID) -> Response:
    """List the refunds of a payment, newest first."""
    rows, cursor = services().payment_queries.parts(
        call.actor, "refunds", payment_id, call.query.limit, call.query.cursor
    )
    return respond(200, RefundList, {"data": [*map(columns, rows)], "next_cursor": cursor})


@routes.get("/v1/refunds/<refund_id>")
@operation(policy=scope("payments:read"), answers={200: RefundAnswer}, errors=(NotFound,))
def get(call: Call, refund_id: UUID) -> Response:
    """Read one refund."""
    return respond(
        200, RefundAnswer, columns(services().payment_queries.refund(call.actor, refund_id))
    )
