"""The breaker of a legacy store: while that is away, requests are told so at once (MF1).

Only requests ask through it. The mirror, commands and a phase change wait for the store itself.
"""

from __future__ import annotations

from functools import partial
from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING, Any

from legacy.store import LegacyUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from legacy.store import LegacyStore

FAILURES_MAX, PAUSE_S = 5, 1.0


class Guard:
    """Counts calls in a row that found the store away; past the limit one a second may try."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._failures = 0
        self._try_at = 0.0

    def lets_pass(self) -> bool:
        """Tell whether a call may be made now; it then tells what it found."""
        with self._lock:
            if self._failures < FAILURES_MAX:
                return True
            if monotonic() < self._try_at:
                return False
            self._try_at = monotonic() + PAUSE_S
            return True

    def found(self, *, away: bool) -> None:
        """Note whether the store was away."""
        with self._lock:
            self._failures = self._failures + 1 if away else 0
            if self._failures == FAILURES_MAX:
                self._try_at = monotonic() + PAUSE_S


class Guarded:
    """A store behind its guard. LegacyUnavailable at once while that is closed."""

    def __init__(self, store: LegacyStore, guard: Guard) -> None:
        self._store = store
        self._guard = guard

    def __getattr__(self, name: str) -> Any:
        """Return what the store has; its calls go by the guard."""
        held = getattr(self._store, name)
        return partial(self._call, held) if callable(held) else held

    def _call(self, call: Callable[..., Any], *args: Any, **given: Any) -> Any:
        if not self._guard.lets_pass():
            raise LegacyUnavailable("it was away a moment ago")
        try:
            answer = call(*args, **given)
        except LegacyUnavailable:
            self._guard.found(away=True)
            raise
        self._guard.found(away=False)
        return answer
