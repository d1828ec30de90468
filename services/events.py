"""The event feed: every event of a tenant, in order and without a gap (E3).

A reader keeps the position of its last page. Events are served once every transaction as old has
ended: what commits later comes behind every position that was given out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

from repos import events

if TYPE_CHECKING:
    from collections.abc import Sequence

    from persistence.db import Database
    from repos.events import FeedRow
    from services.actors import Actor
    from services.cursors import Cursors

START: list[Any] = [0, "0", str(UUID(int=0)), 0]
# How many events a page looks at if it shows some types only.
SCAN_ROWS = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedPage:
    """A page of the feed. `next_after` is where the next one begins, None at the very start.

    `caught_up`: there is nothing more now; without it a page may be short and not the last.
    """

    events: list[dict[str, Any]]
    next_after: str | None
    caught_up: bool


class Events:
    """What can be asked of the feed."""

    def __init__(self, db: Database, cursors: Cursors) -> None:
        self._db = db
        self._cursors = cursors

    def page(self, actor: Actor, after: str | None, types: Sequence[str], limit: int) -> FeedPage:
        """Return up to `limit` events after a position. Raises CursorInvalid.

        A position is of a tenant, not of `types`: a reader may ask for others and go on.
        """
        bound = {"tenant": actor.tenant_id}
        epoch, xid, payment_id, seq = self._cursors.read("events", after, bound) if after else START
        most = max(limit, SCAN_ROWS) if types else limit
        with self._db.read() as conn:
            rows = events.list_(
                conn,
                tenant_id=actor.tenant_id,
                after_epoch=epoch,
                after_xid=xid,
                after_payment_id=UUID(payment_id),
                after_seq=seq,
                types=",".join(types),
                row_limit=most + 1,
            )
        passed = _passed(rows[:most], limit)
        if passed:
            last = passed[-1]
            position = [last.epoch, last.xid, last.payment_id, last.seq]
            after = self._cursors.sign("events", position, bound)
        shown = [row.event for row in passed if row.event is not None]
        return FeedPage(events=shown, next_after=after, caught_up=len(passed) == len(rows))


def _passed(rows: list[FeedRow], limit: int) -> list[FeedRow]:
    """Return the rows up to the last that fits on the page."""
    shown = 0
    for place, row in enumerate(rows):
        shown += row.event is not None
        if shown == limit:
            return rows[: place + 1]
    return rows
