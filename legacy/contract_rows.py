"""Rows and helpers of the contract's cases (legacy/contract.py)."""

from __future__ import annotations

import itertools
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from legacy.store import LegacyError

if TYPE_CHECKING:
    from collections.abc import Callable

    from legacy.store import LegacyStore, Row


LATER = datetime(2999, 1, 1, tzinfo=UTC)
NOON = datetime(2024, 6, 1, 12, 0, 0, tzinfo=UTC)
THREADS = 16
_NUMBERS = itertools.count(1)


class LegacyProgram(Protocol):
    """The program that the store belongs to: it knows nothing of us."""

    def insert(self, legacy_id: str, email: str) -> None: ...
    def rename(self, legacy_id: str, display_name: str) -> None: ...
    def delete(self, legacy_id: str) -> None: ...


def new_id(number: int) -> str:
    """Return an id that is a UUID; stores whose ids are numbers give their own."""
    return str(uuid.UUID(int=number + 2**100))


def user(legacy_id: str, email: str | None = None, **change: Any) -> Row:
    """Return a user of ours as it is given to a store."""
    row: Row = {
        "id": str(uuid.uuid4()),
        "legacy_id": legacy_id,
        "email": email or f"u{legacy_id}@example.org",
        "legacy_password_hash": None,
        "status": "active",
        "display_name": "Ada",
        "role": "user",
        "email_verified": True,
        "email_verified_at": NOON,
        "created_at": NOON,
        "updated_at": NOON,
    }
    return {**row, **change}


def payment(legacy_id: str, user_legacy_id: str, **change: Any) -> Row:
    """Return a captured payment of ours as it is given to a store."""
    row: Row = dict.fromkeys(
        ("reference", "gateway_reference", "description", "end_reason", "failure_code",
         "failure_message", "capture_before")
    )  # fmt: skip
    counters = ("voided", "refunded", "disputed", "charged_back", "fee", "fee_refunded")
    row |= dict.fromkeys((f"{name}_minor" for name in counters), 0)
    row |= {
        "id": str(uuid.uuid4()),
        "legacy_id": legacy_id,
        "user_id": str(uuid.uuid4()),
        "user_legacy_id": user_legacy_id,
        "amount_minor": 1099,
        "authorized_minor": 1099,
        "captured_minor": 1099,
        "currency": "EUR",
        "capture_method": "manual",
        "gateway": "shop",
        "metadata": {},
        "status": "captured",
        "created_at": NOON,
        "updated_at": NOON,
    }
    return {**row, **change}


def ids_for(store: LegacyStore, count: int) -> list[str]:
    """Return ids that new rows may have, in the order of the store."""
    if store.capabilities.ids:
        return store.allocate_ids(count)
    return [new_id(next(_NUMBERS)) for _ in range(count)]


def make(store: LegacyStore, count: int, **change: Any) -> list[str]:
    """Create users; return their ids in the order of the store."""
    ids = ids_for(store, count)
    for legacy_id in ids:
        store.create(user(legacy_id, **change), f"made-{legacy_id}", LATER)
    return ids


def at_once(count: int, act: Callable[[int], Any]) -> list[Any]:
    """Run `act(number)` in so many threads that begin together; errors of stores are results."""
    barrier = threading.Barrier(count)

    def run(number: int) -> Any:
        barrier.wait()
        try:
            return act(number)
        except LegacyError as exc:
            return exc

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))
