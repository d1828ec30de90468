"""Settings that change without a restart; the tenant `-` is the whole installation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from persistence.statements import statement

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from persistence.db import Conn


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingRow:
    """One value, as text, and who set it when; `version` counts its changes."""

    tenant_id: str
    name: str
    value: str | None
    version: int
    updated_by: str
    updated_at: datetime


LIST_BY_TENANT = statement("settings/list_by_tenant", SettingRow)
SET_VALUE = statement("settings/set_value")
DELETE_VALUE = statement("settings/delete_value")


def list_by_tenant(conn: Conn, *, tenant_id: str) -> list[SettingRow]:
    """What is set for this tenant itself, by name."""
    return LIST_BY_TENANT.all(conn, tenant_id=tenant_id)


def set_value(
    conn: Conn, *, tenant_id: str, name: str, value: str, audit_id: UUID, subject: str
) -> int:
    """Set a value; 0: it has it already."""
    return SET_VALUE.count(
        conn, tenant_id=tenant_id, name=name, value=value, audit_id=audit_id, subject=subject
    )


def delete_value(conn: Conn, *, tenant_id: str, name: str, audit_id: UUID, subject: str) -> int:
    """Take a value away; 0: there is none."""
    return DELETE_VALUE.count(
        conn, tenant_id=tenant_id, name=name, audit_id=audit_id, subject=subject
    )
