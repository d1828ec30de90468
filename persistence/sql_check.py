"""Compares the statement files with a server's view of them and with the repos' row types."""

from __future__ import annotations

import dataclasses
import typing
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import psycopg

from persistence import sql_describe, sql_files, sql_plans, sql_rules, statements

if TYPE_CHECKING:
    from pathlib import Path

    from persistence.db_connection import DeadlineConnection
    from persistence.sql_describe import Column

_JSON = (dict, list, Any)
# What psycopg's binary loaders make of a type. What is missing here arrives as bytes or Decimal.
PYTHON_TYPES: dict[str, tuple[Any, ...]] = {
    "boolean": (bool,),
    "bytea": (bytes,),
    "smallint": (int,),
    "integer": (int,),
    "bigint": (int,),
    "text": (str,),
    "name": (str,),
    "character": (str,),
    "character varying": (str,),
    "uuid": (UUID,),
    "date": (date,),
    "timestamp with time zone": (datetime,),
    "interval": (timedelta,),
    "json": _JSON,
    "jsonb": _JSON,
}
# Repos import types for their annotations only, so the names are missing at run time.
_NAMES = {"UUID": UUID, "date": date, "datetime": datetime, "timedelta": timedelta}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One file breaks one rule; `text` names the rule."""

    file: str
    text: str


def check(
    raw: DeadlineConnection, name: str, *, plans: bool, root: Path = sql_files.ROOT
) -> list[Finding]:
    """Return what is wrong with `sql/<name>.sql` on the schema that `raw` sees."""
    try:
        file = sql_files.load(name, root)
        texts = sql_rules.faults(file) + _described_faults(raw, file)
        if plans and file.role is None:  # The application may not ask about the owner's.
            texts += sql_plans.faults(raw, file)
    except sql_files.SqlFileError as exc:
        texts = exc.faults
    except psycopg.Error as exc:
        texts = [f"the server refuses it: {exc.sqlstate} {exc.diag.message_primary}"]
    return [Finding(file=name, text=text) for text in texts]


def _described_faults(raw: DeadlineConnection, file: sql_files.SqlFile) -> list[str]:
    seen = sql_describe.describe(raw, file)
    faults = [
        f"{param.name} is {param.type} in the header, {type_} to the server (AQ3)"
        for param, (type_, same) in zip(file.params, seen.params, strict=True)
        if not same
    ]
    if file.returns == "count":
        return faults + ["it gives rows, its header says count (AQ4)"] * bool(seen.columns)
    return faults + _row_faults(file, seen.columns)


def _row_faults(file: sql_files.SqlFile, columns: list[Column]) -> list[str]:
    statement = statements.REGISTRY.get(file.name)
    if statement is None:
        return ["no repo function uses it (AI8)"]
    wanted = _wanted(statement.row, columns)
    names = [column.name for column in columns]
    if names != list(wanted):
        return [f"its columns are {names}, its row type has {list(wanted)} (AQ8)"]
    faults = [_column_fault(column, wanted[column.name], file.present) for column in columns]
    return [fault for fault in faults if fault]


def _wanted(row: Any, columns: list[Column]) -> dict[str, Any]:
    """Return the types of a row type by name; a scalar is one column of whatever name."""
    if not dataclasses.is_dataclass(row):
        return {column.name: row for column in columns[:1]} or {"": row}
    return typing.get_type_hints(row, localns=_NAMES)


def _column_fault(column: Column, wanted: Any, present: frozenset[str]) -> str | None:
    if not _holds(wanted, column.type):
        return f"column {column.name} is {column.type}, its row type says {wanted} (AQ8, AQ9)"
    nullable = column.nullable and column.name not in present
    if nullable and not _is_optional(wanted) and wanted is not Any:
        return f"column {column.name} may be NULL, its row type says never (AQ8)"
    if nullable is False and _is_optional(wanted):
        return f"column {column.name} is never NULL, its row type says it may be (AQ8)"
    return None


def _holds(wanted: Any, type_: str) -> bool:
    kinds = [each for each in typing.get_args(wanted) if each is not type(None)]
    kind = kinds[0] if _is_optional(wanted) else wanted
    if type_.endswith("[]"):
        elements = typing.get_args(kind) if typing.get_origin(kind) is list else ()
        return len(elements) == 1 and _holds(elements[0], type_.removesuffix("[]"))
    if type_ in {"json", "jsonb"}:
        kind = typing.get_origin(kind) or kind
    return kind in PYTHON_TYPES.get(type_, ())


def _is_optional(wanted: Any) -> bool:
    return type(None) in typing.get_args(wanted)
