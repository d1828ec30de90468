"""Shadow reads: a share, beside the request, at a bounded cost; what differs is noted (D32)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest

from legacy.canonical import uuid8
from legacy.phases import Ask
from legacy.shadow import QUEUE_MAX, Shadow
from legacy.store import LegacyUnavailable
from legacy.truth import Truth
from tests.legacy.sample_rows import soon
from tests.legacy.shops import PAYER

if TYPE_CHECKING:
    from collections.abc import Callable

    from legacy.rows.phases import StateRow
    from tests.legacy.shops import Shop

    Make = Callable[..., Shop]

PERSON = UUID(PAYER)


def shadow_of(world: Shop, **given: Any) -> Shadow:
    """One without a thread: a test does its work."""
    truth = Truth(world.services.db, world.parts.mirror)
    settings = {"percent": 100, "grace_ms": 0, "budget_ms": 60_000, **given}
    return Shadow(truth, is_threaded=False, **settings)


def state_of(world: Shop, domain: str = "users") -> StateRow:
    state = Truth(world.services.db, world.parts.mirror).state("default", domain)
    assert state is not None
    return state


def counts(world: Shop) -> dict[str, int]:
    """What has been counted, without the noughts."""
    names = ("compared", "matched", "mismatched", "ignored", "failed", "dropped")
    rows = world.rows(
        "SELECT compared, matched, mismatched, ignored, failed, dropped FROM shadow_counts"
        " WHERE domain = 'users'"
    )
    return {name: n for name, n in zip(names, rows[0] if rows else (), strict=False) if n}


def looked(world: Shop, our_id: UUID = PERSON, **given: Any) -> dict[str, int]:
    """Have a read compared, with the second look; return what has been counted."""
    shadow = shadow_of(world, **given)
    shadow.offer(state_of(world), our_id)
    shadow.work()
    shadow.work()
    return counts(world)


@pytest.mark.parametrize("phase", [3, 4])
def test_rows_that_are_the_same_match(shop_world: Make, phase: int) -> None:
    """Phases 3 and 4, from either side; in others nobody looks."""
    world = shop_world(3)
    world.in_phase(phase)
    assert looked(world) == {"compared": 1, "matched": 1}
    for other in (2, 5):
        world.in_phase(other)
        assert looked(world) == {"compared": 1, "matched": 1}


def test_a_difference_that_stays_is_noted(shop_world: Make, owner: Callable[..., None]) -> None:
    """Columns and hashes, no values; the gate counts it."""
    world = shop_world(3)
    world.program_writes("1", "users", display_name="Ada")
    assert looked(world) == {"compared": 1, "mismatched": 1}
    ((entity_id, columns, truth, follower),) = world.rows(
        "SELECT entity_id, columns, truth_hash, follower_hash FROM shadow_mismatches"
    )
    assert (entity_id, columns) == ("1", ["display_name"])
    assert len(truth) == len(follower) == 32
    assert truth != follower
    facts = world.parts.phases.facts("default", "users")
    assert (facts.compared, facts.mismatched) == (1, 1)
    # Seen again it is the same row of the list.
    looked(world)
    assert world.rows("SELECT count(*) FROM shadow_mismatches") == [(1,)]


def test_a_row_that_new_lacks_is_a_difference(shop_world: Make) -> None:
    """As soon as its read has told its legacy id."""
    world = shop_world(3)
    world.store("users").create(
        {**world.rows_of("users")["1"].row, "legacy_id": "2", "email": "b@example.org"},
        "op2",
        soon(),
    )
    missing = UUID(str(uuid8("default", "users", "2")))
    world.asked("GET", f"/v1/admin/users/{missing}", world.operator.token)
    assert looked(world, missing) == {"compared": 1, "mismatched": 1}


def test_what_is_on_its_way_is_ignored(shop_world: Make) -> None:
    """Marked, or in an intent; or moving between the two looks; or nobody's."""
    world = shop_world(3)
    world.program_writes("1", "users", display_name="Ada")
    world.rows(
        "INSERT INTO mirror_marks (tenant_id, domain, entity_id, origin)"
        " VALUES ('default', 'users', '1', 'test') RETURNING 1"
    )
    assert looked(world) == {"ignored": 1}
    assert looked(world, uuid4()) == {"ignored": 2}
    world.parts.mirror.run_once()
    world.program_writes("1", "users", display_name="Bob")
    shadow = shadow_of(world, grace_ms=0)
    shadow.offer(state_of(world), PERSON)
    shadow._first_look(shadow._queue.get_nowait())
    world.program_writes("1", "users", display_name="Cid")
    shadow.work()
    assert counts(world) == {"ignored": 3}


def test_a_store_that_fails_or_is_slow_is_counted(
    shop_world: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = shop_world(3)
    assert looked(world, budget_ms=0) == {"failed": 1}

    def down(*_: Any) -> Any:
        raise LegacyUnavailable("down")

    monkeypatch.setattr(world.store("users"), "get_many", down)
    assert looked(world) == {"failed": 2}


def test_a_share_is_taken_and_the_rest_dropped(shop_world: Make) -> None:
    """LEGACY_SHADOW_PERCENT; a full queue costs the request nothing."""
    world = shop_world(3)
    state = state_of(world)
    chances = iter([0.0, 0.0099, 0.01, 0.5])
    some = shadow_of(world, percent=1, chance=lambda: next(chances))
    for _ in range(4):
        some.offer(state, PERSON)
    assert some._queue.qsize() == 2
    none = shadow_of(world, percent=0)
    none.offer(state, PERSON)
    assert none._queue.empty()
    full = shadow_of(world)
    for _ in range(QUEUE_MAX + 3):
        full.offer(state, PERSON)
    assert full._queue.qsize() == QUEUE_MAX
    full.work()
    assert counts(world) == {"compared": 1, "matched": 1, "dropped": 3}


def test_reads_of_the_service_are_compared_beside_them(
    shop_world: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One thread, started by the first read; it outlives what goes wrong."""
    monkeypatch.setattr("legacy.shadow.BUDGET_MS", 60_000)
    world = shop_world(3, shadow=100)
    for _ in range(3):
        path = f"/v1/admin/users/{PAYER}"
        assert world.asked("GET", path, world.operator.token).status_code == 200
    world.until(lambda: counts(world) == {"compared": 3, "matched": 3})


def test_the_numbers_of_a_phase_begin_with_it(shop_world: Make) -> None:
    """2.2: what was found before the last move does not count for the next."""
    world = shop_world(3)
    world.program_writes("1", "users", display_name="Ada")
    looked(world)
    world.rows("UPDATE migration_state SET phase = 3, since = now() RETURNING 1")
    world.rows("UPDATE migration_state SET phase = 2 WHERE domain = 'payments' RETURNING 1")
    ask = Ask(tenant_id="default", domain="users", by="cli:test", reason="again")
    world.parts.phases.step_back(ask)
    facts = world.parts.phases.facts("default", "users")
    assert (facts.compared, facts.mismatched) == (0, 0)
