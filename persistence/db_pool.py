"""Where connections come from: a pool that checks what it hands out and is soon well again."""

from __future__ import annotations

import os
import threading
from collections import deque
from contextlib import suppress
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg_pool import ConnectionPool, PoolTimeout, TooManyRequests
from psycopg_pool.pool import AddConnection, MaintenanceTask

from errors import DatabaseBusy, DatabaseUnavailable, DeadlineExceeded
from observability import db_pool_wait_seconds
from persistence.db_connection import PGBOUNCER, DbSettings, DeadlineConnection, configure
from persistence.db_errors import RETRY_AFTER, DeadlinePassed

if TYPE_CHECKING:
    from collections.abc import Callable

    from observability import Context

# AC5: a connection that was idle for longer is asked whether it lives before it is handed out.
IDLE_CHECK_S = 1.0
# psycopg_pool doubles its pauses up to the reconnect time; with this it tries twice within the
# default pool timeout, and is well half a second after the server is.
RECONNECT_PAUSE_MAX_S = 0.4


def _nothing() -> None:
    """Nobody wants to know."""


class _Stack(deque[DeadlineConnection]):
    popleft = deque.pop


class _Pool(ConnectionPool[DeadlineConnection]):
    """psycopg_pool's, but the connection that came back last goes out first.

    Its server process is the one that the processor's caches still hold: with one request at a
    time a read takes less than half of the CPU (measured). `_pool` is private: pinned and tested.
    """

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._pool = _Stack()

    def schedule_task(self, task: MaintenanceTask, delay: float) -> None:
        """Try to connect again sooner than psycopg_pool would."""
        if isinstance(task, AddConnection):
            delay = min(delay, RECONNECT_PAUSE_MAX_S)
        super().schedule_task(task, delay)


class Connections:
    """Hands out connections of one server and takes them back; opens no socket before `open`."""

    def __init__(self, url: str, settings: DbSettings) -> None:
        self.url = url
        self.settings = settings
        self._lock = threading.Lock()
        self._pool: _Pool | None = None
        self._pid = 0
        # Called when a connection broke: the server behind the next one may hold another history.
        self.lost: Callable[[], None] = _nothing
        # Who holds a connection now: while somebody does, a full pool is busy, not unreachable.
        self._held: set[DeadlineConnection] = set()

    @property
    def is_pooled(self) -> bool:
        """Whether PgBouncer is the pool, so that none is opened here."""
        return self.settings.pooler == PGBOUNCER

    def open(self) -> _Pool:
        """Open the pool, if it is not open; its connections come by and by (AC6)."""
        with self._lock:
            if self._pool is None:
                self._pool = self._open_pool()
            return self._pool

    def close(self) -> None:
        """Close all connections that nobody holds; held ones close when they come back."""
        with self._lock:
            if self._pool is not None:
                self._pool.close()

    def check_out(self, context: Context, *, verify: bool = False) -> DeadlineConnection:
        """Return a connection that keeps the request's deadline.

        `verify`: ask the server first, however short it was idle. Raises DatabaseBusy,
        DatabaseUnavailable or DeadlineExceeded; nothing was sent then.
        """
        started = monotonic()
        if self.is_pooled:
            return self._connect_for(context.deadline)
        try:
            while True:
                raw = self._take(started + self.settings.pool_timeout_ms / 1000, context.deadline)
                raw.deadline = context.deadline
                if not (verify or monotonic() - raw.returned_at > IDLE_CHECK_S):
                    return raw
                if self._is_alive(raw):
                    return raw
                self.give_back(raw)
        finally:
            waited_s = monotonic() - started
            context.db_wait_ms += waited_s * 1000
            db_pool_wait_seconds.observe(waited_s)

    def give_back(self, raw: DeadlineConnection) -> None:
        """Return a connection to the pool, which replaces it if it is closed."""
        if raw.broken:
            self.lost()
        if self.is_pooled:
            raw.close()
            return
        self._held.discard(raw)
        raw.deadline = None
        raw.returned_at = monotonic()
        self.open().putconn(raw)

    def drain(self) -> None:
        """Replace all connections: the server behind them is not the one that takes writes."""
        if not self.is_pooled:
            self.open().drain()

    def connect(self) -> DeadlineConnection:
        """Return a new connection outside of the pool; raises DatabaseUnavailable."""
        with suppress(psycopg.OperationalError):
            return self._connect()
        try:
            return self._connect()
        except psycopg.OperationalError as exc:
            self.lost()
            raise DatabaseUnavailable(headers=RETRY_AFTER) from exc

    def stats(self) -> dict[str, int]:
        """Return `size`, `available` and `waiting` of the pool; PgBouncer counts its own."""
        if self.is_pooled:
            return {"size": 0, "available": 0, "waiting": 0}
        stats = self.open().get_stats()
        return {
            "size": stats["pool_size"],
            "available": stats["pool_available"],
            "waiting": stats["requests_waiting"],
        }

    def _take(self, until: float, deadline: float | None) -> DeadlineConnection:
        now = monotonic()
        if deadline is not None and deadline <= now:
            raise DeadlineExceeded(headers=RETRY_AFTER)
        wait_s = max(min(until, deadline or until) - now, 0.001)
        pool = self._pool or self.open()
        if self._pid != os.getpid():
            raise RuntimeError(f"Bug: the pool was opened by process {self._pid}, before a fork")
        try:
            raw = pool.getconn(wait_s)
        except (PoolTimeout, TooManyRequests) as exc:
            self._renew(pool)
            late = deadline is not None and deadline <= monotonic()
            busy = DatabaseBusy if self._held else DatabaseUnavailable
            raise (DeadlineExceeded if late else busy)(headers=RETRY_AFTER) from exc
        except psycopg.OperationalError as exc:
            raise DatabaseUnavailable(headers=RETRY_AFTER) from exc
        self._held.add(raw)
        return raw

    def _connect_for(self, deadline: float | None) -> DeadlineConnection:
        """PgBouncer pools itself: there every checkout is a new connection to it."""
        raw = self.connect()
        raw.deadline = deadline
        return raw

    def _is_alive(self, raw: DeadlineConnection) -> bool:
        try:
            return raw.is_alive()
        except DeadlinePassed as exc:
            self.give_back(raw)
            raise DeadlineExceeded(headers=RETRY_AFTER) from exc

    def _renew(self, pool: _Pool) -> None:
        """Replace a pool that has given up to connect.

        psycopg_pool counts clients that waited in vain as waiting until a connection comes; once
        they are too many it refuses the others, and does not even try to connect for them.
        """
        with self._lock:
            if self._pool is pool and pool.get_stats()["pool_size"] == 0:
                self._pool = self._open_pool()
                pool.close(timeout=0)

    def _open_pool(self) -> _Pool:
        settings = self.settings
        pool = _Pool(
            self.url,
            connection_class=DeadlineConnection,
            kwargs=self._connect_arguments(),
            min_size=settings.pool_size,
            max_waiting=settings.pool_max_waiting,
            timeout=settings.pool_timeout_ms / 1000,
            max_lifetime=settings.lifetime_s,
            reconnect_timeout=settings.reconnect_timeout_s,
            configure=partial(configure, settings=settings),
            open=True,
        )
        self._pid = os.getpid()
        return pool

    def _connect_arguments(self) -> dict[str, Any]:
        return {
            "autocommit": True,
            "connect_timeout": self.settings.connect_timeout_s,
            "fallback_application_name": "strongroom",
        }

    def _connect(self) -> DeadlineConnection:
        raw = DeadlineConnection.connect(self.url, **self._connect_arguments())
        try:
            configure(raw, self.settings)
        except psycopg.Error:
            raw.close()
            raise
        return raw
