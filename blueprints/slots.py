"""Slots: how many requests of a process work at once; the rest is refused soon (OS1)."""

from __future__ import annotations

import threading

from errors import Overloaded
from observability import http_shed_total


class Slots:
    """So many requests at once. A thread without a slot holds no database connection."""

    def __init__(self, name: str, number: int, wait_ms: int) -> None:
        """`name` says in the metrics whose slots were full; `wait_ms` is how long one waits."""
        self._name = name
        self._free = threading.BoundedSemaphore(number)
        self._wait_s = wait_ms / 1000
        # Somebody has waited in vain since the last slot came back: the next would too, and would
        # keep a thread from answering probes meanwhile.
        self._is_stuck = False

    def take(self) -> None:
        """Take a slot, or raise Overloaded."""
        if self._free.acquire(blocking=False):
            return
        if not self._is_stuck and self._free.acquire(timeout=self._wait_s):
            return
        self._is_stuck = True
        http_shed_total.labels(self._name).inc()
        raise Overloaded

    def give_back(self) -> None:
        """Let the next one in."""
        self._is_stuck = False
        self._free.release()
