"""A legacy store in memory, for tests of our side; faults are switched on by its attributes."""

from __future__ import annotations

import itertools
import threading
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from legacy.store import (
    Capabilities,
    Captured,
    Duplicate,
    LegacyUnavailable,
    Row,
    RowRejected,
    RowsRejected,
    StoreRow,
    TooLate,
    Totals,
    Unsupported,
    VersionStale,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

UNIQUE = {"users": "email", "payments": "reference"}


class MemoryStore:
    """Rows by id. `down`: every call fails; `rejects`: ids whose rows break our rules."""

    def __init__(self, domain: str, *, ids: bool = False, versions: bool = True) -> None:
        self.capabilities = Capabilities(
            writes=True, capture="trigger", versions=versions, fence=True, ids=ids
        )
        self.domain = domain
        self.rows: dict[str, StoreRow] = {}
        self.queue: dict[int, Captured] = {}
        self.rejects: dict[str, str] = {}
        self.down = False
        self.loses_answers = False
        self.is_fenced = False
        self._numbers = itertools.count(1)
        self._lock = threading.RLock()

    # --- What the legacy program does -----------------------------------------------------------

    def program_writes(self, row: Row, *, raises_version: bool = True) -> None:
        """Write as the legacy program would: past us, and captured."""
        if self.is_fenced:
            raise PermissionError("fenced")
        with self._lock:
            had = self.rows.get(row["legacy_id"])
            version = (had.version if had else 0) + int(raises_version or had is None)
            self.rows[row["legacy_id"]] = StoreRow(row["legacy_id"], version, dict(row), None)
            number = next(self._numbers)
            self.queue[number] = Captured(number, row["legacy_id"])

    def program_deletes(self, legacy_id: str) -> None:
        """Delete as the legacy program would."""
        with self._lock:
            del self.rows[legacy_id]
            number = next(self._numbers)
            self.queue[number] = Captured(number, legacy_id)

    # --- The protocol ---------------------------------------------------------------------------

    def ping(self) -> None:
        if self.down:
            raise LegacyUnavailable("down")

    def get_many(self, ids: Sequence[str]) -> dict[str, StoreRow]:
        self.ping()
        found = {each: self.rows[each] for each in ids if each in self.rows}
        bad = [RowRejected(i, self.rejects[i], ("email",)) for i in found if i in self.rejects]
        if bad:
            good = {i: row for i, row in found.items() if i not in self.rejects}
            raise RowsRejected(bad, good)
        return found

    def find(self, field: str, value: Any) -> StoreRow | None:
        self.ping()
        spelt = value.casefold() if field == "email" else value
        for row in self.rows.values():
            there = row.row.get(field)
            there = there.casefold() if field == "email" and there else there
            if there == spelt and not row.deleted:
                return row
        return None

    def page(self, filters: dict[str, Any], after: str | None, limit: int) -> list[StoreRow]:
        self.ping()
        fits = [
            row
            for key, row in sorted(self.rows.items())
            if not row.deleted
            and key > (after or "")
            and all(row.row.get(name) == value for name, value in filters.items())
        ]
        return fits[:limit]

    def scan_ids(self, after: str | None, limit: int) -> list[str]:
        self.ping()
        keys = sorted(key for key, row in self.rows.items() if not row.deleted)
        return [key for key in keys if key > (after or "")][:limit]

    def create(self, row: Row, op_id: str, not_after: datetime) -> StoreRow:
        return self._write(row, None, op_id, not_after)

    def replace(self, row: Row, expected_version: int, op_id: str, not_after: datetime) -> StoreRow:
        return self._write(row, expected_version, op_id, not_after)

    def _write(self, row: Row, expected: int | None, op_id: str, not_after: datetime) -> StoreRow:
        self.ping()
        with self._lock:
            had = self.rows.get(row["legacy_id"])
            if had is not None and had.op_id == op_id:
                return had
            if not_after < datetime.now(UTC):
                raise TooLate
            if expected is None and had is not None and not had.deleted:
                raise Duplicate("id")
            if expected is not None and (had is None or had.version != expected):
                raise VersionStale(had)
            self._refuse_duplicates(row)
            made = StoreRow(row["legacy_id"], (expected or 0) + 1, dict(row), op_id)
            self.rows[made.id] = made
        if self.loses_answers:
            raise LegacyUnavailable("the answer was lost")
        return made

    def _refuse_duplicates(self, row: Row) -> None:
        name = UNIQUE[self.domain]
        for other in self.rows.values():
            mine = row.get(name)
            if other.id != row["legacy_id"] and mine and other.row.get(name) == mine:
                raise Duplicate(name)

    def follow(self, row: StoreRow) -> bool:
        self.ping()
        if row.id in self.rejects:
            raise RowRejected(row.id, self.rejects[row.id], ("email",))
        with self._lock:
            had = self.rows.get(row.id)
            if had is not None and had.version >= row.version:
                return False
            if not row.deleted:
                self._refuse_duplicates(row.row)
            self.rows[row.id] = replace(row, row=dict(row.row))
            return True

    def count(self) -> Totals:
        self.ping()
        live = [row for row in self.rows.values() if not row.deleted]
        by: dict[tuple[str, str], tuple[int, int]] = {}
        for row in live:
            key = row.row["status"], row.row.get("currency", "")
            rows, amount = by.get(key, (0, 0))
            by[key] = rows + 1, amount + row.row.get("amount_minor", 0)
        return Totals(len(live), by, max((row.version for row in live), default=0))

    def digest(self, prefix: bytes) -> dict[int, tuple[int, int]]:
        found: dict[int, tuple[int, int]] = {}
        for key, hashed in self.hashes(prefix).items():
            bucket = sha256(key.encode()).digest()[len(prefix)]
            rows, total = found.get(bucket, (0, 0))
            found[bucket] = rows + 1, total + int.from_bytes(hashed[:8], "big", signed=True)
        return found

    def hashes(self, prefix: bytes) -> dict[str, bytes]:
        self.ping()
        return {
            key: PlainCompare(self.domain).hash_of_row(row.row)
            for key, row in self.rows.items()
            if not row.deleted and sha256(key.encode()).digest().startswith(prefix)
        }

    def deep_digest(self, buckets: Collection[int]) -> dict[int, tuple[int, int]]:
        del buckets
        raise Unsupported("no maps here: test_drift has real stores")

    def hashes_in(self, pairs: Collection[int]) -> list[tuple[str, bytes]]:
        del pairs
        raise Unsupported("no maps here: test_drift has real stores")

    def tail(self, limit: int) -> list[Captured]:
        self.ping()
        return list(self.queue.values())[:limit]

    def ack(self, batch: Sequence[Captured]) -> None:
        self.ping()
        for each in batch:
            self.queue.pop(each.batch_id, None)

    def allocate_ids(self, n: int) -> list[str]:
        self.ping()
        return [str(1_000_000 + next(self._numbers)) for _ in range(n)]

    def fence(self) -> None:
        self.ping()
        self.is_fenced = True

    def unfence(self) -> None:
        self.ping()
        self.is_fenced = False

    def close(self) -> None:
        """Nothing to give back."""


class PlainCompare:
    """Compares every column that both rows have, as the memory store holds them."""

    LEFT_OUT = frozenset({"id", "legacy_id", "user_id", "version", "email_verified_at"})

    def __init__(self, domain: str) -> None:
        self.domain = domain

    def hash_of_row(self, row: dict[str, Any]) -> bytes:
        named = sorted((k, str(v)) for k, v in row.items() if k not in self.LEFT_OUT)
        return sha256(repr(named).encode()).digest()

    def differing(self, one: dict[str, Any], other: dict[str, Any]) -> list[str]:
        names = (one.keys() | other.keys()) - self.LEFT_OUT
        return sorted(n for n in names if str(one.get(n)) != str(other.get(n)))
