"""Tells readiness whether the database has the schema that this release needs (M22)."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg import errors, sql

from persistence.migration_files import FOLDER, load
from persistence.sql_files import SqlFile
from persistence.statements import Statement

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from persistence.db import Conn

# While there is a problem readiness asks each second; a good schema stays good.
GOOD_FOR_S = 30.0

# Not in the catalogue: only here does the schema's name come from a setting.
_QUERY = """
-- migrations/history: what was applied; one query, no lock.
SELECT version, checksum, statements_done < statements_total AS partial,
    -- Looking for extensions reads files, so only if a migration waits for one.
    (SELECT array_agg(name::text) FROM pg_available_extensions WHERE {wanted}) AS extensions
FROM {table} ORDER BY version
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaState:
    """The schema against the files of this release, which may well be behind it (M4).

    `problem` is None, or schema_missing, schema_partial, schema_changed or schema_pending; `head`
    is the highest version applied, `required` the highest of the files; the rest are names.
    """

    problem: str | None
    head: int
    required: int
    pending: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    version: int
    checksum: bytes
    partial: bool
    extensions: list[str] | None


class MigrationCheck:
    """The checksums of the files at boot, compared with schema_migrations at each call."""

    def __init__(
        self,
        *,
        folder: Path = FOLDER,
        schema: str = "public",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Read the files once; raises Misconfigured."""
        self._files = load(folder)
        self._statement = _statement(schema, wanted=any(f.extensions for f in self._files))
        self._clock = clock
        self._good, self._good_until = SchemaState(problem=None, head=0, required=0), 0.0

    def __call__(self, conn: Conn) -> SchemaState:
        """Return how the schema stands; what was good is taken as good for 30 s."""
        if self._clock() < self._good_until:
            return self._good
        try:
            rows = self._statement.all(conn)
        except errors.UndefinedTable:
            rows = []
        found = self._judge(rows)
        if found.problem is None:
            self._good, self._good_until = found, self._clock() + GOOD_FOR_S
        return found

    def _judge(self, rows: list[_Row]) -> SchemaState:
        applied = {row.version: bytes(row.checksum) for row in rows}
        available = set(rows[0].extensions or ()) if rows else set()
        pending = tuple(
            file.name
            for file in self._files
            if file.version not in applied and available.issuperset(file.extensions)
        )
        changed = tuple(
            file.name
            for file in self._files
            if applied.get(file.version, file.checksum) != file.checksum
        )
        problems = {
            "schema_missing": not rows,
            "schema_partial": any(row.partial for row in rows),
            "schema_changed": changed,
            "schema_pending": pending,
        }
        return SchemaState(
            problem=next((name for name, found in problems.items() if found), None),
            head=max(applied, default=0),
            required=max((file.version for file in self._files), default=0),
            pending=pending,
            changed=changed,
        )


def _statement(schema: str, *, wanted: bool) -> Statement[_Row]:
    query = sql.SQL(_QUERY).format(
        wanted=sql.Literal(wanted), table=sql.Identifier(schema, "schema_migrations")
    )
    file = SqlFile(
        name="migrations/history",
        query=query.as_string(),
        params=(),
        kind="read",
        returns="many",
        scan="all",
        claims=None,
        present=frozenset(),
    )
    return Statement[_Row](file, _Row)
