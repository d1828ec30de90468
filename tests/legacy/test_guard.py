"""MF1: a store that is away costs a few requests their time, and then nobody."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from legacy import guard
from legacy.guard import FAILURES_MAX, Guard, Guarded
from legacy.store import LegacyUnavailable
from tests.legacy.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.legacy.shops import Shop


@pytest.fixture(autouse=True)
def long_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "PAUSE_S", 3_600)


def refused(store: Any) -> str:
    with pytest.raises(LegacyUnavailable) as caught:
        store.ping()
    return str(caught.value)


def test_after_some_failures_in_a_row_nobody_waits_for_it() -> None:
    """MF1: then one call a pause tries, and its answer lets all of them in again."""
    held, door = MemoryStore("users"), Guard()
    store = Guarded(held, door)
    held.down = True
    said = [refused(store) for _ in range(FAILURES_MAX + 2)]
    assert said == ["down"] * FAILURES_MAX + ["it was away a moment ago"] * 2
    held.down = False
    assert refused(store) == "it was away a moment ago"
    vars(door)["_try_at"] = 0.0
    store.ping()
    store.ping()


def test_an_answer_ends_the_count() -> None:
    """A refusal is an answer: the store is there."""
    held = MemoryStore("users")
    store = Guarded(held, Guard())
    for _ in range(FAILURES_MAX):
        held.down = True
        assert refused(store) == "down"
        held.down = False
        store.ping()


def test_requests_pass_by_it(
    shop_world: Callable[[int], Shop], monkeypatch: pytest.MonkeyPatch
) -> None:
    """MF1: 503 each, while the store is asked a few times; other domains go on."""
    world = shop_world(2)
    made = world.payment(900)
    asked: list[object] = []

    def away(ids: object) -> None:
        asked.append(ids)
        raise LegacyUnavailable("away")

    monkeypatch.setattr(world.store(), "get_many", away)
    answers = [world.get(f"/v1/payments/{made}") for _ in range(FAILURES_MAX + 3)]
    assert {each.json["code"] for each in answers} == {"legacy_unavailable"}
    assert len(asked) == FAILURES_MAX
    assert world.get("/v1/ops/migration").status_code < 500
