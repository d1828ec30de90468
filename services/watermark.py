"""The watermark: a moment at or before which nothing can appear in a book any more (LT4 to LT7).

A posting takes its transaction id, then its locks, then the clock. A tick reads the clock, then
takes an id. So who read a time of the tick or before it has a lower id than the tick's, and once no
lower id runs, all of them are committed or gone. The longest transaction is not guessed.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from datetime import datetime

    from repos.seals import ClaimedRow, TickRow

NEVER = "-infinity"
# How far a clock may have stepped back without any tick that shows it.
STEP_BACK = timedelta(seconds=10)


class Advance(NamedTuple):
    """Where the watermark may go, and whether the kept tick has had its turn."""

    mark: datetime | None
    is_over: bool


def advance(state: ClaimedRow, tick: TickRow) -> Advance:
    """Return where the watermark may go now; `tick` is of this moment.

    Ids of another server say nothing: after a restore there the kept tick is dropped (LT7).
    """
    if state.tick_at is None or state.tick_xid is None or state.tick_node != tick.node:
        return Advance(state.sealed_through, is_over=True)
    if int(state.tick_xid) >= int(tick.oldest_xid):
        return Advance(state.sealed_through, is_over=False)
    return Advance(max(state.tick_at, state.sealed_through or state.tick_at), is_over=True)


def behind(state: ClaimedRow, tick: TickRow) -> datetime | None:
    """Return from when on to look for rows that came behind the watermark; None: there is none.

    As far back as the clock is now, and as the time for which nobody has looked.
    """
    if state.sealed_through is None:
        return None
    unseen = max(tick.tick_at - state.tick_at, timedelta()) if state.tick_at else timedelta()
    return min(state.sealed_through - unseen, tick.tick_at) - STEP_BACK


def moment_text(moment: datetime | None) -> str:
    """Return the moment as SQL takes it; None is before all."""
    return NEVER if moment is None else moment.isoformat()
