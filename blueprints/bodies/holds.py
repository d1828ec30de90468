"""Bodies, queries and answers of holds (ledger page, sections 6 and 9)."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from blueprints.bodies.ledger import Decimal, Minor
from blueprints.bodies.postings import (
    AccountCode,
    BalanceAfter,
    DryRun,
    LegBody,
    PostingBody,
    TransactionId,
    TransactionReference,
)
from blueprints.fields import (
    MOST_INTEGER,
    AmountMinor,
    Answer,
    Currency,
    Cursor,
    Limit,
    Maybe,
    Model,
    Timestamp,
)


class HoldBody(PostingBody):
    """Money to be reserved: it stays where it is, and can be spent on nothing else."""

    id: TransactionId = None
    legs: Annotated[list[LegBody], Field(min_length=1, max_length=1)]
    expires_in_s: Annotated[
        Maybe[Annotated[int, Field(ge=1, le=MOST_INTEGER)]],
        Field(description="Left out: LEDGER_HOLD_DEFAULT_S."),
    ] = None
    reference: Maybe[TransactionReference] = None
    dry_run: DryRun = False


class HoldCaptureBody(PostingBody):
    """How much of it is taken."""

    id: TransactionId = None
    amount_minor: Annotated[
        Maybe[AmountMinor], Field(description="Left out: all that remains.")
    ] = None
    final: Annotated[Maybe[bool], Field(description="true (default): the rest is released.")] = None
    dry_run: DryRun = False


class HoldVoidBody(PostingBody):
    """What remains is released."""

    id: TransactionId = None
    dry_run: DryRun = False


class HoldsQuery(Model):
    """Which open holds, joined by AND."""

    account: Annotated[Maybe[AccountCode], Field(description="On either side of the hold.")] = None
    currency: Maybe[Currency] = None
    expires_before: Maybe[Timestamp] = None
    limit: Limit = 50
    cursor: Maybe[Cursor] = None


class HoldAnswer(Answer):
    """A hold: what it reserves, and what became of it."""

    id: UUID
    status: Annotated[
        Literal["open", "captured", "voided", "expired"],
        Field(description="expired: its time has passed, its money is free or will be at once."),
    ]
    debit: str
    credit: str
    currency: Currency
    amount_minor: Minor
    amount_decimal: Decimal
    captured_minor: Minor
    captured_decimal: Decimal
    remaining_minor: Annotated[Minor, Field(description="What is still reserved.")]
    remaining_decimal: Decimal
    expires_at: datetime | None
    reference: str | None
    metadata: dict[str, str]
    posted_at: datetime
    actor: str
    request_id: str


class PlacedHold(HoldAnswer):
    """A hold that was placed, with the balances it left."""

    balances: list[BalanceAfter]
    dry_run: bool = False


class HoldDetail(HoldAnswer):
    """A hold, and which transaction resolved it."""

    resolved_by: UUID | None


class HoldList(Answer):
    """A page of open holds, the first to expire first."""

    data: list[HoldAnswer]
    next_cursor: Annotated[
        str | None, Field(description="Null is the end; a page may be short before it.")
    ]
