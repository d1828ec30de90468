"""Disputes as a client meets them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.world import World

BODY = {"reason": "product_not_received", "reference": "cb-1"}


def test_a_dispute_answers_with_itself_and_its_payment(world: World) -> None:
    """P40: 201, Location, and what the payment is now."""
    payment_id = world.captured(1099)
    body = {**BODY, "amount_minor": 99, "evidence_due_at": "2030-01-31T12:00:00Z"}
    answer = world.command(payment_id, "disputes", body)
    assert answer.status_code == 201
    dispute, payment = dict(answer.json), answer.json["payment"]
    assert answer.headers["Location"] == f"/v1/disputes/{dispute['id']}"
    shown = {name: dispute[name] for name in (*body, "amount_decimal", "fee_minor", "status")}
    assert shown == {**body, "amount_decimal": "0.99", "fee_minor": 0, "status": "open"}
    assert payment == world.read(payment_id)
    assert (payment["status"], payment["disputed_minor"]) == ("disputed", 99)
    assert payment["allowed_actions"] == ["refund", "dispute"]
    del dispute["payment"]
    assert world.get(f"/v1/disputes/{dispute['id']}").json == dispute


@pytest.mark.parametrize(
    ("amount_minor", "outcomes", "status"),
    [
        (1000, ["won"], "captured"),
        (1000, ["lost"], "charged_back"),
        (400, ["lost"], "partially_charged_back"),
        (400, ["lost", "won"], "captured"),
    ],
)
def test_a_payment_is_what_its_disputes_have_come_to(
    world: World, amount_minor: int, outcomes: list[str], status: str
) -> None:
    """Section 3: a lost one may be won afterwards."""
    payment_id = world.captured(1000)
    dispute_id = world.disputed(payment_id, amount_minor)
    for outcome in outcomes:
        answer = world.resolve(dispute_id, outcome)
        assert (answer.status_code, answer.json["status"]) == (200, outcome)
    assert answer.json["payment"]["status"] == status
    assert answer.json["payment"] == world.read(payment_id)


def test_events_name_the_dispute_and_how_it_ended(world: World) -> None:
    """E1: opened, lost, reversed."""
    payment_id = world.captured(1000)
    dispute_id = world.disputed(payment_id, 400)
    world.resolve(dispute_id, "lost", fee_minor=15)
    world.resolve(dispute_id, "won")
    events = world.get(f"/v1/payments/{payment_id}/events?after=2").json["data"]
    assert [(event["type"], event["object_id"], event["amount_minor"]) for event in events] == [
        ("payment.dispute_opened", dispute_id, 400),
        ("payment.dispute_lost", dispute_id, 400),
        ("payment.dispute_reversed", dispute_id, 400),
    ]


@pytest.mark.parametrize(
    ("history", "outcome"), [(["won"], "won"), (["won"], "lost"), (["lost"], "lost")]
)
def test_a_dispute_ends_once_each_way(world: World, history: list[str], outcome: str) -> None:
    """P10: only open ones, and lost ones that are won, can be resolved."""
    dispute_id = world.disputed(world.captured(1000), 400)
    for each in history:
        world.resolve(dispute_id, each)
    answer = world.resolve(dispute_id, outcome)
    assert (answer.status_code, answer.json["code"]) == (409, "invalid_state")
    assert answer.json["dispute_status"] == history[-1]


def test_only_a_lost_dispute_costs_a_fee(world: World) -> None:
    dispute_id = world.disputed(world.captured(1000), 400)
    answer = world.resolve(dispute_id, "won", fee_minor=5)
    assert (answer.status_code, answer.json["errors"][0]["pointer"]) == (422, "/fee_minor")
    lost = world.resolve(dispute_id, "lost", fee_minor=5).json
    assert (lost["fee_minor"], lost["payment"]["fee_minor"]) == (5, 5)


REFUSED: list[tuple[dict[str, Any], int, str, dict[str, Any]]] = [
    ({"amount_minor": 601}, 422, "amount_exceeds_refundable", {"remaining_minor": 600}),
    ({"currency": "USD"}, 422, "currency_mismatch", {}),
    ({"reference": "first"}, 409, "duplicate_reference", {}),
    ({"reason": ""}, 422, "validation_failed", {}),
    ({"reference": None}, 422, "validation_failed", {}),
    ({"evidence_due_at": "tomorrow"}, 422, "validation_failed", {}),
]


@pytest.mark.parametrize(("body", "status", "code", "members"), REFUSED)
def test_a_refused_dispute_says_why_and_changes_nothing(
    world: World, body: dict[str, Any], status: int, code: str, members: dict[str, Any]
) -> None:
    """Bad input: the code, and what would have been possible."""
    payment_id = world.captured(1000)
    world.disputed(payment_id, 400, reference="first")
    before = world.read(payment_id)
    answer = world.command(payment_id, "disputes", {**BODY, **body})
    assert (answer.status_code, answer.json["code"]) == (status, code)
    assert {name: answer.json[name] for name in members} == members
    assert world.read(payment_id) == before


def test_a_used_reference_leads_to_the_first_dispute(world: World) -> None:
    """P12: the bank's name for it, told twice."""
    payment_id = world.captured(1000)
    first = world.disputed(payment_id, reference="cb-1")
    answer = world.command(payment_id, "disputes", BODY)
    assert (answer.status_code, answer.json["code"]) == (409, "duplicate_reference")
    assert answer.headers["Location"] == f"/v1/disputes/{first}"


def test_money_that_was_given_back_cannot_be_disputed(world: World) -> None:
    """P11: such a dispute is posted in the ledger."""
    payment_id = world.captured(1000)
    world.command(payment_id, "refunds")
    answer = world.command(payment_id, "disputes", BODY)
    assert (answer.status_code, answer.json["code"]) == (409, "invalid_state")


def test_disputes_of_an_older_version_are_refused(world: World) -> None:
    """P43: both commands."""
    payment_id = world.captured(1000)
    assert world.command(payment_id, "disputes", BODY, If_Match='"1"').status_code == 412
    dispute_id = world.disputed(payment_id)
    path = f"/v1/disputes/{dispute_id}/resolve"
    assert world.post(path, {"outcome": "won"}, If_Match='"2"').status_code == 412
    assert world.post(path, {"outcome": "won"}, If_Match='"3"').status_code == 200


def test_a_repeated_resolution_is_its_first_answer(world: World) -> None:
    """K6, and its operation has the dispute's id."""
    payment_id = world.captured(1000)
    one, two = world.disputed(payment_id, 1), world.disputed(payment_id, 2)
    path, body = f"/v1/disputes/{one}/resolve", {"outcome": "won"}
    first = world.post(path, body, key="k")
    assert world.post(path, body, key="k").data == first.data
    other = world.post(f"/v1/disputes/{two}/resolve", body, key="k")
    assert (other.status_code, other.json["differs"]) == (422, ["operation"])


def test_disputes_are_listed_newest_first(world: World) -> None:
    payment_id = world.captured(1000)
    made = [world.disputed(payment_id, amount) for amount in (1, 2)]
    found = world.get(f"/v1/payments/{payment_id}/disputes").json
    assert [dispute["id"] for dispute in found["data"]] == made[::-1]
    assert found["next_cursor"] is None
