"""What can end a migration run early: one class per exit code of the migration page."""

from __future__ import annotations

from typing import Any, ClassVar


class MigrationError(Exception):
    """A statement failed, or the runner has a bug. `details` is what `--json` shows besides."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, **details: Any) -> None:
        self.details = details
        super().__init__(message)


class Misconfigured(MigrationError):
    """A file, a setting or an argument cannot be used as it is; nothing was touched."""

    exit_code = 2


class GateRefused(MigrationError):
    """What was asked does not fit what was found: nothing was changed."""

    exit_code = 3


class Unfinished(MigrationError):
    """Not looked or not finished: no server, no lock in time, or a signal. Run it again."""

    exit_code = 4


class HistoryDiffers(MigrationError):
    """The files and the applied history contradict each other (M20)."""

    exit_code = 6


class LintRefused(MigrationError):
    """A pending file holds what is not on the lint's allow-list (M30)."""

    exit_code = 7


class PoolerInBetween(MigrationError):
    """A connection pooler answers instead of PostgreSQL (M11)."""

    exit_code = 8
