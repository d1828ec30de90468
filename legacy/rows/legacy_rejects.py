"""Rows that were set aside, by legacy id and code; values are never kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from legacy.rows import SQL
from persistence.statements import statement

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    from persistence.db import Conn


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectRow:
    """A row that cannot be taken over. `waived_by`: who let it stay behind."""

    entity_id: str
    direction: str
    code: str
    columns: list[str]
    first_seen: datetime
    last_seen: datetime
    waived_by: str | None
    reason: str | None


PUT = statement("legacy_rejects/put", root=SQL)
RESOLVE = statement("legacy_rejects/resolve", root=SQL)
WAIVE = statement("legacy_rejects/waive", root=SQL)
LIST_OPEN = statement("legacy_rejects/list_open", RejectRow, root=SQL)


def put(
    conn: Conn,
    *,
    tenant_id: str,
    domain: str,
    entity_id: str,
    direction: str,
    code: str,
    columns: Sequence[str],
) -> int:
    """Set a row aside; `direction` is to_new or to_legacy."""
    return PUT.count(
        conn,
        tenant_id=tenant_id,
        domain=domain,
        entity_id=entity_id,
        direction=direction,
        code=code,
        columns=list(columns),
    )


def resolve(conn: Conn, *, tenant_id: str, domain: str, entity_ids: Sequence[str]) -> int:
    """Note that these were taken over after all."""
    return RESOLVE.count(conn, tenant_id=tenant_id, domain=domain, entity_ids=list(entity_ids))


def waive(
    conn: Conn,
    *,
    tenant_id: str,
    domain: str,
    entity_id: str,
    waived_by: str,
    reason: str,
    audit_id: UUID,
) -> int:
    """Let a row stay behind; 0: there is no such open reject."""
    return WAIVE.count(
        conn,
        tenant_id=tenant_id,
        domain=domain,
        entity_id=entity_id,
        waived_by=waived_by,
        reason=reason,
        audit_id=audit_id,
    )


def list_open(
    conn: Conn, *, tenant_id: str, domain: str, after_id: str, row_limit: int
) -> list[RejectRow]:
    """Return what was set aside and is not mended, by id."""
    return LIST_OPEN.all(
        conn, tenant_id=tenant_id, domain=domain, after_id=after_id, row_limit=row_limit
    )
