"""What a comparison asks a SQLite file, and what was captured there."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from legacy.store import Captured, Totals
from legacy.stores.digests import PythonDigests
from legacy.stores.polling import Poll
from legacy.stores.sqlite_reads import SqliteReads, identifier
from legacy.transforms import Unreadable, read, write

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from legacy.columns import ColumnMap
    from legacy.stores.connections import Connections
    from legacy.stores.reading import Held


class SqliteCompares(SqliteReads, PythonDigests):
    """Digests by Python over one statement's snapshot, and the two ways of capture."""

    def __init__(
        self, mapping: ColumnMap, connections: Connections[sqlite3.Connection], overlap_s: int
    ) -> None:
        super().__init__(mapping, connections)
        self._poll = Poll(self.changed, overlap_s)

    # --- Compared -------------------------------------------------------------------------------

    def _all(self) -> Iterator[Held]:
        """Yield every row of one moment: a statement is a snapshot."""
        with self._used() as connection:
            yield from map(self._held, connection.execute(self._select()))

    def count(self) -> Totals:
        """See LegacyStore."""
        by: dict[tuple[str, str], tuple[int, int]] = {}
        version_max = rows = 0
        for held in self._all():
            status, currency, amount = self._map.totals_key(held.raw or {})
            count, total = by.get((status, currency), (0, 0))
            by[status, currency] = count + 1, total + amount
            version_max, rows = max(version_max, held.version), rows + 1
        return Totals(rows, by, version_max)

    # --- Captured -------------------------------------------------------------------------------

    def tail(self, limit: int) -> list[Captured]:
        """See LegacyStore."""
        self._need("capture")
        if self.capabilities.capture == "poll":
            return self._poll.tail(limit)
        query = (
            "SELECT batch_id, entity_id FROM strongroom_queue WHERE domain = ?"
            " ORDER BY batch_id LIMIT ?"
        )
        with self._used() as connection:
            rows = connection.execute(query, (self._map.domain, limit))
            return [Captured(batch_id, str(legacy_id)) for batch_id, legacy_id in rows]

    def ack(self, batch: Sequence[Captured]) -> None:
        """See LegacyStore."""
        self._need("capture")
        if self.capabilities.capture == "poll":
            self._poll.ack(batch)
            return
        with self._used() as connection:
            connection.execute(
                "DELETE FROM strongroom_queue WHERE domain = ?"
                " AND batch_id IN (SELECT value FROM json_each(?))",
                (self._map.domain, json.dumps([each.batch_id for each in batch])),
            )

    @property
    def tells_changes(self) -> bool:
        """Tell whether rows say when they were changed."""
        mapped = self._map.by_name.get("updated_at")
        return mapped is not None and bool(mapped.source)

    def changed(self, since: datetime | None, limit: int) -> list[tuple[str, datetime]]:
        """Return ids by the time of their last change, since then; the map has `updated_at`."""
        mapped = self._map.by_name["updated_at"]
        updated = identifier(mapped.source)
        where = "" if since is None else f"WHERE {updated} >= ?"
        query = (
            f"SELECT CAST({self._id} AS TEXT), {updated} FROM {self._table} {where}"
            f" ORDER BY {updated}, {self._id} LIMIT {limit}"
        )
        values = [] if since is None else [write(mapped, since)]
        found = []
        with self._used() as connection:
            for legacy_id, raw in connection.execute(query, values):
                try:
                    moment = read(mapped, raw)
                except Unreadable:
                    continue  # Its row is rejected whenever it is read.
                found += [(str(legacy_id), moment)] if moment is not None else []
        return found
