"""What a failed log-in costs: every kind of hash that users have, once (A25).

A user with an old bcrypt hash would answer later than one with none. So each failed try pays every
class that the table holds, on a hash of nobody's password where the user's own is of another.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from errors import AppError
from observability import log
from repos import users
from services.stored_hashes import parse, parse_class

if TYPE_CHECKING:
    from collections.abc import Callable

    from persistence.db import Database
    from services.stored_hashes import CostClass, StoredHash

CLASSES_MAX = 4
KEPT_S = 60.0


class CostClasses:
    """The classes of the table, at most a minute old, and the class of new hashes."""

    def __init__(
        self, db: Database, current: CostClass, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`current` is the class of new hashes; `clock` counts seconds."""
        self._db = db
        self._current = current
        self._clock = clock
        # One assignment replaces both, so threads need no lock: at worst two of them read.
        self._kept: tuple[float, tuple[StoredHash, ...]] = (float("-inf"), (_dummy(current),))

    def dummies(self) -> tuple[StoredHash, ...]:
        """Return a hash of nobody's password for each class, at most 4.

        May ask the database: not to be called while a connection is held.
        """
        now = self._clock()
        read_at, dummies = self._kept
        if now - read_at < KEPT_S:
            return dummies
        try:
            found = self._read()
        except AppError as error:
            log.warning("cost_classes.not_read", code=error.code)
            return dummies
        made = {dummy.cost_class: dummy for dummy in dummies}
        # In this order bcrypt stands before Argon2, whose kinds differ least from the current one.
        wanted = list(dict.fromkeys([self._current, *sorted(found, key=str)]))[:CLASSES_MAX]
        self._kept = now, tuple(made.get(each) or _dummy(each) for each in wanted)
        return self._kept[1]

    def _read(self) -> list[CostClass]:
        with self._db.read() as conn:
            beginnings = users.list_password_classes(conn)
        return [each for each in map(parse_class, beginnings) if each is not None]


def _dummy(each: CostClass) -> StoredHash:
    stored = parse(each.example())
    if stored is None:
        raise RuntimeError(f"Bug: no hash of the class {each} can be verified")
    return stored
