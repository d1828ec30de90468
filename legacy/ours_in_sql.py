"""Our side of a comparison: the SQL that a column map makes, sent in one snapshot (V1, V4).

The only statements here that no file holds: which columns they have is known from LEGACY_CONFIG.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from legacy import canonical_sql, digest_sql
from legacy.store import Totals
from persistence.sql_files import Param, SqlFile
from persistence.statements import Statement

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from legacy.columns import ColumnMap
    from persistence.db import Conn, Database

TENANT = "$1::text"


class OurSide:
    """Our rows as the column map lets the legacy side see them."""

    def __init__(
        self, db: Database, mapping: ColumnMap, tenant_id: str, conn: Conn | None = None
    ) -> None:
        """`conn`: a transaction to look from; None: each look has a snapshot of its own."""
        self._db = db
        self._conn = conn
        self._mapping = mapping
        self._tenant_id = tenant_id
        self._rows = digest_sql.our_rows(mapping, TENANT)
        self._table = digest_sql.our_table(mapping, TENANT)

    def digest(self, prefix: bytes) -> dict[int, tuple[int, int]]:
        """Return rows and sum of each bucket, as LegacyStore.digest does."""
        return self._summed("digest", digest_sql.digest(self._rows, prefix))

    def deep_digest(self, buckets: Collection[int]) -> dict[int, tuple[int, int]]:
        """Return the same by two bytes, as LegacyStore.deep_digest does."""
        return self._summed("deep_digest", digest_sql.deep_digest(self._rows, buckets))

    def hashes_in(self, pairs: Collection[int]) -> list[tuple[str, bytes]]:
        """Return id and row hash, as LegacyStore.hashes_in does."""
        query = digest_sql.hashes_in(self._rows, pairs)
        found = self._all("hashes_in", f"d.a, encode(d.b, 'hex') FROM ({query}) AS d (a, b)")
        return [(key, bytes.fromhex(hashed)) for key, hashed in found]

    def count(self) -> Totals:
        """Return what a comparison of level 0 compares, as LegacyStore.count does."""
        query = canonical_sql.our_totals(self._mapping, self._table)
        columns = "d.a, d.b, d.c::text, d.d::text"
        found = self._all("totals", f"{columns} FROM ({query}) AS d (a, b, c, d)")
        by = {(status, currency): (int(n), int(total)) for status, currency, n, total in found}
        highest = f"coalesce(max(o.version), 0)::text FROM {self._table}"
        ((version_max,),) = self._all("highest", highest)
        return Totals(sum(n for n, _ in by.values()), by, int(version_max))

    def changed(self, since: datetime) -> list[str]:
        """Return the ids of rows that changed since then."""
        moment = canonical_sql.quote(since.isoformat())
        query = f"o.legacy_id FROM {self._table} AND o.updated_at >= {moment}::timestamptz"
        return [legacy_id for (legacy_id,) in self._all("changed", query)]

    def sample(self, size: int) -> list[str]:
        """Return up to so many ids at random."""
        query = f"o.legacy_id FROM {self._table} ORDER BY random() LIMIT {size:d}"
        return [legacy_id for (legacy_id,) in self._all("sample", query)]

    def _summed(self, name: str, query: str) -> dict[int, tuple[int, int]]:
        # Sums of bigints are numeric: as text they lose nothing.
        found = self._all(name, f"d.a::text, d.b::text, d.c::text FROM ({query}) AS d (a, b, c)")
        return {int(a): (int(b), int(c)) for a, b, c in found}

    def _all(self, name: str, query: str) -> list[list[str]]:
        columns, _, rest = query.partition(" FROM ")
        file = SqlFile(
            name=f"legacy/{name}",
            query=f"-- legacy/{name}\nSELECT array[{columns}] FROM {rest}",
            params=(Param(name="tenant_id", type="text", nullable=False),),
            kind="read",
            returns="many",
            scan="tenant",
            claims=None,
            present=frozenset(),
        )
        statement: Statement[list[str]] = Statement(file, list[str])
        if self._conn is not None:
            return statement.all(self._conn, tenant_id=self._tenant_id)
        with self._db.snapshot() as conn:
            return statement.all(conn, tenant_id=self._tenant_id)
