# ruff: noqa: S101, PLR2004 - these are tests.
"""Cases of the contract: a legacy program goes on writing (legacy/contract.py)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from legacy.contract_rows import LATER, ids_for, make, user
from legacy.store import Captured, StoreRow, VersionStale

if TYPE_CHECKING:
    from collections.abc import Callable

    from legacy.contract_rows import LegacyProgram
    from legacy.store import LegacyStore


class CapturingCases:
    """What is more where a legacy program goes on writing, captured by triggers (D30, D31)."""

    def test_what_the_program_writes_is_captured(
        self, store: LegacyStore, program: LegacyProgram
    ) -> None:
        """D30: inserts, updates and deletes, in any number."""
        first, second = ids_for(store, 2)
        program.insert(first, "a@example.org")
        program.insert(second, "b@example.org")
        program.rename(first, "Bea")
        program.delete(second)
        assert {each.legacy_id for each in store.tail(10)} == {first, second}

    def test_what_we_write_is_not_captured(
        self, store: LegacyStore, program: LegacyProgram
    ) -> None:
        """D30: or every copy would come back."""
        first, second = make(store, 2)
        store.replace(user(first), 1, "op-2", LATER)
        store.follow(StoreRow(first, 7, user(first), None))
        store.follow(StoreRow(second, 7, {"legacy_id": second}, None, deleted=True))
        assert store.tail(10) == []
        program.rename(first, "Bea")
        assert [each.legacy_id for each in store.tail(10)] == [first]

    def test_the_queue_is_kept_until_it_is_acknowledged(
        self, store: LegacyStore, program: LegacyProgram
    ) -> None:
        """D30: marks are committed first, and a crash may fall between."""
        (legacy_id,) = ids_for(store, 1)
        program.insert(legacy_id, "a@example.org")
        batch = store.tail(10)
        assert store.tail(10) == batch
        store.ack(batch)
        store.ack(batch)
        assert store.tail(10) == []

    def test_only_what_was_seen_is_acknowledged(
        self, store: LegacyStore, program: LegacyProgram
    ) -> None:
        """D21: a write meanwhile stays."""
        (legacy_id,) = ids_for(store, 1)
        program.insert(legacy_id, "a@example.org")
        batch = store.tail(10)
        program.rename(legacy_id, "Bea")
        store.ack(batch)
        assert [each.legacy_id for each in store.tail(10)] == [legacy_id]

    def test_the_queue_is_read_in_its_order(
        self, store: LegacyStore, program: LegacyProgram
    ) -> None:
        """D30: up to a limit."""
        ids = ids_for(store, 3)
        for number, legacy_id in enumerate(ids):
            program.insert(legacy_id, f"u{number}@example.org")
        batch = store.tail(2)
        assert [each.legacy_id for each in batch] == ids[:2]
        assert all(isinstance(each, Captured) for each in batch)

    def test_the_programs_writes_raise_the_version(
        self, store: LegacyStore, program: LegacyProgram
    ) -> None:
        """D23: so that what we decided on an older row is refused."""
        (legacy_id,) = ids_for(store, 1)
        program.insert(legacy_id, "a@example.org")
        assert store.get_many([legacy_id])[legacy_id].version == 1
        program.rename(legacy_id, "Bea")
        found = store.get_many([legacy_id])[legacy_id]
        assert (found.version, found.op_id, found.row["display_name"]) == (2, None, "Bea")
        with pytest.raises(VersionStale):
            store.replace(user(legacy_id), 1, "op", LATER)
        assert store.capabilities.versions

    def test_what_the_program_deletes_leaves_a_tombstone(
        self, store: LegacyStore, program: LegacyProgram
    ) -> None:
        """D25: a user gone at the truth is known to be gone, and may come back."""
        (legacy_id,) = ids_for(store, 1)
        program.insert(legacy_id, "a@example.org")
        program.delete(legacy_id)
        found = store.get_many([legacy_id])[legacy_id]
        assert (found.deleted, found.version) == (True, 2)
        program.insert(legacy_id, "a@example.org")
        found = store.get_many([legacy_id])[legacy_id]
        assert (found.deleted, found.version) == (False, 3)

    def test_a_fence_shuts_out_the_program_and_not_us(
        self, store: LegacyStore, program: LegacyProgram
    ) -> None:
        """D31: inserts, updates and deletes."""
        (legacy_id,) = make(store, 1)
        (other,) = ids_for(store, 1)
        store.fence()
        writes: list[Callable[[], None]] = [
            lambda: program.insert(other, "a@example.org"),
            lambda: program.rename(legacy_id, "Bea"),
            lambda: program.delete(legacy_id),
        ]
        for write in writes:
            with pytest.raises(Exception, match="strongroom: fenced"):
                write()
        assert store.replace(user(legacy_id), 1, "op-2", LATER).version == 2
        assert store.follow(StoreRow(other, 3, user(other), None))

    def test_a_lifted_fence_lets_the_program_write(
        self, store: LegacyStore, program: LegacyProgram
    ) -> None:
        """D31: after a rollback, and after a crash; either may be asked for twice."""
        (legacy_id,) = make(store, 1)
        store.fence()
        store.fence()
        store.unfence()
        store.unfence()
        program.rename(legacy_id, "Bea")
        assert store.get_many([legacy_id])[legacy_id].row["display_name"] == "Bea"
