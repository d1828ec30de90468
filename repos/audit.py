"""The audit log: events without another effect; the others are steps of their own statements."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from persistence.statements import statement

if TYPE_CHECKING:
    from uuid import UUID

    from persistence.db import Conn


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Where a request came from, as sessions and audit rows keep it. `user_agent`: 256 at most."""

    address: str | None
    user_agent: str | None
    request_id: str


RECORD = statement("audit/record")
DELETE_OLD = statement("audit/delete_old")
COUNT_OLD = statement("audit/count_old", int)


def record(
    conn: Conn,
    *,
    tenant_id: str,
    audit_id: UUID,
    subject: str,
    event: str,
    outcome: str,
    reason: str,
    address: str | None,
    request_id: str,
) -> int:
    """Append one event."""
    return RECORD.count(
        conn,
        tenant_id=tenant_id,
        audit_id=audit_id,
        subject=subject,
        event=event,
        outcome=outcome,
        reason=reason,
        address=address,
        request_id=request_id,
    )


def delete_old(conn: Conn, *, tenant_id: str | None, days: int, batch: int) -> int:
    """Delete at most `batch` rows older than `days`, as the owner; `tenant_id` None: of all."""
    return DELETE_OLD.count(conn, tenant_id=tenant_id, days=days, batch=batch)


def count_old(conn: Conn, *, tenant_id: str | None, days: int) -> int:
    """How many rows are older than `days`."""
    return COUNT_OLD.one(conn, tenant_id=tenant_id, days=days)
