"""Reading transactions: one, and pages of the log with filters (LQ1, LQ3)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

from errors import NotFound
from repos import postings
from services.ledger import utc_text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from persistence.db import Conn, Database
    from repos.postings import PositionRow, TransactionRow
    from services.actors import Actor
    from services.cursors import Cursors

FIRST_ID = UUID(int=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogFilters:
    """What a list shows, joined by AND; every default lets all pass.

    `reference` and `payment_id` are of applied transactions, `account` of those that moved its
    money. `prefix`, `currency` and amounts: that some leg has it.
    """

    reference: str | None = None
    payment_id: UUID | None = None
    account: str | None = None
    posted_gte: datetime | None = None
    posted_lt: datetime | None = None
    kind: str | None = None
    status: str | None = None
    hold_id: UUID | None = None
    reverses: UUID | None = None
    prefix: str | None = None
    currency: str | None = None
    effective_gte: datetime | None = None
    effective_lt: datetime | None = None
    amount_gte: int | None = None
    amount_lte: int | None = None
    actor: str | None = None
    metadata: Mapping[str, str] | None = None

    @property
    def references(self) -> tuple[str, str] | None:
        """The range of references asked for, its end not included; None: any."""
        if self.reference is not None:
            # No character of a reference sorts before a space.
            return self.reference, f"{self.reference} "
        if self.payment_id is not None:
            return f"payment:{self.payment_id}:", f"payment:{self.payment_id};"
        return None

    @property
    def wanted(self) -> str:
        """What else is looked for, as the database's `ledger_matches` takes it: JSON."""
        references = self.references or (None, None)
        times = {"effective_gte": self.effective_gte, "effective_lt": self.effective_lt}
        named = {
            "reference_from": references[0],
            "reference_to": references[1],
            "kind": self.kind,
            "status": self.status,
            "hold_id": self.hold_id and str(self.hold_id),
            "reverses": self.reverses and str(self.reverses),
            "prefix": self.prefix,
            "currency": self.currency,
            "amount_gte": self.amount_gte,
            "amount_lte": self.amount_lte,
            "actor": self.actor,
            "metadata": self.metadata and dict(self.metadata),
            **{name: utc_text(moment) for name, moment in times.items() if moment},
        }
        return json.dumps({name: value for name, value in named.items() if value is not None})


class PostingQueries:
    """What can be asked about transactions."""

    def __init__(self, db: Database, cursors: Cursors, scan_rows: int) -> None:
        """`scan_rows` bounds what one page of a list reads."""
        self._db = db
        self._cursors = cursors
        self._scan_rows = scan_rows

    def get(self, tenant_id: str, transaction_id: UUID) -> TransactionRow:
        """Return a transaction. Raises NotFound, for another tenant's too."""
        with self._db.read() as conn:
            row = postings.get(conn, tenant_id=tenant_id, transaction_id=transaction_id)
        if row is None:
            raise NotFound
        return row

    def page(
        self, actor: Actor, filters: LogFilters, limit: int, cursor: str | None = None
    ) -> tuple[list[TransactionRow], str | None]:
        """Return transactions, newest first, and the next page's cursor or None.

        A page looks at LIST_SCAN_ROWS transactions at most, so it may be short while there is a
        next one. Raises CursorInvalid.
        """
        bound = {"tenant": actor.tenant_id, "filters": repr(filters)}
        until = filters.posted_lt
        start = (utc_text(until) if until else "infinity", str(FIRST_ID))
        before = self._cursors.read("transactions", cursor, bound) if cursor else start
        with self._db.read() as conn:
            rows = self._positions(conn, actor.tenant_id, filters, limit + 1, before)
            ids = [row.id for row in rows[:limit] if row.is_shown]
            found = postings.list_by_ids(conn, tenant_id=actor.tenant_id, ids=ids) if ids else []
        last = rows[limit - 1] if len(rows) > limit else rows[-1] if rows else None
        next_cursor = None
        if last and (len(rows) > limit or last.is_edge):
            position = [utc_text(last.posted_at), str(last.id)]
            next_cursor = self._cursors.sign("transactions", position, bound)
        return found, next_cursor

    def _positions(
        self, conn: Conn, tenant_id: str, filters: LogFilters, row_limit: int, before: Any
    ) -> list[PositionRow]:
        since = filters.posted_gte
        asked: dict[str, Any] = {
            "tenant_id": tenant_id,
            "posted_gte": utc_text(since) if since else "-infinity",
            "wanted": filters.wanted,
            "before_at": before[0],
            "before_id": UUID(before[1]),
            "row_limit": row_limit,
        }
        references = filters.references
        if references is not None and filters.account is None:
            return postings.list_by_reference(
                conn, reference_from=references[0], reference_to=references[1], **asked
            )
        asked["scan_rows"] = self._scan_rows
        if filters.account is not None:
            return postings.list_by_account(
                conn, code=filters.account, currency=filters.currency, **asked
            )
        return postings.list_(conn, **asked)
