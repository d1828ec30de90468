"""B8: log-ins over bare Argon2, and what a flood of 100 does to everything else."""

from __future__ import annotations

import http.client
import json
import statistics
import threading
import time
import uuid
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import psutil
import psycopg
from argon2 import PasswordHasher
from argon2.low_level import Type, verify_secret

from bench.measure import Figure, Sample, alternate, ratio
from bench.report import Row
from bench.stage import TENANT, USER_HEAD
from config import cpus

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.stage import Stage

PASSWORD = "correct horse battery staple"  # noqa: S105  # Of nobody who exists.
PEOPLE = 200
CLIENTS = 8
FLOOD = 100
PAYERS = 4
HASH_MIB = 64
WARM_UP_S = 3


def log_ins(stage: Stage, rounds: int, seconds: int) -> list[Row]:
    """Log in as fast as the gate lets, in turn with Argon2 alone on as many CPUs; then flood."""
    port = stage.service()
    service: Callable[[int], Sample] = partial(_log_in_round, port)
    service(WARM_UP_S)
    contenders = {
        "service": partial(service, seconds),
        "bare Argon2": partial(_bare_round, hashed(), seconds),
    }
    found = alternate(contenders, rounds)
    ours, bare = ([sample.per_s for sample in found[name]] for name in contenders)
    return [
        Row("B8", "log-ins/s", Figure.of(ours)),
        Row("", "bare Argon2, hashes/s", Figure.of(bare)),
        Row("", "ratio to bare Argon2", ratio(ours, bare), target=0.8, goal=0.95),
        *_flood_rows([_flood(stage, port, seconds) for _ in range(rounds)]),
    ]


def hashed() -> str:
    """Return the hash of PASSWORD by the default settings."""
    return PasswordHasher(time_cost=3, memory_cost=65_536, parallelism=1).hash(PASSWORD)


def prepare(stage: Stage) -> None:
    """Give the first users of the stage one password; its hash may be the same for all."""
    with psycopg.connect(stage.owner_url, autocommit=True) as conn:
        conn.execute(
            "UPDATE users SET password_hash = %s, password_algo = 'argon2id', version = 2,"
            ' password_params = \'{"m": 65536, "t": 3, "p": 1}\', email_verified_at = now(),'
            " password_hash_version = 1 WHERE tenant_id = %s AND id < %s",
            [hashed(), TENANT, f"{USER_HEAD}{PEOPLE + 1:012x}"],
        )


# --- Rounds -------------------------------------------------------------------------------------


def _bare_round(stored: str, seconds: int) -> Sample:
    """Verify with nothing around it, one process a CPU."""
    with ProcessPoolExecutor(cpus()) as processes:
        counts = list(processes.map(_verify_for, [stored] * cpus(), [seconds] * cpus()))
    return Sample(per_s=sum(counts) / seconds, requests=sum(counts))


def _verify_for(stored: str, seconds: int) -> int:
    count, ends = 0, time.monotonic() + seconds
    while time.monotonic() < ends:
        verify_secret(stored.encode(), PASSWORD.encode(), Type.ID)
        count += 1
    return count


def _log_in_round(port: int, seconds: int) -> Sample:
    crowd = Crowd(port, CLIENTS)
    crowd.run(seconds, crowd.log_in)
    good = crowd.answers[200]
    # A full gate answers 503, as it should; anything else is wrong.
    wrong = crowd.answers.total() - good - crowd.answers[503]
    return Sample(per_s=good / seconds, requests=good, errors=wrong)


@dataclass
class Crowd:
    """Clients with a connection each, who ask for so many seconds; times are milliseconds."""

    port: int
    size: int
    headers: dict[str, str] = field(default_factory=dict)
    answers: Counter[int] = field(default_factory=Counter)
    times_ms: list[float] = field(default_factory=list)

    def run(self, seconds: float, ask: Callable[[http.client.HTTPConnection, int], int]) -> None:
        """Let everybody ask again and again; who is told to wait a second does."""
        ends = time.monotonic() + seconds
        threads = [
            threading.Thread(target=self._client, args=(number, ends, ask))
            for number in range(self.size)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _client(
        self, number: int, ends: float, ask: Callable[[http.client.HTTPConnection, int], int]
    ) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        while time.monotonic() < ends:
            begun = time.perf_counter()
            status = ask(connection, number)
            self.times_ms.append((time.perf_counter() - begun) * 1_000)
            self.answers[status] += 1
            if status == http.HTTPStatus.SERVICE_UNAVAILABLE:
                time.sleep(1.0)
        connection.close()

    def log_in(self, connection: http.client.HTTPConnection, number: int) -> int:
        """Send a right password."""
        body = {"email": f"u{number % PEOPLE + 1}@example.com", "password": PASSWORD}
        return self._send(connection, "POST", "/v1/auth/login", body)

    def look(self, connection: http.client.HTTPConnection, _: int) -> int:
        """Ask whether the process lives, a hundred times a second."""
        time.sleep(0.01)
        return self._send(connection, "GET", "/livez", None)

    def pay(self, connection: http.client.HTTPConnection, number: int) -> int:
        """Create a payment."""
        user_id = str(uuid.UUID(f"{USER_HEAD}{number + 1:012x}"))
        body = {"amount_minor": 100, "currency": "USD", "user_id": user_id}
        return self._send(connection, "POST", "/v1/payments", body)

    def _send(
        self, connection: http.client.HTTPConnection, method: str, path: str, body: Any
    ) -> int:
        headers = {"Content-Type": "application/json", "Idempotency-Key": str(uuid.uuid4())}
        text = None if body is None else json.dumps(body)
        try:
            connection.request(method, path, body=text, headers={**headers, **self.headers})
            answer = connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException):
            connection.close()
            return 0
        return answer.status


# --- The flood ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Flood:
    """What one flood did: latencies in milliseconds, memory in MiB."""

    log_ins: Counter[int]
    live_p99_ms: float
    pay_p99_calm_ms: float
    pay_p99_ms: float
    grown_mib: float
    slots: int


def _flood(stage: Stage, port: int, seconds: int) -> Flood:
    """Let who pays and who looks be processes of their own: a flood's clients keep one busy."""
    bearer = {"Authorization": f"Bearer {stage.api_key}"}
    workers, flood = _workers(), Crowd(port, FLOOD)
    with ProcessPoolExecutor(2) as processes:
        payers = Crowd(port, PAYERS, bearer)
        calm_ms = processes.submit(_times, payers, "pay", seconds).result()
        before_mib = peak_mib = _memory_mib(workers)
        paying = processes.submit(_times, payers, "pay", seconds)
        looking = processes.submit(_times, Crowd(port, 1), "look", seconds)
        flooding = threading.Thread(target=flood.run, args=(seconds, flood.log_in))
        flooding.start()
        while flooding.is_alive():
            peak_mib = max(peak_mib, _memory_mib(workers))
            flooding.join(0.05)
    return Flood(
        log_ins=flood.answers,
        live_p99_ms=_p99(looking.result()),
        pay_p99_calm_ms=_p99(calm_ms),
        pay_p99_ms=_p99(paying.result()),
        grown_mib=peak_mib - before_mib,
        slots=len(workers),  # One each: half the CPUs over as many workers as CPUs.
    )


def _times(crowd: Crowd, what: str, seconds: int) -> list[float]:
    crowd.run(seconds, getattr(crowd, what))
    return crowd.times_ms


def _flood_rows(floods: list[Flood]) -> list[Row]:
    answered = [flood.log_ins[200] + flood.log_ins[503] for flood in floods]
    wrong = [flood.log_ins.total() - good for flood, good in zip(floods, answered, strict=True)]
    slowed = [flood.pay_p99_ms / flood.pay_p99_calm_ms for flood in floods]
    grown = [flood.grown_mib / (flood.slots * HASH_MIB) for flood in floods]
    return [
        Row("", f"{FLOOD} clients log in: p99 of /livez, ms",
            Figure.of([flood.live_p99_ms for flood in floods]), 200, 50, at_most=True),
        Row("", "p99 of create over that before", Figure.of(slowed), 3, 1.5, at_most=True),
        Row("", "memory grown over slots x 64 MiB", Figure.of(grown), 1.2, 1.2, at_most=True),
        Row("", "neither 200 nor 503", Figure.of(wrong)),
    ]  # fmt: skip


def _p99(times_ms: list[float]) -> float:
    return statistics.quantiles(times_ms, n=100)[98] if len(times_ms) > 1 else float("nan")


def _workers() -> list[psutil.Process]:
    """Return gunicorn's workers: the children of the one that we started."""
    mine = psutil.Process().children(recursive=True)
    served = [each for each in mine if any("gunicorn.conf.py" in part for part in _command(each))]
    pids = {each.pid for each in served}
    return [each for each in served if each.ppid() in pids]


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def _memory_mib(workers: list[psutil.Process]) -> float:
    return sum(each.memory_info().rss for each in workers) / 2**20
