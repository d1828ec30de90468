"""Applies one file: whole with its history row, or statement by statement (M12 to M14).

What commits together is a Step. Each runs on a fresh connection, so nothing that it sets can
leak, and each can be looked up in history when the connection failed at its COMMIT.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from psycopg import errors

from observability import log
from persistence.migration_connection import connection
from persistence.migration_errors import Unfinished
from persistence.migration_execution import LOCK_ERRORS, OutcomeUncertainError, commit, execute
from persistence.migration_history import History
from persistence.migration_indexes import build_index
from persistence.migration_reading import read, runs_alone

if TYPE_CHECKING:
    from typing import Any

    from persistence.migration_connection import Connection, MigrationSettings
    from persistence.migration_files import MigrationFile
    from persistence.migration_history import HistoryRow
    from persistence.migration_lock import RunnerLock
    from persistence.migration_splitter import Statement

RECONNECT_POLL_S = 0.2


class Applied(NamedTuple):
    """What one file took. `resumed_at` is the statement that an earlier run stopped at, or 1."""

    version: int
    name: str
    ms: int
    statements: int
    resumed_at: int
    lock_retries: int


def apply_file(
    settings: MigrationSettings, lock: RunnerLock, file: MigrationFile, row: HistoryRow | None
) -> Applied:
    """Apply `file`, or the rest of it; raises MigrationError, Unfinished, GateRefused."""
    if file.lock_timeout_ms is not None:
        settings = replace(settings, lock_timeout_ms=file.lock_timeout_ms)
    start, total, done = time.monotonic(), len(file.statements), 0
    if file.transactional:
        steps = [Step(file, 0, total)]
    else:
        done = _open_row(settings, file, row)
        steps = [Step(file, n, n + 1) for n in range(done, total)]
    retries = sum(_perform(settings, lock, step) for step in steps)
    took = Applied(file.version, file.name, _ms(start), total, done + 1, retries)
    log.info("migrate.applied", **took._asdict())
    return took


def _open_row(settings: MigrationSettings, file: MigrationFile, row: HistoryRow | None) -> int:
    """Record that a no-transaction file has begun, or its new text; return how far it got (M14)."""
    with connection(settings) as conn:
        history = History(conn, settings)
        if row is None:
            history.insert(file, done=0)
            return 0
        history.rewrite(file, row, done=row.statements_done)
        return row.statements_done


@dataclass(frozen=True, slots=True)
class Step:
    """Statements that commit together: from number `first` up to, not with, `end`; from 0."""

    file: MigrationFile
    first: int
    end: int

    def run(self, conn: Connection, settings: MigrationSettings, retries: int) -> None:
        """Run the statements and count them; raises what `execute` and `commit` raise."""
        history, start = History(conn, settings), time.monotonic()
        statements = self.file.statements[self.first : self.end]
        if not self.file.transactional and runs_alone(statements[0]):
            # A crash before the count runs it again: the lint let only harmless ones pass.
            _run_alone(conn, settings, self.file, statements[0])
            statements = ()
        conn.execute("BEGIN")
        self._claim(history)
        for statement in statements:
            execute(conn, self.file, statement)
        history.advance(self.file.version, self.end, retries=retries, ms=_ms(start))
        if self.end == len(self.file.statements):
            history.log("apply", self.file.version, name=self.file.name)
        commit(conn, self.file)

    def _claim(self, history: History) -> None:
        """Take the history row first: the backend of a killed runner may still be committing it."""
        try:
            if self.file.transactional:
                history.insert(self.file, done=0)
            elif not history.claim(self.file.version, self.first):
                raise OutcomeUncertainError
        except errors.UniqueViolation as error:
            raise OutcomeUncertainError from error

    def happened(self, history: History) -> bool:
        """Tell, by what is committed, whether the step is done."""
        row = history.rows().get(self.file.version)
        return row is not None and row.statements_done >= self.end


def _run_alone(
    conn: Connection, settings: MigrationSettings, file: MigrationFile, statement: Statement
) -> None:
    # CONCURRENTLY waits for old transactions; a lock_timeout there leaves an invalid index.
    conn.execute("SET lock_timeout = 0")
    (reading,) = read(statement)
    if reading.kind == "create index concurrently":
        build_index(conn, settings, file, statement, reading)
    else:
        execute(conn, file, statement)
    conn.execute(f"SET lock_timeout = {settings.lock_timeout_ms}")


def _perform(settings: MigrationSettings, lock: RunnerLock, step: Step) -> int:
    """Run a step until it is committed; return how often a lock was not got (M13)."""
    blockers: list[dict[str, Any]] = []
    for retry in range(settings.lock_retries + 1):
        if retry:
            _pause(settings, step, retry, blockers)
        lock.check()
        try:
            with (
                connection(settings) as conn,
                lock.watching(conn, settings.lock_timeout_ms) as watch,
            ):
                step.run(conn, settings, retry)
        except LOCK_ERRORS:
            blockers = watch.blockers or blockers
        except OutcomeUncertainError:
            if _look_up(settings, step):
                return retry
        else:
            return retry
    raise Unfinished(
        f"{step.file.name}: a lock was not got in {settings.lock_retries + 1} tries of "
        f"{settings.lock_timeout_ms} ms: {_names(blockers)}",
        blockers=blockers,
    )


def _pause(
    settings: MigrationSettings, step: Step, retry: int, blockers: list[dict[str, Any]]
) -> None:
    """Wait, longer each time: many short waits for a lock hold up readers less than a long one."""
    most_s = min(settings.retry_max_s, settings.retry_min_s * 2**retry)
    pause_s = random.uniform(settings.retry_min_s, most_s)  # noqa: S311  # Jitter is no secret.
    log.warning(
        "migrate.lock_retry",
        file=step.file.name,
        retry=retry,
        pause_s=round(pause_s, 3),
        blockers=blockers,
    )
    time.sleep(pause_s)


def _look_up(settings: MigrationSettings, step: Step) -> bool:
    """Return whether the step was committed after all; wait for a server that is restarting."""
    give_up = time.monotonic() + settings.retry_max_s
    while True:
        try:
            with connection(settings) as conn:
                happened = step.happened(History(conn, settings))
        except Unfinished:
            if time.monotonic() >= give_up:
                raise
            time.sleep(RECONNECT_POLL_S)
        else:
            log.warning("migrate.commit_looked_up", file=step.file.name, committed=happened)
            return happened


def _names(blockers: list[dict[str, Any]]) -> str:
    found = [f"pid {b['pid']} ({b['application'] or b['role']}: {b['query']})" for b in blockers]
    return "blocked by " + (", ".join(found) or "nobody who was seen")


def _ms(start: float) -> int:
    return round((time.monotonic() - start) * 1000)
