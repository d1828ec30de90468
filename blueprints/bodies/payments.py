"""Bodies, queries and answers of payments (payments page, section 6)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from blueprints.fields import (
    MOST_AMOUNT_MINOR,
    AmountMinor,
    Answer,
    Currency,
    Cursor,
    FeeMinor,
    Id,
    Integer,
    Limit,
    Maybe,
    Metadata,
    MetadataPatch,
    Model,
    Reference,
    Text,
    Timestamp,
)
from services.payment_queries import Filters
from services.payment_states import allowed_actions, capturable_minor, refundable_minor

CaptureMethod = Literal["manual", "manual_multiple", "automatic"]
PaymentStatus = Literal[
    "created",
    "authorized",
    "partially_captured",
    "captured",
    "voided",
    "expired",
    "cancelled",
    "failed",
    "partially_refunded",
    "refunded",
    "disputed",
    "partially_charged_back",
    "charged_back",
]
EventType = Literal[
    "payment.created",
    "payment.authorized",
    "payment.captured",
    "payment.voided",
    "payment.expired",
    "payment.cancelled",
    "payment.failed",
    "payment.refunded",
    "payment.dispute_opened",
    "payment.dispute_won",
    "payment.dispute_lost",
    "payment.dispute_reversed",
    "payment.authorization_expiring",
    "payment.updated",
]
Decimal = Annotated[
    str | None, Field(description="For people; compute with amount_minor.", examples=["10.99"])
]
NextCursor = Annotated[
    str | None, Field(description="Null is the end; a page may be short before it.")
]
A_YEAR = timedelta(days=366)


def _within_a_year(moment: datetime) -> datetime:
    if moment > datetime.now(UTC) + A_YEAR:
        raise PydanticCustomError("out_of_range", "At most a year ahead.")
    return moment


class CreateBody(Model):
    """A payment to be made."""

    amount_minor: AmountMinor
    currency: Currency
    user_id: Annotated[Maybe[Id], Field(description="Who pays; an API key must name it.")] = None
    reference: Maybe[Reference] = None
    capture_method: CaptureMethod = "manual"
    description: Maybe[Text] = None
    metadata: Maybe[Metadata] = None


class AuthorizeBody(Model):
    """What the payer's bank has promised."""

    amount_minor: Annotated[Maybe[AmountMinor], Field(description="Left out: all of it.")] = None
    capture_before: Annotated[
        Maybe[Annotated[Timestamp, AfterValidator(_within_a_year)]],
        Field(description="When the promise ends; at most a year ahead."),
    ] = None
    gateway_reference: Maybe[Text] = None
    currency: Annotated[Maybe[Currency], Field(description="Checked, if given.")] = None


class CaptureBody(Model):
    """How much of it to take."""

    amount_minor: Annotated[
        Maybe[AmountMinor], Field(description="Left out: all that is left.")
    ] = None
    fee_minor: Maybe[FeeMinor] = None
    final: Annotated[
        Maybe[bool], Field(description="Whether this is the last capture of a manual_multiple.")
    ] = None
    reference: Maybe[Reference] = None
    currency: Annotated[Maybe[Currency], Field(description="Checked, if given.")] = None


class FailBody(Model):
    """Why the payment failed."""

    failure_code: Annotated[
        str, Field(pattern="^[a-z][a-z0-9_]{0,63}$", examples=["card_declined"])
    ]
    failure_message: Maybe[Text] = None


class UpdateBody(Model):
    """A merge patch (RFC 7396): what is left out stays, null takes away."""

    description: Text | None = None
    metadata: Annotated[
        MetadataPatch | None,
        Field(description="Names to set; a null takes one away, null itself takes all away."),
    ] = None


class FilterQuery(Model):
    """Filters of a list, joined by AND."""

    status: Annotated[
        list[PaymentStatus], Field(default_factory=list, description="May be repeated.")
    ]
    currency: Maybe[Currency] = None
    user_id: Maybe[Id] = None
    reference: Maybe[Reference] = None
    created_gte: Maybe[Timestamp] = None
    created_lt: Maybe[Timestamp] = None
    amount_gte: Annotated[int, Field(ge=0, le=MOST_AMOUNT_MINOR)] = 0
    amount_lte: Annotated[int, Field(ge=0, le=MOST_AMOUNT_MINOR)] = MOST_AMOUNT_MINOR
    metadata: Annotated[Maybe[Metadata], Field(description="`metadata.<name>=<value>`.")] = None

    def filters(self) -> Filters:
        """Return what the service takes."""
        return Filters(
            statuses=tuple(self.status),
            currency=self.currency,
            user_id=self.user_id,
            reference=self.reference,
            created_gte=self.created_gte,
            created_lt=self.created_lt,
            amount_gte=self.amount_gte,
            amount_lte=self.amount_lte,
            metadata=self.metadata,
        )


class ListQuery(FilterQuery):
    """Which page of a list."""

    limit: Limit = 50
    cursor: Maybe[Cursor] = None


class ExportQuery(FilterQuery):
    """What to export, and how it is written."""

    format: Annotated[
        Literal["ndjson", "csv"], Field(description="A JSON object or a record of CSV a line.")
    ] = "ndjson"


class PartsQuery(Model):
    """Which of the captures, refunds or disputes of a payment."""

    limit: Limit = 50
    cursor: Maybe[Cursor] = None


class EventsQuery(Model):
    """Which events of a payment."""

    after: Annotated[int, Field(ge=0, le=2**53 - 1, description="The last seq you have.")] = 0
    limit: Limit = 50


EndReason = Literal["cancelled", "failed", "expired", "voided"]


class Amounts(Answer):
    """The eight amounts of a payment, in minor units."""

    authorized_minor: Integer
    captured_minor: Integer
    voided_minor: Integer
    refunded_minor: Integer
    disputed_minor: Integer
    charged_back_minor: Integer
    fee_minor: Integer
    fee_refunded_minor: Integer


class Promise(Answer):
    """What was promised, and where it stands."""

    id: UUID
    user_id: UUID
    legacy_id: str | None
    reference: str | None
    amount_minor: Integer
    amount_decimal: Decimal
    currency: Currency
    status: PaymentStatus
    end_reason: EndReason | None
    capture_method: CaptureMethod
    capture_before: datetime | None


class PaymentAnswer(Amounts, Promise):
    """A payment: what was promised, taken and given back."""

    capturable_minor: Integer
    refundable_minor: Integer
    allowed_actions: Annotated[
        list[str], Field(description="Commands whose guards hold now; [] is the end.")
    ]
    gateway: str
    gateway_reference: str | None
    description: str | None
    metadata: dict[str, str]
    failure_code: str | None
    failure_message: str | None
    version: Integer
    created_at: datetime
    updated_at: datetime

    @model_validator(mode="before")
    @classmethod
    def _derive(cls, data: dict[str, Any]) -> dict[str, Any]:
        """Add what is computed from the amounts, never stored."""
        return {
            **data,
            "capturable_minor": capturable_minor(data),
            "refundable_minor": refundable_minor(data),
            "allowed_actions": allowed_actions(data),
        }


class PaymentList(Answer):
    """A page of payments, newest first."""

    data: list[PaymentAnswer]
    next_cursor: NextCursor


class CaptureAnswer(Answer):
    """Money that was taken."""

    id: UUID
    payment_id: UUID
    reference: str | None
    amount_minor: Integer
    amount_decimal: Decimal
    currency: Currency
    fee_minor: Integer
    final: Annotated[bool, Field(description="Nothing was left to capture after it.")]
    created_at: datetime


class CaptureList(Answer):
    """A page of captures, newest first."""

    data: list[CaptureAnswer]
    next_cursor: NextCursor


class After(Amounts):
    """A payment's state after an event."""

    status: PaymentStatus
    end_reason: EndReason | None
    capture_before: datetime | None


class EventAnswer(Answer):
    """Something that happened to a payment."""

    id: str
    payment_id: UUID
    seq: Integer
    type: EventType
    amount_minor: Integer | None
    status_from: PaymentStatus | None
    status_to: PaymentStatus
    after: After
    object_id: UUID | None
    actor: str
    request_id: str
    created_at: datetime


class EventList(Answer):
    """Events of a payment by seq; `next_after` is null at the end."""

    data: list[EventAnswer]
    next_after: Integer | None
