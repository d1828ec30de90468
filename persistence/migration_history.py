"""What was applied: schema_migrations and its log, made and written by the runner alone (M6)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from persistence.migration_connection import HOST
from persistence.migration_errors import Unfinished

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from persistence.migration_connection import Connection, MigrationSettings
    from persistence.migration_files import MigrationFile

_TABLES = """
CREATE TABLE IF NOT EXISTS {rows} (
    version bigint NOT NULL,
    name text NOT NULL,
    checksum bytea NOT NULL,
    body text NOT NULL,
    kind text NOT NULL,
    transactional boolean NOT NULL,
    statements_total integer NOT NULL,
    statements_done integer NOT NULL,
    statement_hashes bytea[] NOT NULL,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at timestamptz,
    duration_ms bigint NOT NULL DEFAULT 0,
    lock_retries integer NOT NULL DEFAULT 0,
    applied_by text NOT NULL DEFAULT session_user,
    host text NOT NULL,
    app_version text NOT NULL,
    server_version text NOT NULL DEFAULT current_setting('server_version'),
    CONSTRAINT schema_migrations_pkey PRIMARY KEY (version),
    CONSTRAINT schema_migrations_kind_check CHECK (kind IN ('applied', 'baseline')),
    CONSTRAINT schema_migrations_done_check CHECK (
        0 <= statements_done AND statements_done <= statements_total
    )
);
CREATE TABLE IF NOT EXISTS {log} (
    id bigint GENERATED ALWAYS AS IDENTITY NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    action text NOT NULL,
    version bigint,
    detail jsonb NOT NULL,
    by text NOT NULL DEFAULT session_user,
    host text NOT NULL,
    CONSTRAINT schema_migration_log_pkey PRIMARY KEY (id)
);
"""
_SELECT = """
SELECT version, name, checksum, kind, transactional, statements_total, statements_done,
    statement_hashes, started_at, finished_at, duration_ms, lock_retries, applied_by, host,
    app_version
FROM {rows} ORDER BY version
"""
_INSERT = """
INSERT INTO {rows} (version, name, checksum, body, kind, transactional, statements_total,
    statements_done, statement_hashes, finished_at, host, app_version)
VALUES (%(version)s, %(name)s, %(checksum)s, %(body)s, %(kind)s, %(transactional)s, %(total)s,
    %(done)s, %(hashes)s, CASE WHEN %(kind)s = 'baseline' THEN clock_timestamp() END, %(host)s,
    %(app_version)s)
"""
# The text of a partial file may have changed behind what was done (M14), or by `accept`.
_REWRITE = """
UPDATE {rows} SET name = %(name)s, checksum = %(checksum)s, body = %(body)s,
    statements_total = %(total)s, statements_done = %(done)s, statement_hashes = %(hashes)s,
    finished_at = CASE
        WHEN %(done)s = %(total)s THEN coalesce(finished_at, clock_timestamp())
    END
WHERE version = %(version)s AND statements_done = %(before)s
"""
_CLAIM = """
SELECT FROM {rows} WHERE version = %(version)s AND statements_done = %(done)s FOR UPDATE
"""
_ADVANCE = """
UPDATE {rows}
SET statements_done = %(done)s, lock_retries = lock_retries + %(retries)s,
    duration_ms = duration_ms + %(ms)s,
    finished_at = CASE WHEN statements_total = %(done)s THEN clock_timestamp() END
WHERE version = %(version)s
"""
_LOG = """
INSERT INTO {log} (action, version, detail, host)
VALUES (%(action)s, %(version)s, %(detail)s, %(host)s)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryRow:
    """One row of schema_migrations without its body. `finished_at` is None while it is partial."""

    version: int
    name: str
    checksum: bytes
    kind: str
    transactional: bool
    statements_total: int
    statements_done: int
    statement_hashes: list[bytes]
    started_at: datetime
    finished_at: datetime | None
    duration_ms: int
    lock_retries: int
    applied_by: str
    host: str
    app_version: str

    @property
    def partial(self) -> bool:
        """Say whether a no-transaction file stopped on its way."""
        return self.statements_done < self.statements_total


class History:
    """The two tables, read and written through one connection; every name is qualified."""

    def __init__(self, conn: Connection, settings: MigrationSettings) -> None:
        self._conn = conn
        self._settings = settings
        schema = settings.schema
        self._names = {
            "rows": sql.Identifier(schema, "schema_migrations"),
            "log": sql.Identifier(schema, "schema_migration_log"),
        }

    def make(self) -> None:
        """Make the tables where they are missing."""
        self._conn.execute(sql.SQL(_TABLES).format(**self._names))

    def rows(self) -> dict[int, HistoryRow]:
        """Return what was applied by version; nothing if there is no history yet."""
        with self._conn.cursor(row_factory=class_row(HistoryRow)) as cursor:
            try:
                cursor.execute(sql.SQL(_SELECT).format(**self._names))
            except psycopg.errors.UndefinedTable:
                return {}
            return {row.version: row for row in cursor.fetchall()}

    def body(self, version: int) -> str:
        """Return the text that was applied."""
        query = sql.SQL("SELECT body FROM {rows} WHERE version = %s").format(**self._names)
        row = self._conn.execute(query, [version]).fetchone()
        return str(row[0]) if row else ""

    def insert(self, file: MigrationFile, *, kind: str = "applied", done: int) -> None:
        """Claim a version: another runner that commits it first fails this INSERT."""
        self._execute(_INSERT, **_text(file), kind=kind, done=done)

    def rewrite(self, file: MigrationFile, row: HistoryRow, *, done: int) -> None:
        """Record the text of the file, of which `done` statements are done, in place of `row`'s.

        Raises Unfinished if the row has moved on since it was read.
        """
        if self._execute(_REWRITE, **_text(file), done=done, before=row.statements_done) != 1:
            raise Unfinished(f"{file.name}: a killed runner's backend was still at it; run again")

    def claim(self, version: int, done: int) -> bool:
        """Lock the row of a no-transaction file; False if somebody has counted further."""
        return self._execute(_CLAIM, version=version, done=done) == 1

    def advance(self, version: int, done: int, *, retries: int, ms: int) -> None:
        """Count `done` statements in all as done, and what this step took."""
        self._execute(_ADVANCE, version=version, done=done, retries=retries, ms=ms)

    def log(self, action: str, version: int | None, **detail: Any) -> None:
        """Append to the log, which nothing ever changes."""
        self._execute(_LOG, action=action, version=version, detail=Jsonb(detail))

    def _execute(self, query: str, **values: Any) -> int:
        values |= {"host": HOST, "app_version": self._settings.app_version}
        return self._conn.execute(sql.SQL(query).format(**self._names), values).rowcount

    def lacking(self, extensions: Sequence[str]) -> frozenset[str]:
        """Return those of `extensions` that the server cannot create (M3)."""
        if not extensions:
            return frozenset()
        rows = self._conn.execute("SELECT name FROM pg_available_extensions")
        return frozenset(extensions) - {str(name) for (name,) in rows}


def _text(file: MigrationFile) -> dict[str, Any]:
    return {
        "version": file.version,
        "name": file.name,
        "checksum": file.checksum,
        "body": file.body,
        "transactional": file.transactional,
        "total": len(file.statements),
        "hashes": file.statement_hashes,
    }
