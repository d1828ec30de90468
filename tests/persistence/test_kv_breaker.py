"""The breaker alone, with a clock in hand."""

from __future__ import annotations

import pybreaker
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from redis import exceptions as redis_errors
from structlog.testing import capture_logs

from persistence.kv_breaker import CALM_S, Breaker, cause_of


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def breaker(clock: Clock) -> Breaker:
    return Breaker(3, 500, 30_000, woken=lambda: None, clock=clock)


def fail() -> None:
    raise redis_errors.TimeoutError


def test_it_starts_unknown_and_lets_nobody_through() -> None:
    """OK4: the first to know is the monitor."""
    with pytest.raises(pybreaker.CircuitBreakerError):
        breaker(Clock()).call(lambda: 1)


def test_it_stays_open_twice_as_long_each_time_up_to_its_limit() -> None:
    """OK3: 500 ms, doubling to 30 s, each with a jitter of 20 %."""
    clock = Clock()
    tried = breaker(clock)
    for expected in (0.5, 1, 2, 4, 8, 16, 30, 30):
        tried.trip("timeout")
        assert 0.8 * expected <= tried.left_s() <= 1.2 * expected
        clock.now += tried.left_s()
        assert tried.left_s() == 0


def test_a_calm_makes_the_next_opening_short_again() -> None:
    """OK3: 30 s closed."""
    clock = Clock()
    tried = breaker(clock)
    for _ in range(5):
        tried.trip("timeout")
    tried.mend()
    clock.now += CALM_S - 1
    tried.trip("timeout")
    assert tried.left_s() > 10
    tried.mend()
    clock.now += CALM_S
    tried.trip("timeout")
    assert tried.left_s() <= 0.6


def test_a_change_is_one_line_however_often_it_is_probed() -> None:
    """OK9."""
    tried = breaker(Clock())
    with capture_logs() as lines:
        for _ in range(3):
            tried.trip("timeout")
            tried.half_open()
        tried.mend()
        tried.trip("oom")
    assert [(line["event"], line["cause"], line["log_level"]) for line in lines] == [
        ("kv.opened", "timeout", "warning"),
        ("kv.closed", "probes", "info"),
        ("kv.opened", "oom", "warning"),
    ]


def test_a_failure_that_comes_late_changes_nothing() -> None:
    """OK5: calls under way when it opened."""
    clock = Clock()
    tried = breaker(clock)
    tried.mend()

    def late() -> None:
        tried.trip("timeout")
        fail()

    with pytest.raises(redis_errors.TimeoutError):
        tried.call(late)
    assert tried.fail_counter == 0
    assert tried.left_s() <= 0.6


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (redis_errors.BusyLoadingError(), "loading"),
        (redis_errors.AuthenticationError(), "authentication"),
        (redis_errors.ReadOnlyError(), "readonly"),
        (redis_errors.OutOfMemoryError(), "oom"),
        (redis_errors.TimeoutError(), "timeout"),
        (redis_errors.ConnectionError(), "connection"),
        (redis_errors.ClusterDownError("CLUSTERDOWN"), "cluster"),
        (redis_errors.MasterDownError("MASTERDOWN"), "cluster"),
        (redis_errors.TryAgainError("TRYAGAIN"), "cluster"),
        (redis_errors.InvalidResponse(), "protocol"),
        (redis_errors.RedisClusterException(), "other"),
    ],
)
def test_causes_are_a_closed_set(error: Exception, cause: str) -> None:
    """OM1: a label never holds a server's words."""
    assert cause_of(error) == cause


class BreakerMachine(RuleBasedStateMachine):
    """Random calls, failures, probes and time against the few lines that say what must hold."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.breaker = breaker(self.clock)
        self.state, self.failures, self.reached = "half-open", 0, False

    def touch(self) -> None:
        self.reached = True

    @rule()
    def succeed(self) -> None:
        self.reached = False
        try:
            self.breaker.call(self.touch)
        except pybreaker.CircuitBreakerError:
            assert self.state != "closed"
        else:
            self.failures = 0
        assert self.reached == (self.state == "closed")

    @rule()
    def fail(self) -> None:
        try:
            self.breaker.call(fail)
        except pybreaker.CircuitBreakerError:
            assert self.state != "closed"
        except redis_errors.TimeoutError:
            assert self.state == "closed"
            self.failures += 1
            self.state = "open" if self.failures == 3 else "closed"

    @rule(good=st.booleans())
    def probe(self, *, good: bool) -> None:
        if self.state == "open" and self.breaker.left_s() == 0:
            self.breaker.half_open()
            if good:
                self.breaker.mend()
                self.state, self.failures = "closed", 0
            else:
                self.breaker.trip("timeout")

    @rule(seconds=st.floats(0, 40))
    def wait(self, seconds: float) -> None:
        self.clock.now += seconds

    @rule()
    def first_probe(self) -> None:
        if self.state == "half-open":
            self.breaker.mend()
            self.state = "closed"

    @invariant()
    def the_states_agree(self) -> None:
        assert self.breaker.current_state == self.state
        assert self.breaker.left_s() <= 36
        if self.state == "closed":
            assert self.breaker.fail_counter == self.failures


TestBreakerMachine = BreakerMachine.TestCase
TestBreakerMachine.settings = settings(max_examples=50, stateful_step_count=40, deadline=None)
