"""What the rules of the lint know when they judge a statement: this file and those before it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from persistence.migration_files import MigrationFile
    from persistence.migration_reading import Reading


class Known:
    """What the files so far have made."""

    def __init__(self) -> None:
        self.routines: dict[str, tuple[str, str]] = {}
        # CHECK (column IS NOT NULL): which column each constraint proves, and which are proven.
        self.proofs: dict[tuple[str, str | None], str] = {}
        self.proven: set[tuple[str, str]] = set()


class Scene:
    """One file being read, statement by statement."""

    def __init__(self, file: MigrationFile, known: Known) -> None:
        self.file = file
        self.known = known
        self.made: set[str] = set()
        self.added: set[tuple[str, str | None]] = set()
        self.live_triggers: dict[tuple[str, str], Reading] = {}
        # Tables that have no primary key yet: the file may add it last, as its newest index.
        self.keyless: dict[str, Reading] = {}
