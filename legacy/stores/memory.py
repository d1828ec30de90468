"""The specification's legacy: a table in the memory of one process, lost when it ends.

For trying a move out, and for tests. It refuses a second process: that one would see other rows.
"""

from __future__ import annotations

import fcntl
import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from legacy.store import (
    Capabilities,
    Duplicate,
    LegacyUnavailable,
    RowRejected,
    StoreRow,
    TooLate,
    Unsupported,
    VersionStale,
)
from legacy.stores.local import LocalRows
from legacy.stores.reading import Held, store_row
from services.users import normalise_email

if TYPE_CHECKING:
    from collections.abc import Callable
    from io import TextIOWrapper
    from pathlib import Path

    from legacy.columns import ColumnMap
    from legacy.store import Row


class MemoryStore(LocalRows):
    """Rows in the legacy form, so that a column map is exercised as by any other store.

    `lock_path`: a file that one process at a time may hold; None: only forks are noticed.
    """

    def __init__(
        self,
        mapping: ColumnMap,
        lock_path: Path | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        super().__init__(mapping)
        self._clock = clock
        self._pid = os.getpid()
        self._lock_file = None if lock_path is None else _locked(lock_path)
        self._last_id = 0
        self._emails: dict[str, str] = {}  # Normalised address to id.

    @property
    def capabilities(self) -> Capabilities:
        """It writes, hands out ids where they are numbers, and nobody else writes it."""
        return Capabilities(writes=True, versions=True, ids=self._has_numbers())

    def _has_numbers(self) -> bool:
        return self._map.by_name["id"].how == "uuid8"

    def ping(self) -> None:
        """Raise LegacyUnavailable in another process than the one that made it."""
        if os.getpid() != self._pid:
            raise LegacyUnavailable(f"the memory store belongs to process {self._pid}")

    # --- Writes ---------------------------------------------------------------------------------

    def create(self, row: Row, op_id: str, not_after: datetime) -> StoreRow:
        """See LegacyStore."""
        self.ping()
        with self._lock:
            held = self._held.get(row["legacy_id"])
            if held is not None and held.op_id == op_id:
                return store_row(self._map, held)
            self._refuse_late(not_after)
            if held is not None:
                raise Duplicate("id")
            return self._put(row, 1, op_id)

    def replace(self, row: Row, expected_version: int, op_id: str, not_after: datetime) -> StoreRow:
        """See LegacyStore."""
        self.ping()
        with self._lock:
            held = self._held.get(row["legacy_id"])
            if held is not None and held.op_id == op_id:
                return store_row(self._map, held)
            self._refuse_late(not_after)
            if held is None or held.raw is None or held.version != expected_version:
                raise VersionStale(None if held is None else store_row(self._map, held))
            return self._put(row, expected_version + 1, op_id)

    def follow(self, row: StoreRow) -> bool:
        """See LegacyStore."""
        self.ping()
        if row.deleted and self._map.domain == "payments":
            raise RowRejected(row.id, "payment_vanished", ())
        with self._lock:
            held = self._held.get(row.id)
            if held is not None and held.version >= row.version:
                return False
            if row.deleted:
                self._forget_email(row.id)
                self._hold(Held(row.id, None, row.version, row.op_id))
            else:
                self._put({**row.row, "legacy_id": row.id}, row.version, row.op_id)
            return True

    def _put(self, row: Row, version: int, op_id: str | None) -> StoreRow:
        held = Held(row["legacy_id"], self._map.write(row), version, op_id)
        stored = store_row(self._map, held)
        email = stored.row.get("email")
        key = None if email is None else normalise_email(email)
        if key is not None and self._emails.get(key, held.id) != held.id:
            raise Duplicate("email")
        self._forget_email(held.id)
        if key is not None:
            self._emails[key] = held.id
        self._hold(held)
        return stored

    def _forget_email(self, legacy_id: str) -> None:
        held = self._held.get(legacy_id)
        email = held.raw and store_row(self._map, held).row.get("email") if held else None
        if email:
            self._emails.pop(normalise_email(email), None)

    def _refuse_late(self, not_after: datetime) -> None:
        if self._clock() > not_after:
            raise TooLate

    def allocate_ids(self, n: int) -> list[str]:
        """See LegacyStore."""
        if not self._has_numbers():
            raise Unsupported("ids are UUIDs: make them")
        with self._lock:
            numbers = [int(each) for each in self._held if each.isdecimal()]
            first = max([self._last_id, *numbers]) + 1
            self._last_id = first + n - 1
            return [str(number) for number in range(first, first + n)]

    def close(self) -> None:
        """Let another process begin, with no rows."""
        if self._lock_file is not None:
            self._lock_file.close()


def _locked(path: Path) -> TextIOWrapper:
    file = path.open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise LegacyUnavailable("another process holds the memory store") from None
    return file
