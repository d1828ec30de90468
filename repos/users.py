"""Users: people of a tenant."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from persistence.statements import statement

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from persistence.db import Conn


@dataclass(frozen=True, slots=True, kw_only=True)
class UserRow:
    """A user; `email` is None once erased, `status` is active, disabled or deleted."""

    tenant_id: str
    id: UUID
    email: str | None
    status: str
    created_at: datetime


CREATE = statement("users/create", UserRow)
LIST_PAGE = statement("users/list_page", UserRow)


def create(
    conn: Conn,
    *,
    tenant_id: str,
    user_id: UUID,
    email: str,
    email_norm: str,
    audit_id: UUID,
    subject: str,
) -> UserRow | None:
    """Make a user and its audit row; None: no such tenant, or the address is taken."""
    return CREATE.one_or_none(
        conn,
        tenant_id=tenant_id,
        user_id=user_id,
        email=email,
        email_norm=email_norm,
        audit_id=audit_id,
        subject=subject,
    )


def list_page(conn: Conn, *, tenant_id: str, after_id: UUID, row_limit: int) -> list[UserRow]:
    """Up to `row_limit` users made after the user `after_id`, oldest first."""
    return LIST_PAGE.all(conn, tenant_id=tenant_id, after_id=after_id, row_limit=row_limit)
