"""Holds: money reserved, taken in part or whole, given back, resolved at most once (LH1 to LH6)."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest

from errors import CursorInvalid, NotFound
from services.cursors import Cursors
from services.holds import HoldFilters, Holds, expire_holds
from services.jobs import Ask, Run
from services.ledger_writes import LedgerWrites
from tests.teller import ACTOR, TENANT, Teller, posting

if TYPE_CHECKING:
    from tests.world import World


@pytest.fixture
def teller(world: World) -> Teller:
    """A bank on the debit side, and two customers with a floor of 0; `a` has 1,000."""
    made = Teller(world)
    made.open("bank", "debit")
    made.open("a", floor=0)
    made.open("b", floor=0)
    assert made.post(("bank", "a", 1000)) == "created"
    return made


@pytest.fixture
def holds(teller: Teller) -> Holds:
    return teller.services.holds


def money(teller: Teller, code: str) -> tuple[int, int, int]:
    balance = teller.balance(code)
    return balance["posted_minor"], balance["available_minor"], balance["reachable_minor"]


def shown(holds: Holds, hold_id: UUID) -> tuple[str, int, int]:
    row = holds.get(TENANT, hold_id)
    return row.status, row.captured_minor, row.remaining_minor


# --- Placing ------------------------------------------------------------------------------------


def test_a_hold_reserves_on_both_sides_and_posts_nothing(teller: Teller, holds: Holds) -> None:
    """LH1, LA5."""
    hold_id = teller.hold("a", "b", 300)

    assert money(teller, "a") == (1000, 700, 1000)
    assert money(teller, "b") == (0, 0, 300)
    assert shown(holds, hold_id) == ("open", 0, 300)


def test_what_is_reserved_can_be_spent_on_nothing_else(teller: Teller) -> None:
    """LH1: neither posted nor held again."""
    teller.hold("a", "b", 600)

    assert teller.post(("a", "b", 401)) == "insufficient_funds"
    assert teller.outcome(
        posting(("a", "b", 401), kind="hold", expires_in_s=9)
    ) == "insufficient_funds"  # fmt: skip
    assert teller.post(("a", "b", 400)) == "created"


def test_a_ceiling_counts_what_may_come(teller: Teller) -> None:
    """LA5: reachable."""
    teller.change("b", ceiling_minor=500)
    teller.hold("a", "b", 400)

    assert teller.post(("a", "b", 101)) == "ceiling_exceeded"
    assert teller.post(("a", "b", 100)) == "created"


def test_a_hold_without_a_time_gets_the_usual_one(teller: Teller, holds: Holds) -> None:
    """Section 14: LEDGER_HOLD_DEFAULT_S, at most LEDGER_HOLD_MAX_S."""
    asked = posting(("a", "b", 1), kind="hold")
    teller.send(asked)
    assert asked.id

    row = holds.get(TENANT, asked.id)
    assert row.expires_at == row.posted_at + timedelta(days=7)
    too_long = posting(("a", "b", 1), kind="hold", expires_in_s=90 * 86_400 + 1)
    assert teller.outcome(too_long) == "validation_failed"


def test_a_hold_that_comes_again_is_the_same(teller: Teller) -> None:
    """LP7: though it is resolved meanwhile."""
    asked = posting(("a", "b", 5), kind="hold", expires_in_s=60)
    first = teller.send(asked)
    assert asked.id
    teller.void(asked.id)

    again = teller.send(asked)

    assert again.replayed
    for name in ("expires_at", "posted_at"):
        assert datetime.fromisoformat(first.data[name]) == again.data[name]
    assert again.data["legs"] == first.data["legs"]


# --- Capturing ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("amount", "final", "status", "captured", "remaining", "available"),
    [
        (None, None, "captured", 300, 0, 700),
        (300, None, "captured", 300, 0, 700),
        (100, None, "captured", 100, 0, 900),
        (100, True, "captured", 100, 0, 900),
        (100, False, "open", 100, 200, 700),
        (300, False, "captured", 300, 0, 700),
    ],
)
def test_a_capture_takes_what_it_says(
    teller: Teller,
    holds: Holds,
    amount: int | None,
    final: bool | None,
    status: str,
    captured: int,
    remaining: int,
    available: int,
) -> None:
    """LH2: final releases the rest, false keeps it; the last cent resolves in any case."""
    hold_id = teller.hold("a", "b", 300)

    assert teller.capture(hold_id, amount, final=final) == "created"

    assert shown(holds, hold_id) == (status, captured, remaining)
    assert money(teller, "a") == (1000 - captured, available, 1000 - captured)
    assert money(teller, "b") == (captured, captured, captured + remaining)


def test_a_hold_is_captured_piece_by_piece(teller: Teller, holds: Holds) -> None:
    """LH2: 1..remaining."""
    hold_id = teller.hold("a", "b", 300)

    outcomes = [teller.capture(hold_id, amount, final=False) for amount in (100, 201, 150, 50, 1)]

    assert outcomes == [
        "created", "capture_exceeds_hold", "created", "created", "hold_resolved",
    ]  # fmt: skip
    assert shown(holds, hold_id) == ("captured", 300, 0)


def test_a_void_after_a_capture_keeps_what_was_taken(teller: Teller, holds: Holds) -> None:
    """LH2."""
    hold_id = teller.hold("a", "b", 300)
    teller.capture(hold_id, 100, final=False)

    assert teller.void(hold_id) == "created"

    assert shown(holds, hold_id) == ("voided", 100, 0)
    assert money(teller, "a") == (900, 900, 900)


def test_a_hold_is_resolved_once(teller: Teller, holds: Holds) -> None:
    """LH3, LI6: and the refusal is kept under its id."""
    hold_id = teller.hold("a", "b", 300)
    assert teller.void(hold_id) == "created"
    late = posting(kind="capture", hold_id=hold_id)

    assert [teller.outcome(late), teller.outcome(late)] == ["hold_resolved"] * 2
    assert teller.void(hold_id) == "hold_resolved"
    assert teller.count(status="rejected", reason="hold_resolved") == 2
    assert shown(holds, hold_id) == ("voided", 0, 0)


def test_a_hold_that_is_none_is_not_found(teller: Teller, holds: Holds) -> None:
    """404: no such id, another kind of transaction, a refused hold."""
    asked = posting(("a", "b", 1))
    teller.send(asked)
    short = posting(("b", "a", 9), kind="hold", expires_in_s=9)
    teller.outcome(short)

    for tx_id in (uuid4(), asked.id, short.id):
        assert tx_id
        assert teller.capture(tx_id) == teller.void(tx_id) == "not_found"
        with pytest.raises(NotFound):
            holds.get(TENANT, tx_id)
    assert teller.count(status="rejected") == 1


def test_a_capture_can_be_reversed(teller: Teller) -> None:
    """LH6: what was taken comes back; what was released stays so."""
    hold_id = teller.hold("a", "b", 300)
    taken = posting(kind="capture", hold_id=hold_id, amount_minor=200)
    teller.send(taken)
    assert taken.id

    assert teller.reverse(taken.id) == "created"
    assert money(teller, "a") == (1000, 1000, 1000)
    assert money(teller, "b") == (0, 0, 0)


def test_a_frozen_account_lets_holds_go_and_takes_no_capture(
    teller: Teller, holds: Holds, database_owner: str
) -> None:
    """LA9: void and expire pass."""
    one, two, three = (teller.hold("a", "b", 10) for _ in range(3))
    teller.overdue(two, database_owner)
    teller.change("a", status="frozen")

    assert teller.capture(one) == "account_frozen"
    assert teller.outcome(posting(("a", "b", 1), kind="hold")) == "account_frozen"
    assert teller.void(three) == "created"
    assert expired(teller) == 1
    assert [shown(holds, each)[0] for each in (one, two, three)] == ["open", "expired", "voided"]


# --- Expiring -----------------------------------------------------------------------------------


def expired(teller: Teller, **ask: Any) -> int:
    run = Run(ask=Ask(**ask), stop=threading.Event(), batch_max=2)
    return sum(expire_holds(teller.services.db, LedgerWrites(teller.services.db), run))


def test_an_overdue_hold_cannot_be_captured(
    teller: Teller, holds: Holds, database_owner: str
) -> None:
    """LH4: job or no job; it can be voided."""
    one, two = teller.hold("a", "b", 10), teller.hold("a", "b", 10)
    teller.overdue(one, database_owner)
    teller.overdue(two, database_owner)

    assert shown(holds, one) == ("expired", 0, 10)
    assert teller.capture(one) == "hold_expired"
    assert teller.void(one) == "created"
    assert expired(teller) == 1
    assert teller.capture(two) == "hold_resolved"
    assert [shown(holds, each)[0] for each in (one, two)] == ["voided", "expired"]


def test_the_job_ends_what_is_overdue_and_nothing_else(
    teller: Teller, holds: Holds, database_owner: str
) -> None:
    """LH4: in postings of as many as a batch has, oldest first; their money is free again."""
    held = [teller.hold("a", "b", 10) for _ in range(6)]
    teller.capture(held[0], 3, final=False)
    for hold_id in held[:5]:
        teller.overdue(hold_id, database_owner)

    assert expired(teller, dry_run=True) == 2
    assert expired(teller, tenant_id=TENANT) == 5
    assert expired(teller) == 0

    assert money(teller, "a") == (997, 987, 997)
    assert shown(holds, held[0]) == ("expired", 3, 0)
    assert shown(holds, held[5]) == ("open", 0, 10)
    assert teller.world.rows(
        "SELECT DISTINCT actor FROM ledger_transactions WHERE kind = 'expire'"
    ) == [("job:expire-holds",)]


@pytest.mark.parametrize("legs", [1, 2])
def test_a_shortage_is_not_final_while_holds_are_overdue(
    teller: Teller, database_owner: str, legs: int
) -> None:
    """LH5: they are expired, then it is tried once more."""
    teller.overdue(teller.hold("a", "b", 600), database_owner)

    assert teller.post(*[("a", "b", 1000 // legs)] * legs) == "created"
    assert teller.balances("a", "b") == [0, 1000]


def test_a_shortage_that_overdue_holds_do_not_cover_is_final(
    teller: Teller, database_owner: str
) -> None:
    """LH5: the refusal is about the account without them."""
    teller.overdue(teller.hold("a", "b", 600), database_owner)

    assert teller.post(("a", "b", 1001)) == "insufficient_funds"
    assert money(teller, "a") == (1000, 1000, 1000)


def test_a_ceiling_is_not_final_while_holds_are_overdue(
    teller: Teller, database_owner: str
) -> None:
    """LH5, LA5: reachable too."""
    teller.change("b", ceiling_minor=600)
    teller.overdue(teller.hold("a", "b", 600), database_owner)

    assert teller.post(("a", "b", 600)) == "created"


@pytest.mark.parametrize(("amount", "code"), [(1000, "created"), (1001, "insufficient_funds")])
def test_a_dry_run_counts_overdue_holds_as_gone(
    teller: Teller, holds: Holds, database_owner: str, amount: int, code: str
) -> None:
    """LP14, LH5: and leaves them."""
    hold_id = teller.hold("a", "b", 600)
    teller.overdue(hold_id, database_owner)
    before = teller.count()

    assert teller.outcome(posting(("a", "b", amount)), dry_run=True) == code
    assert teller.count() == before
    assert shown(holds, hold_id) == ("expired", 0, 600)


def test_a_batch_expires_what_is_overdue_first(teller: Teller, database_owner: str) -> None:
    """LH5: for an item in the middle, too."""
    teller.overdue(teller.hold("a", "b", 600), database_owner)

    outcomes = teller.batch(
        [posting(("a", "b", 300)), posting(("a", "b", 500)), posting(("a", "b", 201))]
    )

    assert outcomes == ["created", "created", "insufficient_funds"]


# --- Lists --------------------------------------------------------------------------------------


def pages(holds: Holds, limit: int, **filters: Any) -> list[UUID]:
    found: list[UUID] = []
    cursor = None
    while True:
        rows, cursor = holds.page(ACTOR, HoldFilters(**filters), limit, cursor)
        found += [row.id for row in rows]
        if cursor is None:
            return found


@pytest.mark.parametrize("limit", [1, 2, 50])
def test_open_holds_are_listed_the_first_to_expire_first(
    teller: Teller, holds: Holds, limit: int
) -> None:
    """LQ1: of the tenant, or of an account on either side."""
    teller.open("c", floor=None)
    held = {
        seconds: teller.hold("a" if seconds % 2 else "c", "b", 1, expires_in_s=seconds * 1000)
        for seconds in (5, 2, 9, 4)
    }
    teller.void(teller.hold("a", "b", 1, expires_in_s=1))
    soon = datetime.now(UTC) + timedelta(seconds=4500)

    assert pages(holds, limit) == [held[n] for n in (2, 4, 5, 9)]
    assert pages(holds, limit, account="b") == [held[n] for n in (2, 4, 5, 9)]
    assert pages(holds, limit, account="a", currency="EUR") == [held[5], held[9]]
    assert pages(holds, limit, expires_before=soon) == [held[2], held[4]]
    assert pages(holds, limit, account="c", expires_before=soon) == [held[2], held[4]]
    assert pages(holds, limit, currency="USD") == pages(holds, limit, account="x") == []


def test_a_filtered_page_looks_no_further_than_it_may(teller: Teller) -> None:
    """LQ3."""
    holds = Holds(teller.services.db, Cursors(b"s" * 32), scan_rows=2)
    for seconds in range(1, 6):
        teller.hold("a", "b", 1, expires_in_s=seconds * 100)

    assert pages(holds, 1, currency="USD") == []
    assert len(pages(holds, 1, currency="EUR")) == 5
    with pytest.raises(CursorInvalid):
        holds.page(ACTOR, HoldFilters(), 1, "x")
