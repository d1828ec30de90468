"""The ledger over HTTP: read an account's balance and statement (ledger page, sections 9, 10)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Blueprint

from blueprints.bodies.ledger import BalanceAnswer, BalanceQuery, EntriesQuery, StatementAnswer
from blueprints.edge import Call, operation, respond
from blueprints.hooks import services
from blueprints.policy import scope
from errors import CurrencyAmbiguous, CursorInvalid, NotFound
from services.ledger import EntryFilters

if TYPE_CHECKING:
    from flask import Response

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
    answers={200: StatementAnswer},
    errors=(NotFound, CurrencyAmbiguous, CursorInvalid),
)
def statement(call: Call, code: str) -> Response:
    """Read an account's statement, page by page, with the balance after each entry."""
    query = call.query
    filters = EntryFilters(
        currency=query.currency,
        posted_gte=query.posted_gte,
        posted_lt=query.posted_lt,
        side=query.side,
        order=query.order,
    )
    found = services().ledger.statement(call.actor, code, filters, query.limit, query.cursor)
    return respond(200, StatementAnswer, found)
