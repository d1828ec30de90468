"""Refunds as a client meets them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.contract.test_routes import NOTHING

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.world import World


def test_a_refund_answers_with_itself_and_its_payment(world: World) -> None:
    """P40: 201, Location, and what the payment is now."""
    payment_id = world.captured(1099, fee_minor=30)
    body = {
        "amount_minor": 99,
        "fee_minor": 3,
        "reason": "requested_by_customer",
        "reference": "return-1",
    }
    answer = world.command(payment_id, "refunds", body)
    assert answer.status_code == 201
    refund, payment = dict(answer.json), answer.json["payment"]
    assert answer.headers["Location"] == f"/v1/refunds/{refund['id']}"
    shown = {name: refund[name] for name in (*body, "amount_decimal", "currency", "status")}
    assert shown == {**body, "amount_decimal": "0.99", "currency": "EUR", "status": "succeeded"}
    assert payment == world.read(payment_id)
    assert (payment["status"], payment["refunded_minor"]) == ("partially_refunded", 99)
    assert (payment["fee_refunded_minor"], payment["refundable_minor"]) == (3, 1000)
    del refund["payment"]
    assert world.get(f"/v1/refunds/{refund['id']}").json == refund


def test_a_refund_without_an_amount_is_of_all_that_is_left(world: World) -> None:
    payment_id = world.captured(1000)
    world.command(payment_id, "refunds", {"amount_minor": 300})
    answer = world.command(payment_id, "refunds")
    assert answer.json["amount_minor"] == 700
    assert answer.json["payment"]["status"] == "refunded"
    assert answer.json["payment"]["allowed_actions"] == []


def test_what_is_still_capturable_stays_so_after_a_refund(world: World) -> None:
    """Section 3: refunded, and yet not at its end."""
    payment_id = world.authorized(1000, capture_method="manual_multiple")
    world.command(payment_id, "capture", {"amount_minor": 400})
    payment = world.command(payment_id, "refunds").json["payment"]
    assert (payment["status"], payment["allowed_actions"]) == (
        "partially_refunded",
        ["capture", "void"],
    )
    assert world.command(payment_id, "void").json["status"] == "refunded"


def test_an_overdue_payment_can_be_refunded(world: World, lapse: Callable[[str], None]) -> None:
    """P11; the answer knows that it can no longer be captured (P42)."""
    payment_id = world.authorized(1000, capture_method="manual_multiple")
    assert world.command(payment_id, "capture", {"amount_minor": 400}).status_code == 200
    lapse(payment_id)
    payment = world.command(payment_id, "refunds", {"amount_minor": 100}).json["payment"]
    assert payment["allowed_actions"] == ["void", "refund", "dispute"]
    assert payment == world.read(payment_id)


REFUSED: list[tuple[dict[str, Any], int, str, dict[str, Any]]] = [
    ({"amount_minor": 901}, 422, "amount_exceeds_refundable", {"remaining_minor": 900}),
    ({"fee_minor": 31}, 422, "fee_exceeds_amount", {"remaining_minor": 30}),
    ({"amount_minor": 5, "fee_minor": 6}, 422, "fee_exceeds_amount", {"remaining_minor": 5}),
    ({"currency": "USD"}, 422, "currency_mismatch", {}),
    ({"reference": "first"}, 409, "duplicate_reference", {}),
    ({"amount_minor": 0}, 422, "validation_failed", {}),
    ({"amount_minor": -1}, 422, "validation_failed", {}),
    ({"amount_minor": 1.5}, 422, "validation_failed", {}),
    ({"amount_minor": "5"}, 422, "validation_failed", {}),
    ({"reason": "because"}, 422, "validation_failed", {}),
]


@pytest.mark.parametrize(("body", "status", "code", "members"), REFUSED)
def test_a_refused_refund_says_why_and_changes_nothing(
    world: World, body: dict[str, Any], status: int, code: str, members: dict[str, Any]
) -> None:
    """Bad input: the code, and what would have been possible."""
    payment_id = world.captured(1000, fee_minor=30)
    world.command(payment_id, "refunds", {"amount_minor": 100, "reference": "first"})
    before = world.read(payment_id)
    answer = world.command(payment_id, "refunds", body, key="k")
    assert (answer.status_code, answer.json["code"]) == (status, code)
    assert {name: answer.json[name] for name in members} == members
    assert world.read(payment_id) == before
    assert world.command(payment_id, "refunds", {"amount_minor": 1}, key="k").status_code == 201


def test_a_used_reference_leads_to_the_first_refund(world: World) -> None:
    """P12: whatever the amount, and when nothing is left to refund, too."""
    payment_id = world.captured(1000)
    body = {"amount_minor": 600, "reference": "return-1"}
    first = world.command(payment_id, "refunds", body).json["id"]
    for again in (body, {"reference": "return-1"}):
        answer = world.command(payment_id, "refunds", again)
        assert (answer.status_code, answer.json["code"]) == (409, "duplicate_reference")
        assert answer.headers["Location"] == f"/v1/refunds/{first}"
        assert answer.json["resource_id"] == first
        world.command(payment_id, "refunds")
    other = world.captured(1000)
    assert world.command(other, "refunds", body).status_code == 201


def test_nothing_captured_is_nothing_to_refund(world: World) -> None:
    """P10: 409 with what may be done instead, and no key is burnt."""
    payment_id = world.authorized(1000)
    answer = world.command(payment_id, "refunds", key="k")
    assert (answer.status_code, answer.json["code"]) == (409, "invalid_state")
    assert answer.json["payment_status"] == "authorized"
    assert answer.json["allowed_actions"] == ["capture", "void"]
    world.command(payment_id, "capture")
    assert world.command(payment_id, "refunds", key="k").status_code == 201


def test_a_refund_of_an_older_version_is_refused(world: World) -> None:
    """P43."""
    payment_id = world.captured(1000)
    late = world.command(payment_id, "refunds", If_Match='"1"')
    assert (late.status_code, late.json["current_version"]) == (412, 2)
    assert world.command(payment_id, "refunds", If_Match='"2"').status_code == 201


def test_a_repeated_refund_is_its_first_answer(world: World) -> None:
    """K6: byte for byte, with its Location, though the payment has moved on."""
    payment_id = world.captured(1000)
    first = world.command(payment_id, "refunds", {"amount_minor": 100}, key="k")
    world.command(payment_id, "refunds", {"amount_minor": 100})
    again = world.command(payment_id, "refunds", {"amount_minor": 100}, key="k")
    assert (again.status_code, again.data) == (201, first.data)
    assert again.headers["Location"] == first.headers["Location"]
    assert again.headers["Idempotent-Replayed"] == "true"
    assert world.read(payment_id)["refunded_minor"] == 200


def test_refunds_are_listed_newest_first_page_by_page(world: World) -> None:
    """P45: the cursor serves this list of this payment only."""
    payment_id = world.captured(1000)
    made = [
        world.command(payment_id, "refunds", {"amount_minor": amount}).json["id"]
        for amount in (1, 2, 3)
    ]
    path = f"/v1/payments/{payment_id}/refunds"
    first = world.get(f"{path}?limit=2").json
    assert [refund["id"] for refund in first["data"]] == [made[2], made[1]]
    rest = world.get(f"{path}?cursor={first['next_cursor']}").json
    assert ([refund["id"] for refund in rest["data"]], rest["next_cursor"]) == ([made[0]], None)
    other = f"/v1/payments/{world.captured()}/refunds?cursor={first['next_cursor']}"
    assert world.get(other).json["code"] == "cursor_invalid"
    captures = f"/v1/payments/{payment_id}/captures?cursor={first['next_cursor']}"
    assert world.get(captures).json["code"] == "cursor_invalid"


def test_no_refunds_is_a_list_and_no_payment_is_not_found(world: World) -> None:
    assert world.get(f"/v1/payments/{world.payment()}/refunds").json["data"] == []
    assert world.get(f"/v1/payments/{NOTHING}/refunds").status_code == 404
    assert world.get(f"/v1/refunds/{NOTHING}").status_code == 404
