"""Connections to a legacy PostgreSQL: their settings, their errors, and the catalogue."""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Any

import psycopg

from legacy.store import Duplicate, LegacyError, LegacyUnavailable, RowRejected
from persistence.db_connection import DeadlineConnection

if TYPE_CHECKING:
    from collections.abc import Iterator

    from legacy.columns import ColumnMap

CONNECT_TIMEOUT_S = 2  # What libpq makes of less.
HAS_INPUT_IS_VALID = 160000  # PostgreSQL 16.
_SETTINGS = """
SELECT set_config('TimeZone', 'UTC', false), set_config('DateStyle', 'ISO', false),
    set_config('default_transaction_isolation', 'read committed', false),
    set_config('lock_timeout', %(timeout_ms)s, false),
    set_config('idle_in_transaction_session_timeout', '10000', false),
    set_config('strongroom.mirror', 'on', false)
"""
_FACTS = """
SELECT a.attname, format_type(a.atttypid, NULL), a.attidentity::text,
    pg_get_serial_sequence(%(table)s, a.attname)
FROM pg_attribute AS a
WHERE a.attrelid = %(table)s::regclass AND a.attnum > 0 AND NOT a.attisdropped
"""
_UNIQUE = """
SELECT c.relname, pg_get_indexdef(i.indexrelid)
FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid
WHERE i.indrelid = %(table)s::regclass AND i.indisunique
"""


def connect(dsn: str, timeout_ms: int) -> DeadlineConnection:
    """Open a connection of ours: UTC, read committed, not captured; LegacyUnavailable."""
    try:
        connection = DeadlineConnection.connect(
            dsn, autocommit=True, connect_timeout=CONNECT_TIMEOUT_S
        )
    except psycopg.Error as exc:
        raise LegacyUnavailable(f"PostgreSQL: {type(exc).__name__}") from None
    try:
        # Another encoding is converted by the server; bytes of none (SQL_ASCII) come as they are.
        if connection.info.parameter_status("server_encoding") != "SQL_ASCII":
            connection.execute("SET client_encoding = 'UTF8'")
        connection.execute(_SETTINGS, {"timeout_ms": str(timeout_ms)})
    except psycopg.Error as exc:
        connection.close()
        raise LegacyUnavailable(f"PostgreSQL: {type(exc).__name__}") from None
    return connection


@contextmanager
def deadline(connection: psycopg.Connection[Any], timeout_ms: int | None) -> Iterator[None]:
    """Let what the block sends take no longer together; a connection of others keeps its own."""
    if not isinstance(connection, DeadlineConnection) or connection.deadline is not None:
        yield
        return
    connection.deadline = None if timeout_ms is None else monotonic() + timeout_ms / 1000
    try:
        yield
    finally:
        connection.deadline = None


@contextmanager
def errors_of(legacy_id: str, fields: dict[str, str]) -> Iterator[None]:
    """Say what went wrong in the words of the protocol; `fields`: unique index to our column."""
    try:
        yield
    except psycopg.errors.UniqueViolation as exc:
        raise Duplicate(fields.get(exc.diag.constraint_name or "", "unknown")) from exc
    except (psycopg.IntegrityError, psycopg.DataError, psycopg.errors.RaiseException) as exc:
        raise RowRejected(legacy_id, "refused_by_legacy", ()) from exc
    except (psycopg.OperationalError, psycopg.InterfaceError) as exc:
        raise LegacyUnavailable(f"PostgreSQL: {type(exc).__name__}") from exc
    except psycopg.Error as exc:
        raise LegacyError(f"PostgreSQL: {exc.diag.message_primary or exc}") from exc


@dataclass(frozen=True, slots=True)
class Facts:
    """What the catalogue says of the legacy table; read once.

    `types` by column; `unique`: our column by name of the unique index; `sequence` of the id;
    `is_always`: the id is an identity that only OVERRIDING may set; `has_digest`: SQL can hash.
    """

    types: dict[str, str]
    id_type: str
    unique: dict[str, str]
    sequence: str | None
    is_always: bool
    is_prepared: bool
    has_digest: bool


def read_facts(
    connection: psycopg.Connection[Any], mapping: ColumnMap, table: str, mirror: str
) -> Facts:
    """Read the catalogue; `table` and `mirror` are quoted. An absent table has no columns."""
    given = {"table": table, "mirror": mirror}
    found = connection.execute(
        "SELECT to_regclass(%(table)s) IS NOT NULL, to_regclass(%(mirror)s) IS NOT NULL", given
    ).fetchone()
    exists, is_prepared = found or (False, False)
    columns = connection.execute(_FACTS, given).fetchall() if exists else []
    indexes = connection.execute(_UNIQUE, given).fetchall() if exists else []
    # A cast to `character` without a length would cut to one.
    types = {name: "bpchar" if type_ == "character" else type_ for name, type_, _, _ in columns}
    by_name = {name: (identity, sequence) for name, _, identity, sequence in columns}
    identity, sequence = by_name.get(mapping.id_source, ("", None))
    encoding = connection.info.parameter_status("server_encoding")
    return Facts(
        types=types,
        id_type=types.get(mapping.id_source, "text"),
        unique={name: _our_column(mapping, definition) for name, definition in indexes},
        sequence=sequence,
        is_always=identity == "a",
        is_prepared=is_prepared,
        has_digest=connection.info.server_version >= HAS_INPUT_IS_VALID and encoding != "SQL_ASCII",
    )


def _our_column(mapping: ColumnMap, definition: str) -> str:
    """Return which column of ours a unique index is about: the first that it names."""
    columns = definition.rpartition(" USING ")[2]
    for name, mapped in mapping.by_name.items():
        if mapped.source and re.search(rf"\b{re.escape(mapped.source)}\b", columns):
            return name
    return "unknown"
