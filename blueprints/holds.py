"""Holds over HTTP: place, capture, void, read (ledger page, sections 6 and 9)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID  # noqa: TC003  # `operation` reads the annotation.

from flask import Blueprint

from blueprints.bodies.holds import (
    HoldBody,
    HoldCaptureBody,
    HoldDetail,
    HoldList,
    HoldsQuery,
    HoldVoidBody,
    PlacedHold,
)
from blueprints.bodies.postings import PostingAnswer
from blueprints.edge import Call, operation, respond
from blueprints.hooks import services
from blueprints.ledger_accounts import LEDGER
from blueprints.policy import scope
from blueprints.postings import ACCOUNTS, NAMES, answered, columns, order, posted, shown
from errors import (
    AccountNotFound,
    CaptureExceedsHold,
    CurrencyMismatch,
    CursorInvalid,
    HoldExpired,
    HoldResolved,
    NotFound,
    SameAccount,
    TransactionIdReused,
)
from services.holds import HoldFilters
from services.posting_requests import Posting

if TYPE_CHECKING:
    from flask import Response

routes = Blueprint("holds", __name__)


@routes.post("/v1/ledger/holds")
@operation(
    policy=scope("ledger:post"),
    switch=LEDGER,
    body=HoldBody,
    answers={200: PlacedHold, 201: PlacedHold},
    errors=(*NAMES, *ACCOUNTS, SameAccount, AccountNotFound, CurrencyMismatch),
    keyed=True,
    by_id=True,
)
def place(call: Call) -> Response:
    """Reserve money of an account for another one, until it is captured, voided or expires."""
    body = call.body
    posting = body and Posting(
        kind="hold",
        document=call.document,
        id=body.id,
        legs=body.legs,
        reference=body.reference,
        metadata=body.metadata,
        expires_in_s=body.expires_in_s,
    )
    answer = services().postings.post(order(call), posting)
    place = f"/v1/ledger/holds/{answer.data['id']}"
    return answered(answer, PlacedHold, _placed(answer.data), place)


@routes.get("/v1/ledger/holds")
@operation(
    policy=scope("ledger:read"),
    query=HoldsQuery,
    answers={200: HoldList},
    errors=(CursorInvalid,),
)
def page(call: Call) -> Response:
    """List open holds, the first to expire first, page by page."""
    query = call.query
    filters = HoldFilters(
        account=query.account, currency=query.currency, expires_before=query.expires_before
    )
    rows, cursor = services().holds.page(call.actor, filters, query.limit, query.cursor)
    data = {"data": [_shown(columns(row)) for row in rows], "next_cursor": cursor}
    return respond(200, HoldList, data)


@routes.get("/v1/ledger/holds/<hold_id>")
@operation(policy=scope("ledger:read"), answers={200: HoldDetail}, errors=(NotFound,))
def get(call: Call, hold_id: UUID) -> Response:
    """Read one hold, open or resolved."""
    row = services().holds.get(call.actor.tenant_id, hold_id)
    return respond(200, HoldDetail, _shown(columns(row)))


@routes.post("/v1/ledger/holds/<hold_id>/capture")
@operation(
    policy=scope("ledger:post"),
    switch=LEDGER,
    body=HoldCaptureBody,
    answers={200: PostingAnswer, 201: PostingAnswer},
    errors=(
        NotFound,
        TransactionIdReused,
        HoldResolved,
        HoldExpired,
        CaptureExceedsHold,
        *ACCOUNTS,
    ),
    keyed=True,
    by_id=True,
)
def capture(call: Call, hold_id: UUID) -> Response:
    """Take what a hold reserves, in whole or in part."""
    body = call.body
    posting = body and Posting(
        kind="capture",
        document=call.document,
        id=body.id,
        metadata=body.metadata,
        hold_id=hold_id,
        amount_minor=body.amount_minor,
        final=body.final,
    )
    return posted(services().postings.post(order(call), posting))


@routes.post("/v1/ledger/holds/<hold_id>/void")
@operation(
    policy=scope("ledger:post"),
    switch=LEDGER,
    body=HoldVoidBody,
    answers={200: PostingAnswer, 201: PostingAnswer},
    errors=(NotFound, TransactionIdReused, HoldResolved, *ACCOUNTS),
    keyed=True,
    by_id=True,
)
def void(call: Call, hold_id: UUID) -> Response:
    """Release what a hold still reserves."""
    body = call.body
    posting = body and Posting(
        kind="void",
        document=call.document,
        id=body.id,
        metadata=body.metadata,
        hold_id=hold_id,
    )
    return posted(services().postings.post(order(call), posting))


def _placed(data: dict[str, Any]) -> dict[str, Any]:
    """Return a hold as it was placed, of what its posting has answered."""
    (leg,) = data["legs"]
    as_placed = {"status": "open", "captured_minor": 0, "remaining_minor": leg["amount_minor"]}
    return _shown({**shown(data), **leg, **as_placed})


def _shown(data: dict[str, Any]) -> dict[str, Any]:
    """Add amounts as people write them; `metadata` is an object."""
    data = {**data, "metadata": data["metadata"] or {}}
    return services().currencies.with_decimals(data, data["currency"])
