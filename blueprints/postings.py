"""Postings over HTTP: transactions, batches, reversals (ledger page, section 9)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from flask import Blueprint, request

from blueprints.bodies.postings import (
    PostingAnswer,
    ReverseBody,
    TransactionBody,
    TransactionDetail,
    TransactionList,
    TransactionsQuery,
)
from blueprints.edge import Call, operation, respond
from blueprints.exchange import exchange
from blueprints.hooks import services
from blueprints.ledger_accounts import LEDGER
from blueprints.policy import require, scope
from errors import (
    AccountClosed,
    AccountFrozen,
    AccountNotFound,
    AlreadyReversed,
    AmountOverflow,
    BatchTooLarge,
    CeilingExceeded,
    CurrencyMismatch,
    CursorInvalid,
    DuplicateReference,
    EffectiveAtInFuture,
    EffectiveAtTooOld,
    ExpectationFailed,
    FeatureDisabled,
    InsufficientFunds,
    NotFound,
    NotReversible,
    PeriodClosed,
    ReferenceReserved,
    SameAccount,
    TransactionIdReused,
)
from services.posting_queries import LogFilters
from services.posting_refusals import location
from services.posting_requests import Posting
from services.postings import Order

if TYPE_CHECKING:
    from flask import Response

    from blueprints.bodies.postings import BatchItem
    from blueprints.fields import Answer as Model
    from services.idempotency import Answer

routes = Blueprint("postings", __name__)

ACCOUNTS = (AccountFrozen, AccountClosed, InsufficientFunds, CeilingExceeded, AmountOverflow)
TIMES = (EffectiveAtInFuture, EffectiveAtTooOld, PeriodClosed)
NAMES = (TransactionIdReused, DuplicateReference, ReferenceReserved)


@routes.post("/v1/ledger/transactions")
@operation(
    policy=scope("ledger:post"),
    switch=LEDGER,
    body=TransactionBody,
    answers={200: PostingAnswer, 201: PostingAnswer},
    errors=(
        *NAMES,
        *TIMES,
        *ACCOUNTS,
        BatchTooLarge,
        SameAccount,
        AccountNotFound,
        CurrencyMismatch,
        CursorInvalid,
        ExpectationFailed,
        FeatureDisabled,
    ),
    keyed=True,
    by_id=True,
)
def post(call: Call) -> Response:
    """Post a transaction: all its legs, or nothing."""
    body = call.body
    if body and body.kind == "adjust":
        require_admin(call)
    if body and body.receipt:
        services().proofs.require_key()
    answer = services().postings.post(order(call), body and posting_of(body, call.document))
    receipt = None
    if body and body.receipt and not body.dry_run:
        receipt = services().proofs.receipt(call.actor, UUID(answer.data["id"]))
    return posted(answer, receipt)


@routes.get("/v1/ledger/transactions")
@operation(
    policy=scope("ledger:read"),
    query=TransactionsQuery,
    answers={200: TransactionList},
    errors=(CursorInvalid,),
)
def page(call: Call) -> Response:
    """List transactions, newest first, page by page."""
    query = call.query
    names = LogFilters.__dataclass_fields__
    filters = LogFilters(**{name: getattr(query, name) for name in names})
    rows, cursor = services().posting_queries.page(call.actor, filters, query.limit, query.cursor)
    data = {"data": [shown(columns(row)) for row in rows], "next_cursor": cursor}
    return respond(200, TransactionList, data)


@routes.get("/v1/ledger/transactions/<transaction_id>")
@operation(policy=scope("ledger:read"), answers={200: TransactionDetail}, errors=(NotFound,))
def get(call: Call, transaction_id: UUID) -> Response:
    """Read one transaction, applied or rejected."""
    row = services().posting_queries.get(call.actor.tenant_id, transaction_id)
    return respond(200, TransactionDetail, shown(columns(row)))


@routes.post("/v1/ledger/transactions/<transaction_id>/reverse")
@operation(
    policy=scope("ledger:post"),
    switch=LEDGER,
    body=ReverseBody,
    answers={200: PostingAnswer, 201: PostingAnswer},
    errors=(NotFound, *NAMES, *TIMES, *ACCOUNTS, AlreadyReversed, NotReversible),
    keyed=True,
    by_id=True,
)
def reverse(call: Call, transaction_id: UUID) -> Response:
    """Take a transaction back: post its mirror, once."""
    body = call.body
    posting = body and Posting(
        kind="reverse",
        document=call.document,
        id=body.id,
        reference=body.reference,
        effective_at=body.effective_at,
        metadata=body.metadata,
        reverses=transaction_id,
    )
    return posted(services().postings.post(order(call), posting))


# --- What batches and holds have too --------------------------------------------------------------


def order(call: Call) -> Order:
    """Return who asks, and how."""
    return Order(
        actor=call.actor,
        request_id=exchange().request_id,
        claim=call.claim,
        fault=call.fault,
        dry_run=is_dry(call),
    )


def posted(answer: Answer, receipt: str | None = None) -> Response:
    """Render a transaction that was posted."""
    data = {**shown(answer.data), "receipt": receipt}
    return answered(answer, PostingAnswer, data, location(answer.data["id"]))


def answered(answer: Answer, model: type[Model], data: dict[str, Any], place: str) -> Response:
    """Render what became of a posting, first or repeated, by the same code (K6)."""
    now = exchange()
    now.after.append(answer.settle)
    if now.key and now.idempotency is None:
        now.idempotency = "replayed" if answer.replayed else "stored"
        now.answer_headers["Idempotency-Status"] = now.idempotency
    headers = {"Idempotent-Replayed": "true"} if answer.replayed else {}
    if answer.status == 201:  # noqa: PLR2004
        headers["Location"] = place
    return respond(answer.status, model, data, headers)


def shown(data: dict[str, Any]) -> dict[str, Any]:
    """Add amounts as people write them; `metadata` is an object, `sealed` where it is known."""
    currencies = services().currencies
    legs = [currencies.with_decimals(dict(leg), leg["currency"]) for leg in data["legs"]]
    released, decimal = data["released_minor"], None
    if released is not None and legs:
        decimal = currencies.decimal(released, legs[0]["currency"])
    leaf = data.get("leaf_index")
    return {
        **data,
        "legs": legs,
        "released_decimal": decimal,
        "metadata": data["metadata"] or {},
        "balances": [
            currencies.with_decimals(dict(each), each["currency"]) for each in data["balances"]
        ],
        "sealed": None if leaf is None else {"index": leaf},
    }


def columns(row: Any) -> dict[str, Any]:
    """Return a row as data."""
    return {name: getattr(row, name) for name in row.__slots__}


def posting_of(body: TransactionBody | BatchItem, document: Any) -> Posting:
    """Return what a body asks for."""
    return Posting(
        kind=body.kind,
        document=document,
        id=body.id,
        legs=body.legs,
        reference=body.reference,
        effective_at=body.effective_at,
        metadata=body.metadata,
        expect=body.expect or (),
        group=getattr(body, "group", None),
    )


def is_dry(call: Call) -> bool:
    """Tell whether only an answer is wanted: said by the body, or by the query of a batch."""
    asked = getattr(call.body, "dry_run", None)
    return asked if asked is not None else getattr(call.query, "dry_run", None) == "true"


def require_admin(call: Call) -> None:
    """Refuse whoever may not correct the book."""
    require(call.actor, "ledger:admin", services().credentials, request.remote_addr or "")
