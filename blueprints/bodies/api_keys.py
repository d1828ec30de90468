"""Answers about API keys (auth page, section 10). None of them holds the key itself."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from pydantic import Field

from blueprints.fields import Answer


class KeyAnswer(Answer):
    """An API key as it may be shown."""

    id: str = Field(description="The 12 characters after the tenant in the key.")
    principal_id: UUID = Field(description="Who acts: the same before and after a rotation.")
    prefix: str = Field(examples=["srk_default_0aZ9bY8cX7dW"])
    name: str
    scopes: list[str]
    allowed_cidrs: list[str] | None = Field(description="null: from anywhere.")
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None
