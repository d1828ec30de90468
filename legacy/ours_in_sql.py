"""Digests of our own tables: the SQL that a column map makes, sent in one snapshot (V1, V4).

The only statements here that no file holds: which columns they have is known from LEGACY_CONFIG.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from legacy import canonical_sql
from persistence.sql_files import Param, SqlFile
from persistence.statements import Statement

if TYPE_CHECKING:
    from legacy.columns import ColumnMap
    from persistence.db import Database


class OurSide:
    """Our rows as the column map lets the legacy side see them."""

    def __init__(self, db: Database, mapping: ColumnMap, tenant_id: str) -> None:
        self._db = db
        self._tenant_id = tenant_id
        self._rows = canonical_sql.our_rows(mapping, "$1::text")

    def digest(self, prefix: bytes) -> dict[int, tuple[int, int]]:
        """Return rows and sum of each bucket, as LegacyStore.digest does."""
        query = canonical_sql.digest(self._rows, prefix)
        # Sums of bigints are numeric: as text they lose nothing.
        listed = f"SELECT array[d.a::text, d.b::text, d.c::text] FROM ({query}) AS d (a, b, c)"
        return {int(a): (int(b), int(c)) for a, b, c in self._all("digest", listed)}

    def hashes(self, prefix: bytes) -> dict[str, bytes]:
        """Return the row hash of each legacy id, as LegacyStore.hashes does."""
        query = canonical_sql.hashes(self._rows, prefix)
        listed = f"SELECT array[d.key, encode(d.hash, 'hex')] FROM ({query}) AS d (key, hash)"
        return {key: bytes.fromhex(hashed) for key, hashed in self._all("hashes", listed)}

    def _all(self, name: str, query: str) -> list[list[str]]:
        file = SqlFile(
            name=f"legacy/{name}",
            query=f"-- legacy/{name}\n{query}",
            params=(Param(name="tenant_id", type="text", nullable=False),),
            kind="read",
            returns="many",
            scan="tenant",
            claims=None,
            present=frozenset(),
        )
        statement: Statement[list[str]] = Statement(file, list[str])
        with self._db.snapshot() as conn:
            return statement.all(conn, tenant_id=self._tenant_id)
