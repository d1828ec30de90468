"""What may happen to stores and workers: the fault matrix (operations page, section 12)."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg
import redis

from persistence.embedded_process import wait_until
from tests.conftest import ROOT
from tests.faults.paying import Paying
from tests.faults.service import Client, children_of
from tests.faults.test_kills import kill
from tests.world import new_key

if TYPE_CHECKING:
    import random

    from persistence.embedded import EmbeddedServers
    from tests.faults.service import Service


@dataclass
class Stage:
    """What a fault may touch."""

    service: Service
    servers: EmbeddedServers
    paying: Paying
    chance: random.Random

    @property
    def valkey(self) -> int:
        """Its pid."""
        assert self.servers.valkey is not None
        return int(self.servers.valkey.fact["pid"])

    @property
    def postmaster(self) -> int:
        """Its pid."""
        assert self.servers.postgres is not None
        return int(self.servers.postgres.fact["pid"])

    @property
    def kv(self) -> redis.Redis:
        """A client of Valkey, not the service's."""
        assert self.servers.redis_url is not None
        return redis.Redis.from_url(self.servers.redis_url)

    def admin(self) -> psycopg.Connection[Any]:
        """A connection of the database's administrator."""
        assert self.servers.postgres is not None
        url = self.servers.postgres.url("postgres")
        return psycopg.connect(url, autocommit=True)

    def pause(self, seconds: float) -> None:
        """Let the load go on for so long: the fault's own length, not a wait for an event."""
        threading.Event().wait(seconds)


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
        conn.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'strongroom'"
        )


def backend_stopped(stage: Stage) -> None:
    """F3: SIGSTOP of one backend: one request ends at its deadline, others are served."""
    with stage.admin() as conn:
        rows = conn.execute(
            "SELECT pid FROM pg_stat_activity WHERE application_name = 'strongroom' ORDER BY pid"
        ).fetchall()
    (pid,) = stage.chance.choice(rows)
    os.kill(pid, signal.SIGSTOP)
    stage.paying.more(50)
    os.kill(pid, signal.SIGCONT)


def database_stopped(stage: Stage) -> None:
    """F3: SIGSTOP of the whole server for a second."""
    family = [stage.postmaster, *children_of(stage.postmaster)]
    for number in (signal.SIGSTOP, signal.SIGCONT):
        for pid in family:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        if number == signal.SIGSTOP:
            stage.pause(1)


def tables_locked(stage: Stage) -> None:
    """F4, F5: nobody gets a row for longer than DB_LOCK_TIMEOUT_MS; probes answer all the same."""
    with stage.admin() as conn, conn.transaction():
        conn.execute("LOCK TABLE payments, ledger_balances IN ACCESS EXCLUSIVE MODE")
        stage.pause(1.5)
        client = Client(stage.service)
        assert client.send("GET", "/livez", None, None)[0] == 200
        client.close()


def one_account(stage: Stage) -> None:
    """F5: 30 clients more, and every capture goes to one account."""
    with Paying(stage.service, stage.paying.seed + 7, clients=30) as crowd:
        crowd.more(150)
    crowd.check()


def redis_killed(stage: Stage) -> None:
    """F6."""
    kill(stage.valkey)
    stage.paying.more(60)
    stage.servers.ensure()


def redis_stopped(stage: Stage) -> None:
    """F7: a hung Redis, until the breaker has opened and served without it."""
    pid = stage.valkey
    os.kill(pid, signal.SIGSTOP)
    stage.paying.more(80)
    os.kill(pid, signal.SIGCONT)


def redis_flushed(stage: Stage) -> None:
    """F8: FLUSHALL and SCRIPT FLUSH each 100 ms."""
    with stage.kv as kv:
        for _ in range(10):
            kv.flushall()
            kv.script_flush()
            stage.pause(0.1)


def redis_full_of_rubbish(stage: Stage) -> None:
    """F8: every key there is holds something else, of another type too."""
    with stage.kv as kv:
        for number in range(10):
            for key in kv.scan_iter(count=1000):
                if number % 2:
                    kv.set(key, os.urandom(stage.chance.randint(1, 90)))
                else:
                    with contextlib.suppress(redis.ResponseError):  # It is there again.
                        kv.delete(key)
                        kv.lpush(key, b"rubbish")
            stage.pause(0.05)
        kv.flushall()


def redis_refuses_writes(stage: Stage) -> None:
    """F8: out of memory, then a replica."""
    with stage.kv as kv:
        kv.config_set("maxmemory-policy", "noeviction")
        kv.config_set("maxmemory", "1")
        stage.paying.more(40)
        kv.config_set("maxmemory", "64mb")
        kv.config_set("maxmemory-policy", "allkeys-lru")
        kv.replicaof("127.0.0.1", 1)
        stage.paying.more(40)
        kv.replicaof("NO", "ONE")


def redis_from_an_old_dump(stage: Stage) -> None:
    """F9: what was true a moment ago comes back over what is true now."""
    with stage.kv as kv:
        old = [(key, kv.pttl(key), kv.dump(key)) for key in kv.scan_iter(count=1000)]
        stage.paying.more(60)
        for key, left_ms, value in old:
            if value is not None:
                kv.restore(key, max(left_ms, 1), value, replace=True)


def worker_killed(stage: Stage) -> None:
    """F10."""
    stage.service.kill_worker(stage.chance.randrange(2))


def reloaded(stage: Stage) -> None:
    """F12: HUP; nobody may fail (LV2)."""
    before = set(stage.service.workers())
    os.kill(stage.service.pid, signal.SIGHUP)
    assert wait_until(lambda: not before & set(stage.service.workers()), 150)


def drained(stage: Stage) -> None:
    """F12: /readyz refuses, everything else is served (LV2)."""
    flask = [sys.executable, "-m", "flask", "drain"]
    client = Client(stage.service)
    stage.paying.more(10)
    for more, status in (([], 503), (["--undo"], 200)):
        subprocess.run([*flask, *more], cwd=ROOT, env=stage.service._environ, check=True)
        assert wait_until(
            lambda wanted=status: client.send("GET", "/readyz", None, None)[0] == wanted,  # type: ignore[misc]
            10,
        )
        stage.paying.more(10)
    client.close()


def one_key_fifty_times(stage: Stage) -> None:
    """F13: one effect, the same bytes or 409; another body 422."""
    key = new_key()
    body = {"amount_minor": 700, "currency": "EUR", "user_id": stage.service.user_id}
    found: list[tuple[int, str]] = []

    def ask() -> None:
        client = Client(stage.service)
        with contextlib.suppress(OSError, http.client.HTTPException):
            status, answer = client.send("POST", "/v1/payments", body, key)
            found.append((status, json.dumps(answer, sort_keys=True) if status == 201 else ""))
        client.close()

    threads = [threading.Thread(target=ask) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {status for status, _ in found} <= {201, 409, 503}
    assert len({answer for status, answer in found if status == 201}) == 1
    client = Client(stage.service)
    assert client.send("POST", "/v1/payments", body | {"amount_minor": 701}, key)[0] == 422
    client.close()


def answers_lost(stage: Stage) -> None:
    """F15: the client hangs up before it reads, and asks again with its key: one effect."""
    for _ in range(10):
        key = new_key()
        body = {"amount_minor": 900, "currency": "EUR", "user_id": stage.service.user_id}
        client = Client(stage.service)
        connection = stage.service.connection()
        headers = {"Authorization": f"Bearer {stage.service.api_key}", "Idempotency-Key": key}
        headers["Content-Type"] = "application/json"
        connection.request("POST", "/v1/payments", json.dumps(body), headers)
        stage.pause(stage.chance.random() / 20)
        connection.close()
        assert wait_until(
            lambda told=client, k=key, b=body: told.send("POST", "/v1/payments", b, k)[0] == 201,  # type: ignore[misc]
            20,
        )
        client.close()


def job_workers_killed(stage: Stage) -> None:
    """F16: three at once, killed in the middle of what they do."""
    environ = stage.service._environ | {"JOB_LEASE_S": "1", "WORKER_POLL_MS": "20"}
    for _ in range(2):
        workers = [
            subprocess.Popen(
                [sys.executable, "-m", "flask", "worker"],
                cwd=ROOT,
                env=environ,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            for _ in range(3)
        ]
        stage.paying.more(60)
        for worker in workers:
            worker.kill()
            worker.wait(10)


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


def _applied(conn: psycopg.Connection[Any], statement: str) -> bool:
    try:
        conn.execute(statement.encode())
    except psycopg.errors.LockNotAvailable:
        return False
    return True


# What may be seen while it lasts: nothing wrong at all, or answers that say "ask again".
QUIET = (
    redis_killed,
    redis_stopped,
    redis_flushed,
    redis_full_of_rubbish,
    redis_refuses_writes,
    redis_from_an_old_dump,
    reloaded,
    drained,
    answers_lost,
    job_workers_killed,
    migrated,
)
LOUD = (
    database_killed,
    database_restarted,
    backends_terminated,
    backend_stopped,
    database_stopped,
    tables_locked,
    one_account,
    worker_killed,
    one_key_fifty_times,
)
