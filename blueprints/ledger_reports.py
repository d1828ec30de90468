"""Whole books over HTTP: balances by code, trial balance, closing, events (ledger page, 9)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Blueprint

from blueprints.bodies.ledger_reports import (
    BalancesAnswer,
    BalancesQuery,
    ClosingAnswer,
    ClosingBody,
    LedgerEventsAnswer,
    LedgerEventsQuery,
    TrialBalanceQuery,
)
from blueprints.edge import Call, operation, respond
from blueprints.hooks import services
from blueprints.policy import scope
from blueprints.postings import columns, shown
from errors import CursorInvalid
from services.ledger_reports import SumsAsk

if TYPE_CHECKING:
    from flask import Response

routes = Blueprint("ledger_reports", __name__)

READ = scope("ledger:read")


@routes.get("/v1/ledger/balances")
@operation(
    policy=READ,
    query=BalancesQuery,
    answers={200: BalancesAnswer},
    errors=(CursorInvalid,),
    cost="heavy",
)
def balances(call: Call) -> Response:
    """Sum balances by the first segments of their codes, now or at a moment of the past."""
    return _sums(call)


@routes.get("/v1/ledger/trial-balance")
@operation(
    policy=READ,
    query=TrialBalanceQuery,
    answers={200: BalancesAnswer},
    errors=(CursorInvalid,),
    cost="heavy",
)
def trial_balance(call: Call) -> Response:
    """List every account in its column; per currency the totals of both columns are equal."""
    return _sums(call)


def _sums(call: Call) -> Response:
    query = call.query
    ask = SumsAsk(
        prefix=query.prefix, depth=query.depth, currency=query.currency, as_of=query.as_of
    )
    page = services().ledger_reports.sums(call.actor, ask, query.limit, query.cursor)
    return respond(200, BalancesAnswer, page)


@routes.get("/v1/ledger/closing")
@operation(policy=READ, answers={200: ClosingAnswer})
def closing(call: Call) -> Response:
    """Read through which day the book is closed."""
    return respond(200, ClosingAnswer, services().ledger_reports.closing(call.actor.tenant_id))


@routes.put("/v1/ledger/closing")
@operation(policy=scope("ledger:admin"), body=ClosingBody, answers={200: ClosingAnswer})
def close(call: Call) -> Response:
    """Close the book through a day: nothing may be dated on or before it any more."""
    body = call.body
    found = services().ledger_reports.close(call.actor, body.closed_through, reopen=body.reopen)
    return respond(200, ClosingAnswer, found)


@routes.get("/v1/ledger/events")
@operation(
    policy=READ,
    query=LedgerEventsQuery,
    answers={200: LedgerEventsAnswer},
    errors=(CursorInvalid,),
)
def events(call: Call) -> Response:
    """Read all transactions, in an order that never changes afterwards."""
    query = call.query
    rows, after, caught_up = services().ledger_reports.events(call.actor, query.after, query.limit)
    data = [
        {**shown({**columns(row), "balances": []}), "index": row.idx, "late": row.late}
        for row in rows
    ]
    answer = {"data": data, "next_after": after, "caught_up": caught_up}
    return respond(200, LedgerEventsAnswer, answer)
