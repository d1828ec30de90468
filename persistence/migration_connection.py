"""Connections of the migration runner: never through a pooler, never with another's settings."""

from __future__ import annotations

import contextlib
import os
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql

from persistence.migration_errors import Misconfigured, PoolerInBetween, Unfinished
from persistence.migration_files import FOLDER

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    Connection = psycopg.Connection[tuple[Any, ...]]

HOST = socket.gethostname()
CONNECT_TIMEOUT_S = 5

# What a role, a database or an environment variable may have set must not change a migration.
# client_connection_check_interval lets the backend of a killed runner end within a second, also
# in the middle of a long statement; 0 is "no limit" of the timeouts.
_SESSION = {
    "client_connection_check_interval": "1s",
    "tcp_keepalives_idle": "30",
    "standard_conforming_strings": "on",
    "client_encoding": "utf8",
    "timezone": "UTC",
    "default_transaction_isolation": "read committed",
    "default_transaction_read_only": "off",
    "synchronous_commit": "on",
    "statement_timeout": "0",
    "transaction_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "idle_session_timeout": "0",
}
# PostgreSQL 16 has no transaction_timeout.
_SET = """
SELECT set_config(name, value, false)
FROM unnest(%s::text[], %s::text[]) AS s (name, value) WHERE current_setting(name, true) IS NOT NULL
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationSettings:
    """What a run needs to know; the MIGRATE_* variables by their names, and where the files are.

    `retry_min_s` and `retry_max_s` bound the pause after a lock was not got, `notice_s` is how
    often a long wait is told. `grants` is applied after the last file, None leaves it out.
    """

    database_url: str = field(repr=False)
    schema: str = "public"
    wait_s: float = 60
    lock_timeout_ms: int = 2_000
    lock_retries: int = 10
    folder: Path = FOLDER
    grants: Path | None = FOLDER.parent / "grants.sql"
    retry_min_s: float = 0.5
    retry_max_s: float = 30
    notice_s: float = 10
    app_version: str = "unknown"


def runner_name() -> str:
    """Return what pg_stat_activity shows, so that whoever waits for this runner can find it."""
    return f"strongroom-migrate {HOST[:32]}:{os.getpid()}"


@contextlib.contextmanager
def connection(settings: MigrationSettings) -> Iterator[Connection]:
    """Yield a fresh connection in autocommit whose search_path is the schema alone.

    Raises Misconfigured, Unfinished if the server cannot be reached, PoolerInBetween. An
    exception rolls back what was begun.
    """
    conn = _open(settings)
    try:
        _check_pooler(conn)
        _set_up(conn, settings)
        yield conn
    finally:
        # Closing alone would roll back too, but a moment after the runner lock is free again.
        with contextlib.suppress(psycopg.Error):
            conn.rollback()
        conn.close()


def _open(settings: MigrationSettings) -> Connection:
    try:
        return psycopg.connect(
            settings.database_url,
            autocommit=True,
            prepare_threshold=None,
            application_name=runner_name(),
            connect_timeout=CONNECT_TIMEOUT_S,
        )
    except psycopg.OperationalError as error:
        raise Unfinished(f"PostgreSQL cannot be reached: {error}") from error
    except psycopg.ProgrammingError as error:
        raise Misconfigured(f"the database URL cannot be read: {error}") from error


def _check_pooler(conn: Connection) -> None:
    """M11: a pooler makes up the pid of the handshake; with one, no session lock can be trusted."""
    row = conn.execute("SELECT pg_backend_pid()").fetchone()
    if row != (conn.info.backend_pid,):
        raise PoolerInBetween(
            "a connection pooler stands before PostgreSQL, so the runner lock would not hold: "
            "set MIGRATE_DATABASE_URL to a direct connection"
        )


def _set_up(conn: Connection, settings: MigrationSettings) -> None:
    found = conn.execute("SELECT to_regnamespace(quote_ident(%s))", [settings.schema]).fetchone()
    if found == (None,):
        raise Misconfigured(f"the schema {settings.schema} does not exist (MIGRATE_SCHEMA)")
    values = _SESSION | {
        "lock_timeout": f"{settings.lock_timeout_ms}ms",
        "search_path": sql.Identifier(settings.schema).as_string(conn),
    }
    conn.execute(_SET, [list(values), list(values.values())])
