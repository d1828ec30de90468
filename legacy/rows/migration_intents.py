"""Intents: writes to the legacy store, noted before they are sent (2.3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from legacy.rows import SQL
from persistence.statements import statement

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from persistence.db import Conn


@dataclass(frozen=True, slots=True, kw_only=True)
class IntentRow:
    """A write on its way. `expected_version` 0: the row must not be there yet."""

    intent_id: UUID
    domain: str
    entity_id: str
    op: str
    expected_version: int
    row_after: dict[str, Any]
    answer: dict[str, Any] | None
    key_row: dict[str, Any] | None
    idem_scope: str | None
    idem_key: str | None
    status: str
    lease_token: UUID
    not_after: datetime


BEGIN = statement("migration_intents/begin", IntentRow, root=SQL)
SETTLE = statement("migration_intents/settle", root=SQL)
TAKE_OVER = statement("migration_intents/take_over", IntentRow, root=SQL)
GET_BY_KEY = statement("migration_intents/get_by_key", IntentRow, root=SQL)
KEEP_ANSWER = statement("migration_intents/keep_answer", root=SQL)


def begin(conn: Conn, **intent: Any) -> IntentRow | None:
    """Note a write; None: another one of this row or key is on its way."""
    return BEGIN.one_or_none(conn, **intent)


def settle(
    conn: Conn,
    *,
    tenant_id: str,
    intent_id: UUID,
    lease_token: UUID,
    status: str,
    refused_code: str | None,
) -> int:
    """Note what became of a write; 0: somebody else has taken it over."""
    return SETTLE.count(
        conn,
        tenant_id=tenant_id,
        intent_id=intent_id,
        lease_token=lease_token,
        status=status,
        refused_code=refused_code,
    )


def take_over(conn: Conn, **lease: Any) -> IntentRow | None:
    """Take over a write that was not settled in time; None: there is none."""
    return TAKE_OVER.one_or_none(conn, **lease)


def get_by_key(conn: Conn, *, tenant_id: str, idem_scope: str, idem_key: str) -> IntentRow | None:
    """Return the write under a key, unless it was refused; None: there is none."""
    return GET_BY_KEY.one_or_none(
        conn, tenant_id=tenant_id, idem_scope=idem_scope, idem_key=idem_key
    )


def keep_answer(conn: Conn, *, tenant_id: str, key_row: dict[str, Any]) -> int:
    """Keep the answer of a settled write under its key."""
    return KEEP_ANSWER.count(conn, tenant_id=tenant_id, key_row=key_row)
