"""What is asked of a whole book: sums by code, the trial balance, closing, the event feed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from uuid_utils.compat import uuid7

from errors import ValidationFailed
from repos import ledger
from services.ledger import utc_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import date
    from uuid import UUID

    from errors import Fault
    from persistence.db import Database
    from repos.ledger import ClosingRow, SumRow, TransactionEventRow
    from services.actors import Actor
    from services.currencies import Currencies
    from services.cursors import Cursors

# The segments of the longest code: nothing is cut.
DEPTH_MAX = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class SumsAsk:
    """Which accounts: all below `prefix` (LA3), of one currency or all; codes cut at `depth`."""

    prefix: str | None = None
    depth: int = DEPTH_MAX
    currency: str | None = None
    as_of: datetime | None = None


class LedgerReports:
    """What can be asked about all accounts of a tenant."""

    def __init__(
        self,
        db: Database,
        cursors: Cursors,
        currencies: Currencies,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        new_id: Callable[[], UUID] = uuid7,
    ) -> None:
        """`clock` tells which days are over."""
        self._db = db
        self._cursors = cursors
        self._currencies = currencies
        self._clock = clock
        self._new_id = new_id

    def sums(self, actor: Actor, ask: SumsAsk, limit: int, cursor: str | None) -> dict[str, Any]:
        """Return a page of balances by code, each in the debit or the credit column.

        `totals` is of all that was asked for: in a whole book both columns are equal, per currency.
        All of a page is of one moment; with `as_of`, all pages are. Raises CursorInvalid.
        """
        bound = {"tenant": actor.tenant_id, "ask": repr(ask)}
        after = self._cursors.read("balances", cursor, bound) if cursor else ["", ""]
        prefix = ask.prefix or ""
        with self._db.read() as conn:
            rows = ledger.list_balances(
                conn,
                tenant_id=actor.tenant_id,
                code_from=prefix,
                # No character of a code sorts after "~", or between ":" and ";".
                code_to=f"{prefix[:-1]};" if prefix else "~",
                currency=ask.currency,
                depth=ask.depth,
                as_of=utc_text(ask.as_of) if ask.as_of else "infinity",
                after_code=after[0],
                after_currency=after[1],
                row_limit=limit + 1,
            )
        shown = [row for row in rows if row.code is not None]
        last = shown[limit - 1] if len(shown) > limit else None
        position = [last.code, last.currency] if last else []
        return {
            "as_of": ask.as_of,
            "final": rows[0].final,
            "data": [self._sum(row) for row in shown[:limit]],
            "totals": [
                self._currencies.with_decimals(dict(total), total["currency"])
                for total in rows[0].totals
            ],
            "next_cursor": self._cursors.sign("balances", position, bound) if last else None,
        }

    def _sum(self, row: SumRow) -> dict[str, Any]:
        net = row.net_minor or 0
        columns = {
            "code": row.code,
            "currency": row.currency,
            "accounts": row.accounts,
            "debit_minor": max(-net, 0),
            "credit_minor": max(net, 0),
        }
        return self._currencies.with_decimals(columns, row.currency or "")

    # --- Closing --------------------------------------------------------------------------------

    def closing(self, tenant_id: str) -> dict[str, Any]:
        """Return through which day the book is closed; None: never."""
        with self._db.read() as conn:
            row = ledger.get_closing(conn, tenant_id=tenant_id)
        return _closing(row)

    def close(self, actor: Actor, closed_through: date | None, *, reopen: bool) -> dict[str, Any]:
        """Close the book through a day that is over, in UTC; audited.

        It moves back, or to None, only with `reopen`. Raises ValidationFailed.
        """
        if closed_through is not None and closed_through >= self._clock().astimezone(UTC).date():
            raise ValidationFailed(errors=(_fault("/closed_through", "This day is not over yet."),))
        with self._db.write() as conn:
            row = ledger.set_closing(
                conn,
                tenant_id=actor.tenant_id,
                closed_through=closed_through.isoformat() if closed_through else None,
                reopen=reopen,
                audit_id=self._new_id(),
                subject=actor.subject,
            )
        if row is None:
            detail = "The book is closed further: to open days again, say so."
            raise ValidationFailed(errors=(_fault("/reopen", detail),))
        return _closing(row)

    # --- Events ---------------------------------------------------------------------------------

    def events(
        self, actor: Actor, after: str | None, limit: int
    ) -> tuple[list[TransactionEventRow], str | None, bool]:
        """Return transactions after a position, the next position, and whether that is all now.

        Up to the watermark, in an order that never changes: who goes on after the last position
        misses nothing and reads nothing twice. Raises CursorInvalid.
        """
        bound = {"tenant": actor.tenant_id}
        (idx,) = self._cursors.read("ledger-events", after, bound) if after else (-1,)
        with self._db.read() as conn:
            rows = ledger.list_events(
                conn, tenant_id=actor.tenant_id, after_idx=idx, row_limit=limit + 1
            )
        shown = rows[:limit]
        if shown:
            after = self._cursors.sign("ledger-events", [shown[-1].idx], bound)
        return shown, after, len(rows) <= limit


def _closing(row: ClosingRow | None) -> dict[str, Any]:
    names = ("closed_through", "updated_at", "updated_by")
    return {name: getattr(row, name, None) for name in names}


def _fault(pointer: str, detail: str) -> Fault:
    return {"pointer": pointer, "code": "not_allowed", "detail": detail}
