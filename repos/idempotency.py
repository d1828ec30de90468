"""Idempotency keys: what is stored under one. They are written by the statements they guard."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from persistence.statements import statement

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from persistence.db import Conn


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRow:
    """A key that has not expired. `kind`: completed (status and answer are set) or cancelled."""

    kind: str
    operation: str
    fingerprint: bytes
    fingerprint_version: int
    status: int | None
    answer: dict[str, Any] | None
    resource_type: str | None
    resource_id: UUID | None
    created_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class DoneRow:
    """What a keyed statement has committed: its answer, and until when it may be repeated."""

    answer: dict[str, Any]
    expires_at: datetime


CANCEL = statement("idempotency/cancel")
GET = statement("idempotency/get", KeyRow)


def cancel(conn: Conn, **claim: Any) -> int:
    """Leave a tombstone where no key is; 0: there is one. The parameters are those of a claim."""
    return CANCEL.count(conn, **claim)


def get(conn: Conn, *, tenant_id: str, scope: str, key: str) -> KeyRow | None:
    """Read a key; None: never used, or expired."""
    return GET.one_or_none(conn, tenant_id=tenant_id, scope=scope, key=key)
