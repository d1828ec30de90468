"""The store in memory keeps the contract (T13), and is one process's own."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from legacy.contract import LegacyStoreContract
from legacy.contract_rows import LATER, ids_for, payment, user
from legacy.store import LegacyUnavailable, TooLate
from legacy.stores.memory import MemoryStore
from tests.legacy.maps import maps, shop

if TYPE_CHECKING:
    from pathlib import Path

MAPS = maps(shop('adapter = "memory"'))


class TestMemoryStore(LegacyStoreContract):
    @pytest.fixture
    def store(self) -> MemoryStore:
        return MemoryStore(MAPS["users"])

    @pytest.fixture
    def payments(self) -> MemoryStore:
        return MemoryStore(MAPS["payments"])


def test_a_second_process_is_refused(tmp_path: Path) -> None:
    """D43: it would have other rows; the lock ends with the process."""
    first = MemoryStore(MAPS["users"], tmp_path / "lock")
    with pytest.raises(LegacyUnavailable, match="another process"):
        MemoryStore(MAPS["users"], tmp_path / "lock")
    first.close()
    MemoryStore(MAPS["users"], tmp_path / "lock").close()


def test_a_fork_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """D43: what a child writes the parent would not see."""
    store = MemoryStore(MAPS["users"])
    (legacy_id,) = ids_for(store, 1)
    monkeypatch.setattr(os, "getpid", lambda: 1)
    with pytest.raises(LegacyUnavailable):
        store.create(user(legacy_id), "op", LATER)
    with pytest.raises(LegacyUnavailable):
        store.ping()


def test_the_clock_of_the_store_decides() -> None:
    """D12: up to the last moment, and not after it."""
    now = datetime(2024, 1, 1, tzinfo=UTC)
    store = MemoryStore(MAPS["payments"], clock=lambda: now)
    first, second = ids_for(store, 2)
    store.create(payment(first, "7"), "a", now)
    with pytest.raises(TooLate):
        store.create(payment(second, "7"), "b", now.replace(year=2023))
