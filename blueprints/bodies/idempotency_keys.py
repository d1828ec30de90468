"""Queries, bodies and answers about idempotency keys (K8, K9)."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from blueprints.bodies.payments import PaymentAnswer
from blueprints.fields import Answer, Model

KEY_PATTERN = r"^[!#-+\--\[\]-~]{1,255}$"


class KeyQuery(Model):
    """Which key."""

    key: Annotated[str, Field(min_length=1, max_length=255)]


class KeyAnswer(Answer):
    """What became of a key of yours."""

    key: str
    state: Literal["completed", "cancelled", "in_progress", "unknown"]
    operation: str | None
    status: int | None
    resource_type: str | None
    resource_id: UUID | None
    created_at: datetime | None
    expires_at: datetime | None


class CancelByKeyBody(Model):
    """The key of a payment whose answer you never saw."""

    idempotency_key: Annotated[str, Field(pattern=KEY_PATTERN, examples=["order-4711"])]


class CancelByKeyAnswer(Answer):
    """What the key had made, and what became of that.

    `tombstoned`: nothing, and it never will; `cancelled` and `voided`: now; `ended`: before.
    """

    outcome: Literal["tombstoned", "cancelled", "voided", "ended"]
    payment: PaymentAnswer | None
