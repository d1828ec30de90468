# ruff: noqa: S101, PLR2004 - these are tests.
"""Cases of the contract: the store is the truth, and is written (legacy/contract.py)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from legacy.contract_rows import LATER, THREADS, at_once, ids_for, make, user
from legacy.store import Duplicate, StoreRow, TooLate, VersionStale

if TYPE_CHECKING:
    from legacy.store import LegacyStore


class WritingCases:
    """Rows are created, and replaced at the version that was read."""

    def test_a_row_begins_at_version_one(self, store: LegacyStore) -> None:
        """D23."""
        (legacy_id,) = ids_for(store, 1)
        made = store.create(user(legacy_id), "op", LATER)
        assert (made.id, made.version, made.op_id) == (legacy_id, 1, "op")

    def test_one_operation_creates_one_row(self, store: LegacyStore) -> None:
        """D10: the same op_id twice."""
        (legacy_id,) = ids_for(store, 1)
        first = store.create(user(legacy_id), "op", LATER)
        assert store.create(user(legacy_id), "op", LATER) == first
        assert store.count().rows == 1

    def test_one_operation_creates_one_row_after_its_time_too(self, store: LegacyStore) -> None:
        """D10, D12: it was in time when it came first."""
        (legacy_id,) = ids_for(store, 1)
        first = store.create(user(legacy_id), "op", LATER)
        assert store.create(user(legacy_id), "op", datetime(2020, 1, 1, tzinfo=UTC)) == first

    def test_an_id_is_taken_once(self, store: LegacyStore) -> None:
        """D43."""
        (legacy_id,) = make(store, 1)
        with pytest.raises(Duplicate) as caught:
            store.create(user(legacy_id, "other@example.org"), "other", LATER)
        assert caught.value.field == "id"
        assert store.get_many([legacy_id])[legacy_id].op_id == f"made-{legacy_id}"

    def test_an_address_is_taken_once(self, store: LegacyStore) -> None:
        """D10: a definite refusal."""
        first, second = ids_for(store, 2)
        store.create(user(first, "ada@example.org"), "a", LATER)
        with pytest.raises(Duplicate) as caught:
            store.create(user(second, "ada@example.org"), "b", LATER)
        assert caught.value.field == "email"
        assert store.get_many([second]) == {}

    def test_one_address_from_many_threads_is_one_user(self, store: LegacyStore) -> None:
        """D43: 16 at once."""
        ids = ids_for(store, THREADS)
        results = at_once(
            THREADS, lambda n: store.create(user(ids[n], "ada@example.org"), f"op-{n}", LATER)
        )
        made = [each for each in results if isinstance(each, StoreRow)]
        refused = [each.field for each in results if isinstance(each, Duplicate)]
        assert (len(made), refused) == (1, ["email"] * (THREADS - 1))
        assert store.count().rows == 1

    def test_one_operation_from_many_threads_is_one_row(self, store: LegacyStore) -> None:
        """D10: each of them is told of the row."""
        (legacy_id,) = ids_for(store, 1)
        results = at_once(THREADS, lambda _: store.create(user(legacy_id), "op", LATER))
        assert {each.id if isinstance(each, StoreRow) else each for each in results} == {legacy_id}
        assert store.count().rows == 1

    def test_a_late_create_writes_nothing(self, store: LegacyStore) -> None:
        """D12: by the clock of the store."""
        (legacy_id,) = ids_for(store, 1)
        with pytest.raises(TooLate):
            store.create(user(legacy_id), "op", datetime(2020, 1, 1, tzinfo=UTC))
        assert store.get_many([legacy_id]) == {}

    def test_a_replaced_row_is_the_next_version(self, store: LegacyStore) -> None:
        """D23."""
        (legacy_id,) = make(store, 1)
        made = store.replace(user(legacy_id, display_name="Bea"), 1, "op-2", LATER)
        assert (made.version, made.op_id, made.row["display_name"]) == (2, "op-2", "Bea")
        assert store.get_many([legacy_id])[legacy_id] == made

    def test_one_operation_replaces_once(self, store: LegacyStore) -> None:
        """D10: the same op_id twice, though the version has moved on by it."""
        (legacy_id,) = make(store, 1)
        first = store.replace(user(legacy_id), 1, "op-2", LATER)
        assert store.replace(user(legacy_id), 1, "op-2", LATER) == first
        assert store.get_many([legacy_id])[legacy_id].version == 2

    def test_a_stale_version_is_refused(self, store: LegacyStore) -> None:
        """D10: with what was found instead."""
        (legacy_id,) = make(store, 1)
        now = store.replace(user(legacy_id), 1, "op-2", LATER)
        with pytest.raises(VersionStale) as caught:
            store.replace(user(legacy_id, display_name="Bea"), 1, "op-3", LATER)
        assert caught.value.found == now

    def test_a_version_of_the_future_is_refused(self, store: LegacyStore) -> None:
        """D10."""
        (legacy_id,) = make(store, 1)
        with pytest.raises(VersionStale) as caught:
            store.replace(user(legacy_id), 2, "op-2", LATER)
        assert caught.value.found is not None
        assert caught.value.found.version == 1

    def test_a_row_that_is_not_there_is_not_replaced(self, store: LegacyStore) -> None:
        """D10."""
        (legacy_id,) = ids_for(store, 1)
        with pytest.raises(VersionStale) as caught:
            store.replace(user(legacy_id), 1, "op", LATER)
        assert caught.value.found is None
        assert store.get_many([legacy_id]) == {}

    def test_of_many_writers_of_one_version_one_wins(self, store: LegacyStore) -> None:
        """D10: compare and set."""
        (legacy_id,) = make(store, 1)
        results = at_once(
            THREADS, lambda n: store.replace(user(legacy_id), 1, f"thread-{n}", LATER)
        )
        won = [each for each in results if isinstance(each, StoreRow)]
        stale = [each for each in results if isinstance(each, VersionStale)]
        assert (len(won), len(stale)) == (1, THREADS - 1)
        assert store.get_many([legacy_id])[legacy_id] == won[0]

    def test_a_late_replace_writes_nothing(self, store: LegacyStore) -> None:
        """D12."""
        (legacy_id,) = make(store, 1)
        with pytest.raises(TooLate):
            store.replace(user(legacy_id), 1, "op-2", datetime(2020, 1, 1, tzinfo=UTC))
        assert store.get_many([legacy_id])[legacy_id].version == 1

    def test_a_replaced_row_may_not_take_an_address(self, store: LegacyStore) -> None:
        """D10: and keeps its version then."""
        first, second = make(store, 2)
        with pytest.raises(Duplicate):
            store.replace(user(second, f"u{first}@example.org"), 1, "op-2", LATER)
        found = store.get_many([second])[second]
        assert (found.version, found.row["email"]) == (1, f"u{second}@example.org")

    def test_an_address_given_up_may_be_taken(self, store: LegacyStore) -> None:
        """D43."""
        first, second = make(store, 2)
        store.replace(user(first, "new@example.org"), 1, "op-2", LATER)
        store.replace(user(second, f"u{first}@example.org"), 1, "op-3", LATER)
        found = store.find("email", f"u{first}@example.org")
        assert found is not None
        assert found.id == second
