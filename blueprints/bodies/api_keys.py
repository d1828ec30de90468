"""Bodies and answers about API keys (auth page, sections 3 and 10)."""

from __future__ import annotations

from datetime import datetime
from ipaddress import ip_network
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from blueprints.fields import Answer, Cursor, Limit, Maybe, Model, Timestamp
from services.api_keys import OVERLAP_MAX_S, OVERLAP_S


def _printable(text: str) -> str:
    if not text.isprintable():
        raise PydanticCustomError("not_printable", "Printable characters only.")
    return text


def _network(text: str) -> str:
    """PostgreSQL knows no zones (fe80::1%eth0)."""
    wrong = PydanticCustomError("invalid_network", "A network such as 192.0.2.0/24.")
    if "%" in text:
        raise wrong
    try:
        return str(ip_network(text))
    except ValueError:
        raise wrong from None


KeyName = Annotated[
    str,
    Field(min_length=1, max_length=200, description="For people.", examples=["shop"]),
    AfterValidator(_printable),
]
ScopeName = Annotated[str, Field(max_length=64, examples=["payments:create"])]
Network = Annotated[str, Field(max_length=64, examples=["192.0.2.0/24"]), AfterValidator(_network)]


class KeyBody(Model):
    """What a key is made of. Its scopes never change."""

    name: KeyName
    scopes: Annotated[list[ScopeName], Field(max_length=64)]
    expires_at: Annotated[
        Maybe[Timestamp], Field(description="Left out: it lives until it is revoked.")
    ] = None
    allowed_cidrs: Annotated[
        Maybe[list[Network]],
        Field(min_length=1, max_length=100, description="Left out: from anywhere."),
    ] = None


class RotateBody(Model):
    """How long both keys work."""

    overlap_s: Annotated[
        int, Field(ge=0, le=OVERLAP_MAX_S, description="For so long the old key works too.")
    ] = OVERLAP_S


class KeysQuery(Model):
    """Which page."""

    limit: Limit = 50
    cursor: Maybe[Cursor] = None


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


class KeyMade(KeyAnswer):
    """A new key, and its text."""

    api_key: str = Field(description="Shown here and nowhere again: keep it now.")


class KeyList(Answer):
    """A page of keys, newest first, those that ended included."""

    data: list[KeyAnswer]
    next_cursor: str | None
