"""Capture without triggers: rows whose `updated_at` is young, looked at again for a while (D30).

It misses hard deletes, and what a transaction committed later than the overlap after its time: the
move to phase 4 then compares everything. What was seen is known to this process only: another one
begins with all rows, which costs time and changes nothing.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from threading import Lock
from typing import TYPE_CHECKING

from legacy.store import Captured

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Changed = tuple[str, datetime]  # Legacy id, and when it was changed last.


class Poll:
    """What is new since the last time. `changed(since, limit)` lists rows by time, then id."""

    def __init__(
        self, changed: Callable[[datetime | None, int], list[Changed]], overlap_s: int
    ) -> None:
        self._changed = changed
        self._overlap = timedelta(seconds=overlap_s)
        self._lock = Lock()
        self._newest: datetime | None = None
        self._seen: dict[str, datetime] = {}
        self._told: dict[int, Changed] = {}
        self._last_batch_id = 0

    def tail(self, limit: int) -> list[Captured]:
        """Return rows that were not acknowledged at this time of theirs."""
        with self._lock:
            found = self._changed(self._since(), limit + len(self._seen))
            new = [each for each in found if self._seen.get(each[0]) != each[1]][:limit]
            first = self._last_batch_id + 1
            self._told = dict(enumerate(new, first))
            self._last_batch_id += len(new)
            return [Captured(batch_id, row[0]) for batch_id, row in self._told.items()]

    def _since(self) -> datetime | None:
        if self._newest is None:
            return None
        earliest = datetime.min.replace(tzinfo=UTC) + self._overlap
        return max(self._newest, earliest) - self._overlap

    def ack(self, batch: Sequence[Captured]) -> None:
        """Forget these; those older than the overlap cannot come again."""
        with self._lock:
            done = [self._told[each.batch_id] for each in batch if each.batch_id in self._told]
            self._seen |= dict(done)
            self._newest = max([moment for _, moment in done], default=self._newest)
            since = self._since()
            if since is not None:
                self._seen = {key: at for key, at in self._seen.items() if at >= since}
