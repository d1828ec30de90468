"""Reads of a store whose rows are all in this process: memory, and files once they are read."""

from __future__ import annotations

from bisect import bisect_right
from threading import RLock
from typing import TYPE_CHECKING, Any

from legacy.store import RowRejected, StoreRow, Totals, Unsupported
from legacy.stores import reading
from legacy.stores.digests import PythonDigests
from legacy.stores.reading import Held, is_same, source_of, store_row, store_rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from legacy.columns import ColumnMap
    from legacy.store import Captured


class LocalRows(PythonDigests):
    """Rows by id, in order of their ids: numbers first, as numbers, then texts by their bytes."""

    def __init__(self, mapping: ColumnMap) -> None:
        self._map = mapping
        self._lock = RLock()
        self._held: dict[str, Held] = {}
        self._order: list[str] | None = None  # Made when it is asked for.

    def _hold(self, held: Held) -> None:
        if held.id not in self._held:
            self._order = None
        self._held[held.id] = held

    def _ids(self) -> list[str]:
        with self._lock:
            if self._order is None:
                self._order = sorted(self._held, key=_rank)
            return self._order

    def _rows_after(self, after: str | None) -> Iterator[Held]:
        ids = self._ids()
        start = 0 if after is None else bisect_right(ids, _rank(after), key=_rank)
        for place in range(start, len(ids)):
            held = self._held[ids[place]]
            if held.raw is not None:
                yield held

    def _all(self) -> Iterator[Held]:
        return self._rows_after(None)

    def _scan(self, after: str | None, limit: int) -> list[Held]:
        return [held for held, _ in zip(self._rows_after(after), range(limit), strict=False)]

    # --- The reading half of LegacyStore --------------------------------------------------------

    def ping(self) -> None:
        """Answer: the rows are here."""

    def get_many(self, ids: Sequence[str]) -> dict[str, StoreRow]:
        """See LegacyStore."""
        with self._lock:
            found = [self._held[legacy_id] for legacy_id in ids if legacy_id in self._held]
        return store_rows(self._map, found)

    def find(self, field: str, value: Any) -> StoreRow | None:
        """See LegacyStore; reads every row until one fits."""
        source_of(self._map, field)
        for held in self._rows_after(None):
            try:
                row = store_row(self._map, held)
            except RowRejected:
                continue
            if is_same(field, row.row[field], value):
                return row
        return None

    def page(self, filters: dict[str, Any], after: str | None, limit: int) -> list[StoreRow]:
        """See LegacyStore."""
        return reading.page(self._map, self._scan, filters, after, limit)

    def scan_ids(self, after: str | None, limit: int) -> list[str]:
        """See LegacyStore."""
        return [held.id for held in self._scan(after, limit)]

    def count(self) -> Totals:
        """See LegacyStore."""
        by: dict[tuple[str, str], tuple[int, int]] = {}
        version_max = rows = 0
        for held in self._rows_after(None):
            status, currency, amount = self._map.totals_key(held.raw or {})
            count, total = by.get((status, currency), (0, 0))
            by[status, currency] = count + 1, total + amount
            version_max, rows = max(version_max, held.version), rows + 1
        return Totals(rows, by, version_max)

    # --- What neither of them has ---------------------------------------------------------------

    def tail(self, limit: int) -> list[Captured]:
        """Nobody else writes here: Unsupported."""
        raise Unsupported(f"no capture; {limit} entries were asked for")

    def ack(self, batch: Sequence[Captured]) -> None:
        """Nobody else writes here: Unsupported."""
        raise Unsupported(f"no capture; {len(batch)} entries were given")

    def fence(self) -> None:
        """Nobody else writes here: Unsupported."""
        raise Unsupported("no fence")

    def unfence(self) -> None:
        """Nobody else could write before, either."""

    def close(self) -> None:
        """Nothing is open."""


def _rank(legacy_id: str) -> tuple[int, int, bytes]:
    is_number = legacy_id.isascii() and legacy_id.isdecimal()
    return (0, int(legacy_id), b"") if is_number else (1, 0, legacy_id.encode())
