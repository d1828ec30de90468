"""Real connections that change the same people at once: no password is lost, no last operator."""

from __future__ import annotations

import os
import random
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Barrier
from typing import TYPE_CHECKING, Any

import pytest
from passlib.hash import bcrypt

from errors import LastOperator
from services.passwords import NewHash
from tests.people import store_hash

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from uuid import UUID

    from tests.world import World

ROUNDS = int(os.environ.get("RACE_ROUNDS", "60"))
SEED = int(os.environ.get("RACE_SEED", str(random.randrange(10**6))))
ACTORS = 8
OLD = "$2b$12$" + "." * 53
PASSWORD = "correct horse battery staple"


@pytest.fixture(scope="module")
def actors() -> Iterator[ThreadPoolExecutor]:
    sys.stderr.write(f"RACE_SEED={SEED}\n")
    with ThreadPoolExecutor(ACTORS) as pool:
        yield pool


def at_once(actors: ThreadPoolExecutor, calls: Sequence[Callable[[], Any]]) -> list[Any]:
    """Start all calls at the same moment and return what each returned or raised."""
    barrier = Barrier(len(calls))

    def start(call: Callable[[], Any]) -> Any:
        barrier.wait(30)
        try:
            return call()
        except LastOperator as refusal:
            return refusal

    return list(actors.map(start, calls))


def hashed(number: int) -> NewHash:
    return NewHash(f"$2b$12${number:053}", "bcrypt", {"cost": 12})


def stored(world: World, user_id: UUID) -> tuple[Any, ...]:
    query = "SELECT password_hash, password_hash_version FROM users WHERE id = %s"
    (row,) = world.rows(query, user_id)
    return row


@pytest.fixture
def url(database: str) -> str:
    return database


def test_of_many_upgrades_one_is_stored(world: World, url: str, actors: ThreadPoolExecutor) -> None:
    """A17: the others are no failure."""
    for _ in range(ROUNDS):
        user_id = store_hash(url, OLD)
        upgrade = world.services.users.upgrade_password
        calls = [partial(upgrade, "default", user_id, 0, hashed(n)) for n in range(ACTORS)]
        won = at_once(actors, calls)
        assert won.count(True) == 1
        assert stored(world, user_id) == (hashed(won.index(True)).text, 1)


def test_an_upgrade_never_undoes_a_new_password(
    world: World, url: str, actors: ThreadPoolExecutor
) -> None:
    """A17: whichever comes first, the new password is the one that stays."""
    users, drawn = world.services.users, random.Random(SEED)
    for _ in range(ROUNDS):
        user_id = store_hash(url, OLD)
        calls = [partial(users.upgrade_password, "default", user_id, 0, hashed(1))] * 4
        calls.append(partial(users.promote, "default", user_id, hashed(2), "cli:test"))  # type: ignore[arg-type]
        drawn.shuffle(calls)
        at_once(actors, calls)
        text, version = stored(world, user_id)
        assert text == hashed(2).text
        assert version in {1, 2}


def test_parallel_log_ins_of_an_old_hash_all_match_and_upgrade_once(
    world: World, url: str, actors: ThreadPoolExecutor
) -> None:
    """A17: each has verified the old hash, whoever was faster."""
    users, passwords = world.services.users, world.services.passwords

    def log_in(user_id: UUID, old: str) -> bool:
        found = passwords.verify(old, PASSWORD)
        assert found.new_hash is not None
        return users.upgrade_password("default", user_id, 0, found.new_hash)

    for _ in range(min(ROUNDS, 20)):
        old = bcrypt.using(rounds=4).hash(PASSWORD)
        user_id = store_hash(url, old)
        won = at_once(actors, [partial(log_in, user_id, old)] * 4)
        assert won.count(True) == 1
        assert passwords.verify(stored(world, user_id)[0], PASSWORD).outcome == "match"


def test_of_operators_who_end_each_other_one_is_left(
    world: World, actors: ThreadPoolExecutor
) -> None:
    """Section 10, `last_operator`: by status, role and erasure mixed; nobody waits in a ring."""
    users, drawn = world.services.users, random.Random(SEED)
    for number in range(ROUNDS):
        tenant_id = f"t{number}"
        world.services.tenants.create(tenant_id, "T", "cli:test")
        made = [
            users.create(tenant_id, f"{n}@x.de", "cli:test", role="operator").id for n in range(4)
        ]
        ends: list[Callable[..., Any]] = [
            partial(users.set_status, status="disabled"),
            users.demote,
            users.erase,
        ]
        calls = [
            partial(drawn.choice(ends), tenant_id, user_id, subject="cli:test") for user_id in made
        ]
        drawn.shuffle(calls)
        answers = at_once(actors, calls)
        assert sum(isinstance(answer, LastOperator) for answer in answers) == 1
        active = users.list_page(tenant_id, status="active")
        assert [user.role for user in active].count("operator") == 1
