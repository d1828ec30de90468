"""Every status and every command: what the table of section 3 allows, and nothing else (P10)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from services.payment_states import capturable_minor, refundable_minor
from tests.services.test_payment_jobs import run

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.world import World

COMMANDS: dict[str, tuple[str, dict[str, Any]]] = {
    "authorize": ("authorize", {}),
    "capture": ("capture", {}),
    "void": ("void", {}),
    "cancel": ("cancel", {}),
    "fail": ("fail", {"failure_code": "declined"}),
    "refund": ("refunds", {}),
    "dispute": ("disputes", {"reason": "fraud", "reference": "cb-new"}),
}
MANY = {"capture_method": "manual_multiple"}


def pieces(world: World, captured: int = 400) -> str:
    """Return a payment of 1,000 of which a part is captured and the rest still may be."""
    payment_id = world.authorized(1000, **MANY)
    assert world.command(payment_id, "capture", {"amount_minor": captured}).status_code == 200
    return payment_id


def after(world: World, payment_id: str, name: str, **body: Any) -> str:
    """Send a command that must work, and return the payment's id."""
    answer = world.command(payment_id, name, body)
    assert answer.status_code < 300, answer.json
    return payment_id


def fought(world: World, payment_id: str, amount: int | None, *outcomes: str) -> str:
    """Open a dispute and resolve it so."""
    dispute_id = world.disputed(payment_id, amount)
    for outcome in outcomes:
        assert world.resolve(dispute_id, outcome).status_code == 200
    return payment_id


# Name: how to make one, its status, and the commands that are allowed. `*` makes it overdue.
STATES: dict[str, tuple[Callable[[World], str], str, str]] = {
    "created": (lambda w: w.payment(1000), "created", "authorize capture cancel fail"),
    "authorized": (lambda w: w.authorized(1000), "authorized", "capture void"),
    "authorized*": (lambda w: w.authorized(1000), "authorized", "void"),
    "partially_captured": (pieces, "partially_captured", "capture void refund dispute"),
    "partially_captured*": (pieces, "partially_captured", "void refund dispute"),
    "captured": (lambda w: w.captured(1000), "captured", "refund dispute"),
    "captured in part, the rest voided": (
        lambda w: after(w, pieces(w), "void"),
        "captured",
        "refund dispute",
    ),
    "voided": (lambda w: after(w, w.authorized(), "void"), "voided", ""),
    "cancelled": (lambda w: after(w, w.payment(), "cancel"), "cancelled", ""),
    "failed": (lambda w: after(w, w.payment(), "fail", failure_code="no"), "failed", ""),
    "partially_refunded": (
        lambda w: after(w, w.captured(1000), "refunds", amount_minor=1),
        "partially_refunded",
        "refund dispute",
    ),
    "refunded, but not to its end": (
        lambda w: after(w, pieces(w), "refunds"),
        "partially_refunded",
        "capture void",
    ),
    "refunded": (lambda w: after(w, w.captured(1000), "refunds"), "refunded", ""),
    "disputed": (lambda w: fought(w, w.captured(1000), None), "disputed", ""),
    "disputed in part": (lambda w: fought(w, w.captured(1000), 1), "disputed", "refund dispute"),
    "disputed, and still open": (lambda w: fought(w, pieces(w), None), "disputed", "capture void"),
    "disputed, and still open*": (lambda w: fought(w, pieces(w), None), "disputed", "void"),
    "won": (lambda w: fought(w, w.captured(1000), None, "won"), "captured", "refund dispute"),
    "partially_charged_back": (
        lambda w: fought(w, w.captured(1000), 1, "lost"),
        "partially_charged_back",
        "refund dispute",
    ),
    "charged back, and still open": (
        lambda w: fought(w, pieces(w), None, "lost"),
        "partially_charged_back",
        "capture void",
    ),
    "charged_back": (lambda w: fought(w, w.captured(1000), None, "lost"), "charged_back", ""),
    "refunded and charged back": (
        lambda w: after(w, fought(w, w.captured(1000), 400, "lost"), "refunds"),
        "charged_back",
        "",
    ),
    "lost, then won": (
        lambda w: fought(w, w.captured(1000), None, "lost", "won"),
        "captured",
        "refund dispute",
    ),
}


def traces(world: World) -> list[tuple[Any, ...]]:
    """Count what a refused command must not leave."""
    return world.rows(
        "SELECT (SELECT sum(version) FROM payments), (SELECT count(*) FROM payment_events),"
        " (SELECT count(*) FROM idempotency_keys), (SELECT count(*) FROM payment_captures),"
        " (SELECT count(*) FROM payment_refunds), (SELECT count(*) FROM payment_disputes),"
        " (SELECT count(*) FROM ledger_transactions), (SELECT sum(version) FROM ledger_balances)"
    )


@pytest.mark.parametrize("name", STATES)
def test_each_state_takes_its_commands_and_no_other(
    world: World, lapse: Callable[[str], None], name: str
) -> None:
    """P10, P11, P42: `allowed_actions` says so beforehand; a refusal leaves no trace."""
    make, status, allowed = STATES[name]
    for command, (path, body) in COMMANDS.items():
        payment_id = make(world)
        if name.endswith("*"):
            lapse(payment_id)
        payment = world.read(payment_id)
        assert (payment["status"], payment["allowed_actions"]) == (status, allowed.split())
        before = traces(world)
        answer = world.command(payment_id, path, body)
        if command in allowed.split():
            assert answer.status_code in {200, 201}, (command, answer.json)
            continue
        late = command == "capture" and payment["status"] != "created" and name.endswith("*")
        expected = "payment_expired" if late else "invalid_state"
        assert (answer.status_code, answer.json["code"]) == (409, expected), command
        assert answer.json.get("allowed_actions", allowed.split()) == allowed.split()
        assert traces(world) == before


@pytest.mark.parametrize("name", STATES)
def test_what_is_left_is_what_commands_take_by_default(
    world: World, lapse: Callable[[str], None], name: str
) -> None:
    """P6: capturable and refundable, in the answer and computed from it."""
    make, _, allowed = STATES[name]
    payment = world.read(make(world))
    assert payment["capturable_minor"] == capturable_minor(payment)
    assert payment["refundable_minor"] == refundable_minor(payment)
    assert (payment["refundable_minor"] > 0) is ("refund" in allowed)
    if payment["refundable_minor"]:
        refund = world.command(payment["id"], "refunds").json
        assert refund["amount_minor"] == payment["refundable_minor"]


@pytest.mark.parametrize("name", STATES)
def test_expiry_ends_what_is_overdue_and_nothing_else(
    world: World, lapse: Callable[[str], None], name: str
) -> None:
    """Section 3, expire: the job's command, over every state."""
    make, status, _ = STATES[name]
    payment_id = make(world)
    if name.endswith("*"):
        lapse(payment_id)
    outcome = run(world, "expire-payments", expiry_warning_s=0)
    payment = world.read(payment_id)
    assert outcome.rows == name.endswith("*")
    assert (payment["status"] == status) is (status == "disputed" or not name.endswith("*"))
    if name.endswith("*"):
        assert payment["capturable_minor"] == 0
