"""Batches of postings over HTTP (ledger page, sections 4 and 9)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from flask import Blueprint
from pydantic import ValidationError
from pydantic_core import to_json

from blueprints import faults
from blueprints.bodies.postings import ITEMS, BatchAnswer, BatchBody, BatchItem, BatchQuery
from blueprints.edge import ID, Call, operation, respond
from blueprints.hooks import services
from blueprints.ledger_accounts import LEDGER
from blueprints.policy import scope
from blueprints.postings import is_dry, order, posting_of, require_admin
from errors import BatchRejected, BatchTooLarge, ValidationFailed
from services.posting_batches import Faulty

if TYPE_CHECKING:
    from flask import Response

    from services.posting_requests import Posting

routes = Blueprint("posting_batches", __name__)


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
    read, sent = call.body.transactions, call.document["transactions"]
    if any(isinstance(item, dict) and item.get("kind") == "adjust" for item in sent):
        require_admin(call)
    is_read = isinstance(read[0], BatchItem)
    postings = list(map(posting_of, read, sent)) if is_read else read_items(sent)
    is_whole = mode == "all"
    results = services().posting_batches.post(order(call), postings, is_whole=is_whole)
    is_new = is_whole and any(each["outcome"] == "created" for each in results)
    return respond(201 if is_new and not is_dry(call) else 200, BatchAnswer, {"results": results})


def read_items(items: list[Any]) -> list[Posting | Faulty]:
    """Read the transactions of a batch, each for itself."""
    try:
        return list(map(posting_of, ITEMS.validate_json(to_json(items)), items))
    except ValidationError as error:
        wrong = faults.by_place(error)
    good = [item for place, item in enumerate(items) if place not in wrong]
    read = iter(ITEMS.validate_json(to_json(good)))
    return [
        _faulty(item, wrong[place]) if place in wrong else posting_of(next(read), item)
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
