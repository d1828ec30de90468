"""Queries and answers about whole books (ledger page, section 9)."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated

from pydantic import Field

from blueprints.bodies.ledger import Decimal, Minor
from blueprints.bodies.postings import TransactionAnswer
from blueprints.fields import Answer, Currency, Cursor, Maybe, Model, Timestamp

Prefix = Annotated[
    str,
    Field(
        pattern=r"^[a-z0-9][a-z0-9._-]*(:[a-z0-9][a-z0-9._-]*)*:$",
        max_length=255,
        description="Codes that begin with it; it ends with a colon.",
        examples=["shops:42:"],
    ),
]
Depth = Annotated[
    int, Field(ge=1, le=10, description="Codes are cut after so many segments, and summed.")
]
Moment = Annotated[Timestamp, Field(description="A moment of the past; left out: now.")]


class BalancesQuery(Model):
    """Which balances."""

    prefix: Maybe[Prefix] = None
    depth: Depth = 1
    currency: Maybe[Currency] = None
    as_of: Maybe[Moment] = None
    limit: Annotated[int, Field(ge=1, le=1000, description="Most rows of a page.")] = 200
    cursor: Maybe[Cursor] = None


class TrialBalanceQuery(BalancesQuery):
    """Which balances: without a depth, of every account."""

    depth: Depth = 10


class SumAnswer(Answer):
    """All accounts under a code, in the column of the side that weighs more."""

    code: Annotated[str, Field(examples=["users"])]
    currency: Currency
    accounts: Annotated[int, Field(description="How many accounts these are.")]
    debit_minor: Minor
    debit_decimal: Decimal
    credit_minor: Minor
    credit_decimal: Decimal


class TotalAnswer(Answer):
    """Both columns of a currency; equal, if all accounts were asked for."""

    currency: Currency
    debit_minor: Minor
    debit_decimal: Decimal
    credit_minor: Minor
    credit_decimal: Decimal


class BalancesAnswer(Answer):
    """A page of balances, and the totals of all pages."""

    as_of: datetime | None
    final: Annotated[bool, Field(description="Whether this answer can never change.")]
    data: list[SumAnswer]
    totals: list[TotalAnswer]
    next_cursor: str | None


class ClosingBody(Model):
    """Through which day nothing may be dated any more."""

    closed_through: Annotated[
        date | None, Field(description="A day that is over, in UTC; null: none is closed.")
    ]
    reopen: Annotated[bool, Field(description="Needed to open days again.")] = False


class ClosingAnswer(Answer):
    """Through which day the book is closed."""

    closed_through: date | None
    updated_at: datetime | None
    updated_by: str | None


class LedgerEventsQuery(Model):
    """Where to read on."""

    after: Annotated[
        Maybe[Cursor], Field(description="`next_after` of your last page; left out: the start.")
    ] = None
    limit: Annotated[int, Field(ge=1, le=1000, description="Most transactions on a page.")] = 100


class LedgerEvent(TransactionAnswer):
    """A transaction at its place in the log."""

    index: Annotated[int, Field(description="Its leaf in the sealed book, from 0, without a gap.")]
    late: Annotated[
        bool, Field(description="True: a clock had stepped back, so its time is an earlier one.")
    ]


class LedgerEventsAnswer(Answer):
    """A page of the log."""

    data: list[LedgerEvent]
    next_after: Annotated[
        str | None, Field(description="Keep it, and ask after it: null if nothing is sealed yet.")
    ]
    caught_up: Annotated[
        bool, Field(description="True: nothing more now, ask again later. False: ask at once.")
    ]
