"""Runs `sql/checks`: each file is a rule and returns no row while the rule holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from persistence import sql_files
from persistence.statements import Statement

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from psycopg import Cursor

    from persistence.db import Database

BATCH = 1_000


class Check(Statement[tuple[Any, ...]]):
    """A rule; what its rows look like is its own matter."""

    __slots__ = ()

    def row_factory(
        self,
        cursor: Cursor[Any],  # noqa: ARG002  # psycopg's interface.
    ) -> Callable[[Sequence[Any]], tuple[Any, ...]]:
        """Take rows as they come."""
        return tuple


def broken_rows(db: Database, root: Path = sql_files.ROOT) -> Iterator[tuple[str, int]]:
    """Yield each rule's name and how many rows break it, all of one moment (a snapshot)."""
    with db.snapshot() as conn:
        for path in sorted(root.glob("checks/*.sql")):
            check = Check(sql_files.load(f"checks/{path.stem}", root), tuple)
            yield path.stem, sum(1 for _ in check.stream(conn, BATCH))
