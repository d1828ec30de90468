"""Compares files with history: what each file's state is, and what may be applied (M20)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from persistence.migration_errors import HistoryDiffers, Misconfigured
from persistence.migration_history import History

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from persistence.migration_connection import Connection, MigrationSettings
    from persistence.migration_files import MigrationFile
    from persistence.migration_history import HistoryRow


class FileState(NamedTuple):
    """A version as files and history see it.

    `state` is applied, baseline, pending, waiting (for an extension), partial, changed, missing
    (no file, though a higher one is there) or ahead (of the highest file: a newer release).
    """

    version: int
    name: str
    state: str
    file: MigrationFile | None
    row: HistoryRow | None


def survey(
    conn: Connection, settings: MigrationSettings, files: Sequence[MigrationFile]
) -> list[FileState]:
    """Return the state of every version as the database has it now; nothing is written."""
    history = History(conn, settings)
    extensions = [name for file in files for name in file.extensions]
    return states(files, history.rows(), history.lacking(extensions))


def states(
    files: Sequence[MigrationFile], rows: Mapping[int, HistoryRow], lacking: frozenset[str]
) -> list[FileState]:
    """Return the state of every version, in order."""
    by_version = {file.version: file for file in files}
    highest = max(by_version, default=0)
    found = []
    for version in sorted(by_version.keys() | rows.keys()):
        file, row = by_version.get(version), rows.get(version)
        if file:
            name, state = file.name, _state(file, row, lacking)
        else:
            name, state = rows[version].name, "missing" if version < highest else "ahead"
        found.append(FileState(version, name, state, file, row))
    return found


def _state(file: MigrationFile, row: HistoryRow | None, lacking: frozenset[str]) -> str:
    if row is None:
        return "waiting" if lacking.intersection(file.extensions) else "pending"
    if row.partial:
        done = row.statements_done
        same = file.statement_hashes[:done] == row.statement_hashes[:done]
        return "partial" if same and not file.transactional else "changed"
    if row.checksum != file.checksum:
        return "changed"
    return row.kind


def plan(
    found: Sequence[FileState], *, to: int | None = None, allow_out_of_order: bool = False
) -> list[FileState]:
    """Return what is to be applied, up to version `to`; raises HistoryDiffers, Misconfigured."""
    differ = [s for s in found if s.state in {"changed", "missing"}]
    if not allow_out_of_order:
        differ += out_of_order(found)
    if differ:
        raise HistoryDiffers(
            "files and history differ: "
            + ", ".join(f"{s.name} ({explain(s)})" for s in sorted(differ)),
            files=[{"version": s.version, "name": s.name, "state": s.state} for s in differ],
        )
    if to is not None and to not in {s.version for s in found if s.file}:
        raise Misconfigured(f"no file has version {to}")
    todo = [s for s in found if s.state in {"partial", "pending"}]
    return [s for s in todo if to is None or s.version <= to]


def versions(chosen: Sequence[FileState]) -> frozenset[int]:
    """Return the versions of the states."""
    return frozenset(state.version for state in chosen)


def out_of_order(found: Sequence[FileState]) -> list[FileState]:
    """Return what is pending below the highest applied version, save what may have waited (M3)."""
    highest = max((s.version for s in found if s.row), default=0)
    below = [s for s in found if s.state == "pending" and s.version < highest]
    return [s for s in below if s.file and not s.file.extensions]


def explain(state: FileState) -> str:
    """Say in words what is wrong with a state that `plan` refuses."""
    return {
        "changed": "changed after it was applied: `diff` shows how, `accept` takes a comment",
        "missing": "applied, but its file is gone",
    }.get(state.state, "pending below the highest applied version")
