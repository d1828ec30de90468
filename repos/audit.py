"""The audit log: events without another effect; the others are steps of their own statements."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from persistence.statements import statement

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from persistence.db import Conn


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Where a request came from, as sessions and audit rows keep it. `user_agent`: 256 at most."""

    address: str | None
    user_agent: str | None
    request_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRow:
    """One event. `subject` did it, None: nobody proved who; `user_id` is whom it is about.

    `is_edge`: where a page stopped looking; `is_shown`: it is what was asked for.
    """

    id: UUID
    at: datetime
    subject: str | None
    user_id: UUID | None
    session_id: UUID | None
    event: str
    outcome: str
    reason: str | None
    ip: str | None
    user_agent: str | None
    request_id: str | None
    details: dict[str, Any]
    is_edge: bool
    is_shown: bool


LIST = statement("audit/list", AuditRow)
LIST_BY_USER = statement("audit/list_by_user", AuditRow)
LIST_ADDRESSES = statement("audit/list_addresses", str)
RECORD = statement("audit/record")
DELETE_OLD = statement("audit/delete_old")
COUNT_OLD = statement("audit/count_old", int)


def list_(
    conn: Conn,
    *,
    tenant_id: str,
    event: str | None,
    from_at: str,
    before_at: str,
    before_id: UUID,
    scan_rows: int,
    row_limit: int,
) -> list[AuditRow]:
    """Events of a tenant, newest first; of `scan_rows` rows at most."""
    return LIST.all(
        conn,
        tenant_id=tenant_id,
        event=event,
        from_at=from_at,
        before_at=before_at,
        before_id=before_id,
        scan_rows=scan_rows,
        row_limit=row_limit,
    )


def list_by_user(conn: Conn, *, user_id: UUID, **asked: Any) -> list[AuditRow]:
    """Events about one user, newest first; else as `list_`."""
    return LIST_BY_USER.all(conn, user_id=user_id, **asked)


def list_addresses(conn: Conn, *, tenant_id: str, user_id: UUID) -> list[str]:
    """From where a user's password was tried in vain within a quarter of an hour."""
    return LIST_ADDRESSES.all(conn, tenant_id=tenant_id, user_id=user_id)


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
