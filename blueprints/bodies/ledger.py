"""Queries and answers of the ledger (ledger page, sections 9 and 10)."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import Field, model_validator

from blueprints.fields import Answer, Currency, Cursor, Limit, Maybe, Model, Timestamp

Minor = Annotated[int, Field(description="In minor units of the currency.", examples=[1099])]
Decimal = Annotated[
    str | None, Field(description="For people; compute with the minor units.", examples=["10.99"])
]
Side = Literal["credit", "debit"]
OnlyCurrency = Annotated[
    Maybe[Currency], Field(description="Needed only where the code has several currencies.")
]


class BalanceQuery(Model):
    """Which balance."""

    currency: OnlyCurrency = None
    as_of: Annotated[
        Maybe[Timestamp], Field(description="A moment of the past; left out: now.")
    ] = None
    effective_at: Annotated[
        Maybe[Timestamp],
        Field(description="By what counted at this moment, whenever it was posted; not `as_of`."),
    ] = None
    known_at: Annotated[
        Maybe[Timestamp],
        Field(description="With `effective_at`: without what was posted after this moment."),
    ] = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        """Refuse two ways at once to say when."""
        if self.as_of is not None and self.effective_at is not None:
            raise ValueError("Give as_of or effective_at, not both.")
        if self.known_at is not None and self.effective_at is None:
            raise ValueError("known_at goes with effective_at only.")
        return self


class BalanceAnswer(Answer):
    """An account's balance on its normal side, over all its parts, of one moment.

    Of the past only `posted` and `version` are known; the rest is null.
    """

    code: Annotated[str, Field(examples=["platform:fees"])]
    currency: Currency
    posted_minor: Minor
    posted_decimal: Decimal
    available_minor: Annotated[
        Minor | None, Field(description="Posted less what is reserved: what may be spent.")
    ] = None
    available_decimal: Decimal = None
    reachable_minor: Annotated[
        Minor | None, Field(description="Posted and what is reserved for it: what it may become.")
    ] = None
    reachable_decimal: Decimal = None
    debits_posted_minor: Minor | None = None
    debits_posted_decimal: Decimal = None
    credits_posted_minor: Minor | None = None
    credits_posted_decimal: Decimal = None
    debits_pending_minor: Minor | None = None
    debits_pending_decimal: Decimal = None
    credits_pending_minor: Minor | None = None
    credits_pending_decimal: Decimal = None
    version: Annotated[int, Field(description="How many entries the account has.")]
    as_of: datetime
    effective_at: datetime | None = None
    known_at: datetime | None = None
    final: Annotated[
        bool,
        Field(
            description="Whether this answer can never change: the watermark has passed `as_of`, or"
            " `known_at` where there is an `effective_at`; a later commit brings nothing before it."
        ),
    ]


class EntriesQuery(Model):
    """Which entries, and in which order."""

    currency: OnlyCurrency = None
    posted_gte: Maybe[Timestamp] = None
    posted_lt: Maybe[Timestamp] = None
    side: Annotated[
        Maybe[Side], Field(description="Only credits, or only debits: then no opening, no closing.")
    ] = None
    order: Annotated[Literal["asc", "desc"], Field(description="desc: newest first.")] = "desc"
    limit: Limit = 50
    cursor: Maybe[Cursor] = None


class EntryAnswer(Answer):
    """One line of a statement."""

    posted_at: Annotated[datetime, Field(description="When the book learnt it.")]
    effective_at: Annotated[datetime, Field(description="When it counts.")]
    version: Annotated[int, Field(description="Grows by 1 with each entry of a part.")]
    tx_id: Annotated[UUID, Field(description="The transaction that this is a side of.")]
    leg: Annotated[int, Field(description="Which leg of the transaction, from 1.")]
    kind: Literal["post", "hold", "capture", "void", "expire", "reverse", "adjust"]
    side: Side
    posted_minor: Minor
    posted_decimal: Decimal
    pending_minor: Annotated[Minor, Field(description="Change of what is reserved.")]
    pending_decimal: Decimal
    balance_after_minor: Minor
    balance_after_decimal: Decimal
    counterparty: Annotated[str, Field(description="The account on the leg's other side.")]
    reference: str | None


class StatementAnswer(Answer):
    """A page of an account's statement: opening + data = closing, on every page."""

    code: Annotated[str, Field(examples=["platform:fees"])]
    currency: Currency
    opening_minor: Annotated[
        Minor | None, Field(description="Before the page's oldest entry; null with `side`.")
    ]
    opening_decimal: Decimal
    data: list[EntryAnswer]
    closing_minor: Annotated[
        Minor | None, Field(description="After the page's newest entry; null with `side`.")
    ]
    closing_decimal: Decimal
    final: Annotated[
        bool,
        Field(description="Whether this page can never change: the watermark has passed its end."),
    ]
    next_cursor: Annotated[
        str | None, Field(description="Null is the end; a page may be short before it.")
    ]
