"""Refunds as the ledger sees them: what they post, and what it refuses (P10, P12, P30, P31)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.services.test_payments import balances

if TYPE_CHECKING:
    from tests.world import World


def test_a_refund_takes_the_money_from_who_was_paid(world: World) -> None:
    """P30: the whole fee given back, clearing owes the rest to nobody."""
    payment_id = world.captured(1000, fee_minor=30)
    answer = world.command(payment_id, "refunds", {"fee_minor": 30})
    assert answer.status_code == 201
    assert balances(world) == {
        "gateways:manual:clearing": (1000, 1000),
        "platform:fees": (30, 30),
        "users:me:available": (970, 970),
    }


@pytest.mark.parametrize(("fee_minor", "legs"), [(0, 1), (10, 2), (100, 1)])
def test_legs_of_nothing_are_left_out_of_a_refund(world: World, fee_minor: int, legs: int) -> None:
    """P30: one transaction, its reference names the event."""
    payment_id = world.captured(1000, fee_minor=200)
    world.command(payment_id, "refunds", {"amount_minor": 100, "fee_minor": fee_minor})
    rows = world.rows(
        "SELECT cardinality(amounts), forced FROM ledger_transactions WHERE reference = %s",
        f"payment:{payment_id}:3",
    )
    assert rows == [(legs, False)]


def spend(world: World, amount_minor: int) -> None:
    """Take money out of the user's balance, as a dispute of another payment does."""
    other = world.captured(amount_minor)
    world.command(other, "refunds", {"amount_minor": amount_minor})
    payment_id = world.captured(amount_minor)
    world.resolve(world.disputed(payment_id, amount_minor), "lost", fee_minor=amount_minor)


def test_what_was_spent_cannot_be_refunded(world: World) -> None:
    """P31, LP8: with what there is; nothing changes or is stored, and the key stays free."""
    payment_id = world.captured(1000)
    spend(world, 300)
    before = world.read(payment_id)
    answer = world.command(payment_id, "refunds", {"amount_minor": 800}, key="k")
    assert (answer.status_code, answer.json["code"]) == (422, "insufficient_funds")
    assert answer.json["available_minor"] == 700
    assert world.read(payment_id) == before
    assert world.rows("SELECT FROM ledger_transactions WHERE status = 'rejected'") == []
    assert world.command(payment_id, "refunds", {"amount_minor": 700}, key="k").status_code == 201


def test_a_user_may_be_made_to_owe_a_refund(world: World) -> None:
    """Section 5, LI5: forced passes the floor; the transaction says so."""
    payment_id = world.captured(1000)
    spend(world, 300)
    answer = world.command(payment_id, "refunds", {"allow_negative": True})
    assert (answer.status_code, answer.json["amount_minor"]) == (201, 1000)
    debits, credits_ = balances(world)["users:me:available"]
    assert credits_ - debits == -300
    rows = world.rows("SELECT forced FROM ledger_transactions ORDER BY posted_at DESC LIMIT 1")
    assert rows == [(True,)]


def test_who_owes_is_repaid_by_later_captures(world: World) -> None:
    """Section 5: below the floor nothing can be taken, and what comes in fills the hole first."""
    payment_id = world.captured(1000)
    spend(world, 300)
    world.command(payment_id, "refunds", {"allow_negative": True})
    later = world.captured(400)
    refused = world.command(later, "refunds", {"amount_minor": 101})
    assert (refused.json["code"], refused.json["available_minor"]) == ("insufficient_funds", 100)
    assert world.command(later, "refunds", {"amount_minor": 100}).status_code == 201


def test_making_a_user_owe_needs_the_scope_to_post(world: World) -> None:
    """P31, A7: `allow_negative` lends money."""
    payment_id = world.captured(1000)
    world.api_key = world.new_api_key(["payments:refund"])
    refused = world.command(payment_id, "refunds", {"allow_negative": True})
    assert (refused.status_code, refused.json["required_scope"]) == (403, "ledger:post")
    assert world.command(payment_id, "refunds", {"allow_negative": False}).status_code == 201


@pytest.mark.parametrize(
    ("status", "code"), [("frozen", "account_frozen"), ("closed", "account_closed")]
)
def test_an_account_that_gives_nothing_refuses_the_refund(
    world: World, owner: Any, status: str, code: str
) -> None:
    """P31, LA9: not even by force."""
    payment_id = world.captured(1000)
    owner(f"UPDATE ledger_balances SET status = '{status}' WHERE floor = 0")
    answer = world.command(payment_id, "refunds", {"allow_negative": True})
    assert (answer.status_code, answer.json["code"]) == (409, code)
    owner("UPDATE ledger_balances SET status = 'open'")
    assert world.command(payment_id, "refunds").status_code == 201


def test_refunds_wait_for_a_ledger_that_is_behind(silent_world: World, awake: World) -> None:
    """P34: the money was captured while the ledger was off."""
    payment_id = silent_world.captured(1000)
    answer = awake.command(payment_id, "refunds")
    assert (answer.status_code, answer.json["code"]) == (409, "ledger_behind")


def test_without_the_ledger_a_refund_needs_no_funds(silent_world: World) -> None:
    """P34: insufficient_funds cannot occur; the payment is marked."""
    payment_id = silent_world.captured(1000)
    assert silent_world.command(payment_id, "refunds").json["payment"]["status"] == "refunded"
    assert silent_world.rows("SELECT unposted FROM payments") == [(True,)]
