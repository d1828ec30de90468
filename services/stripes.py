"""Which row of a hot account a thread writes to, so that threads do not queue for one (LS1)."""

from __future__ import annotations

import itertools
import os
import threading

_numbers = itertools.count()
_kept = threading.local()


def thread_stripe() -> int:
    """Return this thread's number, the same each time; a statement takes it modulo the stripes.

    Processes of one host start apart, as their pids follow each other.
    """
    number: int | None = getattr(_kept, "number", None)
    if number is None:
        number = _kept.number = next(_numbers) + 8 * (os.getpid() % 1_000)
    return number
