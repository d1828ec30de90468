"""Bodies, queries and answers of webhook endpoints (payments page, section 9)."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from blueprints.bodies.payments import EventType
from blueprints.fields import (
    Answer,
    Cursor,
    Integer,
    Limit,
    Maybe,
    Model,
    Text,
    Timestamp,
)

Url = Annotated[
    str,
    Field(
        min_length=1,
        max_length=2048,
        description="https, port 443 or 8443, an address of the open Internet.",
        examples=["https://shop.example.org/strongroom"],
    ),
]
EventTypes = Annotated[
    list[EventType],
    Field(max_length=50, description="What to send; [] is all, of later releases too."),
]
EventId = Annotated[
    str,
    Field(
        pattern="^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}-[1-9][0-9]{0,17}$",
        description="The event's id: `webhook-id` of the delivery.",
        examples=["0198c5a0-7d1f-7c3a-9d2e-5b6f7a8c9d0e-2"],
    ),
]
EndpointStatus = Literal["active", "disabled"]
DeliveryState = Literal["pending", "delivered", "failed"]


class EndpointBody(Model):
    """An endpoint to be made."""

    url: Url
    event_types: Annotated[EventTypes, Field(default_factory=list)]
    description: Maybe[Text] = None


class EndpointPatch(Model):
    """What to change; what is left out stays."""

    url: Maybe[Url] = None
    event_types: Maybe[EventTypes] = None
    description: Annotated[Text | None, Field(description="null removes it.")] = None
    status: Annotated[
        Maybe[EndpointStatus],
        Field(description="active: it goes on where it was, with all that it has missed."),
    ] = None


class RedeliverBody(Model):
    """What to send again: one of the two."""

    event_id: Maybe[EventId] = None
    failed_since: Annotated[
        Maybe[Timestamp], Field(description="All that was given up of deliveries made since then.")
    ] = None

    @model_validator(mode="after")
    def _is_one(self) -> RedeliverBody:
        if (self.event_id is None) == (self.failed_since is None):
            raise PydanticCustomError("one_of", "Give event_id or failed_since.")
        return self


class DeliveriesQuery(Model):
    """Which deliveries."""

    state: Maybe[DeliveryState] = None
    limit: Limit = 50
    cursor: Maybe[Cursor] = None


class EndpointAnswer(Answer):
    """Who is told of events."""

    id: UUID
    url: str
    description: str | None
    event_types: list[str]
    status: EndpointStatus
    disabled_reason: Annotated[
        Literal["by_request", "gone", "failing"] | None,
        Field(description="gone: it answered 410. failing: nothing was accepted for 5 days."),
    ]
    failing_since: Annotated[
        datetime | None, Field(description="Since when no attempt was accepted.")
    ]
    last_success_at: datetime | None
    previous_until: Annotated[
        datetime | None, Field(description="Until then the older secret signs too.")
    ]
    created_at: datetime
    updated_at: datetime


class SecretAnswer(EndpointAnswer):
    """An endpoint with its secret, which is shown this once."""

    secret: Annotated[str, Field(examples=["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"])]


class EndpointList(Answer):
    """All endpoints of the tenant, oldest first."""

    data: list[EndpointAnswer]


class CallAnswer(Answer):
    """How a test call went. `error` says why there was no answer."""

    delivered: bool
    status: int | None
    error: str | None
    duration_ms: int


class DeliveryAnswer(Answer):
    """A line of the delivery log."""

    event_id: str
    payment_id: UUID
    seq: Integer
    type: str
    state: DeliveryState
    attempts: int
    next_attempt_at: Annotated[
        datetime | None,
        Field(description="Null while pending: an earlier event of the payment comes first."),
    ]
    last_attempt_at: datetime | None
    last_status: int | None
    last_error: str | None
    created_at: datetime


class DeliveryList(Answer):
    """A page of the delivery log, newest first."""

    data: list[DeliveryAnswer]
    next_cursor: Annotated[
        str | None, Field(description="Null is the end; a page may be short before it.")
    ]


class RedeliverAnswer(Answer):
    """How many deliveries are queued again."""

    queued: int
    more: Annotated[bool, Field(description="Whether others are left: ask again.")]
