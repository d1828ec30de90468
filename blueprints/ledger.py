"""The ledger over HTTP: read an account's balance and statement (ledger page, sections 9, 10)."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from flask import Blueprint, Response, request

from blueprints.bodies.ledger import (
    BalanceAnswer,
    BalanceQuery,
    EntriesQuery,
    EntryAnswer,
    StatementAnswer,
)
from blueprints.edge import Call, operation, respond
from blueprints.hooks import services
from blueprints.payment_exports import CSV
from blueprints.policy import scope
from errors import CurrencyAmbiguous, CursorInvalid, NotFound
from services.csv_records import cell, recorder
from services.ledger import EntryFilters

JSON = "application/json"
routes = Blueprint("ledger", __name__)


@routes.get("/v1/ledger/accounts/<code>/balance")
@operation(
    policy=scope("ledger:read"),
    query=BalanceQuery,
    answers={200: BalanceAnswer},
    errors=(NotFound, CurrencyAmbiguous),
)
def balance(call: Call, code: str) -> Response:
    """Read an account's balance: as it is now, as it was, or by what counted at a moment."""
    query, ledger = call.query, services().ledger
    if query.effective_at is None:
        found = ledger.balance(call.actor, code, query.currency, query.as_of)
    else:
        found = ledger.balance_effective(
            call.actor, code, query.currency, query.effective_at, query.known_at
        )
    return respond(200, BalanceAnswer, found)


@routes.get("/v1/ledger/accounts/<code>/entries")
@operation(
    policy=scope("ledger:read"),
    query=EntriesQuery,
    answers={200: (StatementAnswer, CSV)},
    errors=(NotFound, CurrencyAmbiguous, CursorInvalid),
)
def statement(call: Call, code: str) -> Response:
    """Read an account's statement, page by page, with the balance after each entry.

    With `Accept: text/csv` a page is a header and a record for each entry; the next page is the one
    that `Link` names as `next`.
    """
    query = call.query
    filters = EntryFilters(
        currency=query.currency,
        posted_gte=query.posted_gte,
        posted_lt=query.posted_lt,
        side=query.side,
        order=query.order,
    )
    found = services().ledger.statement(call.actor, code, filters, query.limit, query.cursor)
    if request.accept_mimetypes.best_match([JSON, CSV], default=JSON) == CSV:
        return _csv(found)
    return respond(200, StatementAnswer, found, {"Vary": "Accept"})


def _csv(page: dict[str, Any]) -> Response:
    record, columns = recorder(), tuple(EntryAnswer.model_fields)
    lines = [record(columns)]
    for row in page["data"]:
        values = EntryAnswer.model_validate(row).model_dump(mode="json")
        lines.append(record([cell(values[name]) for name in columns]))
    headers = {"Vary": "Accept"}
    if page["next_cursor"]:
        query = urlencode({**request.args, "cursor": page["next_cursor"]})
        headers["Link"] = f'<{request.path}?{query}>; rel="next"'
    return Response(b"".join(lines), headers=headers, content_type=f"{CSV}; charset=utf-8")
