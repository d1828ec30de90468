"""Bodies and answers of refunds (payments page, section 6)."""

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
)

RefundReason = Literal["duplicate", "fraudulent", "requested_by_customer", "other"]


class RefundBody(Model):
    """How much to give back, and why."""

    amount_minor: Annotated[
        Maybe[AmountMinor], Field(description="Left out: all that is left.")
    ] = None
    fee_minor: Annotated[
        Maybe[FeeMinor], Field(description="The part of the fee that is given back with it.")
    ] = None
    reason: Maybe[RefundReason] = None
    reference: Maybe[Reference] = None
    allow_negative: Annotated[
        Maybe[bool],
        Field(description="The user may owe what was spent already; needs `ledger:post`."),
    ] = None
    currency: Annotated[Maybe[Currency], Field(description="Checked, if given.")] = None


class RefundAnswer(Answer):
    """Money that was given back."""

    id: UUID
    payment_id: UUID
    reference: str | None
    amount_minor: Integer
    amount_decimal: Decimal
    currency: Currency
    fee_minor: Integer
    reason: RefundReason | None
    status: Literal["succeeded"]
    created_at: datetime


class RefundMade(RefundAnswer):
    """A refund, and what its payment is now."""

    payment: PaymentAnswer


class RefundList(Answer):
    """A page of refunds, newest first."""

    data: list[RefundAnswer]
    next_cursor: NextCursor
