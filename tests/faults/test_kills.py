"""kill -9 at seeded moments under load: what was acknowledged is there once (F1, F6, F10).

FAULT_KILLS sets the number of kills: 200 in `make faults`, fewer in the ordinary suite;
FAULT_SEED repeats a run.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from persistence.embedded_process import alive, wait_until
from persistence.migrator import MigrationSettings, apply_all
from tests.conftest import ROOT
from tests.faults.service import Client, Service, children_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from persistence.embedded import EmbeddedServers

KILLS = int(os.environ.get("FAULT_KILLS", "6"))
SEED = int(os.environ.get("FAULT_SEED", str(random.randrange(10**6))))
CLIENTS = 6


@pytest.fixture
def service(own_servers: EmbeddedServers, tmp_path: Path) -> Iterator[Service]:
    """Gunicorn over durable servers of its own."""
    sys.stderr.write(f"FAULT_SEED={SEED}\n")
    assert own_servers.owner_url is not None
    apply_all(MigrationSettings(database_url=own_servers.owner_url))
    with Service(own_servers, tmp_path / "app", None) as started:
        yield started


def under_load(service: Service, disturb: Callable[[int, random.Random], None]) -> list[Client]:
    """Let clients pay until every kill has happened; each waits for its moment in the load."""
    stop = threading.Event()
    clients = [Client(service) for _ in range(CLIENTS)]
    failures: list[BaseException] = []

    def work(client: Client, number: int) -> None:
        chance = random.Random(SEED + number)
        try:
            while not stop.is_set():
                client.pay(chance.randint(2, 5_000))
        except BaseException as exc:  # noqa: BLE001  # A thread's failure fails the test below.
            failures.append(exc)
        finally:
            client.close()

    threads = [
        threading.Thread(target=work, args=(client, number))
        for number, client in enumerate(clients)
    ]
    for thread in threads:
        thread.start()
    chance = random.Random(SEED)
    for number in range(KILLS):
        wait_for_progress(clients, chance.randint(5, 40), failures)
        disturb(number, chance)
    wait_for_progress(clients, 20, failures)
    stop.set()
    for thread in threads:
        thread.join()
    assert not failures, failures
    return clients


def wait_for_progress(clients: list[Client], more: int, failures: list[BaseException]) -> None:
    """Return when so many more requests have been acknowledged: load, not time, sets the pace."""
    goal = sum(len(client.acknowledged) for client in clients) + more
    pause = threading.Event()
    while sum(len(client.acknowledged) for client in clients) < goal and not failures:
        pause.wait(0.005)


def assert_nothing_lost_or_doubled(service: Service, clients: list[Client]) -> None:
    """FI2, FI3, FI6: keys = payments = events = postings, and the checks find nothing."""
    told = {key: answer for client in clients for key, answer in client.acknowledged.items()}
    with psycopg.connect(service.database_url, autocommit=True) as conn:
        stored: dict[str, Any] = dict(
            conn.execute("SELECT key, answer FROM idempotency_keys").fetchall()
        )
        assert {key: stored[key]["id"] for key in told} == {k: a["id"] for k, a in told.items()}
        assert {key: version_of(stored[key]) for key in told} == {
            key: version_of(answer) for key, answer in told.items()
        }
        counts = conn.execute(
            "SELECT (SELECT count(*) FROM payments), (SELECT count(*) FROM payment_captures),"
            " (SELECT count(*) FROM payment_refunds), (SELECT count(*) FROM payment_events),"
            " (SELECT count(*) FROM ledger_transactions),"
            " array(SELECT count(*) FROM idempotency_keys GROUP BY resource_type, status"
            " ORDER BY resource_type, status DESC)"
        ).fetchone()
        assert counts is not None
        payments, captures, refunds, events, postings, keys = counts
        assert keys == [payments, captures, refunds]
        assert events == payments + captures + refunds
        assert postings == captures + refunds
        for path in sorted(ROOT.glob("sql/checks/*.sql")):
            assert conn.execute(path.read_bytes()).fetchall() == [], path.stem


def version_of(answer: dict[str, Any]) -> int:
    """Return the payment's version in an answer: of a refund it stands within."""
    version: int = answer.get("payment", answer)["version"]
    return version


def test_killed_web_workers_lose_and_double_nothing(
    service: Service, own_servers: EmbeddedServers
) -> None:
    """F10: the client repeats with the same key, with Redis up, stopped, flushed and paused."""

    def disturb(number: int, _: random.Random) -> None:
        resume(own_servers)
        (leave, stop, flush, pause)[number % 4](own_servers)
        service.kill_worker(number)

    clients = under_load(service, disturb)
    resume(own_servers)
    assert_nothing_lost_or_doubled(service, clients)


def test_a_killed_database_loses_and_doubles_nothing(
    service: Service, own_servers: EmbeddedServers
) -> None:
    """F1: the whole PostgreSQL tree dies and comes back; the application is not restarted."""

    def disturb(_: int, __: random.Random) -> None:
        assert own_servers.postgres is not None
        postmaster = own_servers.postgres.fact["pid"]
        kill(postmaster, *children_of(postmaster))
        own_servers.ensure()

    assert_nothing_lost_or_doubled(service, under_load(service, disturb))


def test_a_killed_hung_or_flushed_redis_costs_no_wrong_answer(
    service: Service, own_servers: EmbeddedServers
) -> None:
    """F6, F7, F8: no 5xx, as Redis only hurries."""

    def disturb(number: int, _: random.Random) -> None:
        assert own_servers.valkey is not None
        pid = own_servers.valkey.fact["pid"]
        if number % 3 == 0:
            kill(pid)
            own_servers.ensure()
        elif number % 3 == 1:
            os.kill(pid, signal.SIGSTOP)
            threading.Timer(0.5, os.kill, (pid, signal.SIGCONT)).start()
        else:
            flush(own_servers)

    clients = under_load(service, disturb)
    assert [s for client in clients for s in client.statuses if s >= 500] == []
    assert_nothing_lost_or_doubled(service, clients)


def kill(*pids: int) -> None:
    """Kill -9 all of them, and wait until they are gone."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    assert wait_until(lambda: not any(map(alive, pids)), 30)


# --- What may happen to Redis -------------------------------------------------------------------


def leave(_: EmbeddedServers) -> None:
    """Nothing."""


def stop(servers: EmbeddedServers) -> None:
    """Gone, until `resume`."""
    kill(redis_pid(servers))


def pause(servers: EmbeddedServers) -> None:
    """It takes connections and answers nothing, until `resume`."""
    os.kill(redis_pid(servers), signal.SIGSTOP)


def resume(servers: EmbeddedServers) -> None:
    """Let it work, whatever was done to it; a new one has forgotten everything."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(redis_pid(servers), signal.SIGCONT)
    servers.ensure()


def redis_pid(servers: EmbeddedServers) -> int:
    """Return the pid of the last one that was started."""
    assert servers.valkey is not None
    return int(servers.valkey.fact["pid"])


def flush(servers: EmbeddedServers) -> None:
    """FLUSHALL."""
    import redis  # noqa: PLC0415

    assert servers.redis_url is not None
    with redis.Redis.from_url(servers.redis_url) as client:
        client.flushall()
