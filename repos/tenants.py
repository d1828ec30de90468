"""Tenants: whose users, keys and money these are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from persistence.statements import statement

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from persistence.db import Conn


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantRow:
    """A tenant; `status` is active or suspended."""

    tenant_id: str
    name: str
    status: str
    registration_open: bool
    created_at: datetime


CREATE = statement("tenants/create", TenantRow)
GET = statement("tenants/get", TenantRow)
LIST_ALL = statement("tenants/list_all", TenantRow)
SET_STATUS = statement("tenants/set_status", TenantRow)


def create(
    conn: Conn, *, tenant_id: str, name: str, audit_id: UUID, subject: str
) -> TenantRow | None:
    """Make a tenant and its audit row; None: the id is taken."""
    return CREATE.one_or_none(
        conn, tenant_id=tenant_id, name=name, audit_id=audit_id, subject=subject
    )


def get(conn: Conn, *, tenant_id: str) -> TenantRow | None:
    """One tenant, or None."""
    return GET.one_or_none(conn, tenant_id=tenant_id)


def list_all(conn: Conn) -> list[TenantRow]:
    """Every tenant, by id."""
    return LIST_ALL.all(conn)


def set_status(
    conn: Conn, *, tenant_id: str, status: str, audit_id: UUID, subject: str
) -> TenantRow | None:
    """Suspend or resume, audited if it changed anything; None: there is no such tenant."""
    return SET_STATUS.one_or_none(
        conn, tenant_id=tenant_id, status=status, audit_id=audit_id, subject=subject
    )
