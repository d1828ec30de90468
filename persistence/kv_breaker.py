"""The breaker before Redis: pybreaker's states, but calls outside its lock and a monotonic clock.

Rules OK1, OK3, OK4 and OK9 of the operations page.
"""

from __future__ import annotations

import random
import threading
import time
from typing import TYPE_CHECKING, Any

import pybreaker
from redis import exceptions as redis_errors

from observability import kv_breaker_opened_total, kv_breaker_state, log

if TYPE_CHECKING:
    from collections.abc import Callable

STATES = {pybreaker.STATE_CLOSED: 0, pybreaker.STATE_HALF_OPEN: 1, pybreaker.STATE_OPEN: 2}
CALM_S = 30.0  # So long closed, and the next opening is short again.
_CAUSES: tuple[tuple[type[BaseException], str], ...] = (
    (redis_errors.BusyLoadingError, "loading"),
    (redis_errors.AuthenticationError, "authentication"),
    (redis_errors.ReadOnlyError, "readonly"),
    (redis_errors.OutOfMemoryError, "oom"),
    (redis_errors.TimeoutError, "timeout"),
    (redis_errors.ConnectionError, "connection"),
    (redis_errors.ClusterError, "cluster"),
    (redis_errors.TryAgainError, "cluster"),
    (redis_errors.InvalidResponse, "protocol"),
)


def cause_of(error: BaseException) -> str:
    """Name the fault for logs and metrics: a closed set."""
    return next((cause for kind, cause in _CAUSES if isinstance(error, kind)), "other")


class Breaker(pybreaker.CircuitBreaker):
    """Closed: calls pass. Else: CircuitBreakerError at once, until the monitor's probes close it.

    pybreaker's own `call` holds its lock during the call, lets any caller probe, and reads the
    wall clock. Here only the count and the states are changed under the lock.
    """

    def __init__(
        self,
        fail_max: int,
        open_ms: int,
        open_max_ms: int,
        *,
        woken: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start half-open: nobody knows yet. `woken` is called at each opening."""
        super().__init__(fail_max=fail_max, throw_new_error_on_trip=False)
        self._open_s, self._open_max_s = open_ms / 1000, open_max_ms / 1000
        self._woken, self._clock = woken, clock
        self._openings = 0  # In a row, without a calm between.
        self._until = 0.0  # Monotonic seconds.
        self._closed_at = clock()
        self._told: str | None = None
        self.cause = ""  # Of the last failure that kept it open.
        self._changed = threading.Condition(self._lock)
        self.half_open()

    def call(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call `func` if closed, and count its failure."""
        if self._state_storage.state != pybreaker.STATE_CLOSED:
            raise pybreaker.CircuitBreakerError
        try:
            answer = func(*args, **kwargs)
        except Exception as error:
            self._failed(error)
            raise
        if self._state_storage.counter:
            self._state_storage.reset_counter()
        return answer

    def _failed(self, error: Exception) -> None:
        with self._lock:
            if self.current_state == pybreaker.STATE_CLOSED:  # A late failure changes nothing.
                self._inc_counter()
                if self.fail_counter >= self.fail_max:
                    self.trip(cause_of(error))

    def trip(self, cause: str) -> None:
        """Open for 500 ms, for twice as long each time that no calm was between."""
        with self._lock:
            now = self._clock()
            if self.current_state == pybreaker.STATE_CLOSED and now - self._closed_at >= CALM_S:
                self._openings = 0
            longest = min(self._open_s * 2**self._openings, self._open_max_s)
            self._openings = min(self._openings + 1, 30)
            self._until = now + longest * random.uniform(0.8, 1.2)  # noqa: S311  # Spreads probes.
            self.cause = cause
            self.open()
            self._tell("kv.opened", "warning", cause)
        self._woken()

    def mend(self) -> None:
        """Close, after good probes."""
        with self._lock:
            self._closed_at = self._clock()
            self.close()
            self._tell("kv.closed", "info", "probes")

    def wait_for(self, state: str, timeout_s: float) -> bool:
        """Wait until the state is `closed` or `open`; False when the time has passed."""
        with self._changed:
            return self._changed.wait_for(lambda: self.current_state == state, timeout_s)

    def left_s(self) -> float:
        """Seconds until the next probe; 0 if it is due or nothing is open."""
        return max(0.0, self._until - self._clock())

    def _tell(self, event: str, level: str, cause: str) -> None:
        """One line and one metric a change: a failed probe is none."""
        self._changed.notify_all()
        kv_breaker_state.set(STATES[self.current_state])
        if event != self._told:
            self._told = event
            getattr(log, level)(event, cause=cause)
            if event == "kv.opened":
                kv_breaker_opened_total.labels(cause).inc()
