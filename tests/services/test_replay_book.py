"""Replay, level 5: payments are what is posted of them (P30, P32)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from services.replay import Replay, ReplayAsk, RunBy

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.replay_report import Report
    from tests.world import World

BY = RunBy(actor="cli:test", host="here", app_version="0.0.1")


def run(world: World, **ask: Any) -> Report:
    return Replay(world.services.db).run(ReplayAsk(levels=("L5",), **ask), BY)


def test_what_is_posted_leg_by_leg_is_clean(world: World) -> None:
    """L5: a capture with a fee, and a refund."""
    world.captured(1000)

    report = run(world)

    assert report.exit_code == 0
    assert sum(tenant.levels["L5"].checked for tenant in report.tenants) == 1


@pytest.mark.parametrize(
    ("change", "back"),
    [
        (
            "UPDATE ledger_transactions SET reference = 'x' || reference",
            "UPDATE ledger_transactions SET reference = substr(reference, 2)",
        ),
        (
            "UPDATE ledger_transactions SET amounts[1] = amounts[1] + 1",
            "UPDATE ledger_transactions SET amounts[1] = amounts[1] - 1",
        ),
        (
            "UPDATE ledger_entries SET posted = posted + 1",
            "UPDATE ledger_entries SET posted = posted - 1",
        ),
    ],
    ids=["reference", "amount", "entries"],
)
def test_payments_that_differ_from_the_book_are_found(
    world: World, owner: Callable[..., None], change: str, back: str
) -> None:
    """L5, LR8: exit 6, verdict payments."""
    world.captured(1000)
    owner(change)

    report = run(world)

    owner(back)
    assert report.exit_code == 6
    assert "payments" in {tenant.verdict for tenant in report.tenants}
    assert run(world).exit_code == 0


def test_unposted_payments_are_listed_and_a_fault_if_strict(
    world: World, owner: Callable[..., None]
) -> None:
    """L5, P34: what waits for ledger-catch-up."""
    payment_id = world.authorized(1000)
    owner("UPDATE payments SET unposted = true")

    listed, strict = run(world), run(world, strict=True)

    owner("UPDATE payments SET unposted = false")
    (finding,) = listed.findings
    assert (finding.row.field, finding.action) == (
        f"payment {payment_id}", "waits for ledger-catch-up",
    )  # fmt: skip
    assert (listed.exit_code, strict.exit_code) == (0, 6)
