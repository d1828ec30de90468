"""Payments over HTTP: parse, call the service, render (payments page, section 6)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID  # noqa: TC003  # `operation` reads the annotation.

from flask import Blueprint, request

from blueprints.bodies.payments import (
    AuthorizeBody,
    CaptureBody,
    CreateBody,
    EventList,
    EventsQuery,
    FailBody,
    ListQuery,
    PaymentAnswer,
    PaymentList,
)
from blueprints.edge import Call, operation, respond
from blueprints.exchange import exchange
from blueprints.hooks import services
from blueprints.policy import require, scope
from errors import (
    AccountClosed,
    AccountFrozen,
    AmountExceedsAuthorizable,
    AmountExceedsCapturable,
    AmountOverflow,
    CeilingExceeded,
    CurrencyMismatch,
    CurrencyUnsupported,
    CursorInvalid,
    DuplicateReference,
    FeeExceedsAmount,
    InvalidState,
    LedgerBehind,
    NotFound,
    PaymentExpired,
    UserNotFound,
    VersionMismatch,
)
from services.payment_queries import Filters
from services.payments import Command

if TYPE_CHECKING:
    from flask import Response

    from services.idempotency import Answer

routes = Blueprint("payments", __name__)

LEDGER = (LedgerBehind, AccountFrozen, AccountClosed, AmountOverflow, CeilingExceeded)
COMMAND = (NotFound, VersionMismatch, InvalidState)


@routes.post("/v1/payments")
@operation(
    policy=scope("payments:create"),
    body=CreateBody,
    answers={201: PaymentAnswer},
    errors=(CurrencyUnsupported, UserNotFound, DuplicateReference),
    keyed=True,
)
def create(call: Call) -> Response:
    """Promise a payment; nothing moves until it is captured."""
    if call.body and call.body.capture_method == "automatic":
        address = request.remote_addr or ""
        require(call.actor, "payments:capture", services().credentials, address)
    return _answered(services().payments.create(_command(call), **_given(call)))


@routes.get("/v1/payments")
@operation(
    policy=scope("payments:read"),
    query=ListQuery,
    answers={200: PaymentList},
    errors=(CursorInvalid,),
)
def page(call: Call) -> Response:
    """List payments, newest first, page by page."""
    query = call.query
    filters = Filters(
        statuses=tuple(query.status),
        currency=query.currency,
        user_id=query.user_id,
        reference=query.reference,
        created_gte=query.created_gte,
        created_lt=query.created_lt,
        amount_gte=query.amount_gte,
        amount_lte=query.amount_lte,
        metadata=query.metadata,
    )
    rows, cursor = services().payment_queries.page(call.actor, filters, query.limit, query.cursor)
    return respond(200, PaymentList, {"data": [*map(_shown, rows)], "next_cursor": cursor})


@routes.get("/v1/payments/<payment_id>")
@operation(policy=scope("payments:read"), answers={200: PaymentAnswer}, errors=(NotFound,))
def get(call: Call, payment_id: UUID) -> Response:
    """Read one payment as it is now."""
    payment = services().payment_queries.get(call.actor, payment_id)
    return respond(200, PaymentAnswer, _shown(payment), {"ETag": f'"{payment["version"]}"'})


@routes.get("/v1/payments/<payment_id>/events")
@operation(
    policy=scope("payments:read"),
    query=EventsQuery,
    answers={200: EventList},
    errors=(NotFound,),
)
def events(call: Call, payment_id: UUID) -> Response:
    """Read what happened to a payment, in order."""
    query = call.query
    rows = services().payment_queries.events(call.actor, payment_id, query.after, query.limit + 1)
    shown = rows[: query.limit]
    data = [
        {
            **{name: getattr(row, name) for name in row.__slots__},
            "id": f"{payment_id}-{row.seq}",
            "payment_id": payment_id,
        }
        for row in shown
    ]
    next_after = shown[-1].seq if len(rows) > len(shown) else None
    return respond(200, EventList, {"data": data, "next_after": next_after})


@routes.post("/v1/payments/<payment_id>/authorize")
@operation(
    policy=scope("payments:capture"),
    body=AuthorizeBody,
    answers={200: PaymentAnswer},
    errors=(*COMMAND, AmountExceedsAuthorizable, *LEDGER),
    keyed=True,
)
def authorize(call: Call, payment_id: UUID) -> Response:
    """Note what the payer's bank has promised; an automatic payment is captured with it."""
    return _answered(services().payments.authorize(_command(call), payment_id, **_given(call)))


@routes.post("/v1/payments/<payment_id>/capture")
@operation(
    policy=scope("payments:capture"),
    body=CaptureBody,
    answers={200: PaymentAnswer},
    errors=(
        *COMMAND,
        PaymentExpired,
        DuplicateReference,
        AmountExceedsCapturable,
        FeeExceedsAmount,
        CurrencyMismatch,
        *LEDGER,
    ),
    keyed=True,
)
def capture(call: Call, payment_id: UUID) -> Response:
    """Take money that was authorised, in whole or in part; of a created payment: at once."""
    return _answered(services().payments.capture(_command(call), payment_id, **_given(call)))


@routes.post("/v1/payments/<payment_id>/void")
@operation(policy=scope("payments:void"), answers={200: PaymentAnswer}, errors=COMMAND, keyed=True)
def void(call: Call, payment_id: UUID) -> Response:
    """Give back what was authorised and not captured."""
    return _answered(services().payments.void(_command(call), payment_id))


@routes.post("/v1/payments/<payment_id>/cancel")
@operation(
    policy=scope("payments:create"), answers={200: PaymentAnswer}, errors=COMMAND, keyed=True
)
def cancel(call: Call, payment_id: UUID) -> Response:
    """Give up a payment before anything was authorised."""
    return _answered(services().payments.end(_command(call), payment_id, "cancelled"))


@routes.post("/v1/payments/<payment_id>/fail")
@operation(
    policy=scope("payments:capture"),
    body=FailBody,
    answers={200: PaymentAnswer},
    errors=COMMAND,
    keyed=True,
)
def fail(call: Call, payment_id: UUID) -> Response:
    """Note that the payer's bank has refused."""
    return _answered(services().payments.end(_command(call), payment_id, "failed", **_given(call)))


def _command(call: Call) -> Command:
    return Command(
        actor=call.actor, claim=call.claim, if_match=call.if_match or 0, fault=call.fault
    )


def _given(call: Call) -> dict[str, Any]:
    """Return what the body has set; a fault of the body is for the service to raise."""
    if call.body is None:
        return {}
    return {name: getattr(call.body, name) for name in call.body.model_fields_set}


def _shown(payment: dict[str, Any]) -> dict[str, Any]:
    amount = services().currencies.decimal(payment["amount_minor"], payment["currency"])
    return {**payment, "amount_decimal": amount}


def _answered(answer: Answer) -> Response:
    """Render a command's answer, first or repeated, by the same code (K6)."""
    now, payment = exchange(), answer.data
    now.after.append(answer.settle)
    if now.idempotency is None:
        now.idempotency = "replayed" if answer.replayed else "stored"
        now.answer_headers["Idempotency-Status"] = now.idempotency
    if answer.replayed:
        now.answer_headers["Idempotent-Replayed"] = "true"
    headers = {"ETag": f'"{payment["version"]}"'}
    if answer.status == 201:  # noqa: PLR2004
        headers["Location"] = f"/v1/payments/{payment['id']}"
    if payment.get("duplicate_suspected"):
        headers["Duplicate-Suspected"] = payment["duplicate_suspected"]
    return respond(answer.status, PaymentAnswer, _shown(payment), headers)
