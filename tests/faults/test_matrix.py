"""The fault matrix (operations, section 12): each fault under mixed load, then every invariant.

FAULT_ROUNDS sets how often each fault happens: a few of them once in the ordinary suite, all of
them more often in `make faults`; FAULT_SEED repeats a run. What was seen is a line a fault on
stderr, and docs/reliability.md.
"""

from __future__ import annotations

import json
import os
import random
import sys
from typing import TYPE_CHECKING

import pytest

from config import Config
from tests.faults import database_faults as database
from tests.faults import process_faults as processes
from tests.faults import redis_faults
from tests.faults.paying import Paying
from tests.faults.service import Service
from tests.faults.stage import Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from persistence.embedded import EmbeddedServers

# What may be seen while it lasts: nothing wrong at all, or answers that say "ask again".
QUIET = (
    redis_faults.redis_killed,
    redis_faults.redis_absent_at_boot,
    redis_faults.redis_is_another_service,
    redis_faults.redis_stopped,
    redis_faults.redis_slow,
    redis_faults.redis_flaky,
    redis_faults.redis_flushed,
    redis_faults.redis_evicts,
    redis_faults.redis_full_of_rubbish,
    redis_faults.redis_refuses_writes,
    redis_faults.redis_from_an_old_dump,
    processes.reloaded,
    processes.drained,
    processes.answers_lost,
    processes.job_workers_killed,
    processes.flags_flipped,
    database.migrated,
)
LOUD = (
    database.database_killed,
    database.database_restarted,
    database.backends_terminated,
    database.backend_stopped,
    database.database_stopped,
    database.connections_refused,
    database.tables_locked,
    database.slots_full,
    database.deadlocked,
    database.one_account,
    processes.worker_killed,
    processes.worker_stopped,
    processes.log_ins_at_once,
    processes.one_key_fifty_times,
    processes.job_workers_stopped,  # Ten of them take more than small machines have.
)
ONCE = {"worker_stopped"}  # It takes 30 s, and nobody answers those whom the worker has accepted.
# LV1. What a stopped worker has accepted waits until it is killed.
NO_DEADLINE = {"worker_stopped"}
LATEST_MS = 1.1 * Config.model_fields["request_deadline_ms"].default
ROUNDS = int(os.environ.get("FAULT_ROUNDS", "1"))
SEED = int(os.environ.get("FAULT_SEED", str(random.randrange(10**6))))
SHORT = {
    "redis_killed",
    "redis_refuses_writes",
    "answers_lost",
    "backends_terminated",
    "worker_killed",
}


def chosen(faults: Sequence[Callable[[Stage], None]]) -> list[Callable[[Stage], None]]:
    return [fault for fault in faults if ROUNDS > 1 or fault.__name__ in SHORT]


@pytest.fixture(scope="module")
def service(
    shared_servers: EmbeddedServers, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """One service for all faults: after each it has to be well again. Then the books are proved."""
    sys.stderr.write(f"FAULT_SEED={SEED}\n")
    place = tmp_path_factory.mktemp("matrix") / "app"
    settings = {"LOG_LEVEL": "info", "ARGON2_SLOTS": "1"}
    # Else an intruder is told to come back later, and not that the key is revoked.
    settings["RATE_LIMIT_ANONYMOUS"] = "1000000/minute"
    with Service(shared_servers, place, None, **settings) as started:
        yield started
        started.flask("replay-ledger")


def suffer(service: Service, servers: EmbeddedServers, fault: Callable[[Stage], None]) -> Paying:
    """Let the fault happen under load, wait until all is well, and check what has to hold.

    How long requests took is what the service says: a client on a busy machine waits longer. No
    test fails on a time, so it is in the figures, and decides in `make faults` alone.
    """
    log_size = service.output.stat().st_size
    with Paying(service, SEED) as paying:
        stage = Stage(service, servers, paying, random.Random(SEED))
        for _ in range(1 if fault.__name__ in ONCE else ROUNDS):
            paying.more(30)
            fault(stage)
            paying.more(30)
    served = service.durations_ms(log_size)
    late = [took_ms for took_ms in served if took_ms > LATEST_MS]
    told = {**paying.figures(), "served_longest_ms": round(max(served)), "late": len(late)}
    sys.stderr.write(f"{fault.__name__}: {json.dumps(told)}\n")
    paying.check()
    assert ROUNDS == 1 or fault.__name__ in NO_DEADLINE or late == [], "LV1"
    return paying


@pytest.mark.parametrize("fault", chosen(QUIET), ids=lambda fault: fault.__name__)
def test_a_fault_that_nobody_may_notice(
    service: Service, shared_servers: EmbeddedServers, fault: Callable[[Stage], None]
) -> None:
    """F6 to F9, F12, F15 to F18, OU3; FI1 to FI7, LV1 to LV3: no 5xx, no lost answer."""
    events = suffer(service, shared_servers, fault).events
    assert [event for event in events if event.status >= 500 or event.kind == "info"] == []


@pytest.mark.parametrize("fault", chosen(LOUD), ids=lambda fault: fault.__name__)
def test_a_fault_that_costs_retries(
    service: Service, shared_servers: EmbeddedServers, fault: Callable[[Stage], None]
) -> None:
    """F1 to F5, F10, F11, F13, F16; FI1 to FI7, LV1: 503, never 500, and the key tells."""
    events = suffer(service, shared_servers, fault).events
    assert {event.status for event in events} <= {0, 200, 201, 409, 503}
