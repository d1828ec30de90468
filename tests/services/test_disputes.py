"""Disputes as the ledger sees them: set aside, given back, taken for good (section 5)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.services.test_payments import balances

if TYPE_CHECKING:
    from tests.world import World


def net(world: World) -> dict[str, int]:
    """Return each account's balance on its normal side."""
    found = balances(world)
    return {
        code: (debits - credits_ if code.startswith("gateways") else credits_ - debits)
        for code, (debits, credits_) in found.items()
    }


def test_an_open_dispute_sets_the_money_aside(world: World) -> None:
    """P30, P33: the account for it is opened by the first dispute."""
    world.disputed(world.captured(1000, fee_minor=30), 400)
    assert net(world) == {
        "gateways:manual:clearing": 1000,
        "platform:fees": 30,
        "users:me:available": 570,
        "users:me:disputed": 400,
    }


@pytest.mark.parametrize(
    ("outcomes", "fee_minor", "after"),
    [
        (["won"], 0, {"clearing": 1000, "fees": 0, "available": 1000, "disputed": 0}),
        (["lost"], 0, {"clearing": 600, "fees": 0, "available": 600, "disputed": 0}),
        (["lost"], 15, {"clearing": 600, "fees": 15, "available": 585, "disputed": 0}),
        (["lost", "won"], 15, {"clearing": 1000, "fees": 15, "available": 985, "disputed": 0}),
    ],
)
def test_a_dispute_ends_as_the_bank_says(
    world: World, outcomes: list[str], fee_minor: int, after: dict[str, int]
) -> None:
    """Section 5: what losing has cost is not given back by winning later."""
    dispute_id = world.disputed(world.captured(1000), 400)
    for outcome in outcomes:
        fee = {"fee_minor": fee_minor} if outcome == "lost" and fee_minor else {}
        assert world.resolve(dispute_id, outcome, **fee).status_code == 200
    found = {code.rpartition(":")[2]: amount for code, amount in net(world).items()}
    assert {"fees": 0, **found} == after


def test_a_dispute_does_not_ask_whether_the_money_is_there(world: World) -> None:
    """Section 5, LI5: forced, and so is what losing it costs."""
    payment_id, other = world.captured(1000), world.captured(1000)
    world.resolve(world.disputed(other, 1000), "lost", fee_minor=1500)
    assert net(world)["users:me:available"] == -500
    dispute_id = world.disputed(payment_id)
    assert net(world)["users:me:available"] == -1500
    assert world.resolve(dispute_id, "lost", fee_minor=20).status_code == 200
    assert net(world)["users:me:available"] == -1520
    forced = world.rows("SELECT forced FROM ledger_transactions ORDER BY posted_at")
    assert forced == [(False,), (False,), (True,), (True,), (True,), (True,)]


def test_a_dispute_that_is_won_may_not_pass_a_ceiling(world: World, owner: Any) -> None:
    """P31: only taking is forced."""
    dispute_id = world.disputed(world.captured(1000), 400)
    owner("UPDATE ledger_balances SET ceiling = 700 WHERE floor = 0")
    answer = world.resolve(dispute_id, "won")
    assert (answer.status_code, answer.json["code"]) == (422, "ceiling_exceeded")
    assert world.get(f"/v1/disputes/{dispute_id}").json["status"] == "open"
    owner("UPDATE ledger_balances SET ceiling = NULL")


def test_a_frozen_account_refuses_a_dispute(world: World, owner: Any) -> None:
    """P31, LA9."""
    payment_id = world.captured(1000)
    owner("UPDATE ledger_balances SET status = 'frozen' WHERE floor = 0")
    body = {"reason": "fraud", "reference": "cb-1"}
    answer = world.command(payment_id, "disputes", body)
    assert (answer.status_code, answer.json["code"]) == (409, "account_frozen")
    assert world.read(payment_id)["version"] == 2


def test_what_disputes_cost_cannot_grow_beyond_an_amount(world: World) -> None:
    """P1: a sum that no client could read is refused, nothing is written."""
    payment_id = world.captured(2)
    first, second = world.disputed(payment_id, 1), world.disputed(payment_id, 1)
    most = 999_999_999_999_999
    assert world.resolve(first, "lost", fee_minor=most).status_code == 200
    answer = world.resolve(second, "lost", fee_minor=1)
    assert (answer.status_code, answer.json["code"]) == (422, "amount_overflow")
    assert world.resolve(second, "lost").status_code == 200


def test_disputes_wait_for_a_ledger_that_is_behind(silent_world: World, awake: World) -> None:
    """P34: opening and resolving both post."""
    payment_id = silent_world.captured(1000)
    dispute_id = silent_world.disputed(payment_id, 100)
    body = {"reason": "fraud", "reference": "cb-1"}
    answers = [awake.command(payment_id, "disputes", body), awake.resolve(dispute_id, "won")]
    assert {(answer.status_code, answer.json["code"]) for answer in answers} == {
        (409, "ledger_behind")
    }
    assert silent_world.resolve(dispute_id, "lost").json["payment"]["charged_back_minor"] == 100
