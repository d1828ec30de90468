"""One runner at a time, and who stands in its way (M10, M13)."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.rows import dict_row

from observability import log
from persistence.migration_connection import connection
from persistence.migration_errors import Unfinished

if TYPE_CHECKING:
    from collections.abc import Iterator

    from persistence.migration_connection import Connection, MigrationSettings

# "SRMG": the first half of the advisory lock's key; the second is the schema's hash.
LOCK_CLASS = 0x53524D47
POLL_MIN_S, POLL_MAX_S = 0.2, 1.0

_HOLDER = """
SELECT a.pid, a.application_name AS runner, a.client_addr::text AS address,
       a.backend_start::text AS since
FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid)
WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 2 AND l.classid = %s::oid
  AND l.objid = (hashtext(%s)::bigint & 4294967295)::oid
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
_BLOCKERS = """
SELECT a.pid, a.usename AS role, a.application_name AS application, a.client_addr::text AS address,
       a.state, a.xact_start::text AS since, left(a.query, 200) AS query
FROM unnest(pg_blocking_pids(%s)) AS b (pid) JOIN pg_stat_activity AS a USING (pid)
"""


class RunnerLock:
    """The lock of the only runner, held by a connection that does nothing else."""

    def __init__(self, conn: Connection, settings: MigrationSettings) -> None:
        self._conn = conn
        self._settings = settings

    def check(self) -> None:
        """Raise Unfinished if the lock went away with its connection."""
        try:
            self._conn.execute("SELECT")
        except psycopg.OperationalError as error:
            raise Unfinished("the runner lock was lost: its connection ended") from error

    @contextlib.contextmanager
    def watching(self, conn: Connection, lock_timeout_ms: int) -> Iterator[Watch]:
        """Look, while the block runs, for whom `conn` waits; a long wait is told."""
        look_s = min(POLL_MAX_S, lock_timeout_ms / 4000) if lock_timeout_ms else POLL_MAX_S
        watch = Watch(self._conn, conn.info.backend_pid, look_s, self._settings.notice_s)
        watch.start()
        try:
            yield watch
        finally:
            watch.stop()


class Watch(threading.Thread):
    """Asks every `look_s` who blocks `pid`: afterwards it is too late to ask."""

    def __init__(self, conn: Connection, pid: int, look_s: float, notice_s: float) -> None:
        super().__init__(name="migrate-watch", daemon=True)
        self.blockers: list[dict[str, Any]] = []
        self._conn, self._pid = conn, pid
        self._look_s, self._notice_s = look_s, notice_s
        self._done = threading.Event()

    def run(self) -> None:
        """Look until stopped, or until the connection is lost: RunnerLock.check tells of that."""
        told = time.monotonic()
        with contextlib.suppress(psycopg.Error):
            while not self._done.wait(self._look_s):
                blockers = _rows(self._conn, _BLOCKERS, self._pid)
                self.blockers = blockers or self.blockers
                if blockers and time.monotonic() - told >= self._notice_s:
                    log.warning("migrate.waiting", blockers=blockers)
                    told = time.monotonic()

    def stop(self) -> None:
        """End the thread; its findings stay."""
        self._done.set()
        self.join()


@contextlib.contextmanager
def runner_lock(settings: MigrationSettings) -> Iterator[RunnerLock]:
    """Hold the runner lock, or raise Unfinished after `wait_s` and name the holder.

    It polls: a waiter that blocks holds a snapshot, for which the holder's CREATE INDEX
    CONCURRENTLY would wait in turn.
    """
    with connection(settings) as conn:
        give_up = time.monotonic() + settings.wait_s
        pause_s = POLL_MIN_S
        while not _try(conn, settings.schema):
            if time.monotonic() >= give_up:
                raise _in_use(conn, settings)
            time.sleep(min(pause_s, max(0.0, give_up - time.monotonic())))
            pause_s = min(POLL_MAX_S, pause_s * 1.5)
        yield RunnerLock(conn, settings)


def _try(conn: Connection, schema: str) -> bool:
    query = "SELECT pg_try_advisory_lock(%s::int, hashtext(%s))"
    return conn.execute(query, [LOCK_CLASS, schema]).fetchone() == (True,)


def _in_use(conn: Connection, settings: MigrationSettings) -> Unfinished:
    holders = _rows(conn, _HOLDER, LOCK_CLASS, settings.schema)
    names = ", ".join(
        f"pid {h['pid']} ({h['runner']}, from {h['address'] or 'a socket'}, since {h['since']})"
        for h in holders
    )
    return Unfinished(
        f"another runner held the lock for {settings.wait_s} s: {names or 'it ended just now'}",
        holders=holders,
    )


def _rows(conn: Connection, query: str, *params: Any) -> list[dict[str, Any]]:
    with conn.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(query, params).fetchall()
