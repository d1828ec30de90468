"""Jobs of the move in the worker: they are there with a map, and each goes on where it was."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from legacy import jobs
from legacy.jobs import fill, mirror, verify, with_jobs
from services.jobs import Ask, Finding, Job, Run
from tests.legacy.sample_rows import payment, soon, user

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.legacy.shops import Shop

    Make = Callable[..., Shop]


def run(**asked: Any) -> Run:
    return Run(ask=Ask(**asked), stop=threading.Event(), batch_max=100)


def test_what_legacy_has_is_brought_compared_and_kept_up(shop_world: Make) -> None:
    """2.4, 2.5: backfill, then comparison, then what is marked; again: nothing is left to do."""
    world = shop_world(2)
    parts = world.parts
    for number in range(2, 5):
        world.store("users").create(user(str(number)), f"u{number}", soon())
    world.store().create(payment("1", "2", reference="1", gateway="shop"), "p1", soon())
    assert list(verify(parts, run())) == []  # Before the backfill it would only say so.
    assert sum(fill(parts, run())) == 5
    assert list(fill(parts, run())) == []
    list(mirror(parts, run()))  # Whom new had already.
    assert list(verify(parts, run())) == [0, 0]
    world.program_writes("2", "users", display_name="Ada")
    with pytest.raises(Finding, match="default/users: 1 rows"):
        list(verify(parts, run()))
    world.rows(
        "INSERT INTO mirror_marks (tenant_id, domain, entity_id, origin)"
        " VALUES ('default', 'users', '2', 'test') RETURNING 1"
    )
    assert list(mirror(parts, run(dry_run=True))) == [1]
    assert sum(mirror(parts, run())) == 1
    assert list(mirror(parts, run())) == []
    assert list(verify(parts, run())) == [0, 0]


def test_another_tenants_jobs_leave_out_who_is_led_by_legacy(shop_world: Make) -> None:
    """A job that the gate would stop must not stop those behind it."""
    world = shop_world(2)
    world.services.tenants.create("other", "Other", "cli:test")
    seen: list[str | None] = []

    def work(run: Run) -> Iterator[int]:
        seen.append(run.ask.tenant_id)
        yield 1

    names = (*jobs.WRITES, "send-mail")
    given = tuple(Job(name=name, every_ms=1_000, work=work) for name in names)
    settings = world.parts.settings
    made = {
        each.name: each
        for each in with_jobs(world.services.config, settings, world.services.db, given)
    }
    assert set(made) == {*names, "legacy-backfill", "legacy-mirror", "legacy-verify"}
    for name in names:
        seen.clear()
        asked = run()
        assert list(made[name].work(asked)) == [1]
        assert seen == ([None] if name == "send-mail" else ["other"])
        assert asked.ask == Ask()
    world.in_phase(4)
    seen.clear()
    assert list(made["expire-payments"].work(run())) == [1]
    assert seen == [None]
