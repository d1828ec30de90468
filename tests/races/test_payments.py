"""Real connections that want the same money at once: one legal order, always (F13, F14, FI4).

Each round starts its actors at one barrier. RACE_ROUNDS sets how many rounds: 1,000 in `make
faults`, fewer in the ordinary suite; the seed is printed, and RACE_SEED repeats it.
"""

from __future__ import annotations

import os
import random
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Barrier
from typing import TYPE_CHECKING

import pytest

from tests.world import new_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tests.world import Reply, World

ROUNDS = int(os.environ.get("RACE_ROUNDS", "30"))
FEW = int(os.environ.get("RACE_ROUNDS", "15"))  # Of what has many actors.
SEED = int(os.environ.get("RACE_SEED", str(random.randrange(10**6))))
ACTORS = 8


@pytest.fixture(scope="module")
def actors() -> Iterator[ThreadPoolExecutor]:
    sys.stderr.write(f"RACE_SEED={SEED}\n")
    with ThreadPoolExecutor(ACTORS) as pool:
        yield pool


def at_once(actors: ThreadPoolExecutor, calls: Sequence[Callable[[], Reply]]) -> list[Reply]:
    """Start all calls at the same moment and return their answers."""
    barrier = Barrier(len(calls))

    def start(call: Callable[[], Reply]) -> Reply:
        barrier.wait(30)
        return call()

    return list(actors.map(start, calls))


def outcomes(answers: list[Reply]) -> Counter[str]:
    """Count what the actors were told: `ok`, or the code of the problem."""
    return Counter("ok" if answer.status_code < 300 else answer.json["code"] for answer in answers)


def test_a_payment_is_captured_once(world: World, actors: ThreadPoolExecutor) -> None:
    """P10: double capture under different keys: one wins, the others are told the state."""
    for _ in range(ROUNDS):
        payment_id = world.authorized(1000)
        answers = at_once(actors, [partial(world.command, payment_id, "capture")] * 2)
        assert outcomes(answers) == {"ok": 1, "invalid_state": 1}
        assert world.read(payment_id)["captured_minor"] == 1000


def test_capture_and_void_never_both_win(world: World, actors: ThreadPoolExecutor) -> None:
    """F14."""
    winners = Counter[str]()
    for _ in range(ROUNDS):
        payment_id = world.authorized(1000)
        calls = [partial(world.command, payment_id, name) for name in ("capture", "void")]
        random.Random(SEED).shuffle(calls)
        assert outcomes(at_once(actors, calls)) == {"ok": 1, "invalid_state": 1}
        winners[world.read(payment_id)["status"]] += 1
    assert sum(winners.values()) == ROUNDS
    assert set(winners) <= {"captured", "voided"}


def test_captures_together_never_exceed_the_amount(
    world: World, actors: ThreadPoolExecutor
) -> None:
    """P22: 8 captures of 300 on 1,000: three win, five are told what is left."""
    for _ in range(FEW):
        payment_id = world.authorized(1000, capture_method="manual_multiple")
        body = {"amount_minor": 300}
        answers = at_once(actors, [partial(world.command, payment_id, "capture", body)] * ACTORS)
        assert outcomes(answers) == {"ok": 3, "amount_exceeds_capturable": 5}
        assert world.read(payment_id)["captured_minor"] == 900


@pytest.mark.parametrize("name", ["world", "cached_world"])
def test_one_key_sent_eight_times_has_one_effect(
    request: pytest.FixtureRequest, actors: ThreadPoolExecutor, name: str
) -> None:
    """F13, FI3: create and capture, with Redis and without: the same bytes, or 409."""
    world: World = request.getfixturevalue(name)
    for _ in range(FEW):
        key = new_key()
        body = {"amount_minor": 700, "currency": "EUR", "user_id": world.user_id}
        made = at_once(actors, [partial(world.post, "/v1/payments", body, key=key)] * ACTORS)
        payment_id = one_effect(made)
        captured = at_once(
            actors,
            [partial(world.command, payment_id, "capture", key=f"{key}-c")] * ACTORS,
        )
        assert one_effect(captured) == payment_id
    rows = world.rows("SELECT count(*), count(DISTINCT reference) FROM ledger_transactions")
    assert rows == [(FEW, FEW)]


def one_effect(answers: list[Reply]) -> str:
    """Return the id that all answers name; those that are none say that the first still runs.

    None is the first where that one was committed too late to be told, and was asked again.
    """
    told = outcomes(answers)
    assert set(told) <= {"ok", "idempotency_in_progress"}, told
    good = [answer for answer in answers if answer.status_code < 300]
    assert len({answer.data for answer in good}) == 1
    assert sum(answer.headers["Idempotency-Status"] == "stored" for answer in good) <= 1
    return str(good[0].json["id"])


def test_one_reference_makes_one_payment(world: World, actors: ThreadPoolExecutor) -> None:
    """P12, P22: different keys, one reference: the index decides."""
    for number in range(ROUNDS):
        body = {
            "amount_minor": 5,
            "currency": "EUR",
            "user_id": world.user_id,
            "reference": f"order-{number}",
        }
        answers = at_once(actors, [partial(world.post, "/v1/payments", body)] * 4)
        assert outcomes(answers) == {"ok": 1, "duplicate_reference": 3}


def test_one_key_on_two_payments_captures_one(world: World, actors: ThreadPoolExecutor) -> None:
    """The primary key decides: the other is told that the key is another request's."""
    for _ in range(ROUNDS):
        one, two, key = world.authorized(), world.authorized(), new_key()
        calls = [partial(world.command, payment, "capture", key=key) for payment in (one, two)]
        assert outcomes(at_once(actors, calls)) == {"ok": 1, "idempotency_key_reused": 1}
        assert sorted(world.read(payment)["status"] for payment in (one, two)) == [
            "authorized",
            "captured",
        ]


def test_accounts_are_opened_once_by_the_first_captures(
    world: World, actors: ThreadPoolExecutor
) -> None:
    """P33: no account stands there yet, and 8 captures want it."""
    payments = [world.payment(100, currency="JPY") for _ in range(ACTORS)]
    calls = [partial(world.command, payment, "capture") for payment in payments]
    assert outcomes(at_once(actors, calls)) == {"ok": ACTORS}
    assert world.rows("SELECT count(*) FROM ledger_accounts WHERE currency = 'JPY'") == [(2,)]
