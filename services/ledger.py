"""Reading the ledger: an account's balance, now or then, and its statement (LQ1, LQ2, LT2, LS4).

Reads see what is committed. What a caller may not see is not there: the reach is in the SQL.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC
from typing import TYPE_CHECKING, Any

from errors import CurrencyAmbiguous, NotFound
from repos import ledger

if TYPE_CHECKING:
    from datetime import datetime

    from persistence.db import Database
    from repos.ledger import EntryRow
    from services.actors import Actor
    from services.currencies import Currencies
    from services.cursors import Cursors

SIDES = {"credit": 1, "debit": -1}
SIDE_NAMES = {number: name for name, number in SIDES.items()}
# More than any stripe there is: where a statement begins, no stripe has been passed.
NO_STRIPE = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryFilters:
    """What of a statement is asked for: times are of posting, `lt` is not included."""

    currency: str | None = None
    posted_gte: datetime | None = None
    posted_lt: datetime | None = None
    side: str | None = None
    order: str = "desc"


class Ledger:
    """What can be asked about accounts. Amounts come as `_minor` with a `_decimal` beside it."""

    def __init__(
        self, db: Database, cursors: Cursors, currencies: Currencies, scan_rows: int
    ) -> None:
        """`scan_rows` bounds what one page of a statement reads."""
        self._db = db
        self._cursors = cursors
        self._currencies = currencies
        self._scan_rows = scan_rows

    def balance(
        self, actor: Actor, code: str, currency: str | None = None, as_of: datetime | None = None
    ) -> dict[str, Any]:
        """Return an account's balance now, or at `as_of`: then `posted` and `version` alone.

        Raises NotFound, for another tenant's or user's account too, and CurrencyAmbiguous.
        """
        account = _account(actor, code, currency)
        with self._db.read() as conn:
            rows: list[Any] = (
                ledger.get_balance(conn, **account)
                if as_of is None
                else ledger.get_balance_as_of(conn, **account, as_of=utc_text(as_of))
            )
        _only_one(len(rows))
        # What was reserved then is not known: only posted balances are kept with each entry.
        found = {"code": code, "as_of": as_of, "final": False, **_columns(rows[0])}
        return self._currencies.with_decimals(found, found["currency"])

    def balance_effective(
        self,
        actor: Actor,
        code: str,
        currency: str | None,
        effective_at: datetime,
        known_at: datetime | None = None,
    ) -> dict[str, Any]:
        """Return what an account held at `effective_at`, by what counted then (LT3).

        `known_at`: leave out what the book learnt later; without it, all that it knows. Raises as
        `balance`.
        """
        account = _account(actor, code, currency)
        known = "infinity" if known_at is None else utc_text(known_at)
        with self._db.read() as conn:
            rows = ledger.get_balance_effective(
                conn, **account, effective_at=utc_text(effective_at), known_at=known
            )
        _only_one(len(rows))
        moments = {"as_of": effective_at, "effective_at": effective_at, "known_at": known_at}
        found = {"code": code, **moments, **_columns(rows[0])}
        return self._currencies.with_decimals(found, found["currency"])

    def statement(
        self, actor: Actor, code: str, filters: EntryFilters, limit: int, cursor: str | None = None
    ) -> dict[str, Any]:
        """Return a page of an account's entries; opening + data = closing on every page.

        With a filter by side, of which this cannot be true, opening and closing are None. Raises
        NotFound, CurrencyAmbiguous, CursorInvalid.
        """
        bound = {"account": _account(actor, code, filters.currency), "filters": repr(filters)}
        position = self._cursors.read("entries", cursor, bound) if cursor else None
        rows = self._entries(actor, code, filters, limit, position)
        _only_one(rows[0].matches if rows else 0)
        entries = [row for row in rows if row.tx_id is not None]
        shown = [row for row in entries if row.is_shown]
        page = {
            "code": code,
            "currency": rows[0].currency,
            **_ends(shown[:limit], rows[0].start_minor, filters),
            "final": rows[0].final,
            "data": [self._entry(row) for row in shown[:limit]],
            "next_cursor": None,
        }
        # The page is full, or it has looked at as many rows as it may.
        last = shown[limit - 1] if len(shown) > limit else entries[-1] if entries else None
        if last and (len(shown) > limit or last.is_edge):
            position = [last.posted_at, last.version, last.stripe]
            page["next_cursor"] = self._cursors.sign("entries", position, bound)
        return self._currencies.with_decimals(page, rows[0].currency)

    def _entries(
        self,
        actor: Actor,
        code: str,
        filters: EntryFilters,
        limit: int,
        position: list[Any] | None,
    ) -> list[EntryRow]:
        since = utc_text(filters.posted_gte) if filters.posted_gte else "-infinity"
        until = utc_text(filters.posted_lt) if filters.posted_lt else "infinity"
        forwards = filters.order == "asc"
        start, end = (since, until) if forwards else (until, since)
        at, version, stripe = position or (start, 0, NO_STRIPE if forwards else -1)
        read = ledger.list_entries if forwards else ledger.list_entries_backwards
        with self._db.read() as conn:
            return read(
                conn,
                **_account(actor, code, filters.currency),
                side=SIDES[filters.side] if filters.side else 0,
                start_at=at,
                start_version=version,
                start_stripe=stripe,
                end_at=end,
                scan_rows=self._scan_rows,
                row_limit=limit + 1,
            )

    def _entry(self, row: EntryRow) -> dict[str, Any]:
        entry = {**_columns(row), "side": SIDE_NAMES[row.side or 0]}
        return self._currencies.with_decimals(entry, row.currency)


def _account(actor: Actor, code: str, currency: str | None) -> dict[str, Any]:
    owner_id = None if actor.owner_id is None else str(actor.owner_id)
    return {
        "tenant_id": actor.tenant_id,
        "code": code,
        "currency": currency,
        "owner_id": owner_id,
    }


def _only_one(matches: int) -> None:
    if matches == 0:
        raise NotFound
    if matches > 1:
        raise CurrencyAmbiguous


def _ends(shown: list[EntryRow], start_minor: int, filters: EntryFilters) -> dict[str, int | None]:
    """Return the balances before the oldest entry and after the newest."""
    if filters.side:
        return {"opening_minor": None, "closing_minor": None}
    if not shown:
        return {"opening_minor": start_minor, "closing_minor": start_minor}
    oldest, newest = (shown[0], shown[-1]) if filters.order == "asc" else (shown[-1], shown[0])
    return {
        "opening_minor": oldest.balance_before_minor,
        "closing_minor": newest.balance_after_minor,
    }


def _columns(row: Any) -> dict[str, Any]:
    return {name: getattr(row, name) for name in row.__slots__}


def utc_text(moment: datetime) -> str:
    """Return the moment for PostgreSQL, which takes no offset of 16 hours or more, as UTC."""
    try:
        return moment.astimezone(UTC).isoformat()
    except OverflowError:  # Its year is 0 or 10000 in UTC.
        return "-infinity" if moment.year == 1 else "infinity"
