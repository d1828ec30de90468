"""Bodies and answers of disputes (payments page, section 6)."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from blueprints.bodies.payments import Decimal, NextCursor, PaymentAnswer
from blueprints.fields import (
    AmountMinor,
    Answer,
    Currency,
    FeeMinor,
    Integer,
    Maybe,
    Model,
    Reference,
    Timestamp,
)

DisputeReason = Annotated[
    str, Field(min_length=1, max_length=100, examples=["product_not_received"])
]


class DisputeBody(Model):
    """What the payer's bank has taken back, and why."""

    amount_minor: Annotated[
        Maybe[AmountMinor], Field(description="Left out: all that is left.")
    ] = None
    reason: DisputeReason
    reference: Annotated[
        Reference, Field(description="The bank's name for it; unique within the payment.")
    ]
    evidence_due_at: Maybe[Timestamp] = None
    currency: Annotated[Maybe[Currency], Field(description="Checked, if given.")] = None


class ResolveBody(Model):
    """How a dispute has ended."""

    outcome: Literal["won", "lost"]
    fee_minor: Annotated[
        Maybe[FeeMinor], Field(description="What losing it costs the user, on top.")
    ] = None


class DisputeAnswer(Answer):
    """Money that the payer's bank has taken back, for now (open) or for good (lost)."""

    id: UUID
    payment_id: UUID
    reference: str
    amount_minor: Integer
    amount_decimal: Decimal
    currency: Currency
    fee_minor: Integer
    reason: str
    status: Literal["open", "won", "lost"]
    evidence_due_at: datetime | None
    created_at: datetime
    updated_at: datetime


class DisputeMade(DisputeAnswer):
    """A dispute, and what its payment is now."""

    payment: PaymentAnswer


class DisputeList(Answer):
    """A page of disputes, newest first."""

    data: list[DisputeAnswer]
    next_cursor: NextCursor
