"""The fault matrix (operations, section 12): each fault under mixed load, then every invariant.

FAULT_ROUNDS sets how often each fault happens: a few of them once in the ordinary suite, all of
them more often in `make faults`; FAULT_SEED repeats a run. What was seen is a line a fault on
stderr, and docs/reliability.md.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.conftest import ROOT
from tests.faults.happenings import LOUD, QUIET, Stage, redis_stopped
from tests.faults.paying import Paying
from tests.faults.service import Service

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from persistence.embedded import EmbeddedServers

ROUNDS = int(os.environ.get("FAULT_ROUNDS", "1"))
SEED = int(os.environ.get("FAULT_SEED", str(random.randrange(10**6))))
SHORT = {
    "redis_killed",
    "redis_refuses_writes",
    "answers_lost",
    "backends_terminated",
    "worker_killed",
}
UNTIL_DEADLINE_S = 5.5  # REQUEST_DEADLINE_MS and a tenth (LV1).


def chosen(faults: Sequence[Callable[[Stage], None]]) -> list[Callable[[Stage], None]]:
    return [fault for fault in faults if ROUNDS > 1 or fault.__name__ in SHORT]


@pytest.fixture(scope="module")
def service(
    shared_servers: EmbeddedServers, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """One service for all faults: after each it has to be well again. Then the books are proved."""
    sys.stderr.write(f"FAULT_SEED={SEED}\n")
    place = tmp_path_factory.mktemp("matrix") / "app"
    with Service(shared_servers, place, None, LOG_LEVEL="info") as started:
        yield started
        done = subprocess.run(
            [sys.executable, "-m", "flask", "replay-ledger"],
            cwd=ROOT,
            env=started._environ,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr


def suffer(service: Service, servers: EmbeddedServers, fault: Callable[[Stage], None]) -> Paying:
    """Let the fault happen under load, wait until all is well, and check what has to hold."""
    with Paying(service, SEED) as paying:
        stage = Stage(service, servers, paying, random.Random(SEED))
        for _ in range(ROUNDS):
            paying.more(30)
            fault(stage)
            paying.more(30)
    sys.stderr.write(f"{fault.__name__}: {json.dumps(paying.figures())}\n")
    paying.check()
    return paying


@pytest.mark.parametrize("fault", chosen(QUIET), ids=lambda fault: fault.__name__)
def test_a_fault_that_nobody_may_notice(
    service: Service, shared_servers: EmbeddedServers, fault: Callable[[Stage], None]
) -> None:
    """F6 to F9, F12, F15, F16, F18, OU3; FI1 to FI7, LV2, LV3: no 5xx, no lost answer."""
    events = suffer(service, shared_servers, fault).events
    assert [event for event in events if event.status >= 500 or event.kind == "info"] == []


@pytest.mark.parametrize("fault", chosen(LOUD), ids=lambda fault: fault.__name__)
def test_a_fault_that_costs_retries(
    service: Service, shared_servers: EmbeddedServers, fault: Callable[[Stage], None]
) -> None:
    """F1 to F5, F10, F13; FI1 to FI7, LV1: 503, never 500, and the key tells."""
    events = suffer(service, shared_servers, fault).events
    assert {event.status for event in events} <= {0, 200, 201, 409, 503}
    if ROUNDS > 1:  # LV1: only where nothing else runs.
        assert max(event.ended - event.began for event in events) < UNTIL_DEADLINE_S


def test_a_hung_redis_is_asked_by_few(service: Service, shared_servers: EmbeddedServers) -> None:
    """LV3, OK5: at most 2 + threads calls of a process wait for it, then nobody."""
    before = len(service.lines())
    suffer(service, shared_servers, redis_stopped)
    waited: dict[int, int] = {}
    for line in service.lines()[before:]:
        if line["event"] == "request" and line["kv_ms"] >= 45:
            waited[line["pid"]] = waited.get(line["pid"], 0) + 1
    sys.stderr.write(f"waits for a hung Redis, by process: {sorted(waited.values())}\n")
    assert all(number <= 2 + 8 for number in waited.values())
