"""Asks a server how it would find the rows of a statement: by index, from the tenant on (AQ7).

The tables of a fresh schema are empty, where one plan costs as much as another. So what counts is
not which index the plan took, but whether one fits the conditions that it puts on the table.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from psycopg.rows import class_row

if TYPE_CHECKING:
    from collections.abc import Iterator

    from persistence.db_connection import DeadlineConnection
    from persistence.sql_files import SqlFile

TENANT = "tenant_id"
# GENERIC_PLAN (PostgreSQL 16) plans with parameters unknown, as a prepared statement ends up.
_EXPLAIN = "EXPLAIN (GENERIC_PLAN, VERBOSE, FORMAT JSON)\n"
_INDEXES = b"""
SELECT
    i.indrelid::regclass::text AS "table",
    i.indisunique AS is_unique,
    array_agg(coalesce(a.attname::text, '') ORDER BY k.place) AS columns
FROM pg_index AS i
CROSS JOIN unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, place)
LEFT JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
JOIN pg_class AS c ON c.oid = i.indrelid
WHERE c.relnamespace = 'public'::regnamespace AND k.place <= i.indnkeyatts
GROUP BY i.indexrelid, i.indrelid, i.indisunique
"""
_SCANS = {"Seq Scan", "Index Scan", "Index Only Scan", "Bitmap Heap Scan", "Tid Scan"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """An index of a table of ours; an expression is an empty column name."""

    table: str
    is_unique: bool
    columns: list[str]

    def fits(self, named: set[str], scan: str | None) -> bool:
        """Tell whether conditions on `named` columns lead to few rows, or the rows of a tenant."""
        if self.is_unique and named.issuperset(self.columns):
            return True
        leading = 1 if scan == "tenant" else 2
        return self.columns[0] == TENANT and named.issuperset(self.columns[:leading])


def faults(raw: DeadlineConnection, file: SqlFile) -> list[str]:
    """Return which tables the generic plan reads otherwise than the rule and the header allow."""
    if file.scan == "all":
        return []
    indexes = raw.cursor(row_factory=class_row(Index)).execute(_INDEXES).fetchall()
    plan = explain(raw, file)
    conditions = " ".join(_conditions(plan))
    found = []
    for scan in _scans(plan):
        table = scan["Relation Name"]
        named = _named(conditions, scan["Alias"])
        own = [index for index in indexes if index.table == table]
        fits = any(index.fits(named, file.scan) for index in own)
        if own and (scan["Node Type"] == "Seq Scan" or not fits):
            found.append(f"{table} is read by no index from tenant_id and one column on (AQ7)")
    return found


def explain(raw: DeadlineConnection, file: SqlFile) -> dict[str, Any]:
    """Return the generic plan, without reading whole tables where an index can be used."""
    raw.execute(b"SET enable_seqscan = off", prepare=False)
    row = raw.execute((_EXPLAIN + file.query).encode(), prepare=False).fetchone()
    raw.execute(b"RESET enable_seqscan", prepare=False)
    plan: dict[str, Any] = row[0][0]["Plan"] if row else {}
    return plan


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("Plans", []):
        yield from _nodes(child)


def _scans(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    return (node for node in _nodes(plan) if node["Node Type"] in _SCANS)


def _conditions(plan: dict[str, Any]) -> Iterator[str]:
    for node in _nodes(plan):
        yield from (text for key, text in node.items() if key.endswith((" Cond", "Filter")))


def _named(conditions: str, alias: str) -> set[str]:
    """Return the columns of `alias` that are compared as they are; VERBOSE names the alias."""
    column = rf"\b{re.escape(alias)}\.(\w+)"
    rows = " ".join(re.findall(r"ROW\([^()]*\)", conditions))
    found = re.findall(rf"{column}\)?(?:::\w+)? (?:[<>]?=|[<>](?!>)|IS NULL)", conditions)
    found += re.findall(rf"[<>=] {column}(?=\))", conditions)
    return {*found, *re.findall(column, rows)}
