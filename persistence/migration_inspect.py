"""Looks at files, history and schema without changing anything: status, verify, diff."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from persistence.migration_connection import MigrationSettings, connection
from persistence.migration_errors import Misconfigured
from persistence.migration_execution import answered
from persistence.migration_files import load
from persistence.migration_history import History
from persistence.migration_plan import FileState, explain, out_of_order, survey

if TYPE_CHECKING:
    from persistence.migration_connection import Connection

_INVALID_INDEXES = """
SELECT c.relname FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid
WHERE NOT i.indisvalid AND c.relnamespace = to_regnamespace(quote_ident(%s))
ORDER BY c.relname
"""
_NOT_VALID = """
SELECT conrelid::regclass || '.' || conname FROM pg_constraint
WHERE NOT convalidated AND connamespace = to_regnamespace(quote_ident(%s))
ORDER BY 1
"""


def status(settings: MigrationSettings) -> list[FileState]:
    """Return the state of every version; the history tables need not exist."""
    files = load(settings.folder)
    with answered(), connection(settings) as conn:
        return survey(conn, settings, files)


def verify(settings: MigrationSettings) -> list[str]:
    """Return what is wrong, in words; an empty list if history and schema are sound."""
    files = load(settings.folder)
    with answered(), connection(settings) as conn:
        found = survey(conn, settings, files)
        wrong = [s for s in found if s.state in {"changed", "missing"}] + out_of_order(found)
        faults = [f"{s.name}: {explain(s)}" for s in sorted(wrong)]
        faults += [f"{s.name}: stopped on its way" for s in found if s.state == "partial"]
        if not any(state.row for state in found):
            faults.append("there is no history: nothing was ever applied")
        faults += [f"{name}: invalid index" for name in _names(conn, _INVALID_INDEXES, settings)]
        faults += [f"{name}: still NOT VALID" for name in _names(conn, _NOT_VALID, settings)]
    return faults


def _names(conn: Connection, query: str, settings: MigrationSettings) -> list[str]:
    return [str(name) for (name,) in conn.execute(query, [settings.schema])]


def diff(settings: MigrationSettings, version: int | None = None) -> str:
    """Return the unified diff from what was applied to the files, "" if they are the same."""
    files = load(settings.folder)
    with answered(), connection(settings) as conn:
        found = survey(conn, settings, files)
        if version is not None and version not in {state.version for state in found}:
            raise Misconfigured(f"there is no version {version}")
        history = History(conn, settings)
        return "".join(
            _unified(state, history.body(state.version))
            for state in found
            if state.row and state.file and version in {None, state.version}
        )


def _unified(state: FileState, applied: str) -> str:
    body = state.file.body if state.file else ""
    lines = difflib.unified_diff(
        applied.splitlines(keepends=True),
        body.splitlines(keepends=True),
        f"applied/{state.name}.sql",
        f"files/{state.name}.sql",
    )
    return "".join(line if line.endswith("\n") else f"{line}\n" for line in lines)
