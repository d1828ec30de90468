"""A service's own code over legacy's rows, in a transaction that is rolled back afterwards.

So the rules stand in one place only: what they decided is then written to legacy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from errors import DuplicateReference

if TYPE_CHECKING:
    from persistence.db import Conn


class RolledBack(Exception):
    """Ends a rehearsal that came to its end: the answer, and the row as it would be."""

    def __init__(self, answer: Any, row: Any) -> None:
        self.answer = answer
        self.row = row
        super().__init__("rehearsed")


class Aborted(Exception):
    """A value that has to be unique ended the transaction."""


class RehearsalDb:
    """A database whose every handle is the rehearsal's transaction."""

    def __init__(self, conn: Conn) -> None:
        self._conn = conn

    def read(self) -> _Borrowed:
        """Lend the transaction."""
        return _Borrowed(self._conn)

    write = transaction = read


class _Borrowed:
    def __init__(self, conn: Conn) -> None:
        self._conn = conn

    def __enter__(self) -> Conn:
        return self._conn

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, DuplicateReference):
            raise Aborted from error  # The transaction is over: nobody can ask it why.
