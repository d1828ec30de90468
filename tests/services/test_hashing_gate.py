"""The gate: so many hashes at once, so many waiting, and no permit lost."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from errors import AuthBusy
from observability import metrics
from services.hashing_gate import HashingGate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future

PATIENCE_S = 30.0


class Crowd:
    """Clients of a gate whose work ends when it is told to."""

    def __init__(self, gate: HashingGate) -> None:
        self.gate = gate
        self.begun = threading.Semaphore(0)
        self.end = threading.Event()
        self._clients = ThreadPoolExecutor(32)

    def work(self) -> str:
        self.begun.release()
        assert self.end.wait(PATIENCE_S)
        return threading.current_thread().name

    def come(self, count: int = 1) -> list[Future[str]]:
        return [self._clients.submit(self.gate.run, self.work) for _ in range(count)]

    def wait_for(self, begun: int) -> None:
        for _ in range(begun):
            assert self.begun.acquire(timeout=PATIENCE_S)

    def leave(self) -> None:
        self.end.set()
        self._clients.shutdown()


@pytest.fixture
def crowd_of() -> Iterator[Callable[[int, float], Crowd]]:
    """Crowds before gates of so many slots and such a wait."""
    made: list[Crowd] = []

    def make(slots: int, queue_s: float) -> Crowd:
        made.append(Crowd(HashingGate(slots, queue_s)))
        return made[-1]

    yield make
    for crowd in made:
        crowd.leave()


def until(condition: Callable[[], bool]) -> None:
    tick = threading.Event()
    for _ in range(3_000):
        if condition():
            return
        tick.wait(0.01)
    raise AssertionError("It never came to be")


def test_so_many_hash_at_once_and_four_times_as_many_wait(
    crowd_of: Callable[[int, float], Crowd],
) -> None:
    """A24: who comes then is sent away at once, with the time to come again."""
    crowd = crowd_of(2, PATIENCE_S)
    first = crowd.come(10)
    crowd.wait_for(2)
    until(lambda: crowd.gate._room._value == 0)
    with pytest.raises(AuthBusy) as caught:
        crowd.gate.run(str)
    assert (caught.value.code, caught.value.status) == ("auth_busy", 503)
    assert not crowd.begun.acquire(blocking=False)
    crowd.end.set()
    assert {future.result() for future in first} <= {"hashing_0", "hashing_1"}


def test_who_waits_too_long_is_sent_away_and_never_hashed(
    crowd_of: Callable[[int, float], Crowd],
) -> None:
    """A24: and makes room for the next."""
    crowd = crowd_of(1, 0.02)
    (first,) = crowd.come()
    crowd.wait_for(1)
    for _ in range(20):
        with pytest.raises(AuthBusy):
            crowd.gate.run(crowd.work)
    crowd.end.set()
    assert first.result() == "hashing_0"
    assert crowd.gate.run(lambda: "free") == "free"
    assert not crowd.begun.acquire(blocking=False)


def test_what_has_begun_is_waited_for(crowd_of: Callable[[int, float], Crowd]) -> None:
    """A24: the wait is for a thread, not for the hash."""
    crowd = crowd_of(1, 0.02)
    (first,) = crowd.come()
    crowd.wait_for(1)
    threading.Event().wait(0.1)
    crowd.end.set()
    assert first.result() == "hashing_0"


def test_a_failure_gives_the_permit_back() -> None:
    """A24: a gone client or a failed library leaks none."""
    gate = HashingGate(1, PATIENCE_S)
    for _ in range(20):
        with pytest.raises(ZeroDivisionError):
            gate.run(lambda: 1 // 0)
    assert gate.run(lambda: "free") == "free"


def test_a_timeout_of_the_work_is_its_own() -> None:
    def late() -> None:
        raise TimeoutError("mine")

    with pytest.raises(TimeoutError, match="mine"):
        HashingGate(1, PATIENCE_S).run(late)


def test_hashing_steps_back_for_everything_else() -> None:
    """A24: the threads that hash have a lower priority, the others keep theirs."""

    def nice() -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    here = nice()
    assert HashingGate(1, PATIENCE_S).run(nice) == max(here, 10)
    assert nice() == here


def test_hashes_in_flight_and_waits_are_counted() -> None:
    """Operations page, section 8."""
    gate = HashingGate(1, PATIENCE_S)
    assert b"strongroom_argon2_in_flight 1.0" in gate.run(metrics)
    told = metrics()
    assert b"strongroom_argon2_in_flight 0.0" in told
    assert b"strongroom_argon2_wait_seconds_bucket" in told
