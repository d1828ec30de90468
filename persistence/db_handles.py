"""The handles that repository functions are given, one class per way to the database.

They send statements, send them again where the error table says so, and raise its errors.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections import Counter
from functools import cache, partial
from time import monotonic, perf_counter, sleep
from typing import TYPE_CHECKING, Any, NoReturn, Self, TypeVar

import psycopg

import observability
from errors import AppError, OutcomeUnknown
from persistence.db_errors import (
    RETRY_AFTER,
    Mode,
    Rule,
    Trouble,
    refusal,
    rule_of,
    trouble_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from persistence.db_connection import DeadlineConnection
    from persistence.db_pool import Connections
    from persistence.statements import Statement

T = TypeVar("T")

# The pause before what met a conflict is sent again: up to this times the number of the try.
CONFLICT_PAUSE_S = 0.02


@cache  # A look-up by labels costs more than to count.
def _statement_metrics(name: str, outcome: str) -> tuple[Any, Any]:
    return (
        observability.db_statements_total.labels(name, outcome),
        observability.db_statement_seconds_total.labels(name, outcome),
    )


class Conn(ABC):
    """What a repository function is given: it sends statements and does nothing else.

    `run` and `stream` are for persistence.statements; repositories call `Statement.one` and kin.
    """

    __slots__ = ("_connections", "_context", "_raw")

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._context = observability.current()
        self._raw: DeadlineConnection | None = None

    @abstractmethod
    def run(self, statement: Statement[Any], values: Sequence[Any]) -> psycopg.RawCursor[Any]:
        """Send one statement and return its cursor; raises what the error table says."""

    def stream(self, statement: Statement[Any], values: Sequence[Any], batch: int) -> Iterator[Any]:
        """Yield rows by a server-side cursor; only a snapshot has one."""
        del values, batch
        raise RuntimeError(f"Bug: {statement.name} is streamed outside of a snapshot")

    def twin(self) -> Conn:
        """Return another connection to the same moment; only a snapshot has one."""
        raise RuntimeError("Bug: only a snapshot has twins")

    def __enter__(self) -> Self:
        if self._context.holds_connection:
            raise RuntimeError("Bug: nested checkout: this request holds a connection already")
        self._raw = self._connections.check_out(self._context)
        self._context.holds_connection = True
        return self

    def __exit__(self, *_: object) -> None:
        self._context.holds_connection = False
        self._give_back()

    def _give_back(self) -> None:
        raw, self._raw = self._raw, None
        if raw is not None:
            self._connections.give_back(raw)

    @property
    def _connection(self) -> DeadlineConnection:
        if self._raw is None:
            raise RuntimeError("Bug: this handle was used outside of its with block")
        return self._raw

    def _send(self, statement: Statement[Any], values: Sequence[Any]) -> psycopg.RawCursor[Any]:
        context = self._context
        started, outcome = perf_counter(), "error"
        try:
            cursor = self._connection.send(statement, values)
            outcome = "ok"
        finally:
            took_s = perf_counter() - started
            context.db_statements += 1
            context.db_ms += took_s * 1000
            context.note(statement.name, took_s)
            sent, seconds = _statement_metrics(statement.name, outcome)
            sent.inc()
            seconds.inc(took_s)
        return cursor

    def _refuse_writes(self, statement: Statement[Any]) -> None:
        if statement.is_write:
            raise RuntimeError(f"Bug: {statement.name} writes; this handle only reads")

    def _look_up(self, mode: Mode, exc: psycopg.Error) -> tuple[Trouble, Rule]:
        """Return the trouble and its rule; what is none is raised. Broken connections go."""
        trouble = trouble_of(exc)
        if trouble is None:
            refused = refusal(exc)
            if refused is None:
                raise exc
            raise refused from exc
        rule = rule_of(mode, trouble, exc)
        if rule.drop:
            self._connection.close()
        if exc.sqlstate == psycopg.errors.ReadOnlySqlTransaction.sqlstate:
            self._connections.drain()
        return trouble, rule

    def _fail(self, mode: Mode, exc: psycopg.Error) -> NoReturn:
        """Raise what the error table calls it; for what cannot be sent again."""
        _, rule = self._look_up(mode, exc)
        self._give_up(rule.error, exc)

    def _give_up(self, error: type[AppError] | None, exc: psycopg.Error) -> NoReturn:
        if error is None:
            raise exc
        if error is OutcomeUnknown:
            observability.db_outcome_unknown_total.inc()
        raise error(headers=RETRY_AFTER) from exc

    def _is_late(self) -> bool:
        deadline = self._context.deadline
        return deadline is not None and deadline <= monotonic()

    def _run(
        self, statement: Statement[Any], values: Sequence[Any], mode: Mode
    ) -> psycopg.RawCursor[Any]:
        """Send a statement that is its own transaction, so that it alone can be sent again."""
        try:
            return self._send(statement, values)
        except psycopg.Error as exc:
            return self._again(partial(self._send, statement, values), mode, exc)

    def _again(self, send: Callable[[], T], mode: Mode, exc: psycopg.Error) -> T:
        """Send again as often as the table says.

        `doubt`: an earlier try may have been committed; that a later one is refused, or finds no
        connection, does not say that nothing was changed.
        """
        tries: Counter[Trouble] = Counter()
        doubt = False
        while True:
            trouble, rule = self._look_up(mode, exc)
            doubt = doubt or rule.error is OutcomeUnknown
            tries[trouble] += 1
            if tries[trouble] > rule.again or self._is_late():
                self._give_up(OutcomeUnknown if doubt else rule.error, exc)
            try:
                self._replace(trouble, tries[trouble])
                return send()
            except AppError as error:
                self._give_up(OutcomeUnknown if doubt else type(error), exc)
            except psycopg.Error as later:
                exc = later

    def _replace(self, trouble: Trouble, tried: int) -> None:
        """Give the connection back and get one that answers."""
        self._context.db_retries += 1
        observability.db_retries_total.labels(trouble.value).inc()
        self._give_back()
        if trouble is Trouble.CONFLICT:
            pause(tried)
        self._raw = self._connections.check_out(self._context, verify=True)


class ReadConn(Conn):
    """Any number of reads, each of which sees what is committed when it starts."""

    __slots__ = ()

    def run(self, statement: Statement[Any], values: Sequence[Any]) -> psycopg.RawCursor[Any]:
        """Send a read."""
        self._refuse_writes(statement)
        return self._run(statement, values, Mode.READ)


class WriteConn(Conn):
    """One write, committed when its statement ends (AW1)."""

    __slots__ = ("_used",)

    def __init__(self, connections: Connections) -> None:
        super().__init__(connections)
        self._used = False

    def run(self, statement: Statement[Any], values: Sequence[Any]) -> psycopg.RawCursor[Any]:
        """Send the write."""
        if self._used or not statement.is_write:
            raise RuntimeError(f"Bug: {statement.name}: db.write() takes exactly one write")
        self._used = True
        mode = Mode.KEYED_WRITE if statement.claims_key else Mode.WRITE
        return self._run(statement, values, mode)


def pause(tried: int) -> None:
    """Wait a little, longer each time and never as long as others do, holding nothing (AW2)."""
    sleep(random.uniform(0, CONFLICT_PAUSE_S * tried))  # noqa: S311 - no secret is made of it.
