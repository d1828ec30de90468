"""CREATE INDEX CONCURRENTLY that can run again: it leaves invalid indexes behind (M15).

IF NOT EXISTS alone calls a broken index success, and one that is still being built looks just
as broken: both are told apart here.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

from psycopg import sql
from psycopg.rows import class_row

from observability import log
from persistence.migration_errors import GateRefused, MigrationError
from persistence.migration_execution import execute

if TYPE_CHECKING:
    from persistence.migration_connection import Connection, MigrationSettings
    from persistence.migration_files import MigrationFile
    from persistence.migration_reading import Reading
    from persistence.migration_splitter import Statement

POLL_S = 0.5

_FIND = """
SELECT n.nspname AS schema, c.relname AS name, i.indisvalid AS valid,
    i.indrelid = t.oid AS same_table, pg_get_indexdef(c.oid) AS definition,
    p.pid AS builder, p.phase, p.lockers_total, p.lockers_done, p.current_locker_pid AS locker
FROM pg_class AS t
JOIN pg_namespace AS n ON n.oid = t.relnamespace
JOIN pg_class AS c ON c.relnamespace = n.oid
JOIN pg_index AS i ON i.indexrelid = c.oid
LEFT JOIN pg_stat_progress_create_index AS p
    ON p.index_relid = c.oid AND p.datname = current_database()
WHERE t.oid = to_regclass(%s) AND c.relname = %s
"""


class Found(NamedTuple):
    """An index of the wanted name. `builder` is the pid of who is building it, or None."""

    schema: str
    name: str
    valid: bool
    same_table: bool
    definition: str
    builder: int | None
    phase: str | None
    lockers_total: int | None
    lockers_done: int | None
    locker: int | None


def build_index(
    conn: Connection,
    settings: MigrationSettings,
    file: MigrationFile,
    statement: Statement,
    reading: Reading,
) -> None:
    """Leave a valid index as the statement says; raises GateRefused if it is another one."""
    found = _settled(conn, settings, reading)
    if found and found.valid:
        if not _same(conn, found, statement, reading):
            raise GateRefused(
                f"{file.name}, line {statement.line}: {found.name} is there and is another index: "
                f"{found.definition}"
            )
        log.info("migrate.index_there", file=file.name, index=found.name)
        return
    if found:
        log.warning("migrate.index_rebuilt", file=file.name, index=found.name)
        name = sql.Identifier(found.schema, found.name)
        conn.execute(sql.SQL("DROP INDEX CONCURRENTLY IF EXISTS {}").format(name))
    execute(conn, file, statement)
    built = _find(conn, reading)
    if not built or not built.valid:
        raise MigrationError(f"{file.name}, line {statement.line}: the index is not valid")


def _settled(conn: Connection, settings: MigrationSettings, reading: Reading) -> Found | None:
    """Return the index once nobody is building it any more."""
    told = float("-inf")
    while (found := _find(conn, reading)) and found.builder is not None:
        if time.monotonic() - told >= settings.notice_s:
            log.warning("migrate.index_being_built", **found._asdict())
            told = time.monotonic()
        time.sleep(POLL_S)
    return found


def _find(conn: Connection, reading: Reading) -> Found | None:
    with conn.cursor(row_factory=class_row(Found)) as cursor:
        # An index lies in the schema of its table.
        return cursor.execute(_FIND, [reading.table, reading.facts["name"].strip('"')]).fetchone()


def _same(conn: Connection, found: Found, statement: Statement, reading: Reading) -> bool:
    """Ask the server: build the same index on an empty copy, and compare the definitions."""
    if not found.same_table:
        return False
    conn.execute("BEGIN")
    conn.execute(f"CREATE TEMP TABLE strongroom_copy (LIKE {reading.table})")
    unique = reading.facts.get("unique", "")
    name = sql.Identifier(found.name).as_string(conn)
    conn.execute(
        f"CREATE {unique}INDEX {name} ON pg_temp.strongroom_copy {_after_table(statement)}"
    )
    row = conn.execute("SELECT pg_get_indexdef(to_regclass(%s))", [f"pg_temp.{name}"]).fetchone()
    conn.execute("ROLLBACK")
    return row is not None and _bare(row[0]) == _bare(found.definition)


def _after_table(statement: Statement) -> str:
    """Return what follows the table's name: method, keys and the rest."""
    tokens = statement.tokens
    words: list[Any] = [token.word for token in tokens]
    place = words.index("on") + 1
    place += words[place] == "only"
    place += 2 if tokens[place + 1].text == "." else 0
    return statement.text[tokens[place].end - tokens[0].start :]


def _bare(definition: str) -> tuple[str, str]:
    """Return the definition without the table, whose name differs: (before ON, after it)."""
    head, _, tail = definition.partition(" ON ")
    return head, tail.partition(" USING ")[2]
