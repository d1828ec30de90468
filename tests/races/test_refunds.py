"""Refunds, disputes, keys and merge patches that want the same at once (P12, P14, P22, K9)."""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from tests.races.test_payments import ACTORS, FEW, ROUNDS, actors, at_once, one_effect, outcomes
from tests.world import new_key

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import ThreadPoolExecutor

    from tests.world import Reply, World

__all__ = ["actors"]
OUT_OF_ORDER = (
    "SELECT count(*) FROM payment_events AS a JOIN payment_events AS b USING (payment_id)"
    " WHERE a.seq < b.seq AND a.xid > b.xid"
)


def dispute(amount_minor: int) -> dict[str, Any]:
    return {"amount_minor": amount_minor, "reason": "fraud", "reference": new_key()}


def in_any_order(number: int, calls: list[Callable[[], Reply]]) -> list[Callable[[], Reply]]:
    """Turn the list around every other time: who starts first decides too often."""
    return calls if number % 2 else calls[::-1]


@pytest.mark.parametrize("sent", [2, ACTORS])
@pytest.mark.parametrize("name", ["capture", "refunds", "disputes"])
def test_of_sixties_on_a_hundred_one_wins(
    world: World, actors: ThreadPoolExecutor, name: str, sent: int
) -> None:
    """P22: the race that many payment services lose; the others are told what is left."""
    for _ in range(FEW):
        payment_id = (
            world.authorized(10_000, capture_method="manual_multiple")
            if name == "capture"
            else world.captured(10_000)
        )
        bodies = [
            dispute(6_000) if name == "disputes" else {"amount_minor": 6_000} for _ in range(sent)
        ]
        answers = at_once(actors, [partial(world.command, payment_id, name, b) for b in bodies])
        code, amount = SIXTIES[name]
        assert outcomes(answers) == {"ok": 1, code: sent - 1}
        refused = [answer.json for answer in answers if answer.status_code == 422]
        assert {answer["remaining_minor"] for answer in refused} == {4_000}
        assert world.read(payment_id)[amount] == 6_000


# The refusal of what comes second, and the amount that grows.
SIXTIES = {
    "capture": ("amount_exceeds_capturable", "captured_minor"),
    "refunds": ("amount_exceeds_refundable", "refunded_minor"),
    "disputes": ("amount_exceeds_refundable", "disputed_minor"),
}


def test_whole_refunds_at_once_are_one(world: World, actors: ThreadPoolExecutor) -> None:
    """P10: the second finds nothing left."""
    for _ in range(FEW):
        payment_id = world.captured(10_000)
        answers = at_once(actors, [partial(world.command, payment_id, "refunds")] * 4)
        assert outcomes(answers) == {"ok": 1, "invalid_state": 3}


def test_of_a_refund_and_a_dispute_one_wins(world: World, actors: ThreadPoolExecutor) -> None:
    """P22: what is given back cannot be fought over, and the other way around."""
    winners = Counter[str]()
    for number in range(ROUNDS):
        payment_id = world.captured(10_000)
        calls = [
            partial(world.command, payment_id, "refunds", {"amount_minor": 6_000}),
            partial(world.command, payment_id, "disputes", dispute(6_000)),
        ]
        answers = at_once(actors, in_any_order(number, [*calls]))
        assert outcomes(answers) == {"ok": 1, "amount_exceeds_refundable": 1}
        winners[world.read(payment_id)["status"]] += 1
    assert set(winners) <= {"partially_refunded", "disputed"}


def test_disputes_together_never_exceed_the_amount(
    world: World, actors: ThreadPoolExecutor
) -> None:
    """P22."""
    for _ in range(FEW):
        payment_id = world.captured(1_000)
        calls = [partial(world.command, payment_id, "disputes", dispute(300)) for _ in range(6)]
        assert outcomes(at_once(actors, calls)) == {"ok": 3, "amount_exceeds_refundable": 3}
        assert world.read(payment_id)["disputed_minor"] == 900


def test_a_dispute_ends_one_way(world: World, actors: ThreadPoolExecutor) -> None:
    """P20: its row is decided on as it is once its payment is locked."""
    for number in range(ROUNDS):
        payment_id = world.captured(1_000)
        dispute_id = world.disputed(payment_id, 400)
        calls = [partial(world.resolve, dispute_id, outcome) for outcome in ("won", "lost")]
        answers = at_once(actors, in_any_order(number, [*calls]))
        events = world.get(f"/v1/payments/{payment_id}/events?after=3").json["data"]
        types = [event["type"].removeprefix("payment.") for event in events]
        # Lost and then won is legal, and is what it is called.
        legal = {
            ("dispute_won",): {"ok": 1, "invalid_state": 1},
            ("dispute_lost", "dispute_reversed"): {"ok": 2},
        }
        assert outcomes(answers) == legal[tuple(types)]
        assert world.read(payment_id)["disputed_minor"] == 0


def test_one_balance_pays_for_one_refund(world: World, actors: ThreadPoolExecutor) -> None:
    """P31: two payments of one user, and what is left of the money suffices for one of them."""
    for _ in range(FEW):
        world.user_id = str(world.new_user().id)
        one, two = world.captured(1_000), world.captured(1_000)
        spent = world.captured(1_000)
        world.resolve(world.disputed(spent), "lost", fee_minor=1_000)
        calls = [partial(world.command, payment_id, "refunds") for payment_id in (one, two)]
        answers = at_once(actors, calls)
        assert outcomes(answers) == {"ok": 1, "insufficient_funds": 1}
        assert [a.json["available_minor"] for a in answers if a.status_code == 422] == [0]


@pytest.mark.parametrize("name", ["capture", "refunds", "disputes"])
def test_one_reference_is_used_once(world: World, actors: ThreadPoolExecutor, name: str) -> None:
    """P12, P22: different keys, one reference: the index decides, and leads to the first."""
    for number in range(FEW):
        payment_id = world.authorized(1_000, capture_method="manual_multiple")
        if name != "capture":
            world.command(payment_id, "capture", {"amount_minor": 900})
        body = {"amount_minor": 5, "reference": f"r-{number}"}
        body |= {"reason": "fraud"} if name == "disputes" else {}
        answers = at_once(actors, [partial(world.command, payment_id, name, body)] * 4)
        assert outcomes(answers) == {"ok": 1, "duplicate_reference": 3}
        places = {a.headers["Location"] for a in answers if a.status_code == 409}
        assert len(places) == 1
        assert world.get(places.pop()).json["amount_minor"] == 5


@pytest.mark.parametrize("name", ["world", "cached_world"])
def test_one_key_refunds_once(
    request: pytest.FixtureRequest, actors: ThreadPoolExecutor, name: str
) -> None:
    """FI3: with Redis and without: the same bytes, or 409."""
    world: World = request.getfixturevalue(name)
    for _ in range(FEW):
        payment_id, key = world.captured(1_000), new_key()
        body = {"amount_minor": 100}
        call = partial(world.command, payment_id, "refunds", body, key=key)
        one_effect(at_once(actors, [call] * ACTORS))
        assert world.read(payment_id)["refunded_minor"] == 100


def test_cancelling_by_key_beside_its_request_leaves_nothing_open(
    world: World, actors: ThreadPoolExecutor
) -> None:
    """K9: the primary key decides: either it never came, or it is cancelled."""
    told = Counter[str]()
    for number in range(ROUNDS):
        key = new_key()
        body = {"amount_minor": 700, "currency": "EUR", "user_id": world.user_id}
        calls = [
            partial(world.post, "/v1/payments", body, key=key),
            partial(
                world.post, "/v1/payments/cancel-by-key", {"idempotency_key": key}, keyed=False
            ),
        ]
        answers = at_once(actors, in_any_order(number, [*calls]))
        made, cancelled = answers if number % 2 else answers[::-1]
        assert cancelled.status_code == 200, cancelled.json
        told[cancelled.json["outcome"]] += 1
        if cancelled.json["outcome"] == "tombstoned":
            assert made.json["code"] == "idempotency_key_cancelled"
        else:
            assert cancelled.json["outcome"] in {"cancelled", "ended"}
            assert world.read(made.json["id"])["status"] == "cancelled"
    rows = world.rows("SELECT count(*) FROM payments WHERE status <> 'cancelled'")
    assert rows == [(0,)]
    assert set(told) <= {"tombstoned", "cancelled", "ended"}  # Ended: asked again after a 503.


def test_cancelling_by_key_beside_an_authorisation_ends_it(
    world: World, actors: ThreadPoolExecutor
) -> None:
    """K9: whichever comes first, no authorisation is left."""
    for number in range(FEW):
        key = new_key()
        body = {"amount_minor": 700, "currency": "EUR", "user_id": world.user_id}
        payment_id = world.post("/v1/payments", body, key=key).json["id"]
        calls = [
            partial(world.command, payment_id, "authorize"),
            partial(
                world.post, "/v1/payments/cancel-by-key", {"idempotency_key": key}, keyed=False
            ),
        ]
        answers = at_once(actors, in_any_order(number, [*calls]))
        cancelled = answers[1] if number % 2 else answers[0]
        assert cancelled.json["outcome"] in {"cancelled", "voided", "ended"}
        assert world.read(payment_id)["status"] == cancelled.json["payment"]["status"]
        assert cancelled.json["payment"]["status"] in {"cancelled", "voided"}


def test_merge_patches_of_different_names_lose_nothing(
    world: World, actors: ThreadPoolExecutor
) -> None:
    """P14: merged under the lock; E2: transaction ids are in the order of the events."""
    for _ in range(FEW):
        payment_id = world.payment(metadata={"gone": "x"})
        patches: list[dict[str, str | None]] = [{f"n{n}": str(n)} for n in range(ACTORS - 1)]
        calls = [
            partial(world.patch, f"/v1/payments/{payment_id}", {"metadata": patch})
            for patch in [*patches, {"gone": None}]
        ]
        assert outcomes(at_once(actors, calls)) == {"ok": ACTORS}
        payment = world.read(payment_id)
        assert payment["metadata"] == {f"n{n}": str(n) for n in range(ACTORS - 1)}
        assert payment["version"] == 1 + ACTORS
    rows = world.rows(OUT_OF_ORDER)
    assert rows == [(0,)]
