"""Reading holds, and ending overdue ones; postings place and resolve them (LH1 to LH5)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

from errors import NotFound
from repos import holds
from services.jobs import tenants_of
from services.ledger import utc_text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from persistence.db import Database
    from repos.holds import HoldRow, OpenHoldRow
    from services.actors import Actor
    from services.cursors import Cursors
    from services.jobs import Run
    from services.ledger_writes import LedgerWrites

FIRST_ID = str(UUID(int=0))
# Of one posting: it locks them and their accounts.
EXPIRED_AT_ONCE = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldFilters:
    """Which open holds; every default lets all pass."""

    account: str | None = None
    currency: str | None = None
    expires_before: datetime | None = None


class Holds:
    """What can be asked about holds."""

    def __init__(self, db: Database, cursors: Cursors, scan_rows: int) -> None:
        """`scan_rows` bounds what one page of a list reads."""
        self._db = db
        self._cursors = cursors
        self._scan_rows = scan_rows

    def get(self, tenant_id: str, hold_id: UUID) -> HoldRow:
        """Return a hold, open or resolved. Raises NotFound, for another tenant's too."""
        with self._db.read() as conn:
            row = holds.get(conn, tenant_id=tenant_id, hold_id=hold_id)
        if row is None:
            raise NotFound
        return row

    def page(
        self, actor: Actor, filters: HoldFilters, limit: int, cursor: str | None = None
    ) -> tuple[list[OpenHoldRow], str | None]:
        """Return open holds, the first to expire first, and the next page's cursor or None.

        Raises CursorInvalid.
        """
        bound = {"tenant": actor.tenant_id, "filters": repr(filters)}
        start = ("-infinity", FIRST_ID)
        after = self._cursors.read("holds", cursor, bound) if cursor else start
        rows = self._rows(actor.tenant_id, filters, limit + 1, after)
        last = rows[limit - 1] if len(rows) > limit else rows[-1] if rows else None
        next_cursor = None
        if last and (len(rows) > limit or last.is_edge):
            position = [utc_text(last.expires_at), str(last.id)]
            next_cursor = self._cursors.sign("holds", position, bound)
        return [row for row in rows[:limit] if row.is_shown], next_cursor

    def _rows(
        self, tenant_id: str, filters: HoldFilters, row_limit: int, after: Any
    ) -> list[OpenHoldRow]:
        until = filters.expires_before
        asked: dict[str, Any] = {
            "tenant_id": tenant_id,
            "currency": filters.currency,
            "expires_before": utc_text(until) if until else "infinity",
            "after_at": after[0],
            "after_id": UUID(after[1]),
            "row_limit": row_limit,
        }
        with self._db.read() as conn:
            if filters.account is not None:
                return holds.list_by_account(conn, code=filters.account, **asked)
            return holds.list_(conn, scan_rows=self._scan_rows, **asked)


def expire_holds(db: Database, writes: LedgerWrites, run: Run) -> Iterator[int]:
    """End holds that are overdue, tenant by tenant, oldest first: their money is free again."""
    for tenant_id in tenants_of(db, run):
        found = batch = 1
        while found == batch:
            batch = min(run.batch, EXPIRED_AT_ONCE)
            with db.read() as conn:
                overdue = holds.list_overdue(conn, tenant_id=tenant_id, row_limit=batch)
            found = len(overdue)
            if run.ask.dry_run or not overdue:
                yield found
                break
            yield writes.expire(tenant_id, [str(row.hold_id) for row in overdue])
