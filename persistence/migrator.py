"""The migration runner: brings a database to the state that sql/migrations describes.

`apply_all` is what `flask migrate`, the start of the embedded server and the tests call. Every
function here raises MigrationError or one of its children, each with its exit code.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from observability import log
from persistence.migration_apply import Applied, apply_file
from persistence.migration_connection import MigrationSettings, connection
from persistence.migration_errors import GateRefused, MigrationError, Misconfigured
from persistence.migration_execution import answered
from persistence.migration_files import load
from persistence.migration_grants import apply_grants, read_grants
from persistence.migration_history import History
from persistence.migration_lint import lint, refuse
from persistence.migration_lock import runner_lock
from persistence.migration_plan import FileState, plan, survey, versions
from persistence.migration_reading import read

if TYPE_CHECKING:
    from collections.abc import Sequence

    from persistence.migration_connection import Connection
    from persistence.migration_files import MigrationFile

__all__ = ["MigrationError", "MigrationSettings", "Report", "accept", "apply_all", "baseline"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a run did. `ahead` and `waiting` are names; `grants` is "applied" or why not."""

    applied: list[Applied] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)
    ahead: list[str] = field(default_factory=list)
    pending: list[str] = field(default_factory=list)
    grants: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return it for `--json`."""
        return asdict(self) | {"applied": [took._asdict() for took in self.applied]}


def apply_all(
    settings: MigrationSettings,
    *,
    to: int | None = None,
    allow_out_of_order: bool = False,
    allow_destructive: bool = False,
) -> Report:
    """Apply what is pending, up to version `to`; grants follow the last file.

    Waits `settings.wait_s` for another runner. Raises before any statement: Misconfigured,
    PoolerInBetween, HistoryDiffers, LintRefused; later Unfinished, GateRefused, MigrationError.
    """
    files, grants = load(settings.folder), read_grants(settings)
    findings = lint(files)

    def todo(conn: Connection) -> list[FileState]:
        found = survey(conn, settings, files)
        chosen = plan(found, to=to, allow_out_of_order=allow_out_of_order)
        refuse(findings, versions(chosen), allow_destructive=allow_destructive)
        return chosen

    with answered():
        # Once without the lock, so that a refusal does not have to wait for it.
        with connection(settings) as conn:
            todo(conn)
        with runner_lock(settings) as lock:
            with connection(settings) as conn:
                History(conn, settings).make()
                chosen = todo(conn)
            applied = [apply_file(settings, lock, s.file, s.row) for s in chosen if s.file]
            return _report(settings, files, applied, grants)


def _report(
    settings: MigrationSettings,
    files: Sequence[MigrationFile],
    applied: list[Applied],
    grants: str | None,
) -> Report:
    with connection(settings) as conn:
        found = survey(conn, settings, files)
        names = {
            kind: [state.name for state in found if state.state == kind]
            for kind in ("pending", "ahead", "waiting")
        }
        # An old release does not know what a newer one has granted, nor does `--to` know all.
        if names["pending"] or names["ahead"]:
            outcome = "skipped: this is not the last version"
        else:
            outcome = apply_grants(conn, grants)
    return Report(applied=applied, grants=outcome, **names)


def accept(settings: MigrationSettings, version: int, reason: str) -> bool:
    """Record the file on disk as the applied text; False if it is that already.

    The old text stays in the log. Raises GateRefused if the version was not applied whole.
    """
    files = load(settings.folder)
    with answered(), runner_lock(settings), connection(settings) as conn:
        state = _state_of(survey(conn, settings, files), version)
        if state.file is None or state.row is None or state.row.partial:
            raise GateRefused(
                f"{state.name} is {state.state}: only an applied file can be accepted"
            )
        if state.state != "changed":
            return False
        history = History(conn, settings)
        conn.execute("BEGIN")
        history.log(
            "accept",
            version,
            reason=reason,
            old_body=history.body(version),
            old_checksum=state.row.checksum.hex(),
            statements_changed=state.row.statement_hashes != state.file.statement_hashes,
        )
        history.rewrite(state.file, state.row, done=len(state.file.statements))
        conn.execute("COMMIT")
    log.info("migrate.accepted", file=state.name, reason=reason)
    return True


def _state_of(found: Sequence[FileState], version: int) -> FileState:
    for state in found:
        if state.version == version:
            return state
    raise Misconfigured(f"there is no version {version}")


def baseline(settings: MigrationSettings, to: int, reason: str) -> list[str]:
    """Record files up to `to` as applied without running them; return their names.

    Raises GateRefused unless every table that they create is there.
    """
    files = load(settings.folder)
    with answered(), runner_lock(settings), connection(settings) as conn:
        history = History(conn, settings)
        history.make()
        chosen = plan(survey(conn, settings, files), to=to, allow_out_of_order=True)
        new = [state.file for state in chosen if state.file and state.row is None]
        absent = [table for file in new for table in _tables(file) if not _exists(conn, table)]
        if absent:
            raise GateRefused(f"not there: {', '.join(absent)}", missing_tables=absent)
        conn.execute("BEGIN")
        for file in new:
            history.insert(file, kind="baseline", done=len(file.statements))
            history.log("baseline", file.version, name=file.name, reason=reason)
        conn.execute("COMMIT")
    return [file.name for file in new]


def _tables(file: MigrationFile) -> list[str]:
    readings = [reading for statement in file.statements for reading in read(statement)]
    return [reading.table for reading in readings if reading.kind == "create table"]


def _exists(conn: Connection, table: str) -> bool:
    return conn.execute("SELECT to_regclass(%s)", [table]).fetchone() != (None,)
