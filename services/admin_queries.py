"""What operators look at, page by page: users, API keys, the audit log of their tenant."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

from repos import api_keys, audit
from services.users import FIRST_PAGE, Users

if TYPE_CHECKING:
    from datetime import datetime

    from persistence.db import Database
    from repos.api_keys import KeyRow
    from repos.audit import AuditRow
    from repos.users import UserRow
    from services.cursors import Cursors

FIRST_ID = UUID(int=0)
NEWEST_KEY = ("infinity", "")


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditFilters:
    """Which events; every default lets all pass. `to_at` is not included."""

    user_id: UUID | None = None
    event: str | None = None
    from_at: datetime | None = None
    to_at: datetime | None = None


class AdminQueries:
    """Lists for operators. Every page comes with the next one's cursor, None: the end.

    All of them raise CursorInvalid.
    """

    def __init__(self, db: Database, cursors: Cursors, scan_rows: int) -> None:
        """`scan_rows` bounds what one page of the audit log reads."""
        self._db = db
        self._cursors = cursors
        self._scan_rows = scan_rows

    def keys(
        self, tenant_id: str, limit: int, cursor: str | None = None
    ) -> tuple[list[KeyRow], str | None]:
        """API keys, newest first, those that ended included."""
        bound = {"tenant": tenant_id}
        at, key_id = self._cursors.read("api_keys", cursor, bound) if cursor else NEWEST_KEY
        with self._db.read() as conn:
            rows = api_keys.list_page(
                conn, tenant_id=tenant_id, before_at=at, before_id=key_id, row_limit=limit + 1
            )
        shown = rows[:limit]
        if len(rows) == len(shown):
            return shown, None
        position = [shown[-1].created_at, shown[-1].id]
        return shown, self._cursors.sign("api_keys", position, bound)

    def users(
        self,
        tenant_id: str,
        limit: int,
        cursor: str | None = None,
        *,
        email: str | None = None,
        status: str | None = None,
    ) -> tuple[list[UserRow], str | None]:
        """Users, oldest first. ValidationFailed: no address."""
        bound = {"tenant": tenant_id, "email": email, "status": status}
        after = self._cursors.read("users", cursor, bound)[0] if cursor else str(FIRST_PAGE)
        rows = Users(self._db).list_page(
            tenant_id, after_id=UUID(after), email=email, status=status, limit=limit + 1
        )
        shown = rows[:limit]
        if len(rows) == len(shown):
            return shown, None
        return shown, self._cursors.sign("users", [shown[-1].id], bound)

    def audit(
        self, tenant_id: str, filters: AuditFilters, limit: int, cursor: str | None = None
    ) -> tuple[list[AuditRow], str | None]:
        """Events, newest first. A page may be short while there is a next one."""
        bound = {"tenant": tenant_id, "filters": repr(filters)}
        start = (filters.to_at.isoformat() if filters.to_at else "infinity", str(FIRST_ID))
        before = self._cursors.read("audit", cursor, bound) if cursor else start
        rows = self._events(tenant_id, filters, limit + 1, before[0], UUID(before[1]))
        shown = [row for row in rows if row.is_shown]
        more = len(shown) > limit
        last = shown[limit - 1] if more else rows[-1] if rows and rows[-1].is_edge else None
        if last is None:
            return shown, None
        return shown[:limit], self._cursors.sign("audit", [last.at, last.id], bound)

    def _events(
        self, tenant_id: str, filters: AuditFilters, limit: int, before_at: str, before_id: UUID
    ) -> list[AuditRow]:
        asked: dict[str, Any] = {
            "tenant_id": tenant_id,
            "event": filters.event,
            "from_at": filters.from_at.isoformat() if filters.from_at else "-infinity",
            "before_at": before_at,
            "before_id": before_id,
            "scan_rows": self._scan_rows,
            "row_limit": limit,
        }
        with self._db.read() as conn:
            if filters.user_id is None:
                return audit.list_(conn, **asked)
            return audit.list_by_user(conn, user_id=filters.user_id, **asked)
