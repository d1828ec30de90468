"""What a comparison asks a legacy table in PostgreSQL, and what was captured there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from legacy import canonical_sql, digest_sql
from legacy.canonical_sql import identifier
from legacy.store import Captured, Totals
from legacy.stores.digests import PythonDigests
from legacy.stores.polling import Poll
from legacy.stores.postgres_reads import PostgresReads
from legacy.transforms import Unreadable, read, write

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from datetime import datetime

    from legacy.columns import ColumnMap
    from legacy.stores.reading import Held

FETCH_ROWS = 2000  # Of a cursor, at a time.


class PostgresCompares(PostgresReads, PythonDigests):
    """Digests by the server where it can, and the two ways of capture."""

    def __init__(
        self, mapping: ColumnMap, connections: Any, timeout_ms: int, overlap_s: int
    ) -> None:
        super().__init__(mapping, connections, timeout_ms)
        self._poll = Poll(self.changed, overlap_s)

    # --- Compared -------------------------------------------------------------------------------

    def count(self) -> Totals:
        """See LegacyStore."""
        query = canonical_sql.totals(self._map, self.facts.types)
        highest = (
            f"SELECT max(m.version) FROM {self._mirror} AS m"
            f" WHERE m.domain = '{self._map.domain}' AND NOT m.deleted"
        )
        with self._used(limited=False) as connection:
            found = connection.execute(query.encode()).fetchall()
            ((version_max,),) = connection.execute(highest.encode()).fetchall()
        by = {(status, currency): (rows, int(total)) for status, currency, rows, total in found}
        rows = sum(count for count, _ in by.values())
        return Totals(rows, by, version_max or min(rows, 1))

    def digest(self, prefix: bytes) -> dict[int, tuple[int, int]]:
        """See LegacyStore: the server adds up, if it is 16 or later and has an encoding."""
        if not self.facts.has_digest:
            return super().digest(prefix)
        return self._summed(digest_sql.digest(self._rows(), prefix))

    def deep_digest(self, buckets: Collection[int]) -> dict[int, tuple[int, int]]:
        """See LegacyStore."""
        if not self.facts.has_digest:
            return super().deep_digest(buckets)
        return self._summed(digest_sql.deep_digest(self._rows(), buckets))

    def hashes(self, prefix: bytes) -> dict[str, bytes]:
        """See LegacyStore."""
        if not self.facts.has_digest:
            return super().hashes(prefix)
        return dict(self._asked(digest_sql.hashes(self._rows(), prefix)))

    def hashes_in(self, pairs: Collection[int]) -> list[tuple[str, bytes]]:
        """See LegacyStore."""
        if not self.facts.has_digest:
            return super().hashes_in(pairs)
        return self._asked(digest_sql.hashes_in(self._rows(), pairs))

    def _rows(self) -> str:
        return digest_sql.legacy_rows(self._map, self.facts.types)

    def _summed(self, query: str) -> dict[int, tuple[int, int]]:
        return {bucket: (count, int(total)) for bucket, count, total in self._asked(query)}

    def _asked(self, query: str) -> list[Any]:
        with self._used(limited=False) as connection:
            return connection.execute(query.encode()).fetchall()

    def _all(self) -> Iterator[Held]:
        """Yield every row of one moment, by a cursor of the server."""
        with (
            self._used(limited=False) as connection,
            connection.transaction(),
            connection.cursor("strongroom_rows") as cursor,
        ):
            cursor.itersize = FETCH_ROWS
            for row in cursor.execute(self._select().encode()):
                yield self._held(row)

    # --- Captured -------------------------------------------------------------------------------

    def tail(self, limit: int) -> list[Captured]:
        """See LegacyStore."""
        self._need("capture")
        if self.capabilities.capture == "poll":
            return self._poll.tail(limit)
        query = (
            f"SELECT q.batch_id, q.entity_id FROM {self._queue} AS q WHERE q.domain = %s"
            " ORDER BY q.batch_id LIMIT %s"
        )
        with self._used() as connection:
            rows = connection.execute(query.encode(), (self._map.domain, limit)).fetchall()
        return [Captured(batch_id, legacy_id) for batch_id, legacy_id in rows]

    def ack(self, batch: Sequence[Captured]) -> None:
        """See LegacyStore: these and no others, as one with a lower number may commit later."""
        self._need("capture")
        if self.capabilities.capture == "poll":
            self._poll.ack(batch)
            return
        query = f"DELETE FROM {self._queue} AS q WHERE q.domain = %s AND q.batch_id = ANY(%s)"
        with self._used() as connection:
            numbers = [each.batch_id for each in batch]
            connection.execute(query.encode(), (self._map.domain, numbers))

    @property
    def tells_changes(self) -> bool:
        """Tell whether rows say when they were changed."""
        mapped = self._map.by_name.get("updated_at")
        return mapped is not None and bool(mapped.source)

    def changed(self, since: datetime | None, limit: int) -> list[tuple[str, datetime]]:
        """Return ids by the time of their last change, since then; the map has `updated_at`."""
        mapped = self._map.by_name["updated_at"]
        updated = f"l.{identifier(mapped.source)}"
        where = "" if since is None else f"WHERE {updated} >= {self._cast(mapped.source)}"
        query = (
            f"SELECT l.{self._id}::text, {updated}::text FROM {self._table} AS l {where}"
            f" ORDER BY {updated}, l.{self._id} LIMIT {limit}"
        )
        values = [] if since is None else [write(mapped, since)]
        with self._used() as connection:
            rows = connection.execute(query.encode(), values).fetchall()
        found = []
        for legacy_id, raw in rows:
            try:
                moment = read(mapped, raw)
            except Unreadable:
                continue  # Its row is rejected whenever it is read.
            found += [(legacy_id, moment)] if moment is not None else []
        return found
