"""Tells a health check whether the database has the schema that this release needs (M22)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql

from persistence.migration_files import FOLDER, load

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

# A server in trouble is asked each second, so that readiness follows at once; a good one rarely.
BAD_FOR_S, GOOD_FOR_S = 1.0, 30.0

_QUERY = """
SELECT version, checksum, statements_done < statements_total,
    (SELECT array_agg(name) FROM pg_available_extensions WHERE %(extensions)s)
FROM {} ORDER BY version
"""


class MigrationCheck:
    """The checksums of the files at boot, compared with schema_migrations when asked.

    Ahead of them the schema may be: an old release runs on a newer schema (M4).
    """

    def __init__(
        self,
        *,
        folder: Path = FOLDER,
        schema: str = "public",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        files = load(folder)
        self._checksums = {file.version: file.checksum for file in files}
        self._extensions = {file.version: set(file.extensions) for file in files}
        self._query = sql.SQL(_QUERY).format(sql.Identifier(schema, "schema_migrations"))
        self._clock = clock
        self._asked: tuple[float, str | None] | None = None

    def fault(self, conn: psycopg.Connection[Any]) -> str | None:
        """Return schema_missing, schema_partial, schema_changed or schema_pending; None if fine.

        One query without a lock, at most each second while there is a fault, else each 30 s.
        """
        now = self._clock()
        if self._asked:
            at, known = self._asked
            if now - at < (BAD_FOR_S if known else GOOD_FOR_S):
                return known
        found = self._ask(conn)
        self._asked = (now, found)
        return found

    def _ask(self, conn: psycopg.Connection[Any]) -> str | None:
        wants = any(self._extensions.values())
        try:
            rows = conn.execute(self._query, {"extensions": wants}).fetchall()
        except psycopg.errors.UndefinedTable:
            rows = []
        if not rows:
            return "schema_missing"
        if any(partial for _, _, partial, _ in rows):
            return "schema_partial"
        applied = {version: bytes(checksum) for version, checksum, _, _ in rows}
        known = self._checksums
        if any(known.get(version, checksum) != checksum for version, checksum in applied.items()):
            return "schema_changed"
        available = set(rows[0][3] or ())
        missing = [v for v in known.keys() - applied.keys() if self._extensions[v] <= available]
        return "schema_pending" if missing else None
