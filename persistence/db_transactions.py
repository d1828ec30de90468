"""Handles of several statements: a transaction, and a snapshot of one moment."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Self

import psycopg
from psycopg import sql
from psycopg.pq import TransactionStatus

from persistence.db_connection import lift_limits
from persistence.db_errors import Mode
from persistence.db_handles import Conn

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from persistence.db_pool import Connections
    from persistence.statements import Statement

_SAME_MOMENT = sql.SQL("SET TRANSACTION SNAPSHOT {}")


class TransactionConn(Conn):
    """READ COMMITTED from BEGIN to COMMIT; what fails is rolled back whole."""

    __slots__ = ("_patient",)

    def __init__(self, connections: Connections, *, patient: bool = False) -> None:
        super().__init__(connections)
        self._patient = patient

    def run(self, statement: Statement[Any], values: Sequence[Any]) -> psycopg.RawCursor[Any]:
        """Send a statement; it is never sent again by itself."""
        try:
            return self._send(statement, values)
        except psycopg.Error as exc:
            self._fail(Mode.TRANSACTION, exc)

    def __enter__(self) -> Self:
        super().__enter__()
        try:
            self._begin()
        except BaseException:
            super().__exit__()
            raise
        return self

    def __exit__(self, kind: object = None, *_: object) -> None:
        try:
            self._commit() if kind is None else self._roll_back()
        finally:
            super().__exit__()

    def _begin(self) -> None:
        try:
            self._execute("BEGIN")
        except psycopg.Error as exc:
            self._again(partial(self._execute, "BEGIN"), Mode.READ, exc)
        if self._patient:
            lift_limits(self._connection)

    def _execute(self, command: str) -> None:
        self._connection.execute(command.encode(), prepare=False)

    def _commit(self) -> None:
        raw = self._connection
        if raw.info.transaction_status is TransactionStatus.INERROR:
            self._roll_back()
            raise RuntimeError("Bug: a database error was swallowed inside of a transaction")
        try:
            raw.commit()
        except psycopg.Error as exc:
            if raw.info.transaction_status is not TransactionStatus.IDLE:
                raw.close()
            self._fail(Mode.COMMIT, exc)

    def _roll_back(self) -> None:
        """Roll back; a connection that cannot is closed, which does the same."""
        raw = self._connection
        try:
            raw.rollback()
        except psycopg.Error:
            raw.close()


class SnapshotConn(Conn):
    """REPEATABLE READ, READ ONLY on its own connection, without a deadline: replay, exports."""

    __slots__ = ("_idle_timeout_ms", "_of", "_streams")

    def __init__(
        self, connections: Connections, idle_timeout_ms: int = 0, of: str | None = None
    ) -> None:
        """`of`: the name of the snapshot to look at, None for a new one."""
        super().__init__(connections)
        self._idle_timeout_ms = idle_timeout_ms
        self._of = of
        self._streams = 0

    def twin(self) -> SnapshotConn:
        """Return another connection to the same moment; to be entered while this one is open."""
        (name,) = self._connection.execute(b"SELECT pg_export_snapshot()").fetchone() or ("",)
        return SnapshotConn(self._connections, self._idle_timeout_ms, of=name)

    def run(self, statement: Statement[Any], values: Sequence[Any]) -> psycopg.RawCursor[Any]:
        """Send a read of the snapshot."""
        self._refuse_writes(statement)
        try:
            return self._send(statement, values)
        except psycopg.Error as exc:
            self._fail(Mode.TRANSACTION, exc)

    def stream(self, statement: Statement[Any], values: Sequence[Any], batch: int) -> Iterator[Any]:
        """Yield rows by a server-side cursor, `batch` rows a round trip."""
        self._refuse_writes(statement)
        self._streams += 1
        self._context.db_statements += 1
        cursor = psycopg.RawServerCursor(
            self._connection,
            f"{statement.name} {self._streams}",
            row_factory=statement.row_factory,
        )
        cursor.itersize = batch
        try:
            with cursor:
                cursor.execute(statement.query, values, binary=True)
                yield from cursor
        except psycopg.Error as exc:
            self._fail(Mode.TRANSACTION, exc)

    def __enter__(self) -> Self:
        self._raw = raw = self._connections.connect()
        try:
            raw.execute(b"BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY", prepare=False)
            if self._of is not None:
                raw.execute(_SAME_MOMENT.format(self._of), prepare=False)
            lift_limits(raw, self._idle_timeout_ms)
        except psycopg.Error as exc:
            raw.close()
            self._fail(Mode.TRANSACTION, exc)
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()
