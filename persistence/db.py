"""The four ways to the database: read, write, transaction, snapshot.

`with db.write() as conn: row = payments.capture(conn, ...)`: the statement's end is its COMMIT.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, TypeVar

import psycopg

import observability
from errors import Contention
from persistence.db_connection import DbSettings
from persistence.db_errors import Trouble, trouble_of
from persistence.db_handles import Conn, ReadConn, WriteConn, pause
from persistence.db_pool import Connections
from persistence.db_transactions import SnapshotConn, TransactionConn

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Conn", "Database", "DbSettings"]

T = TypeVar("T")

CONFLICT_RERUNS = 3


class Database:
    """One PostgreSQL server. Made at boot without a socket; connects at `open` or at first use."""

    def __init__(self, url: str, settings: DbSettings) -> None:
        self.connections = Connections(url, settings)

    def open(self) -> None:
        """Begin to connect, as each server process does after its fork (AC6)."""
        if not self.connections.is_pooled:
            self.connections.open()

    def when_lost(self, tell: Callable[[], None]) -> None:
        """Call `tell` whenever a connection breaks; the next server may hold another history."""
        self.connections.lost = tell

    def close(self) -> None:
        """Close the pool; as a process or a command ends."""
        self.connections.close()

    def read(self) -> Conn:
        """Reads of what is committed, one round trip each; may be sent again."""
        return ReadConn(self.connections)

    def write(self) -> Conn:
        """Exactly one `kind: write` statement; sent again only where that is harmless."""
        return WriteConn(self.connections)

    def transaction(self, *, patient: bool = False) -> Conn:
        """Several statements, committed together at the end of the block; two round trips more.

        `patient`: each may take as long as it needs; for commands, not for requests.
        """
        return TransactionConn(self.connections, patient=patient)

    def snapshot(self, idle_timeout_ms: int = 0) -> Conn:
        """A read-only view of one moment on an own connection; no deadline, `stream` works.

        `idle_timeout_ms`: the server ends it when nothing was asked for so long; 0: never.
        """
        return SnapshotConn(self.connections, idle_timeout_ms)

    def rerun(self, use_case: Callable[[], T]) -> T:
        """Run a use case with a transaction in it, again after a deadlock or serialization failure.

        Nothing was committed then. Raises Contention after three more tries, or at the deadline.
        """
        for tried in range(1, CONFLICT_RERUNS + 1):
            try:
                return use_case()
            except Contention as exc:
                if not _is_conflict(exc):
                    raise
                observability.current().db_retries += 1
                observability.db_retries_total.labels(Trouble.CONFLICT.value).inc()
            pause(tried)
        return use_case()

    def stats(self) -> dict[str, int]:
        """Return `size`, `available` and `waiting` of the pool."""
        return self.connections.stats()


def _is_conflict(exc: Contention) -> bool:
    """Tell whether a rerun may help: not if it waited for a lock in vain, nor at the deadline."""
    deadline = observability.current().deadline
    if deadline is not None and deadline <= monotonic():
        return False
    cause = exc.__cause__
    return isinstance(cause, psycopg.Error) and trouble_of(cause) is Trouble.CONFLICT
