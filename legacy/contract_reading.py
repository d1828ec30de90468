# ruff: noqa: S101, PLR2004 - these are tests.
"""Cases of the contract: what is read, listed and compared (legacy/contract.py)."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from legacy.canonical import Digest, key_hash
from legacy.contract_rows import LATER, NOON, at_once, ids_for, make, new_id, payment, user
from legacy.store import StoreRow, Unsupported

if TYPE_CHECKING:
    from legacy.store import LegacyStore


class ReadingCases:
    """How rows are read."""

    def test_it_says_that_it_writes(self, store: LegacyStore) -> None:
        """D43."""
        assert store.capabilities.writes

    def test_an_empty_store_has_nothing(self, store: LegacyStore) -> None:
        """D43, MF1: and answers."""
        store.ping()
        assert store.scan_ids(None, 10) == []
        assert store.get_many([new_id(1), "7"]) == {}
        assert store.page({}, None, 10) == []
        assert (store.count().rows, store.count().version_max, store.digest(b"")) == (0, 0, {})

    def test_a_row_reads_as_it_was_written(self, store: LegacyStore) -> None:
        """D42: in our terms."""
        (legacy_id,) = ids_for(store, 1)
        given = user(legacy_id, "Ada@Example.org", display_name="Grüße '\" 😀")
        store.create(given, "op", LATER)
        found = store.get_many([legacy_id])[legacy_id]
        assert (found.id, found.version, found.op_id, found.deleted) == (legacy_id, 1, "op", False)
        assert (found.row["email"], found.row["legacy_id"]) == ("Ada@Example.org", legacy_id)
        same = ("status", "display_name", "created_at")
        assert {name: found.row[name] for name in same} == {name: given[name] for name in same}

    def test_of_many_ids_those_that_are_there_are_given(self, store: LegacyStore) -> None:
        """D21: a mark may name a key that is gone."""
        ids = make(store, 3)
        unknown = ids_for(store, 5)[-1]
        assert store.get_many([ids[2], unknown, ids[0]]).keys() == {ids[0], ids[2]}
        assert store.get_many([]) == {}

    def test_an_id_of_another_kind_is_not_there(self, store: LegacyStore) -> None:
        """D43: text where the store has numbers is no error."""
        ids = make(store, 1)
        assert store.get_many([*ids, "no-number", "", "1e1", "9" * 40, "x'y"]).keys() == {*ids}

    def test_a_user_is_found_by_address_however_it_is_spelt(self, store: LegacyStore) -> None:
        """D15: as a login spells it."""
        (legacy_id,) = ids_for(store, 1)
        store.create(user(legacy_id, "Ada.L@Example.org"), "op", LATER)
        for email in ("Ada.L@Example.org", "ada.l@example.org", "ADA.L@EXAMPLE.ORG"):
            found = store.find("email", email)
            assert found is not None
            assert found.id == legacy_id
        assert store.find("email", "ada@example.org") is None
        assert store.find("email", "ada_l@example.org") is None

    def test_a_row_is_found_by_another_column(self, store: LegacyStore) -> None:
        """D43."""
        ids = ids_for(store, 2)
        for legacy_id, name in zip(ids, ("Ada", "Bob"), strict=True):
            store.create(user(legacy_id, display_name=name), legacy_id, LATER)
        found = store.find("display_name", "Bob")
        assert found is not None
        assert found.id == ids[1]

    def test_a_column_that_is_not_mapped_finds_nothing(self, store: LegacyStore) -> None:
        """D43."""
        with pytest.raises(Unsupported):
            store.find("shoe_size", 42)

    def test_ids_are_scanned_once_each_in_order(self, store: LegacyStore) -> None:
        """D27: by keyset, in pages."""
        ids = make(store, 25)
        found, after = [], None
        while page := store.scan_ids(after, 7):
            found += page
            after = page[-1]
        assert found == ids

    def test_pages_go_on_where_the_last_one_ended(self, store: LegacyStore) -> None:
        """D14."""
        ids = make(store, 5)
        first = store.page({}, None, 2)
        rest = store.page({}, first[-1].id, 9)
        assert [row.id for row in first + rest] == ids

    def test_a_list_is_filtered_by_status(self, store: LegacyStore) -> None:
        """D14."""
        first, second = ids_for(store, 2)
        store.create(user(first), "a", LATER)
        store.create(user(second, status="disabled"), "b", LATER)
        assert [row.id for row in store.page({"status": "disabled"}, None, 9)] == [second]
        assert [row.id for row in store.page({"status": "active"}, None, 9)] == [first]

    def test_a_list_is_filtered_by_time(self, store: LegacyStore) -> None:
        """D14: from the first moment on, up to the second and without it."""
        ids = ids_for(store, 3)
        for hours, legacy_id in enumerate(ids):
            moment = NOON + timedelta(hours=hours)
            store.create(user(legacy_id, created_at=moment), legacy_id, LATER)
        filters = {
            "created_gte": NOON + timedelta(hours=1),
            "created_lt": NOON + timedelta(hours=2),
        }
        assert [row.id for row in store.page(filters, None, 9)] == [ids[1]]

    def test_payments_are_filtered_by_their_user(self, payments: LegacyStore) -> None:
        """D14."""
        first, second = ids_for(payments, 2)
        payments.create(payment(first, "7"), "a", LATER)
        payments.create(payment(second, "8"), "b", LATER)
        assert [row.id for row in payments.page({"user_legacy_id": "8"}, None, 9)] == [second]

    def test_a_filter_that_is_not_there_is_refused(self, store: LegacyStore) -> None:
        """D14: the caller answers 409 filter_unavailable."""
        with pytest.raises(ValueError, match="colour"):
            store.page({"colour": "red"}, None, 9)

    def test_a_scan_during_inserts_misses_no_older_row(self, store: LegacyStore) -> None:
        """D27: rows that were there before it began."""
        before = make(store, 30)
        more = ids_for(store, 30)
        stop = threading.Event()

        def insert(_: int) -> None:
            for legacy_id in more:
                store.create(user(legacy_id), f"made-{legacy_id}", LATER)
            stop.set()

        def scan(_: int) -> list[str]:
            found: list[str] = []
            while page := store.scan_ids(found[-1] if found else None, 7):
                found += page
            return found

        _, found = at_once(2, lambda number: (insert, scan)[number](number))
        assert stop.is_set()
        assert [each for each in found if each in before] == before
        assert len(set(found)) == len(found)


class ComparingCases:
    """What a comparison of two stores asks for."""

    def test_totals_are_by_status_and_currency(self, payments: LegacyStore) -> None:
        """V1: level 0."""
        ids = ids_for(payments, 4)
        for legacy_id, currency, amount in zip(
            ids, ("EUR", "EUR", "USD", "EUR"), (100, 250, 7, 1), strict=True
        ):
            counters = dict.fromkeys(("amount_minor", "authorized_minor", "captured_minor"), amount)
            payments.create(
                payment(legacy_id, "7", currency=currency, **counters), legacy_id, LATER
            )
        payments.follow(StoreRow(ids[3], 4, payment(ids[3], "7"), None))
        totals = payments.count()
        assert (totals.rows, totals.version_max) == (4, 4)
        assert totals.by == {("captured", "EUR"): (3, 1449), ("captured", "USD"): (1, 7)}

    def test_the_totals_of_users_have_no_amounts(self, store: LegacyStore) -> None:
        """V1."""
        first, second = ids_for(store, 2)
        store.create(user(first), "a", LATER)
        store.create(user(second, status="disabled"), "b", LATER)
        assert store.count().by == {("active", ""): (1, 0), ("disabled", ""): (1, 0)}

    def test_a_digest_is_the_sum_of_its_hashes(self, store: LegacyStore) -> None:
        """V1, V2: as Python computes it."""
        ids = make(store, 20)
        hashes = store.hashes(b"")
        digest = Digest()
        for legacy_id, hashed in hashes.items():
            digest.add(legacy_id, hashed)
        assert hashes.keys() == {*ids}
        assert store.digest(b"") == digest.result()

    def test_a_digest_of_a_prefix_holds_its_keys_alone(self, store: LegacyStore) -> None:
        """V2: level 2."""
        ids = make(store, 20)
        prefix = key_hash(ids[0])[:1]
        assert store.hashes(prefix).keys() == {
            each for each in ids if key_hash(each).startswith(prefix)
        }
        digest = Digest(prefix)
        for legacy_id, hashed in store.hashes(prefix).items():
            digest.add(legacy_id, hashed)
        assert store.digest(prefix) == digest.result()

    def test_a_deep_digest_goes_by_two_bytes(self, store: LegacyStore) -> None:
        """V1, V2: of the first bytes that are wanted, and of no others."""
        make(store, 8)
        digests: dict[int, Digest] = {}
        for legacy_id, hashed in store.hashes(b"").items():
            key = key_hash(legacy_id)
            digests.setdefault(key[0] * 256 + key[1], Digest()).add(legacy_id, hashed)
        assert store.deep_digest(range(256)) == {n: each.total() for n, each in digests.items()}
        wanted = {pair // 256 for pair in [*digests][:3]}
        assert store.deep_digest(wanted).keys() == {n for n in digests if n // 256 in wanted}
        assert store.deep_digest([]) == {}

    def test_hashes_are_listed_by_two_bytes(self, store: LegacyStore) -> None:
        """V1: level 3 looks at the rows of the buckets that differ."""
        make(store, 8)
        hashes = store.hashes(b"")
        assert dict(store.hashes_in(range(65_536))) == hashes
        first = next(iter(hashes))
        key = key_hash(first)
        assert (first, hashes[first]) in store.hashes_in([key[0] * 256 + key[1]])
        assert store.hashes_in([]) == []

    def test_equal_rows_have_equal_hashes(self, store: LegacyStore) -> None:
        """V1: of the columns, not of the key."""
        first, second, third = ids_for(store, 3)
        store.create(user(first, "Same@example.org"), "a", LATER)
        before = store.hashes(b"")[first]
        store.replace(user(first, "other@example.org"), 1, "b", LATER)
        store.create(user(second, "Same@example.org"), "c", LATER)
        store.create(user(third, "third@example.org", display_name=None), "d", LATER)
        hashes = store.hashes(b"")
        assert hashes[second] == before
        assert len(set(hashes.values())) == 3

    def test_tombstones_are_not_compared(self, store: LegacyStore) -> None:
        """V1."""
        first, second = make(store, 2)
        before = store.hashes(b"")
        store.follow(StoreRow(first, 2, {"legacy_id": first}, None, deleted=True))
        assert store.hashes(b"") == {second: before[second]}
