"""kill -9 of workers in the middle of a delivery: each event arrives, each payment's in order."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from persistence.embedded_process import wait_until
from tests.conftest import ROOT
from tests.receivers import Authority, Receiver, receiving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.receivers import Received
    from tests.world import World

KILLS = int(os.environ.get("FAULT_KILLS", "6"))
SEED = int(os.environ.get("FAULT_SEED", str(random.randrange(10**6))))
PATIENCE_S = 60


class Worker:
    """`flask worker` with the jobs of webhooks alone, as a process of its own."""

    def __init__(self, database: str, var_dir: Path, authority: Authority) -> None:
        self._environ = {
            **os.environ,
            "DATABASE_URL": database,
            "REDIS_URL": "off",
            "VAR_DIR": str(var_dir),
            "SSL_CERT_FILE": str(authority.file),
            "WEBHOOK_ALLOW_PRIVATE": "true",
            "WORKER_POLL_MS": "20",
            "JOB_LEASE_S": "1",
            "LOG_LEVEL": "error",
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "flask", "worker"]
        self._process = subprocess.Popen(
            [*command, "--jobs", "fan-out-webhooks,deliver-webhooks"],
            cwd=ROOT,
            env=self._environ,
            stdout=subprocess.DEVNULL,
        )

    def end(self, number: signal.Signals) -> int:
        """Send a signal and wait for the process to end; its exit code."""
        assert self._process is not None
        self._process.send_signal(number)
        return self._process.wait(PATIENCE_S)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def receiver(authority: Authority) -> Iterator[Receiver]:
    with receiving(authority) as made:
        yield made


@pytest.fixture
def worker(database: str, tmp_path: Path, authority: Authority) -> Iterator[Worker]:
    made = Worker(database, tmp_path, authority)
    made.start()
    yield made
    made.end(signal.SIGKILL)


def endpoint_for(world: World, receiver: Receiver) -> None:
    """Make an endpoint on this machine, as a service that may call it would."""
    world.services.webhooks._calls._allow_private = True
    world.services.webhooks.create("default", receiver.url, "cli:test")


def let_leases_end(world: World) -> None:
    """Spare the test the minute for which a dead worker's deliveries are nobody else's."""
    world.rows(
        "UPDATE webhook_deliveries SET lease_until = now() WHERE lease_until > now() RETURNING 1"
    )


def pending(world: World) -> int:
    ((count,),) = world.rows(
        "SELECT count(*) FROM payment_events AS e WHERE NOT EXISTS (SELECT FROM webhook_deliveries"
        " AS d WHERE d.payment_id = e.payment_id AND d.seq = e.seq AND d.state = 'delivered')"
    )
    return int(count)


class Held:
    """Answers that hold one request until the test lets it go."""

    def __init__(self) -> None:
        self._before = 0
        self._entered, self._leave = threading.Event(), threading.Event()

    def hold(self, before: int) -> None:
        """Hold the request that comes after `before` others."""
        self._entered.clear()
        self._leave.clear()
        self._before = before

    def wait(self) -> None:
        assert self._entered.wait(PATIENCE_S)

    def let_go(self) -> None:
        self._leave.set()

    def __call__(self, _: Received) -> tuple[int, dict[str, str]]:
        self._before -= 1
        if self._before == -1:
            self._entered.set()
            assert self._leave.wait(PATIENCE_S)
        return 204, {}


def test_killed_workers_lose_no_delivery(world: World, receiver: Receiver, worker: Worker) -> None:
    """W1: at least once, in the order of each payment; killed while calls are under way."""
    sys.stderr.write(f"FAULT_SEED={SEED}\n")
    chance = random.Random(SEED)
    endpoint_for(world, receiver)
    receiver.answer = held = Held()
    payments = []
    for _ in range(KILLS):
        held.hold(chance.randint(0, 7))
        payments += [world.authorized(100) for _ in range(4)]
        held.wait()
        worker.end(signal.SIGKILL)
        held.let_go()
        let_leases_end(world)
        worker.start()

    def is_done() -> bool:
        let_leases_end(world)
        return pending(world) == 0

    wait_until(is_done, PATIENCE_S)
    first_times = list(dict.fromkeys(receiver.ids))
    assert len(receiver.ids) > len(first_times) == 2 * len(payments)
    for payment_id in payments:
        mine = [each for each in first_times if each.startswith(payment_id)]
        assert mine == [f"{payment_id}-1", f"{payment_id}-2"]


def test_a_worker_that_is_asked_to_end_ends_its_calls(
    world: World, receiver: Receiver, worker: Worker
) -> None:
    """OJ1: SIGTERM: what was begun is finished and stored, nothing else is begun."""
    endpoint_for(world, receiver)
    receiver.answer = held = Held()
    held.hold(0)
    world.payment(100)
    held.wait()
    threading.Timer(0.2, held.let_go).start()
    assert worker.end(signal.SIGTERM) == 0
    assert world.rows("SELECT state::text, attempts FROM webhook_deliveries") == [("delivered", 1)]
