"""What may happen to our own processes and answers: F10 to F17 of the fault matrix."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import psycopg

from persistence.embedded_process import alive, wait_until
from tests.conftest import ROOT
from tests.faults.paying import Paying
from tests.faults.service import PATIENCE_S, Client, Service
from tests.faults.stage import stopped
from tests.world import new_key

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

    from tests.faults.stage import Stage

JOB_WORKERS = 10
HOLDERS = b"SELECT holder FROM jobs WHERE lease_until > now()"
ARGON2_KIB = 65_536


def worker_killed(stage: Stage) -> None:
    """F10."""
    stage.service.kill_worker(stage.chance.randrange(2))


def worker_stopped(stage: Stage) -> None:
    """F11: gunicorn replaces a worker without a heartbeat after 30 s; the other one serves."""
    pid = stage.chance.choice(stage.service.workers())
    with stopped(pid):
        stage.paying.more(50)
        assert wait_until(lambda: not alive(pid), 150)


def log_ins_at_once(stage: Stage) -> None:
    """F11: 100 people with wrong passwords: no more memory than the slots have, payments go on."""
    workers = stage.service.workers()
    before = max(map(_peak_kib, workers))
    found: list[tuple[int, str]] = []
    threads = [threading.Thread(target=_log_in, args=(stage, n, found)) for n in range(100)]
    for thread in threads:
        thread.start()
    stage.paying.more(20)
    for thread in threads:
        thread.join()
    assert {status for status, _ in found} <= {401, 503}
    assert (503, "auth_busy") in found
    assert max(map(_peak_kib, workers)) < before + ARGON2_KIB + 40_000  # One slot, and its clients.


def reloaded(stage: Stage) -> None:
    """F12: HUP; nobody may fail (LV2)."""
    stage.reload()


def drained(stage: Stage) -> None:
    """F12: /readyz refuses, everything else is served (LV2)."""
    stage.paying.more(10)
    for more, status in (([], 503), (["--undo"], 200)):
        stage.service.flask("drain", *more)
        assert wait_until(lambda wanted=status: stage.ask("/readyz") == wanted, 30)  # type: ignore[misc]
        stage.paying.more(10)


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
            60,
        )
        client.close()


def job_workers_killed(stage: Stage) -> None:
    """F16: three at once, killed in the middle of what they do."""
    for _ in range(2):
        with _job_workers(stage, 3) as workers:
            stage.paying.more(60)
            for worker in workers:
                worker.kill()


def job_workers_stopped(stage: Stage) -> None:
    """F16: ten at once. Who holds a job is stopped past its lease: another takes it over."""
    with (
        _job_workers(stage, JOB_WORKERS) as workers,
        psycopg.connect(stage.service.database_url, autocommit=True) as conn,
    ):
        for _ in range(5):
            found: list[int] = []
            assert wait_until(lambda held=found: _stops_a_holder(conn, workers, held), PATIENCE_S)  # type: ignore[misc]
            (pid,) = found
            try:
                assert wait_until(lambda one=pid: one not in _holders(conn), PATIENCE_S)  # type: ignore[misc]
                stage.paying.more(10)
            finally:
                os.kill(pid, signal.SIGCONT)
        for worker in workers:
            worker.terminate()
        assert {worker.wait(PATIENCE_S) for worker in workers} == {0}


def flags_flipped(stage: Stage) -> None:
    """F17: each request meets the ledger on or off, by chance; once it is quiet nothing differs."""
    place = stage.service.output.parent / f"off{stage.chance.randrange(10**6)}" / "app"
    with Service(stage.servers, place, None, FEATURE_LEDGER_ENABLED="false") as off:
        with (
            _catching_up(stage),
            Paying(Flipping(stage.service, off, stage.chance), stage.paying.seed + 11) as paying,
        ):
            paying.attempts(200)
        stage.service.flask("ledger-catch-up")
        paying.check()
    told = {"ledger_behind": sum(event.code == "ledger_behind" for event in paying.events)}
    sys.stderr.write(f"flags_flipped, over both: {json.dumps(paying.figures() | told)}\n")


# --- How it is done -----------------------------------------------------------------------------


def _log_in(stage: Stage, number: int, found: list[tuple[int, str]]) -> None:
    """Try to log in, from an address of one's own."""
    source = (f"127.0.1.{number + 1}", 0)
    link = http.client.HTTPConnection(
        "127.0.0.1", stage.service.port, timeout=60, source_address=source
    )
    body = json.dumps({"email": f"nobody{number}@example.org", "password": "wrong password"})
    with contextlib.closing(link), contextlib.suppress(OSError, http.client.HTTPException):
        link.request("POST", "/v1/auth/login", body, {"Content-Type": "application/json"})
        answer = link.getresponse()
        found.append((answer.status, json.loads(answer.read())["code"]))


def _peak_kib(pid: int) -> int:
    """Return the most memory that a process has ever had."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1])


@contextlib.contextmanager
def _job_workers(stage: Stage, number: int) -> Iterator[list[subprocess.Popen[bytes]]]:
    environ = stage.service._environ | {"JOB_LEASE_S": "1", "WORKER_POLL_MS": "20"}
    workers = [
        subprocess.Popen(
            [sys.executable, "-m", "flask", "worker"],
            cwd=ROOT,
            env=environ,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for _ in range(number)
    ]
    try:
        yield workers
    finally:
        for worker in workers:
            worker.kill()
            worker.wait(60)


def _holders(conn: psycopg.Connection[Any]) -> list[int]:
    """Return the pids of those who hold a job now."""
    return [int(holder.rpartition(":")[2]) for (holder,) in conn.execute(HOLDERS).fetchall()]


def _stops_a_holder(
    conn: psycopg.Connection[Any], workers: list[subprocess.Popen[bytes]], held: list[int]
) -> bool:
    """Stop one of the workers in the middle of a job, if that can be done now."""
    ours = {worker.pid for worker in workers}
    for pid in ours.intersection(_holders(conn)):
        os.kill(pid, signal.SIGSTOP)
        process = psutil.Process(pid)
        assert wait_until(lambda: process.status() == psutil.STATUS_STOPPED, 60)  # noqa: B023
        if pid in _holders(conn):
            held.append(pid)
            return True
        os.kill(pid, signal.SIGCONT)
    return False


class _Flipping(http.client.HTTPConnection):
    """Goes with each request to one of several ports."""

    def __init__(self, ports: list[int], chance: random.Random) -> None:
        super().__init__("127.0.0.1", ports[0], timeout=10)
        self._ports, self._chance = ports, chance

    def request(self, *args: Any, **more: Any) -> None:
        self.close()
        self.port = self._chance.choice(self._ports)
        super().request(*args, **more)


class Flipping(Service):
    """Two services over the same stores, as a client sees them that cannot tell them apart."""

    def __init__(self, one: Service, other: Service, chance: random.Random) -> None:
        self.user_id, self.api_key, self.database_url = one.user_id, one.api_key, one.database_url
        self._ports, self._chance = [one.port, other.port], chance

    def connection(self) -> http.client.HTTPConnection:
        return _Flipping(self._ports, self._chance)


@contextlib.contextmanager
def _catching_up(stage: Stage) -> Iterator[None]:
    """Post again and again what was left out, until the block is left."""
    over = threading.Event()

    def work() -> None:
        while not over.is_set():
            stage.service.flask("ledger-catch-up")

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
