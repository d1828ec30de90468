"""Payments over HTTP: parse, call the service, render (payments page, section 6)."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID  # noqa: TC003  # `operation` reads the annotation.

from flask import Blueprint, Response, request

from blueprints.bodies.payments import (
    AuthorizeBody,
    CaptureAnswer,
    CaptureBody,
    CaptureList,
    CreateBody,
    EventList,
    EventsQuery,
    FailBody,
    ListQuery,
    PartsQuery,
    PaymentAnswer,
    PaymentList,
    UpdateBody,
)
from blueprints.edge import Call, operation, respond
from blueprints.hooks import services
from blueprints.keyed import COMMAND, LEDGER, answered, columns, command_of, given, shown
from blueprints.policy import require, scope
from blueprints.reading import is_known
from errors import (
    AmountExceedsAuthorizable,
    AmountExceedsCapturable,
    CurrencyMismatch,
    CurrencyUnsupported,
    CursorInvalid,
    DuplicateReference,
    FeeExceedsAmount,
    NotFound,
    PaymentExpired,
    UserNotFound,
    VersionMismatch,
)

if TYPE_CHECKING:
    from services.idempotency import Answer

routes = Blueprint("payments", __name__)


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
    return _answered(services().payments.create(command_of(call), **given(call)))


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
    rows, cursor = services().payment_queries.page(
        call.actor, query.filters(), query.limit, query.cursor
    )
    return respond(200, PaymentList, {"data": [*map(shown, rows)], "next_cursor": cursor})


@routes.get("/v1/payments/<payment_id>")
@operation(
    policy=scope("payments:read"), answers={200: PaymentAnswer, 304: None}, errors=(NotFound,)
)
def get(call: Call, payment_id: UUID) -> Response:
    """Read one payment as it is now; 304 if you have it, by If-None-Match."""
    payment = services().payment_queries.get(call.actor, payment_id)
    etag = {"ETag": f'"{payment["version"]}"'}
    # What may be done with an overdue one has changed by the clock alone, without a version.
    if not payment["overdue"] and is_known(request.headers.get("If-None-Match"), etag["ETag"]):
        return Response(status=304, headers=etag)
    return respond(200, PaymentAnswer, shown(payment), etag)


@routes.patch("/v1/payments/<payment_id>")
@operation(
    policy=scope("payments:create"),
    body=UpdateBody,
    answers={200: PaymentAnswer},
    errors=(NotFound, VersionMismatch),
    keyed=True,
)
def update(call: Call, payment_id: UUID) -> Response:
    """Change description and metadata, by a merge patch (RFC 7396)."""
    return _answered(services().payments.update(command_of(call), payment_id, given(call)))


@routes.get("/v1/payments/<payment_id>/captures")
@operation(
    policy=scope("payments:read"),
    query=PartsQuery,
    answers={200: CaptureList},
    errors=(NotFound, CursorInvalid),
)
def captures(call: Call, payment_id: UUID) -> Response:
    """List the captures of a payment, newest first."""
    rows, cursor = services().payment_queries.parts(
        call.actor, "captures", payment_id, call.query.limit, call.query.cursor
    )
    return respond(200, CaptureList, {"data": [*map(columns, rows)], "next_cursor": cursor})


@routes.get("/v1/captures/<capture_id>")
@operation(policy=scope("payments:read"), answers={200: CaptureAnswer}, errors=(NotFound,))
def get_capture(call: Call, capture_id: UUID) -> Response:
    """Read one capture."""
    return respond(
        200, CaptureAnswer, columns(services().payment_queries.capture(call.actor, capture_id))
    )


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
    errors=(*COMMAND, AmountExceedsAuthorizable, CurrencyMismatch, *LEDGER),
    keyed=True,
)
def authorize(call: Call, payment_id: UUID) -> Response:
    """Note what the payer's bank has promised; an automatic payment is captured with it."""
    return _answered(services().payments.authorize(command_of(call), payment_id, **given(call)))


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
    return _answered(services().payments.capture(command_of(call), payment_id, **given(call)))


@routes.post("/v1/payments/<payment_id>/void")
@operation(policy=scope("payments:void"), answers={200: PaymentAnswer}, errors=COMMAND, keyed=True)
def void(call: Call, payment_id: UUID) -> Response:
    """Give back what was authorised and not captured."""
    return _answered(services().payments.void(command_of(call), payment_id))


@routes.post("/v1/payments/<payment_id>/cancel")
@operation(
    policy=scope("payments:create"), answers={200: PaymentAnswer}, errors=COMMAND, keyed=True
)
def cancel(call: Call, payment_id: UUID) -> Response:
    """Give up a payment before anything was authorised."""
    return _answered(services().payments.end(command_of(call), payment_id, "cancelled"))


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
    return _answered(services().payments.end(command_of(call), payment_id, "failed", **given(call)))


def _answered(answer: Answer) -> Response:
    payment = answer.data
    headers = {"ETag": f'"{payment["version"]}"'}
    if answer.status == 201:  # noqa: PLR2004
        headers["Location"] = f"/v1/payments/{payment['id']}"
    if payment.get("duplicate_suspected"):
        headers["Duplicate-Suspected"] = payment["duplicate_suspected"]
    return answered(answer, PaymentAnswer, headers)
