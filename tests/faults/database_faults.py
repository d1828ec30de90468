"""What may happen to PostgreSQL: F1 to F5, F18 of the fault matrix (operations, section 12)."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from typing import TYPE_CHECKING, Any

import psycopg

from persistence.embedded_process import wait_until
from tests.faults.paying import Paying
from tests.faults.service import children_of
from tests.faults.stage import stopped
from tests.faults.test_kills import kill

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.faults.stage import Stage

CONNECTIONS = 5  # Of the 16 that the pools of two workers want.
DEADLOCKS = b"SELECT sum(deadlocks)::bigint FROM pg_stat_database"
WAITING = b"""
SELECT count(*) FROM pg_stat_activity
WHERE application_name = 'strongroom' AND wait_event_type = 'Lock'
"""


def database_killed(stage: Stage) -> None:
    """F1: kill -9 of the whole tree; the service is not restarted."""
    kill(stage.postmaster, *children_of(stage.postmaster))
    stage.servers.ensure()


def database_restarted(stage: Stage) -> None:
    """F2: a fast restart."""
    assert stage.servers.postgres is not None
    stage.servers.postgres.stop()
    stage.servers.ensure()


def backends_terminated(stage: Stage) -> None:
    """F2: pg_terminate_backend of all."""
    with stage.admin() as conn:
        _terminate(conn)


def backend_stopped(stage: Stage) -> None:
    """F3: SIGSTOP of one backend. Who needs the rows that it has locked is told to ask again."""
    with stage.admin() as conn:
        pid = stage.chance.choice(stage.backends(conn))
    with stopped(pid):
        stage.paying.attempts(30)
        assert wait_until(lambda: stage.ask("/v1/payments") == 200, 60)


def database_stopped(stage: Stage) -> None:
    """F3: SIGSTOP of the whole server for a second."""
    with stopped(stage.postmaster, *children_of(stage.postmaster)):
        stage.pause(1)


def connections_refused(stage: Stage) -> None:
    """F4: the server takes fewer connections than the pools want; they do not storm it."""
    with stage.admin() as conn, _role_has(conn, f"CONNECTION LIMIT {CONNECTIONS}"):
        before, began = _refused(stage), time.monotonic()
        stage.paying.attempts(60)
        assert stage.ask("/livez") == 200
        took_s, refused = time.monotonic() - began, _refused(stage) - before
    _tell("connections_refused", tries=refused, seconds=round(took_s, 1))
    # Each missing one is tried for every 0.4 s; a slower machine tries less often.
    assert refused <= (18 - CONNECTIONS) * (took_s / 0.3 + 4)


def tables_locked(stage: Stage) -> None:
    """F4, F5: nobody gets a row for longer than DB_LOCK_TIMEOUT_MS; probes answer all the same."""
    with stage.admin() as conn, _locked(conn):
        stage.pause(1.5)
        assert stage.ask("/livez") == 200


def slots_full(stage: Stage) -> None:
    """F4: more clients than slots, and every statement waits: 503, and probes answer."""
    with Paying(stage.service, stage.paying.seed + 9, clients=44) as crowd:
        with stage.admin() as conn, _locked(conn):
            crowd.attempts(120)
            assert stage.ask("/livez") == 200
        crowd.more(50)
    crowd.check()
    shed = [event for event in crowd.events if event.code == "overloaded"]
    _tell("slots_full", shed=len(shed))
    assert shed


def deadlocked(stage: Stage) -> None:
    """F5: somebody locks in the other order; the service is the victim, and tries again."""
    with stage.admin() as conn, stage.admin() as other:
        before = _number(conn, DEADLOCKS)
        conn.execute("SET deadlock_timeout = '1min'")
        with _role_has(other, "SET deadlock_timeout = '300ms'", "RESET deadlock_timeout"):
            for _ in range(3):
                with conn.transaction():
                    conn.execute("SELECT FROM ledger_balances FOR UPDATE")
                    assert wait_until(lambda: _number(other, WAITING) > 0, 60)
                    conn.execute("SELECT FROM payments FOR UPDATE")
                stage.paying.more(20)
        assert wait_until(lambda: _number(other, DEADLOCKS) > before, 60)
        _tell("deadlocked", deadlocks=_number(other, DEADLOCKS) - before)


def one_account(stage: Stage) -> None:
    """F5: 50 clients, and every capture goes to one account."""
    with Paying(stage.service, stage.paying.seed + 7, clients=44) as crowd:
        crowd.more(150)
    crowd.check()


def migrated(stage: Stage) -> None:
    """F18: a column, and an index made concurrently, while everybody writes (LV2)."""
    assert stage.servers.owner_url is not None
    name = f"extra_{stage.chance.randrange(10**6)}"
    with psycopg.connect(stage.servers.owner_url, autocommit=True) as conn:
        conn.execute("SET lock_timeout = '200ms'")
        for statement in (
            f"ALTER TABLE payments ADD COLUMN {name} bigint",
            f"CREATE INDEX CONCURRENTLY {name}_index ON payments (tenant_id, {name})",
        ):
            assert wait_until(lambda text=statement: _applied(conn, text), 60)  # type: ignore[misc]


# --- How it is done -----------------------------------------------------------------------------


def _applied(conn: psycopg.Connection[Any], statement: str) -> bool:
    try:
        conn.execute(statement.encode())
    except psycopg.errors.LockNotAvailable:
        return False
    return True


@contextlib.contextmanager
def _locked(conn: psycopg.Connection[Any]) -> Iterator[None]:
    with conn.transaction():
        conn.execute("LOCK TABLE payments, ledger_balances IN ACCESS EXCLUSIVE MODE")
        yield


@contextlib.contextmanager
def _role_has(
    conn: psycopg.Connection[Any], setting: str, undone: str = "CONNECTION LIMIT -1"
) -> Iterator[None]:
    """Give the service's role a setting, and undo it; each time all of its sessions begin anew."""
    _alter(conn, setting)
    try:
        yield
    finally:
        _alter(conn, undone)


def _alter(conn: psycopg.Connection[Any], text: str) -> None:
    conn.execute(f"ALTER ROLE strongroom_app {text}".encode())
    _terminate(conn)


def _terminate(conn: psycopg.Connection[Any]) -> None:
    conn.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE application_name = 'strongroom'"
    )


def _number(conn: psycopg.Connection[Any], query: bytes) -> int:
    row = conn.execute(query).fetchone()
    assert row is not None
    return int(row[0])


def _refused(stage: Stage) -> int:
    """Return how often the server has refused a connection, by its own log."""
    return stage.servers.var.log("postgres").read_text("utf-8").count("too many connections")


def _tell(name: str, **figures: float) -> None:
    sys.stderr.write(f"{name}: {json.dumps(figures)}\n")
