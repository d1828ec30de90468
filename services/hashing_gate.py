"""How many passwords are hashed at once: each takes 64 MiB and a CPU for a moment (A23, A24)."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from errors import AuthBusy
from observability import argon2_in_flight, argon2_wait_seconds, current

if TYPE_CHECKING:
    from collections.abc import Callable

Result = TypeVar("Result")

WAITING_PER_SLOT = 4
NICE = 10  # Payments go first where both want the same CPU.


class HashingGate:
    """`slots` threads that hash, and a queue of 4 x `slots` before them, per process.

    The thread that hashes holds the permit: a client that has gone cannot leak one.
    """

    def __init__(self, slots: int, queue_s: float) -> None:
        """`queue_s`: the longest wait for a thread, seconds."""
        self._queue_s = queue_s
        self._room = threading.BoundedSemaphore(slots * (1 + WAITING_PER_SLOT))
        self._threads = ThreadPoolExecutor(slots, "hashing", initializer=_step_back)

    def run(self, work: Callable[[], Result]) -> Result:
        """Return what `work` returns; AuthBusy: the queue is full, or the wait was too long."""
        if current().holds_connection:
            raise RuntimeError("Bug: hashing with a connection in hand (A23)")
        if not self._room.acquire(blocking=False):
            raise AuthBusy
        asked = time.monotonic()
        job = self._threads.submit(_hash, work, asked)
        job.add_done_callback(lambda _: self._room.release())
        with contextlib.suppress(TimeoutError):
            return job.result(self._queue_s)
        if job.cancel():
            raise AuthBusy
        return job.result()  # It has begun, so it ends soon.


def _hash(work: Callable[[], Result], asked: float) -> Result:
    argon2_wait_seconds.observe(time.monotonic() - asked)
    with argon2_in_flight.track_inprogress():
        return work()


def _step_back() -> None:
    if sys.platform != "linux":  # Elsewhere a priority belongs to the whole process.
        return
    with contextlib.suppress(OSError):  # A sandbox may forbid it; hashing goes on all the same.
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
