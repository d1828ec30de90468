"""Settings that change without a restart: read often, so kept for a minute, and set by commands."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

from uuid_utils.compat import uuid7

from errors import AppError, NotFound
from observability import cache_total, log
from repos import settings as rows
from repos import tenants
from services.rate_limits import NOTATION, POLICIES

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from persistence.db import Database
    from repos.settings import SettingRow

INSTALLATION = "-"
KEPT_S = 60.0  # OR1: so old at most is what any process believes.
TRIED_AGAIN_S = 5.0
TENANTS_MAX = 10_000
# What may be set, and how it looks. The limits of log-ins are not among them: they stay.
KNOWN = {f"rate_limit_{policy}": NOTATION for policy in POLICIES}


class SettingUnknown(AppError):
    """There is no such setting that changes without a restart."""

    code, status, title = "setting_unknown", 422, "Setting unknown"


class SettingInvalid(AppError):
    """This is no value of that setting: a limit is written as 600/minute."""

    code, status, title = "setting_invalid", 422, "Setting invalid"


class Settings:
    """What is set for a tenant, or else for the whole installation."""

    def __init__(
        self,
        db: Database,
        new_id: Callable[[], UUID] = uuid7,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`clock` counts seconds and never jumps."""
        self._db = db
        self._new_id = new_id
        self._clock = clock
        self._kept: dict[str, tuple[float, dict[str, str]]] = {}

    def value(self, tenant_id: str, name: str) -> str | None:
        """Return the tenant's value, else the installation's, else None; a minute old at most.

        While the database is away what was known goes on.
        """
        own = self._values(tenant_id).get(name) if tenant_id != INSTALLATION else None
        return own or self._values(INSTALLATION).get(name)

    def list_by_tenant(self, tenant_id: str) -> list[SettingRow]:
        """What is set for the tenant itself, or with `-` for the installation."""
        with self._db.read() as conn:
            return rows.list_by_tenant(conn, tenant_id=tenant_id)

    def set_value(self, tenant_id: str, name: str, value: str, subject: str) -> bool:
        """Set a value; False: it has it already. SettingUnknown, SettingInvalid, NotFound."""
        if name not in KNOWN:
            raise SettingUnknown(f"{name} is none of {', '.join(sorted(KNOWN))}.")
        if re.fullmatch(KNOWN[name], value) is None:
            raise SettingInvalid
        self._require_tenant(tenant_id)
        audit_id = self._new_id()
        with self._db.write() as conn:
            changed = rows.set_value(
                conn,
                tenant_id=tenant_id,
                name=name,
                value=value,
                audit_id=audit_id,
                subject=subject,
            )
        return bool(changed)

    def remove(self, tenant_id: str, name: str, subject: str) -> None:
        """Let what stands behind the value count again; SettingUnknown, NotFound."""
        if name not in KNOWN:
            raise SettingUnknown(f"{name} is none of {', '.join(sorted(KNOWN))}.")
        with self._db.write() as conn:
            if not rows.delete_value(
                conn, tenant_id=tenant_id, name=name, audit_id=self._new_id(), subject=subject
            ):
                raise NotFound(f"{name} is not set there.")

    def _require_tenant(self, tenant_id: str) -> None:
        if tenant_id == INSTALLATION:
            return
        with self._db.read() as conn:
            if tenants.get(conn, tenant_id=tenant_id) is None:
                raise NotFound("There is no such tenant.")

    def _values(self, tenant_id: str) -> dict[str, str]:
        now = self._clock()
        until, values = self._kept.get(tenant_id, (now, {}))
        cache_total.labels("settings", "hit" if until > now else "miss").inc()
        if until > now:
            return values
        if len(self._kept) >= TENANTS_MAX:
            self._kept.clear()
        # First, so that of many threads one asks, unless they meet at this very line.
        self._kept[tenant_id] = (now + TRIED_AGAIN_S, values)
        try:
            found = self.list_by_tenant(tenant_id)
        except AppError as error:
            log.warning("settings.not_read", code=error.code)
            return values
        values = {row.name: row.value for row in found if row.value is not None}
        self._kept[tenant_id] = (now + KEPT_S, values)
        return values
