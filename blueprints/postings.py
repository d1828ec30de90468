"""Postings over HTTP: transactions, batches, reversals (ledger page, section 9)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from flask import Blueprint, request
from pydantic import ValidationError
from pydantic_core import to_json

from blueprints import faults
from blueprints.bodies.postings import (
    ITEMS,
    BatchAnswer,
    BatchBody,
    BatchQuery,
    PostingAnswer,
    ReverseBody,
    TransactionBody,
    TransactionDetail,
    TransactionList,
    TransactionsQuery,
)
from blueprints.edge import ID, Call, operation, respond
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
    BatchRejected,
    BatchTooLarge,
    CeilingExceeded,
    CurrencyMismatch,
    CursorInvalid,
    DuplicateReference,
    EffectiveAtInFuture,
    EffectiveAtTooOld,
    ExpectationFailed,
    InsufficientFunds,
    NotFound,
    NotReversible,
    PeriodClosed,
    ReferenceReserved,
    SameAccount,
    TransactionIdReused,
    ValidationFailed,
)
from services.posting_batches import Faulty
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
    ),
    keyed=True,
    by_id=True,
)
def post(call: Call) -> Response:
    """Post a transaction: all its legs, or nothing."""
    if call.body and call.body.kind == "adjust":
        _require_admin(call)
    posting = _posting(call.body, call.document) if call.body else None
    return posted(services().postings.post(order(call), posting))


@routes.post("/v1/ledger/transactions/batch")
@operation(
    policy=scope("ledger:post"),
    switch=LEDGER,
    query=BatchQuery,
    body=BatchBody,
    answers={200: BatchAnswer, 201: BatchAnswer},
    errors=(BatchTooLarge, BatchRejected),
    cost="heavy",
    lines_of="transactions",
)
def post_batch(call: Call) -> Response:
    """Post many transactions in one go: each for itself, in groups, or all or none."""
    mode = call.body.mode or call.query.mode or "each"
    items = call.body.transactions
    if any(isinstance(item, dict) and item.get("kind") == "adjust" for item in items):
        _require_admin(call)
    is_whole = mode == "all"
    results = services().posting_batches.post(order(call), _read_items(items), is_whole=is_whole)
    is_new = is_whole and any(each["outcome"] == "created" for each in results)
    return respond(201 if is_new and not _is_dry(call) else 200, BatchAnswer, {"results": results})


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


# --- What holds have too ------------------------------------------------------------------------


def order(call: Call) -> Order:
    """Return who asks, and how."""
    return Order(
        actor=call.actor,
        request_id=exchange().request_id,
        claim=call.claim,
        fault=call.fault,
        dry_run=_is_dry(call),
    )


def posted(answer: Answer) -> Response:
    """Render a transaction that was posted."""
    return answered(answer, PostingAnswer, shown(answer.data), location(answer.data["id"]))


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


# --- Parts --------------------------------------------------------------------------------------


def _posting(body: TransactionBody | BatchItem, document: Any) -> Posting:
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


def _is_dry(call: Call) -> bool:
    """Tell whether only an answer is wanted: said by the body, or by the query of a batch."""
    asked = getattr(call.body, "dry_run", None)
    return asked if asked is not None else getattr(call.query, "dry_run", None) == "true"


def _require_admin(call: Call) -> None:
    require(call.actor, "ledger:admin", services().credentials, request.remote_addr or "")


def _read_items(items: list[Any]) -> list[Posting | Faulty]:
    """Read the transactions of a batch, each for itself."""
    try:
        return list(map(_posting, ITEMS.validate_json(to_json(items)), items))
    except ValidationError as error:
        wrong = faults.by_place(error)
    good = [item for place, item in enumerate(items) if place not in wrong]
    read = iter(ITEMS.validate_json(to_json(good)))
    return [
        _faulty(item, wrong[place]) if place in wrong else _posting(next(read), item)
        for place, item in enumerate(items)
    ]


def _faulty(item: Any, found: list[Any]) -> Faulty:
    named = item if isinstance(item, dict) else {}
    tx_id, group = named.get("id"), named.get("group")
    is_id = isinstance(tx_id, str) and ID.fullmatch(tx_id) is not None
    return Faulty(
        fault=ValidationFailed(errors=tuple(found)),
        id=UUID(tx_id) if is_id else None,
        group=group if isinstance(group, str) else None,
    )
