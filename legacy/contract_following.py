# ruff: noqa: S101, PLR2004 - these are tests.
"""Cases of the contract: the store follows the truth (legacy/contract.py)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from legacy.contract_rows import LATER, THREADS, at_once, ids_for, make, payment, user
from legacy.store import Duplicate, RowRejected, StoreRow

if TYPE_CHECKING:
    from legacy.store import LegacyStore


class FollowingCases:
    """Copies come late, twice, and in any order."""

    def test_a_follower_takes_a_row_that_it_lacks(self, store: LegacyStore) -> None:
        """D23: at the version of the truth."""
        (legacy_id,) = ids_for(store, 1)
        assert store.follow(StoreRow(legacy_id, 5, user(legacy_id), "op"))
        found = store.get_many([legacy_id])[legacy_id]
        assert (found.version, found.op_id, found.row["display_name"]) == (5, "op", "Ada")

    def test_a_follower_takes_a_row_once(self, store: LegacyStore) -> None:
        """D21, D23: copies are harmless."""
        (legacy_id,) = ids_for(store, 1)
        row = StoreRow(legacy_id, 5, user(legacy_id), "op")
        assert [store.follow(row) for _ in range(3)] == [True, False, False]

    def test_an_older_row_never_wins(self, store: LegacyStore) -> None:
        """D1, D23: out of order."""
        (legacy_id,) = ids_for(store, 1)
        store.follow(StoreRow(legacy_id, 5, user(legacy_id, display_name="new"), "b"))
        old = user(legacy_id, display_name="old")
        assert not store.follow(StoreRow(legacy_id, 4, old, "a"))
        assert not store.follow(StoreRow(legacy_id, 5, old, "c"))
        found = store.get_many([legacy_id])[legacy_id]
        assert (found.version, found.op_id, found.row["display_name"]) == (5, "b", "new")

    def test_versions_may_be_left_out(self, store: LegacyStore) -> None:
        """D21: marks are coalesced, so a follower sees some versions only."""
        (legacy_id,) = make(store, 1)
        assert store.follow(StoreRow(legacy_id, 9, user(legacy_id, display_name="Bea"), None))
        found = store.get_many([legacy_id])[legacy_id]
        assert (found.version, found.row["display_name"]) == (9, "Bea")

    def test_versions_from_many_threads_end_with_the_highest(self, store: LegacyStore) -> None:
        """D23: in whatever order they come."""
        (legacy_id,) = ids_for(store, 1)
        results = at_once(
            THREADS,
            lambda n: store.follow(
                StoreRow(legacy_id, n + 2, user(legacy_id, display_name=f"v{n + 2}"), f"op-{n}")
            ),
        )
        assert {type(each) for each in results} == {bool}
        found = store.get_many([legacy_id])[legacy_id]
        assert (found.version, found.row["display_name"]) == (THREADS + 1, f"v{THREADS + 1}")

    def test_a_followed_row_is_replaced_from_its_version(self, store: LegacyStore) -> None:
        """D23: after a rollback the store goes on as the truth."""
        (legacy_id,) = ids_for(store, 1)
        store.follow(StoreRow(legacy_id, 5, user(legacy_id), "op"))
        assert store.replace(user(legacy_id), 5, "op-2", LATER).version == 6

    def test_a_follower_may_not_take_an_address(self, store: LegacyStore) -> None:
        """D25: it is a reject, and the version stays."""
        first, second = make(store, 2)
        with pytest.raises(Duplicate):
            store.follow(StoreRow(second, 9, user(second, f"u{first}@example.org"), "op"))
        assert store.get_many([second])[second].version == 1

    def test_a_tombstone_removes_a_user(self, store: LegacyStore) -> None:
        """D43: the row is gone, its version is known."""
        first, second = make(store, 2)
        tombstone = StoreRow(first, 2, {"legacy_id": first}, "op", deleted=True)
        assert store.follow(tombstone)
        assert store.scan_ids(None, 9) == [second]
        assert store.page({}, None, 9)[0].id == second
        assert (store.count().rows, store.get_many([first])[first]) == (1, tombstone)

    def test_a_tombstone_is_taken_once(self, store: LegacyStore) -> None:
        """D23: and no older row brings the user back."""
        (legacy_id,) = make(store, 1)
        tombstone = StoreRow(legacy_id, 3, {"legacy_id": legacy_id}, None, deleted=True)
        assert [store.follow(tombstone), store.follow(tombstone)] == [True, False]
        assert not store.follow(StoreRow(legacy_id, 2, user(legacy_id), "op"))
        assert store.scan_ids(None, 9) == []

    def test_a_newer_row_follows_a_tombstone(self, store: LegacyStore) -> None:
        """D1: order is by version alone."""
        (legacy_id,) = make(store, 1)
        store.follow(StoreRow(legacy_id, 2, {"legacy_id": legacy_id}, None, deleted=True))
        assert store.follow(StoreRow(legacy_id, 3, user(legacy_id), "op"))
        assert store.scan_ids(None, 9) == [legacy_id]
        assert not store.get_many([legacy_id])[legacy_id].deleted

    def test_the_address_of_a_tombstone_is_free(self, store: LegacyStore) -> None:
        """D43."""
        first, second = make(store, 2)
        store.follow(StoreRow(first, 2, {"legacy_id": first}, None, deleted=True))
        store.replace(user(second, f"u{first}@example.org"), 1, "op", LATER)
        assert store.find("email", f"u{second}@example.org") is None

    def test_a_tombstone_of_what_was_never_there_is_kept(self, store: LegacyStore) -> None:
        """D23: the row may still be on its way."""
        (legacy_id,) = ids_for(store, 1)
        assert store.follow(StoreRow(legacy_id, 2, {"legacy_id": legacy_id}, None, deleted=True))
        assert not store.follow(StoreRow(legacy_id, 1, user(legacy_id), "op"))
        assert store.count().rows == 0

    def test_a_payment_is_never_removed(self, payments: LegacyStore) -> None:
        """D25, V5: payment_vanished."""
        (legacy_id,) = ids_for(payments, 1)
        payments.create(payment(legacy_id, "7"), "op", LATER)
        with pytest.raises(RowRejected, match="payment_vanished"):
            payments.follow(StoreRow(legacy_id, 2, {"legacy_id": legacy_id}, None, deleted=True))
        assert payments.count().rows == 1
