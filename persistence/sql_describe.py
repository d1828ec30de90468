"""Asks a server what a statement takes and gives: PREPARE and DESCRIBE, without running it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from psycopg import errors, pq

from persistence.sql_files import bare

if TYPE_CHECKING:
    from psycopg.pq.abc import PGresult

    from persistence.db_connection import DeadlineConnection
    from persistence.sql_files import SqlFile

# After an outer join a column may be NULL, whatever its table says.
_OUTER = ("left", "right", "full", "rollup", "cube", "grouping")
_PARAMS = """
SELECT format_type(p.seen, NULL), to_regtype(p.declared) = p.seen
FROM unnest(%s::oid[], %s::text[]) WITH ORDINALITY AS p (seen, declared, place)
ORDER BY p.place
"""
_COLUMNS = """
SELECT d.name, format_type(d.type, NULL), NOT a.attnotnull
FROM unnest(%s::text[], %s::oid[], %s::oid[], %s::int[])
    WITH ORDINALITY AS d (name, type, "table", attnum, place)
LEFT JOIN pg_class AS c ON c.oid = d."table" AND c.relkind IN ('r', 'p')
LEFT JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = d.attnum
ORDER BY d.place
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of a result; `nullable` None: PostgreSQL cannot tell."""

    name: str
    type: str
    nullable: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """What a server makes of a file: `params` are types and whether the header says the same."""

    params: list[tuple[str, bool]]
    columns: list[Column]


def describe(raw: DeadlineConnection, file: SqlFile) -> Described:
    """Return what the server makes of a file; raises psycopg.Error if it refuses it."""
    result = _prepare(raw, file)
    seen = [result.param_type(i) for i in range(result.nparams)]
    declared = [param.type for param in file.params]
    params = raw.execute(_PARAMS, (seen, declared)).fetchall()
    fields = range(result.nfields)
    columns = raw.execute(
        _COLUMNS,
        (
            [(result.fname(i) or b"").decode() for i in fields],
            [result.ftype(i) for i in fields],
            [result.ftable(i) for i in fields],
            [result.ftablecol(i) for i in fields],
        ),
    ).fetchall()
    found = [Column(name=name, type=type_, nullable=null) for name, type_, null in columns]
    return Described(params=params, columns=_after_outer_joins(file, found))


def _after_outer_joins(file: SqlFile, columns: list[Column]) -> list[Column]:
    """Take back what tables say of NULL if the statement has an outer join."""
    if set(_OUTER).isdisjoint(bare(file.query).lower().split()):
        return columns
    return [replace(column, nullable=column.nullable or None) for column in columns]


def _prepare(raw: DeadlineConnection, file: SqlFile) -> PGresult:
    pgconn = raw.pgconn
    prepared = pgconn.prepare(b"", file.query.encode())
    if prepared.status != pq.ExecStatus.COMMAND_OK:
        raise errors.error_from_result(prepared)
    return pgconn.describe_prepared(b"")
