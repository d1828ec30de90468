"""Postings one at a time: what is written, what is refused, what an id remembers (LP1 to LP14)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import psycopg
import pytest
from uuid_utils.compat import uuid7

import observability
from errors import AppError
from services.actors import Actor
from services.canonical_json import digest
from tests.teller import ACTOR, TENANT, Expected, Leg, Teller, posting

if TYPE_CHECKING:
    from services.posting_requests import Posting
    from tests.world import World

MOST = 2**62
LARGEST = 999_999_999_999_999


@pytest.fixture
def teller(world: World) -> Teller:
    """A bank, whose side is debit, and two customers; `a` has a floor of 0 and 1,000."""
    made = Teller(world)
    made.open("bank", "debit")
    made.open("a", floor=0)
    made.open("b", floor=0)
    assert made.post(("bank", "a", 1000)) == "created"
    return made


def refused(teller: Teller, asked: Any, **more: Any) -> AppError:
    with pytest.raises(AppError) as raised:
        teller.send(asked, **more)
    return raised.value


# --- What a posting writes ----------------------------------------------------------------------


def test_a_transfer_moves_money_once_on_either_side(teller: Teller) -> None:
    """LP5, LI2."""
    assert teller.post(("a", "b", 300)) == "created"

    assert teller.balances("bank", "a", "b") == [1000, 700, 300]


def test_several_legs_are_one_transaction(teller: Teller) -> None:
    """LP5: an exchange is two legs; each account's balance counts all of them."""
    teller.open("fees")
    teller.open("dollars", "debit", currency="USD")
    teller.open("a:usd", currency="USD")

    answer = teller.send(
        posting(
            ("a", "bank", 500), ("a", "fees", 5), Leg("dollars", "a:usd", 540, "USD"),
            metadata={"rate": "1.08"},
        )
    )  # fmt: skip

    assert teller.balances("bank", "a", "fees", "a:usd") == [500, 495, 5, 540]
    assert [(b["account"], b["posted_minor"], b["version"]) for b in answer.data["balances"]] == [
        ("a", 495, 3), ("bank", 500, 2), ("fees", 5, 1), ("dollars", 540, 1), ("a:usd", 540, 1),
    ]  # fmt: skip


@pytest.mark.parametrize("legs", [[("a", "b", 5)], [("a", "b", 5), ("b", "a", 1)]])
def test_a_header_says_everything(teller: Teller, legs: list[tuple[str, str, int]]) -> None:
    """LI1, LM1: one statement or the other, the row is the same."""
    asked = posting(*legs, reference="r-1", metadata={"order": "4711", "a": "ä"})
    teller.send(asked)

    ((row),) = teller.world.rows(
        "SELECT kind::text, status::text, reason, reference, final, forced,"
        " posted_at = effective_at, amounts, stripes, request_hash, metadata, metadata_hash,"
        " actor, request_id FROM ledger_transactions WHERE id = %s", asked.id,
    )  # fmt: skip
    assert row == (
        "post", "applied", None, "r-1", True, False, True, [leg[2] for leg in legs], None,
        asked.request_hash, asked.metadata, digest(asked.metadata), ACTOR.subject, "test",
    )  # fmt: skip


def test_no_metadata_is_no_metadata(teller: Teller) -> None:
    """LM1: nulls are left out of a leaf."""
    teller.post(("a", "b", 1))
    teller.post(("a", "b", 1), ("b", "a", 1))

    rows = teller.world.rows("SELECT DISTINCT metadata, metadata_hash FROM ledger_transactions")
    assert rows == [(None, None)]


def test_times_grow_though_the_clock_steps_back(teller: Teller, database_owner: str) -> None:
    """LP4, LI4: one microsecond after the account's last entry at least."""
    with psycopg.connect(database_owner, autocommit=True) as conn:
        for table in ("ledger_balances", "ledger_entries", "ledger_transactions"):
            column = "last_posted_at" if table == "ledger_balances" else "posted_at"
            conn.execute(f"UPDATE {table} SET {column} = '2999-01-01' WHERE {column} > '-infinity'")
        conn.execute("UPDATE ledger_transactions SET effective_at = posted_at")
        conn.execute("UPDATE ledger_entries SET effective_at = posted_at")

    teller.post(("a", "b", 1))
    teller.post(("a", "b", 1), ("b", "a", 2))

    rows = teller.world.rows("SELECT posted_at FROM ledger_transactions ORDER BY posted_at")
    assert [moment.microsecond for (moment,) in rows] == [0, 1, 2]


def test_a_pass_through_account_needs_no_head_room(teller: Teller) -> None:
    """LP6: limits hold after the whole transaction, not after each leg."""
    assert teller.post(("b", "bank", 400), ("a", "b", 400)) == "created"
    assert teller.balances("a", "b") == [600, 0]


# --- What is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "code", "pointer"),
    [
        (posting(("a", "nobody", 1)), "account_not_found", "/legs/0/credit"),
        (posting(("a", "b", 1), ("x", "b", 1)), "account_not_found", "/legs/1/debit"),
        (posting(Leg("a", "b", 1, "USD")), "currency_mismatch", "/legs/0/debit"),
        (posting(Leg("a", "b", 1, "USD"), ("a", "x", 1)), "account_not_found", "/legs/1/credit"),
        (posting(("a", "a", 1)), "same_account", "/legs/0/credit"),
        (posting(("a", "b", 1), reference="payment:1:2"), "reference_reserved", "/reference"),
        (posting(("a", "b", 1001)), "insufficient_funds", "/legs/0/amount_minor"),
        (posting(("a", "b", 999), ("a", "b", 2)), "insufficient_funds", "/legs/0/amount_minor"),
        (posting(("b", "a", 1)), "insufficient_funds", "/legs/0/amount_minor"),
        (posting(("a", "b", 1), kind="adjust"), "validation_failed", "/metadata/reason"),
        (posting(("a", "b", 1), expect=[Expected("a", 9)]), "expectation_failed",
         "/expect/0/version"),
        (posting(("a", "b", 1), expect=[Expected("c", 0)]), "account_not_found",
         "/expect/0/account"),
    ],
)  # fmt: skip
def test_what_is_refused_leaves_balances_as_they_are(
    teller: Teller, asked: Any, code: str, pointer: str
) -> None:
    """Section 9: codes, and pointers that name the member."""
    error = refused(teller, asked)

    assert (error.code, [fault["pointer"] for fault in error.errors]) == (code, [pointer])
    assert teller.balances("bank", "a", "b") == [1000, 1000, 0]
    assert teller.count(status="applied") == 1


def test_the_order_of_looking_is_fixed(teller: Teller) -> None:
    """Section 9: shape, id, accounts, currency, status, limits: each hides those after it."""
    used = posting(("a", "b", 1))
    teller.send(used)
    teller.change("a", status="frozen")
    too_much = Leg("a", "b", 10**9)
    nobody = Leg("a", "nobody", 10**9)
    dollars = Leg("a", "b", 10**9, "USD")
    same = Leg("b", "b", 1)

    codes = [
        teller.post(*legs, id=tx_id)
        for legs, tx_id in [
            ([same, nobody, dollars, too_much], used.id),
            ([nobody, dollars, too_much], used.id),
            ([dollars, nobody, too_much], uuid7()),
            ([dollars, too_much], uuid7()),
            ([too_much], uuid7()),
        ]
    ]

    assert codes == [
        "same_account", "transaction_id_reused", "account_not_found", "currency_mismatch",
        "account_frozen",
    ]  # fmt: skip


@pytest.mark.parametrize("legs", [1, 2])
def test_a_shortage_says_what_there_is(teller: Teller, legs: int) -> None:
    """Section 9: to callers who may read the account, and to no others."""
    teller.change("a", floor_minor=-50)
    asked = posting(*[("a", "b", 2000)] * legs)

    told = refused(teller, asked)
    stranger = Teller(teller.world, Actor(TENANT, "key:2", frozenset({"ledger:post"})))
    untold = refused(stranger, posting(("a", "b", 2000)))

    assert told.members == {"available_minor": 1000, "floor_minor": -50}
    assert (untold.code, untold.members) == ("insufficient_funds", {})


def test_a_ceiling_bounds_what_an_account_may_come_to(teller: Teller) -> None:
    """LA5."""
    teller.change("b", ceiling_minor=100)

    assert teller.post(("a", "b", 100)) == "created"
    error = refused(teller, posting(("a", "b", 1)))
    assert teller.post(("b", "a", 40)) == "created"

    assert error.code == "ceiling_exceeded"
    assert error.members == {"reachable_minor": 100, "ceiling_minor": 100}


def test_a_debit_account_has_its_limits_mirrored(teller: Teller) -> None:
    """LA4, LA5: credits lower it, debits raise it."""
    teller.change("bank", floor_minor=900, ceiling_minor=1100)

    assert teller.post(("a", "bank", 101)) == "insufficient_funds"
    assert teller.post(("bank", "a", 101)) == "ceiling_exceeded"
    assert teller.post(("a", "bank", 100)) == "created"
    assert teller.post(("bank", "a", 200)) == "created"


@pytest.mark.parametrize(
    ("status", "code"), [("frozen", "account_frozen"), ("closed", "account_closed")]
)
@pytest.mark.parametrize("legs", [[("bank", "b", 1)], [("bank", "a", 1), ("bank", "b", 1)]])
def test_an_account_that_is_not_open_takes_nothing(
    teller: Teller, status: str, code: str, legs: list[Any]
) -> None:
    """LA9."""
    teller.change("b", status=status)
    assert teller.post(*legs) == code

    teller.change("b", status="open")
    assert teller.post(*legs) == "created"


@pytest.mark.parametrize("legs", [1, 2])
def test_a_counter_never_passes_its_most(teller: Teller, database_owner: str, legs: int) -> None:
    """LP11: 2^62, decided before the write: no 22003, no 23514."""
    teller.open("c")
    with psycopg.connect(database_owner, autocommit=True) as conn:
        conn.execute(
            "UPDATE ledger_balances SET debits_posted = %(most)s, credits_posted = %(most)s"
            " WHERE account_id = (SELECT account_id FROM ledger_accounts WHERE code = 'c')",
            {"most": MOST - LARGEST},
        )
    try:
        assert teller.post(("c", "b", LARGEST)) == "created"
        assert teller.post(*[("c", "b", 1)] * legs) == "amount_overflow"
    finally:
        with psycopg.connect(database_owner, autocommit=True) as conn:
            conn.execute(
                "UPDATE ledger_balances SET debits_posted = %s, credits_posted = 0 WHERE"
                " account_id = (SELECT account_id FROM ledger_accounts WHERE code = 'c')",
                [LARGEST],
            )


def test_a_correction_says_why(teller: Teller) -> None:
    """Section 3: kind adjust, metadata.reason required."""
    asked = posting(("a", "b", 1), kind="adjust", metadata={"reason": "typing error"})

    assert teller.outcome(asked) == "created"
    assert teller.count(kind="adjust") == 1


# --- What an id remembers -----------------------------------------------------------------------


@pytest.mark.parametrize("legs", [1, 2])
def test_the_same_id_again_repeats_its_answer(teller: Teller, legs: int) -> None:
    """LP7: existing, written once; the same data, whichever statement has written it."""
    asked = posting(*[("a", "b", 10)] * legs, metadata={"x": "y"}, reference="r")
    first = teller.send(asked)
    teller.post(("a", "b", 5))

    again = teller.send(asked)

    assert (first.status, again.status, again.replayed) == (201, 200, True)
    assert shown(teller, again.data) == shown(teller, first.data)
    assert teller.balances("b") == [10 * legs + 5]


def shown(teller: Teller, data: dict[str, Any]) -> bytes:
    """Render as the API does."""
    from blueprints.bodies.postings import PostingAnswer  # noqa: PLC0415
    from blueprints.postings import shown as rendered  # noqa: PLC0415

    with teller.world.app.app_context():
        return PostingAnswer.model_validate(rendered(data)).model_dump_json().encode()


@pytest.mark.parametrize("change", [{"reference": "x"}, {"metadata": {"a": "b"}}, {"legs": 2}])
def test_an_id_with_another_request_is_a_conflict(teller: Teller, change: dict[str, Any]) -> None:
    """LP7: transaction_id_reused, whatever differs."""
    asked = posting(("a", "b", 10))
    teller.send(asked)
    legs = [("a", "b", 10)] * change.pop("legs", 1)

    assert teller.outcome(posting(*legs, id=asked.id, **change)) == "transaction_id_reused"
    assert teller.balances("b") == [10]


def test_a_refusal_is_kept_under_its_id(teller: Teller) -> None:
    """LP7: rejected: that id stays refused for ever, though the money is there now."""
    asked = posting(("b", "a", 10))
    first = refused(teller, asked)
    teller.post(("a", "b", 500))

    again = refused(teller, asked)

    assert (first.code, again.code) == ("insufficient_funds", "insufficient_funds")
    assert again.headers["Idempotent-Replayed"] == "true"
    ((status, reason, entries),) = teller.world.rows(
        "SELECT t.status::text, t.reason, (SELECT count(*) FROM ledger_entries AS e"
        " WHERE e.tx_id = t.id) FROM ledger_transactions AS t WHERE t.id = %s", asked.id,
    )  # fmt: skip
    assert (status, reason, entries) == ("rejected", "insufficient_funds", 0)
    assert teller.post(("b", "a", 10)) == "created"


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"expect": [Expected("a", 9)]}, "expectation_failed"),
        ({"reference": "taken"}, "duplicate_reference"),
        ({"effective_at": datetime(2999, 1, 1, tzinfo=UTC)}, "effective_at_in_future"),
    ],
)
def test_a_fault_of_the_request_leaves_its_id_free(
    teller: Teller, more: dict[str, Any], code: str
) -> None:
    """LP7: invalid: nothing is written."""
    teller.post(("a", "b", 1), reference="taken")
    tx_id = uuid7()

    assert teller.post(("a", "b", 1), id=tx_id, **more) == code
    assert teller.post(("a", "b", 1), id=tx_id) == "created"


def test_a_dry_run_leaves_no_row(teller: Teller) -> None:
    """LP14: it answers what would happen."""
    asked = posting(("a", "b", 400))

    answer = teller.send(asked, dry_run=True)
    short = refused(teller, posting(("a", "b", 4000)), dry_run=True)

    assert (answer.status, answer.data["dry_run"]) == (200, True)
    assert [b["posted_minor"] for b in answer.data["balances"]] == [600, 400]
    assert short.code == "insufficient_funds"
    assert (teller.balances("a", "b"), teller.count()) == ([1000, 0], 1)
    assert teller.outcome(asked) == "created"


def test_a_reference_is_used_once(teller: Teller) -> None:
    """Section 9: 409 with the place of the first; a refused posting does not use it up."""
    short = posting(("b", "a", 5), reference="r")
    assert teller.outcome(short) == "insufficient_funds"
    first = posting(("a", "b", 5), reference="r")
    teller.send(first)

    error = refused(teller, posting(("a", "b", 5), reference="r"))
    several = refused(teller, posting(("a", "b", 1), ("a", "b", 1), reference="r"))

    assert [error.code, several.code] == ["duplicate_reference"] * 2
    assert error.headers["Location"] == f"/v1/ledger/transactions/{first.id}"
    assert error.members == {"resource_id": str(first.id)}


def test_an_expected_version_is_that_of_the_locked_row(teller: Teller) -> None:
    """LP13: it may be given for any account of the tenant, and only for unstriped ones."""
    teller.open("hot", stripes=4)
    teller.open("c")

    assert teller.post(("a", "b", 1), expect=[Expected("a", 1), Expected("c", 0)]) == "created"
    assert teller.post(("a", "b", 1), expect=[Expected("a", 1)]) == "expectation_failed"
    assert teller.post(("a", "b", 1), expect=[Expected("hot", 0)]) == "expectation_failed"
    assert teller.post(("a", "b", 1), expect=[Expected("a", 2), Expected("b", 1)]) == "created"


# --- When it counts -----------------------------------------------------------------------------


def test_a_backdated_posting_counts_from_then(teller: Teller) -> None:
    """LT1: posted now, effective then; entries say both."""
    then = datetime.now(UTC) - timedelta(days=30)
    asked = posting(("a", "b", 10), effective_at=then)

    teller.send(asked)

    rows = teller.world.rows(
        "SELECT DISTINCT e.effective_at, e.posted_at > e.effective_at FROM ledger_entries AS e"
        " WHERE e.tx_id = %s", asked.id,
    )  # fmt: skip
    assert rows == [(then, True)]


@pytest.mark.parametrize(
    ("days", "code"),
    [(366.1, "effective_at_too_old"), (365.9, "created"), (-0.1, "effective_at_in_future")],
)
def test_how_far_back_it_may_count_is_bounded(teller: Teller, days: float, code: str) -> None:
    """LT1: LEDGER_BACKDATE_MAX_DAYS."""
    then = datetime.now(UTC) - timedelta(days=days)

    assert teller.post(("a", "b", 10), effective_at=then) == code


def test_a_closed_period_takes_nothing_more(teller: Teller, database_owner: str) -> None:
    """LT1: on or before the day, in UTC; what is dated now is not asked."""
    today = datetime.now(UTC).date()
    with psycopg.connect(database_owner, autocommit=True) as conn:
        conn.execute(
            "UPDATE ledger_settings SET closed_through = %s WHERE tenant_id = %s",
            [today - timedelta(days=2), TENANT],
        )  # fmt: skip
    noon = datetime(today.year, today.month, today.day, tzinfo=UTC)

    codes = [
        teller.post(("a", "b", 1), effective_at=noon - timedelta(days=days, seconds=second))
        for days, second in ((2, 0), (1, 1), (1, 0))
    ]

    assert codes == ["period_closed", "period_closed", "created"]
    assert teller.post(("a", "b", 1)) == "created"


# --- Reversal -----------------------------------------------------------------------------------


@pytest.mark.parametrize("legs", [[("a", "b", 30)], [("a", "b", 30), ("bank", "a", 7)]])
def test_a_reversal_is_the_mirror(teller: Teller, legs: list[Any]) -> None:
    """LH6: every leg back, in order, once."""
    asked = posting(*legs)
    teller.send(asked)
    assert asked.id

    answer = teller.send(posting(kind="reverse", reverses=asked.id))

    mirrored = [(leg["debit"], leg["credit"], leg["amount_minor"]) for leg in answer.data["legs"]]
    assert mirrored == [(credit, debit, amount) for debit, credit, amount in legs]
    assert teller.balances("bank", "a", "b") == [1000, 1000, 0]
    assert teller.reverse(asked.id) == "already_reversed"


def test_a_reversal_keeps_limits(teller: Teller) -> None:
    """LH6: what was spent meanwhile cannot be taken back."""
    asked = posting(("a", "b", 30))
    teller.send(asked)
    teller.post(("b", "bank", 20))
    assert asked.id

    assert teller.reverse(asked.id) == "insufficient_funds"
    teller.post(("bank", "b", 20))
    assert teller.reverse(asked.id) == "created"


def test_what_is_no_posting_cannot_be_reversed(teller: Teller) -> None:
    """LH6: holds, voids, reversals, refusals, changes; and what does not exist is not found."""
    asked = posting(("a", "b", 30))
    teller.send(asked)
    back = posting(kind="reverse", reverses=asked.id)
    teller.send(back)
    hold_id = teller.hold("a", "b", 5)
    voided = posting(kind="void", hold_id=hold_id)
    teller.send(voided)
    short = posting(("b", "a", 999))
    teller.outcome(short)
    teller.change("a", floor_minor=-1)
    ((changed,),) = teller.world.rows("SELECT id FROM ledger_transactions WHERE kind = 'change'")

    found = [
        teller.reverse(tx_id) for tx_id in (back.id, hold_id, voided.id, short.id, changed) if tx_id
    ]

    assert found == ["not_reversible"] * 5
    assert teller.reverse(uuid4()) == "not_found"


def test_a_reversal_that_is_refused_is_kept_under_its_id(teller: Teller) -> None:
    """LP7, LH6: already_reversed and not_reversible are stored."""
    asked = posting(("a", "b", 30))
    teller.send(asked)
    assert asked.id
    teller.reverse(asked.id)
    second = posting(kind="reverse", reverses=asked.id)

    assert [teller.outcome(second), teller.outcome(second)] == ["already_reversed"] * 2
    assert teller.count(status="rejected", reason="already_reversed") == 1


# --- Stripes ------------------------------------------------------------------------------------


@pytest.fixture
def hot(teller: Teller) -> Teller:
    """An account of four stripes with 100 on each, floor -50; the thread's stripe is 1."""
    teller.open("hot", floor=-50, stripes=4)
    for stripe in range(4):
        writes(teller)._stripe = lambda stripe=stripe: stripe
        assert teller.post(("bank", "hot", 100)) == "created"
    writes(teller)._stripe = lambda: 1
    return teller


def writes(teller: Teller) -> Any:
    return teller.services.postings._writes


@pytest.mark.parametrize("legs", [1, 2])
def test_a_debit_may_take_what_all_stripes_have(hot: Teller, legs: int) -> None:
    """LS3: one stripe is tried; if it is short, the others' money is there too, to the cent."""
    assert hot.post(*[("hot", "b", 80 // legs)] * legs) == "created"
    assert hot.post(*[("hot", "b", 370 // legs)] * legs) == "created"

    assert hot.balance("hot")["available_minor"] == -50
    error = refused(hot, posting(("hot", "b", 1)))
    assert (error.code, error.members) == (
        "insufficient_funds", {"available_minor": -50, "floor_minor": -50},
    )  # fmt: skip


def test_moving_money_between_stripes_changes_no_balance(hot: Teller) -> None:
    """LS4: it is a transaction of its own, on both sides of one account."""
    hot.post(("hot", "b", 250))

    rows = hot.world.rows(
        "SELECT cardinality(amounts), debit_accounts = credit_accounts, metadata ->> 'reason'"
        " FROM ledger_transactions WHERE metadata IS NOT NULL"
    )
    assert set(rows) == {(1, True, "stripes")}
    assert hot.balances("hot", "b") == [150, 250]


def test_a_hold_may_take_what_all_stripes_have(hot: Teller) -> None:
    """LS3, LH1."""
    hold_id = hot.hold("hot", "b", 400)

    assert hot.balance("hot")["available_minor"] == 0
    assert hot.capture(hold_id, 150) == "created"
    assert hot.balances("hot", "b") == [250, 150]


def test_a_refusal_moves_nothing_between_stripes(hot: Teller) -> None:
    """LP7: a refused posting leaves nothing but itself."""
    before = hot.count()

    assert hot.post(("hot", "b", 451)) == "insufficient_funds"

    assert hot.count() == before + 1
    rows = hot.world.rows(
        "SELECT b.credits_posted FROM ledger_balances AS b JOIN ledger_accounts AS a"
        " USING (account_id) WHERE a.code = 'hot' ORDER BY b.stripe"
    )
    assert rows == [(100,)] * 4


def test_a_striped_account_is_closed_when_its_sum_is_nothing(hot: Teller) -> None:
    """LA9, LS2: though its stripes are not empty."""
    hot.change("hot", floor_minor=None)
    for stripe, amount in ((2, 350), (0, 50)):
        writes(hot)._stripe = lambda stripe=stripe: stripe
        assert hot.post(("hot", "bank", amount)) == "created"

    hot.change("hot", status="closed")

    assert hot.post(("bank", "hot", 1)) == "account_closed"


def test_a_floor_is_set_though_a_stripe_is_below_it(hot: Teller) -> None:
    """LA8, LS2: the account keeps it."""
    hot.change("hot", floor_minor=None)
    assert hot.post(("hot", "bank", 350)) == "created"

    hot.change("hot", floor_minor=50)

    assert hot.post(("hot", "bank", 1)) == "insufficient_funds"
    assert hot.balance("hot")["available_minor"] == 50


def test_postings_go_by_index_from_the_first_row_on(teller: Teller, database_admin: str) -> None:
    """ADR 0017: a plan that was made on empty tables serves full ones."""
    for number in range(60):
        assert teller.post(("a", "b", 1), reference=f"r{number}") == "created"
        assert teller.post(("b", "a", 1), ("a", "b", 1)) == "created"
        teller.void(teller.hold("a", "b", 1))
    teller.services.db.close()  # Whoever leaves tells what he has read.
    with psycopg.connect(database_admin, autocommit=True) as conn:
        while conn.execute(
            "SELECT FROM pg_stat_activity WHERE datname = current_database()"
            " AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
        ).fetchone():
            pass
        rows = conn.execute(
            "SELECT relname, idx_scan, idx_tup_fetch, seq_scan FROM pg_stat_user_tables"
            " WHERE relname LIKE 'ledger%' AND idx_scan > 200"
        ).fetchall()

    assert rows
    assert [row for row in rows if row[2] > 4 * row[1]] == []


def test_an_empty_book_finds_transactions_by_their_key(database: str) -> None:
    """ADR 0017: of equal indexes the newest is taken, whatever it makes of a full book."""
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute("SET enable_seqscan = off")
        conn.execute("SET enable_bitmapscan = off")
        plan = conn.execute(
            "EXPLAIN SELECT FROM ledger_transactions"
            " WHERE tenant_id = 'default' AND id = gen_random_uuid()"
        ).fetchall()
    assert "using ledger_transactions_pkey" in str(plan)


# --- One round trip -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "asked",
    [
        posting(("a", "b", 1)),
        posting(("a", "b", 1), ("b", "a", 1), reference="r"),
        posting(("a", "b", 1), kind="hold", expires_in_s=60),
    ],
    ids=["transfer", "legs", "hold"],
)
def test_a_posting_is_one_statement_and_one_commit(teller: Teller, asked: Posting) -> None:
    """LP1: whatever its form."""
    observability.begin(context := observability.Context())
    assert teller.outcome(asked) == "created"
    assert context.db_statements == 1


def test_a_batch_is_one_statement_too(teller: Teller) -> None:
    """LP1, LP10: and a second if something stands against an item; the first did nothing then."""
    asked = [posting(("a", "b", 1)) for _ in range(20)]
    observability.begin(context := observability.Context())
    assert teller.batch(asked) == ["created"] * 20
    assert context.db_statements == 1
    asked = [posting(("a", "b", 1)) for _ in range(20)] + [posting(("a", "nobody", 1))]
    assert teller.batch(asked) == ["created"] * 20 + ["account_not_found"]
    assert context.db_statements == 3


def test_what_resolves_or_reverses_is_one_statement_too(teller: Teller) -> None:
    """LP1, LH6."""
    hold_id, made = teller.hold("a", "b", 5), posting(("a", "b", 1))
    teller.send(made)
    assert made.id
    observability.begin(context := observability.Context())
    assert [teller.capture(hold_id), teller.reverse(made.id)] == ["created", "created"]
    assert context.db_statements == 2
