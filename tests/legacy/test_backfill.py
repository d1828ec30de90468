"""The backfill: what is missing comes, what is newer stays, and it goes on where it was (D27)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from legacy.backfill import Ask, Backfill
from legacy.refusals import LegacyDown, PhaseChanged
from tests.legacy.conftest import captured, payment, user

if TYPE_CHECKING:
    from tests.legacy.conftest import Move


@pytest.fixture
def dual(move: Move) -> Move:
    """Both domains in phase 2, over stores with 25 users and 25 payments."""
    for number in range(1, 26):
        move.store["users"].program_writes(user(str(number)))
        paid = captured() if number % 2 else {}
        move.store["payments"].program_writes(payment(str(number), str(number), **paid))
    move.store["users"].queue.clear()
    move.store["payments"].queue.clear()
    move.attach("users", "payments")
    move.force("users", 2)
    move.force("payments", 2)
    return move


def run(move: Move, domain: str = "users", **given: Any) -> list[Any]:
    ask = Ask(tenant_id="default", domain=domain, **{"batch": 10, **given})
    return list(Backfill(move.db, move.mirror).run(ask))


def cursor(move: Move, domain: str = "users") -> tuple[Any, ...]:
    return move.sql(
        "SELECT rows_done::int, rows_rejected::int, finished_at IS NOT NULL"
        " FROM backfill_cursors WHERE domain = %s",
        domain,
    )[0]


def test_what_is_missing_is_inserted(dual: Move) -> None:
    """D27: users, then payments with what they post (D24)."""
    assert [batch.inserted for batch in run(dual)] == [10, 10, 5]
    assert [batch.inserted for batch in run(dual, "payments")] == [10, 10, 5]
    assert cursor(dual) == cursor(dual, "payments") == (25, 0, True)
    assert dual.sql("SELECT count(*)::int FROM ledger_transactions") == [(13,)]
    assert dual.marks() == []


def test_it_never_updates_and_marks_what_was_there(dual: Move) -> None:
    """D27: the mirror compares versions; the backfill does not."""
    run(dual)
    dual.copied("UPDATE users SET version = 9, display_name = 'newer' WHERE legacy_id = '3'")
    dual.sql("UPDATE backfill_cursors SET finished_at = NULL, after_id = NULL")
    assert sum(batch.marked for batch in run(dual)) == 25
    dual.mirror.run_once()
    assert dual.sql("SELECT version, display_name FROM users WHERE legacy_id = '3'") == [
        (9, "newer")
    ]


def test_a_run_that_was_cut_off_goes_on_at_its_cursor(dual: Move) -> None:
    """D27, MF2: nothing is read twice."""
    run(dual, max_rows=10)
    assert cursor(dual) == (10, 0, False)
    dual.store["users"].down = True
    with pytest.raises(LegacyDown):
        run(dual)
    dual.store["users"].down = False
    assert [batch.seen for batch in run(dual)] == [10, 5]
    assert cursor(dual) == (25, 0, True)


def test_a_run_after_the_end_begins_anew(dual: Move) -> None:
    """2.2: after a way back the next backfill marks all that new has kept."""
    run(dual)
    assert sum(batch.marked for batch in run(dual)) == 25
    assert cursor(dual) == (25, 0, True)


def test_bad_rows_are_set_aside_one_by_one(dual: Move) -> None:
    """D29: broken rules, an address that somebody has; the rest comes."""
    dual.store["users"].rejects["7"] = "email_invalid"
    row = dual.store["users"].rows["9"]
    dual.store["users"].rows["9"] = row.__class__("9", 1, user("9", email="user1@x.org"), None)
    row = dual.store["users"].rows["8"]
    taken = user("8", email="USER1@example.org")
    dual.store["users"].rows["8"] = row.__class__("8", 1, taken, None)
    run(dual)
    assert dual.rejects() == [("7", "email_invalid"), ("8", "email_taken")]
    assert cursor(dual) == (25, 2, True)
    assert len(dual.sql("SELECT 1 FROM users")) == 23


def test_payments_without_their_user_wait(dual: Move) -> None:
    """D25: they are marked, and are no rejects."""
    assert sum(batch.marked for batch in run(dual, "payments")) == 25
    assert dual.rejects("payments") == []
    run(dual)
    dual.mirror.run_once()
    assert len(dual.sql("SELECT 1 FROM payments")) == 25


def test_a_dry_run_maps_everything_and_writes_nothing(dual: Move) -> None:
    dual.store["users"].rejects["7"] = "email_invalid"
    batches = run(dual, dry_run=True)
    assert [batch.seen for batch in batches] == [10, 10, 5]
    assert [*batches[0].rejected, *batches[1].rejected, *batches[2].rejected] == ["7"]
    assert (dual.sql("SELECT 1 FROM users"), dual.rejects()) == ([], [])


@pytest.mark.parametrize("phase", [1, 4, 5])
def test_it_runs_while_both_are_written_and_legacy_decides(dual: Move, phase: int) -> None:
    """D27: in phases 2 and 3 only."""
    dual.force("payments", 1)
    dual.force("users", phase)
    with pytest.raises(PhaseChanged):
        run(dual)
