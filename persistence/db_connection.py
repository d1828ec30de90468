"""A connection that keeps the request's deadline, and the settings every session starts with."""

from __future__ import annotations

from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar

import psycopg
from psycopg.types.numeric import Int8BinaryDumper

from persistence.db_errors import DeadlinePassed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from psycopg.abc import PQGen
    from psycopg.pq.abc import PGconn

    from persistence.statements import Statement

T = TypeVar("T")

PGBOUNCER = "pgbouncer"

# How often psycopg looks for Ctrl-C while it waits; its own default, which it keeps private.
INTERVAL_S = 0.1
# A cursor holds its last result: one that fetched many rows is not kept for the next time.
KEPT_ROWS_MAX = 100
# AC4: statements with their variants fit; a contract test counts them.
PREPARED_MAX = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class DbSettings:
    """The settings of the access layer; config.py fills them from DB_*, which it documents."""

    pool_size: int = 8
    pool_timeout_ms: int = 500
    pool_max_waiting: int = 16
    connect_timeout_s: int = 2
    reconnect_timeout_s: int = 30
    lifetime_s: int = 1800
    lock_timeout_ms: int = 1000
    statement_timeout_ms: int = 3000
    transaction_timeout_ms: int = 4000
    idle_transaction_timeout_ms: int = 4000
    client_check_interval_ms: int = 500
    request_deadline_ms: int = 5000
    pooler: str = "none"

    def __post_init__(self) -> None:
        """Refuse an order in which the outer limit would end what the inner one should (AC2)."""
        limits = (
            self.lock_timeout_ms,
            self.statement_timeout_ms,
            self.transaction_timeout_ms,
            self.request_deadline_ms,
        )
        if list(limits) != sorted(set(limits)):
            raise ValueError(f"lock < statement < transaction < deadline does not hold: {limits}")


class DeadlineConnection(psycopg.Connection[Any]):
    """A psycopg connection that waits no longer than until `deadline` (AC8, OS3).

    `deadline` is time.monotonic() seconds, or None: no end. A stopped server ignores its own
    timeouts, so the client keeps this one, and closes the socket when it has passed.
    """

    def __init__(self, pgconn: PGconn, *args: Any) -> None:
        super().__init__(pgconn, *args)
        self.deadline: float | None = None
        self.returned_at = monotonic()
        self._cursors: dict[Statement[Any], psycopg.RawCursor[Any]] = {}
        # AC3: one dumper for int, or each of int2, int4, int8 and numeric is one more variant.
        self.adapters.register_dumper(int, Int8BinaryDumper)

    def wait(self, gen: PQGen[T], interval: float = INTERVAL_S, timeout: float | None = None) -> T:
        """Run a psycopg generator to its end; raises DeadlinePassed."""
        if self.deadline is None:
            return super().wait(gen, interval, timeout)
        left_s = self.deadline - monotonic()
        if left_s <= 0:
            raise DeadlinePassed(sent=False)
        try:
            return super().wait(gen, interval, left_s)
        except psycopg.errors._WaitTimeout as exc:  # noqa: SLF001 - pinned, see AC8.
            self.close()
            raise DeadlinePassed(sent=True) from exc

    def send(self, statement: Statement[Any], values: Sequence[Any]) -> psycopg.RawCursor[Any]:
        """Execute a statement, prepared after its first time, and return the cursor with its rows.

        One cursor per statement is kept: a new one costs as much as the statement itself.
        """
        cursor = self._cursors.get(statement)
        if cursor is None:
            cursor = psycopg.RawCursor(self, row_factory=statement.row_factory)
            self._cursors[statement] = cursor
        cursor.execute(statement.query, values, binary=True)
        if cursor.rowcount > KEPT_ROWS_MAX:
            del self._cursors[statement]
        return cursor

    def is_alive(self) -> bool:
        """Ask the server for nothing, and tell whether it answered."""
        try:
            self.execute("", prepare=False)
        except DeadlinePassed:
            raise
        except psycopg.Error:
            self.close()
            return False
        return True


# A request finds its rows by keys (AQ7): its plans go by index from the first row on, and are made
# once a connection. Left alone, a plan made while a table was small reads all of it later on, and
# the first five executions are planned anew (2 ms each; measured: 12 to 14 % fewer pairs a second).
INDEX_PLANS = {
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "jit": "off",
}
# What reads a whole book needs the other plans.
ANY_PLANS = {
    "plan_cache_mode": "auto",
    "enable_seqscan": "on",
    "enable_bitmapscan": "on",
    "enable_hashjoin": "on",
    "enable_mergejoin": "on",
}

# `is_local`: for this transaction only. synchronous_commit is raised to on, never lowered; what an
# older server does not know (transaction_timeout before 17) is left out.
_SET = b"""
SELECT
    set_config('synchronous_commit', CASE current_setting('synchronous_commit')
        WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on' END, %(is_local)s),
    (SELECT count(set_config(s.name, s.value, %(is_local)s))
     FROM unnest(%(names)s::text[], %(values)s::text[]) AS s (name, value)
     WHERE current_setting(s.name, true) IS NOT NULL)
"""


def configure(connection: DeadlineConnection, settings: DbSettings) -> None:
    """Give a new connection its session settings in one statement (AC1).

    Behind PgBouncer a session is not ours: nothing is set or prepared, the role has the settings.
    """
    if settings.pooler == PGBOUNCER:
        connection.prepare_threshold = None
        return
    connection.prepare_threshold = 0
    connection.prepared_max = PREPARED_MAX
    values: dict[str, str | int] = {
        "TimeZone": "UTC",
        "search_path": "public",
        "default_transaction_isolation": "read committed",
        "lock_timeout": settings.lock_timeout_ms,
        "statement_timeout": settings.statement_timeout_ms,
        "transaction_timeout": settings.transaction_timeout_ms,
        "idle_in_transaction_session_timeout": settings.idle_transaction_timeout_ms,
        "client_connection_check_interval": settings.client_check_interval_ms,
    }
    set_all(connection, {**values, **INDEX_PLANS})


def lift_limits(connection: DeadlineConnection, idle_timeout_ms: int = 0) -> None:
    """Let the transaction that was begun take as long, and be planned, as it needs.

    It may wait for its client as long as `idle_timeout_ms`, 0: for ever.
    """
    limits = {
        "statement_timeout": 0,
        "transaction_timeout": 0,
        "idle_in_transaction_session_timeout": idle_timeout_ms,
    }
    set_all(connection, {**limits, **ANY_PLANS}, is_local=True)


def set_all(
    connection: DeadlineConnection, values: Mapping[str, str | int], *, is_local: bool = False
) -> None:
    """Set server settings by name, in one round trip."""
    params = {
        "names": list(values),
        "values": [str(value) for value in values.values()],
        "is_local": is_local,
    }
    connection.execute(_SET, params, prepare=False)
