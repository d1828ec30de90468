"""The audit log: events without another effect; the others are steps of their own statements."""

from __future__ import annotations

from typing import TYPE_CHECKING

from persistence.statements import statement

if TYPE_CHECKING:
    from uuid import UUID

    from persistence.db import Conn

RECORD = statement("audit/record")


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
