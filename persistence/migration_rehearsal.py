"""Says what a run would do: from the files alone, or by doing it and rolling back (M21)."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from persistence.migration_connection import connection
from persistence.migration_errors import Unfinished
from persistence.migration_execution import LOCK_ERRORS, answered, execute
from persistence.migration_files import load
from persistence.migration_lint import lint, refuse
from persistence.migration_lock import runner_lock
from persistence.migration_plan import FileState, plan, survey, versions
from persistence.migration_reading import read, runs_alone

if TYPE_CHECKING:
    from collections.abc import Sequence

    from persistence.migration_connection import Connection, MigrationSettings
    from persistence.migration_files import MigrationFile
    from persistence.migration_lint import Finding
    from persistence.migration_lock import RunnerLock
    from persistence.migration_splitter import Statement

# From weakest to strongest; ACCESS SHARE is every reader's, so nobody minds it.
MODES = (
    "RowShareLock",
    "RowExclusiveLock",
    "ShareUpdateExclusiveLock",
    "ShareLock",
    "ShareRowExclusiveLock",
    "ExclusiveLock",
    "AccessExclusiveLock",
)
_TABLES = """
SELECT c.oid, c.relname, pg_relation_filenode(c.oid) FROM pg_class AS c
WHERE c.relkind IN ('r', 'p', 'm') AND c.relnamespace = to_regnamespace(quote_ident(%s))
"""
_LOCKS = """
SELECT relation, mode FROM pg_locks
WHERE pid = pg_backend_pid() AND locktype = 'relation' AND granted AND mode <> 'AccessShareLock'
"""


class PlannedStatement(NamedTuple):
    """One statement to come: what it does, and which tables that are there before it locks how."""

    number: int
    line: int
    kinds: list[str]
    text: str
    locks: list[tuple[str, str]]


class PlannedFile(NamedTuple):
    """One file to come."""

    version: int
    name: str
    transactional: bool
    statements: list[PlannedStatement]


@dataclass(slots=True, kw_only=True)
class Rehearsed:
    """What one file did before it was rolled back. `locks`: table -> strongest mode newly taken."""

    version: int
    name: str
    ms: int = 0
    locks: dict[str, str] = field(default_factory=dict)
    rewritten: list[str] = field(default_factory=list)
    not_executed: list[int] = field(default_factory=list)


def preview(
    settings: MigrationSettings, *, to: int | None = None, allow_out_of_order: bool = False
) -> tuple[list[PlannedFile], list[Finding]]:
    """Return the files to come and what the lint finds in them; takes no lock, raises as `plan`."""
    files = load(settings.folder)
    with answered(), connection(settings) as conn:
        found = survey(conn, settings, files)
    chosen = plan(found, to=to, allow_out_of_order=allow_out_of_order)
    return (
        [_planned(state.file, _first(state)) for state in chosen if state.file],
        [finding for finding in lint(files) if finding.version in versions(chosen)],
    )


def _first(state: FileState) -> int:
    return state.row.statements_done if state.row else 0


def _planned(file: MigrationFile, first: int) -> PlannedFile:
    made: set[str] = set()
    statements = [_planned_statement(statement, made) for statement in file.statements]
    return PlannedFile(file.version, file.name, file.transactional, statements[first:])


def _planned_statement(statement: Statement, made: set[str]) -> PlannedStatement:
    readings = read(statement)
    made.update(r.table for r in readings if r.kind == "create table")
    locks = {lock for reading in readings for lock in reading.locks() if lock[0] not in made}
    first_line = statement.text.splitlines()[0]
    kinds = [reading.kind for reading in readings]
    return PlannedStatement(statement.number, statement.line, kinds, first_line, sorted(locks))


def rehearse(
    settings: MigrationSettings,
    *,
    to: int | None = None,
    allow_out_of_order: bool = False,
    allow_destructive: bool = False,
    max_hold_s: float = 5,
) -> list[Rehearsed]:
    """Run the files to come in one transaction under the runner lock, and roll it back.

    Raises as `apply_all` does. The locks are real: after `max_hold_s` it gives up (Unfinished).
    """
    files = load(settings.folder)
    findings = lint(files)
    with answered(), runner_lock(settings) as lock, connection(settings) as conn:
        found = survey(conn, settings, files)
        chosen = plan(found, to=to, allow_out_of_order=allow_out_of_order)
        refuse(findings, versions(chosen), allow_destructive=allow_destructive)
        return _Rehearsal(conn, settings, lock, max_hold_s).run(chosen)


class _Rehearsal:
    def __init__(
        self, conn: Connection, settings: MigrationSettings, lock: RunnerLock, max_hold_s: float
    ) -> None:
        self.conn, self.settings, self.lock = conn, settings, lock
        self.max_hold_s = max_hold_s
        self.give_up = time.monotonic() + max_hold_s

    def run(self, chosen: Sequence[FileState]) -> list[Rehearsed]:
        with self.lock.watching(self.conn, self.settings.lock_timeout_ms) as watch:
            try:
                self.conn.execute("BEGIN")
                return [self._file(s.file, _first(s)) for s in chosen if s.file]
            except LOCK_ERRORS as error:
                raise Unfinished(
                    f"a lock was not got in {self.settings.lock_timeout_ms} ms",
                    blockers=watch.blockers,
                ) from error
            except Unfinished as error:
                if time.monotonic() < self.give_up:
                    raise
                raise Unfinished(f"cancelled: it held locks for {self.max_hold_s} s") from error

    def _file(self, file: MigrationFile, first: int) -> Rehearsed:
        before, held, start = self._tables(), self._locks(), time.monotonic()
        done = Rehearsed(version=file.version, name=file.name)
        for statement in file.statements[first:]:
            if runs_alone(statement):
                done.not_executed.append(statement.number)
            else:
                left_ms = max(1, round((self.give_up - time.monotonic()) * 1000))
                self.conn.execute(f"SET LOCAL statement_timeout = {left_ms}")
                execute(self.conn, file, statement)
        done.ms = round((time.monotonic() - start) * 1000)
        after = self._tables()
        done.rewritten = [
            name for oid, (name, node) in before.items() if after.get(oid, (name, node))[1] != node
        ]
        for oid, mode in self._locks() - held:
            if oid in before:
                name = before[oid][0]
                done.locks[name] = max(done.locks.get(name, mode), mode, key=MODES.index)
        return done

    def _tables(self) -> dict[int, tuple[str, Any]]:
        rows = self.conn.execute(_TABLES, [self.settings.schema])
        return {oid: (name, node) for oid, name, node in rows}

    def _locks(self) -> set[tuple[int, str]]:
        return {(relation, mode) for relation, mode in self.conn.execute(_LOCKS)}
