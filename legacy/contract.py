# ruff: noqa: S101, PLR2004 - these are tests.
"""What every legacy store keeps, as tests: run them against your own adapter (D43, T13).

    class TestMyStore(LegacyStoreContract):
        @pytest.fixture
        def store(self): ...      # empty, of users; made anew for each test, closed by you
        @pytest.fixture
        def payments(self): ...   # empty, of payments

and, if a legacy program goes on writing, `CapturingStoreContract` with one fixture more:

        @pytest.fixture
        def program(self): ...    # a LegacyProgram that writes the table of `store`

The map of users names id, email, status, display_name and created_at, that of payments what it
must (user_id, amount_minor, currency, status, created_at). Ids are numbers or UUIDs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from legacy.contract_capture import CapturingCases
from legacy.contract_following import FollowingCases
from legacy.contract_reading import ComparingCases, ReadingCases
from legacy.contract_rows import LATER, at_once, make, user
from legacy.contract_writing import WritingCases
from legacy.store import Unsupported

if TYPE_CHECKING:
    from legacy.store import LegacyStore


class LegacyStoreContract(ReadingCases, ComparingCases, WritingCases, FollowingCases):
    """What every store that can be written keeps. `store` and `payments` are fixtures of yours."""

    def test_ids_taken_in_advance_are_nobody_elses(self, store: LegacyStore) -> None:
        """D26: many threads, no id twice, each good for a row; or Unsupported."""
        if not store.capabilities.ids:
            with pytest.raises(Unsupported):
                store.allocate_ids(1)
            return
        taken = [each for ids in at_once(8, lambda _: store.allocate_ids(20)) for each in ids]
        assert len(set(taken)) == 160
        store.create(user(taken[5]), "op", LATER)
        assert not set(store.allocate_ids(5)) & set(taken)

    def test_what_it_cannot_it_refuses(self, store: LegacyStore) -> None:
        """D43: by the capability of that name."""
        if store.capabilities.capture is None:
            with pytest.raises(Unsupported):
                store.tail(1)
        if not store.capabilities.fence:
            with pytest.raises(Unsupported):
                store.fence()
        store.unfence()

    def test_a_closed_store_may_be_closed_again(self, store: LegacyStore) -> None:
        """D43: and a later use opens what it needs."""
        ids = make(store, 2)
        store.close()
        store.close()
        assert store.get_many(ids).keys() == {*ids}


class CapturingStoreContract(LegacyStoreContract, CapturingCases):
    """What is more where triggers capture what a legacy program writes."""
