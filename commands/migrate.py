"""`flask migrate`: brings the database to the state of sql/migrations, and tells how it stands.

Exit codes: 0 done or clean, 1 a statement failed, 2 usage or configuration, 3 a finding, 4 could
not look or finish, 6 history differs, 7 the lint refused, 8 a pooler is in between.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import click

from commands.migrate_frame import BareDryRun, DefaultGroup, Frame, Outcome, framed
from persistence import migration_files, migration_inspect, migration_schema, migrator
from persistence.migration_lint import lint as lint_files
from persistence.migration_rehearsal import preview, rehearse

if TYPE_CHECKING:
    from persistence.migration_connection import MigrationSettings
    from persistence.migration_plan import FileState
    from persistence.migration_rehearsal import PlannedFile

FINDING, DIFFERS, REFUSED = 3, 6, 7

reason_option = click.option("--reason", required=True, help="Why; it stays in the log.")


@click.group(cls=DefaultGroup)
def migrate() -> None:
    """Bring the database to the state of sql/migrations (`apply` is the default)."""


@migrate.command(cls=BareDryRun)
@click.option("--to", type=int, help="Stop after this version.")
@click.option("--dry-run", type=click.Choice(["print", "execute"]), help="Change nothing.")
@click.option("--max-hold-s", default=5.0, show_default=True, help="For --dry-run=execute.")
@click.option("--allow-out-of-order", is_flag=True, help="Apply files below the highest applied.")
@click.option("--allow-destructive", is_flag=True, help="The second key of what destroys.")
@click.option("--wait-s", type=float, help="Longest wait for another runner (MIGRATE_WAIT_S).")
@framed
def apply(
    frame: Frame, dry_run: str | None, max_hold_s: float, wait_s: float | None, **options: Any
) -> None:
    """Apply what is pending."""

    def work(settings: MigrationSettings) -> Outcome:
        if wait_s is not None:
            settings = replace(settings, wait_s=wait_s)
        if dry_run == "print":
            return _preview(settings, **options)
        if dry_run == "execute":
            done = [asdict(file) for file in rehearse(settings, max_hold_s=max_hold_s, **options)]
            lines = [_rehearsed_line(file) for file in done] or ["nothing to do"]
            return Outcome({"rehearsed": done}, lines)
        report = migrator.apply_all(settings, **options)
        lines = [f"applied {took.name} in {took.ms} ms" for took in report.applied]
        lines += [f"waiting for an extension: {name}" for name in report.waiting]
        lines += [f"ahead of this release: {name}" for name in report.ahead]
        return Outcome(
            report.as_dict(), [*(lines or ["nothing to do"]), f"grants: {report.grants}"]
        )

    frame.run(work)


def _preview(
    settings: MigrationSettings,
    *,
    to: int | None,
    allow_out_of_order: bool,
    allow_destructive: bool,
) -> Outcome:
    files, findings = preview(settings, to=to, allow_out_of_order=allow_out_of_order)
    refused = any(f.refused(allow_destructive=allow_destructive) for f in findings)
    data = {
        "files": [
            file._asdict() | {"statements": [s._asdict() for s in file.statements]}
            for file in files
        ],
        "findings": [finding._asdict() for finding in findings],
    }
    lines = [line for file in files for line in _file_lines(file)] or ["nothing to do"]
    return Outcome(data, lines + [str(f) for f in findings], REFUSED if refused else 0)


def _file_lines(file: PlannedFile) -> list[str]:
    head = f"{file.name}: {'one transaction' if file.transactional else 'statement by statement'}"
    return [head] + [
        f"  {s.line}: {s.text}" + "".join(f"\n      {mode} on {table}" for table, mode in s.locks)
        for s in file.statements
    ]


def _rehearsed_line(file: dict[str, Any]) -> str:
    locks = ", ".join(f"{mode} on {table}" for table, mode in sorted(file["locks"].items()))
    parts = [f"{file['name']}: {file['ms']} ms", f"locks: {locks or 'none'}"]
    parts += [f"rewrites {', '.join(file['rewritten'])}"] * bool(file["rewritten"])
    parts += [f"not executed: {file['not_executed']}"] * bool(file["not_executed"])
    return "; ".join(parts)


@migrate.command()
@click.option("--check", is_flag=True, help="Exit 3 if files are pending, 6 if history differs.")
@framed
def status(frame: Frame, check: bool) -> None:
    """Say of every file whether it is applied, when, where and by whom."""

    def work(settings: MigrationSettings) -> Outcome:
        found = migration_inspect.status(settings)
        kinds = {state.state for state in found}
        code = DIFFERS if kinds & {"changed", "missing"} else 0
        code = code or (FINDING if kinds & {"pending", "partial"} else 0)
        data = {"files": [_state_data(state) for state in found]}
        return Outcome(data, [_state_line(state) for state in found], code if check else 0)

    frame.run(work)


def _state_data(state: FileState) -> dict[str, Any]:
    data: dict[str, Any] = {"version": state.version, "name": state.name, "state": state.state}
    if state.row:
        row = asdict(state.row)
        for key in ("version", "name", "checksum", "statement_hashes"):
            del row[key]
        data |= row
    return data


def _state_line(state: FileState) -> str:
    if state.row is None:
        return f"{state.state:9} {state.name}"
    row = state.row
    count = f" {row.statements_done} of {row.statements_total} statements" if row.partial else ""
    return (
        f"{state.state:9} {state.name}{count} {row.started_at:%Y-%m-%dT%H:%M:%SZ}"
        f" {row.duration_ms} ms, {row.applied_by} on {row.host}, app {row.app_version}"
    )


@migrate.command()
@click.option("--schema", is_flag=True, help="Compare the database with sql/schema.sql too.")
@framed
def verify(frame: Frame, schema: bool) -> None:
    """Find changed and missing files, gaps, invalid indexes and constraints left NOT VALID."""

    def work(settings: MigrationSettings) -> Outcome:
        faults = migration_inspect.verify(settings)
        delta = migration_schema.schema_diff(settings) if schema else ""
        code = DIFFERS if faults else FINDING if delta else 0
        lines = [*faults, *delta.splitlines()] or ["history and schema are sound"]
        return Outcome({"faults": faults, "schema_diff": delta}, lines, code)

    frame.run(work)


@migrate.command()
@click.argument("version", type=int, required=False)
@framed
def diff(frame: Frame, version: int | None) -> None:
    """Show what changed in applied files since."""

    def work(settings: MigrationSettings) -> Outcome:
        delta = migration_inspect.diff(settings, version)
        return Outcome({"diff": delta}, delta.splitlines(), DIFFERS if delta else 0)

    frame.run(work)


@migrate.command()
@click.argument("version", type=int)
@reason_option
@framed
def accept(frame: Frame, version: int, reason: str) -> None:
    """Record the file on disk as the applied text: a comment was mended."""

    def work(settings: MigrationSettings) -> Outcome:
        changed = migrator.accept(settings, version, reason)
        line = f"{version}: {'accepted' if changed else 'is what was applied already'}"
        return Outcome({"version": version, "accepted": changed}, [line])

    frame.run(work)


@migrate.command()
@click.option("--to", type=int, required=True, help="The last version that is there already.")
@reason_option
@framed
def baseline(frame: Frame, to: int, reason: str) -> None:
    """Record files as applied without running them: their tables exist."""

    def work(settings: MigrationSettings) -> Outcome:
        names = migrator.baseline(settings, to, reason)
        return Outcome({"baseline": names}, [f"recorded {name}" for name in names])

    frame.run(work)


@migrate.command()
@framed
def lint(frame: Frame) -> None:
    """Refuse what is not additive; needs no database."""

    def work() -> Outcome:
        files = migration_files.load(frame.folder)
        found = lint_files(files)
        # What destroys is fine here with its reason; its second key belongs to `apply`.
        refused = [finding for finding in found if finding.refused(allow_destructive=True)]
        lines = [*map(str, found), f"{len(files)} files, {len(refused)} refused findings"]
        data = {"files": len(files), "findings": [finding._asdict() for finding in found]}
        return Outcome(data, lines, REFUSED if refused else 0)

    frame.finish(work)


@migrate.command()
@framed
def schema(frame: Frame) -> None:
    """Write sql/schema.sql: all files applied to a scratch database."""

    def work(settings: MigrationSettings) -> Outcome:
        text = migration_schema.scratch_dump(settings)
        migration_schema.SNAPSHOT.write_text(text, "utf-8")
        return Outcome({"file": str(migration_schema.SNAPSHOT)}, [str(migration_schema.SNAPSHOT)])

    frame.run(work, admin=True)


@migrate.command()
@click.argument("name")
@framed
def new(frame: Frame, name: str) -> None:
    """Make the next file, with its number and header."""

    def work() -> Outcome:
        path = migration_files.create(frame.folder, name)
        return Outcome({"file": str(path)}, [str(path)])

    frame.finish(work)
