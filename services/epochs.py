"""Epochs of events: a logical restore starts transaction ids anew, so it begins one (E4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from uuid_utils.compat import uuid7

from repos import events, ops

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from persistence.db import Database


class Epochs:
    """The epoch of this installation."""

    def __init__(self, db: Database, new_id: Callable[[], UUID] = uuid7) -> None:
        self._db = db
        self._new_id = new_id

    def current(self) -> tuple[int, bool]:
        """Return its number, and whether it is stale: the database was restored since it began."""
        with self._db.read() as conn:
            return ops.event_epoch(conn) or 1, events.check_epoch(conn)

    def begin(self, reason: str, subject: str) -> int:
        """Begin the next one and return its number; waits for the writers of the one before."""
        with self._db.write() as conn:
            return events.begin_epoch(conn, audit_id=self._new_id(), subject=subject, reason=reason)
