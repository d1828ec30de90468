"""Create, replace and follow, as every store does them that has transactions.

Within one transaction that holds the row: look at it, decide, write it, note its version beside it,
and read it again. A store that changed what it was given, by rounding or by a trigger, has refused
it: nothing is altered in silence.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Generic, TypeVar

from legacy.store import Duplicate, LegacyError, RowRejected, StoreRow, VersionStale
from legacy.stores.reading import store_row

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from datetime import datetime

    from legacy.columns import ColumnMap, Raw
    from legacy.store import Row
    from legacy.stores.reading import Held

C = TypeVar("C")


class RowWrites(ABC, Generic[C]):
    """The three writes over what a store does in its own words; `C` is its connection."""

    _map: ColumnMap

    @abstractmethod
    def _writing(self, legacy_id: str) -> AbstractContextManager[C]:
        """Begin a transaction in which nobody else writes this row, and which no trigger sees."""

    @abstractmethod
    def _held_in(self, connection: C, legacy_id: str) -> Held | None:
        """Return the row or tombstone."""

    @abstractmethod
    def _refuse_late(self, connection: C, not_after: datetime) -> None:
        """Raise TooLate by the store's clock."""

    @abstractmethod
    def _insert(self, connection: C, raw: Raw) -> None: ...

    @abstractmethod
    def _update(self, connection: C, legacy_id: str, raw: Raw) -> bool:
        """Write the row, and tell whether it was there."""

    @abstractmethod
    def _delete(self, connection: C, legacy_id: str) -> None: ...

    @abstractmethod
    def _note(
        self, connection: C, legacy_id: str, version: int, op_id: str | None, *, deleted: bool
    ) -> None:
        """Write the companion (D23)."""

    def create(self, row: Row, op_id: str, not_after: datetime) -> StoreRow:
        """See LegacyStore."""
        legacy_id = row["legacy_id"]
        with self._writing(legacy_id) as connection:
            found = self._held_in(connection, legacy_id)
            if found is not None and found.op_id == op_id:
                return store_row(self._map, found)
            self._refuse_late(connection, not_after)
            if found is not None:
                raise Duplicate("id")
            self._insert(connection, self._map.write(row))
            self._note(connection, legacy_id, 1, op_id, deleted=False)
            return self._stored(connection, row)

    def replace(self, row: Row, expected_version: int, op_id: str, not_after: datetime) -> StoreRow:
        """See LegacyStore."""
        legacy_id = row["legacy_id"]
        with self._writing(legacy_id) as connection:
            found = self._held_in(connection, legacy_id)
            if found is not None and found.op_id == op_id:
                return store_row(self._map, found)
            self._refuse_late(connection, not_after)
            if found is None or found.raw is None or found.version != expected_version:
                raise VersionStale(None if found is None else store_row(self._map, found))
            self._update(connection, legacy_id, self._map.write(row))
            self._note(connection, legacy_id, expected_version + 1, op_id, deleted=False)
            return self._stored(connection, row)

    def follow(self, row: StoreRow) -> bool:
        """See LegacyStore."""
        if row.deleted and self._map.domain == "payments":
            raise RowRejected(row.id, "payment_vanished", ())
        with self._writing(row.id) as connection:
            found = self._held_in(connection, row.id)
            if found is not None and found.version >= row.version:
                return False
            if row.deleted:
                self._delete(connection, row.id)
            else:
                raw = self._map.write({**row.row, "legacy_id": row.id})
                if not self._update(connection, row.id, raw):
                    self._insert(connection, raw)
            self._note(connection, row.id, row.version, row.op_id, deleted=row.deleted)
            if not row.deleted:
                self._stored(connection, {**row.row, "legacy_id": row.id})
            return True

    def _stored(self, connection: C, row: Row) -> StoreRow:
        found = self._held_in(connection, row["legacy_id"])
        if found is None or found.raw is None:
            raise LegacyError("the legacy store took the row away at once")
        stored = store_row(self._map, found)
        if changed := self._map.differing(row, stored.row):
            raise RowRejected(stored.id, "changed_by_legacy", tuple(changed))
        return stored
