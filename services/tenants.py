"""Tenants: made, suspended and resumed by commands only (A1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from uuid_utils.compat import uuid7

from errors import AppError, NotFound
from repos import tenants

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from persistence.db import Database
    from repos.tenants import TenantRow


class TenantTaken(AppError):
    """There is a tenant with this id already."""

    code, status, title = "tenant_taken", 409, "Tenant taken"


class Tenants:
    """Use cases of tenants. `subject` is who does it, for the audit log."""

    def __init__(self, db: Database, new_id: Callable[[], UUID] = uuid7) -> None:
        self._db = db
        self._new_id = new_id

    def create(self, tenant_id: str, name: str, subject: str) -> TenantRow:
        """Make an active tenant; TenantTaken if the id is in use."""
        with self._db.write() as conn:
            row = tenants.create(
                conn, tenant_id=tenant_id, name=name, audit_id=self._new_id(), subject=subject
            )
        if row is None:
            raise TenantTaken
        return row

    def list_all(self) -> list[TenantRow]:
        """Every tenant, by id."""
        with self._db.read() as conn:
            return tenants.list_all(conn)

    def suspend(self, tenant_id: str, subject: str) -> TenantRow:
        """Refuse the tenant's credentials from the next request on; NotFound."""
        return self._set_status(tenant_id, "suspended", subject)

    def resume(self, tenant_id: str, subject: str) -> TenantRow:
        """Let the tenant's credentials in again; NotFound."""
        return self._set_status(tenant_id, "active", subject)

    def _set_status(self, tenant_id: str, status: str, subject: str) -> TenantRow:
        with self._db.write() as conn:
            row = tenants.set_status(
                conn, tenant_id=tenant_id, status=status, audit_id=self._new_id(), subject=subject
            )
        if row is None:
            raise NotFound("There is no such tenant.")
        return row
