"""Scenarios of other ledgers' own tests, told again in our words: what their users rely on.

TigerBeetle's state_machine_tests.zig and Python client, pgledger's db_test.go, Formance's test/e2e.
docs/ledger.md lists which of theirs are told here, which elsewhere, and which do not apply.
"""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from uuid_utils.compat import uuid7

from services.posting_queries import LogFilters
from tests.teller import ACTOR, Leg, Teller, at_once, posting
from tests.till import TRANSACTIONS, Till, leg, refusal

if TYPE_CHECKING:
    from uuid import UUID

    from services.posting_requests import Posting
    from tests.world import World


@pytest.fixture
def teller(world: World) -> Teller:
    """A1 and A3 take anything, A2 is in dollars, A4 may not be overdrawn, A5 not be overfilled."""
    made = Teller(world)
    for code in ("a1", "a3", "bank"):
        made.open(code)
    made.open("a2", currency="USD")
    made.open("a4", floor=0)
    made.open("a5", "debit", floor=0)
    return made


def pending(teller: Teller, code: str) -> tuple[int, int]:
    """Return what is posted, and what open holds would make of it at their worst."""
    found = teller.balance(code)
    return found["posted_minor"], found["available_minor"]


# --- TigerBeetle: create_transfers --------------------------------------------------------------


def test_faults_come_in_a_fixed_order(teller: Teller) -> None:
    """TigerBeetle, create_transfers: each fault hides those after it."""
    first = posting(("a1", "a3", 123))
    assert teller.outcome(first) == "created"
    rows: list[tuple[list[Any], Any, str]] = [
        ([("a1", "a1", 9)], first.id, "same_account"),
        ([("a8", "a9", 9)], first.id, "transaction_id_reused"),
        ([("a8", "a3", 9)], None, "account_not_found"),
        ([("a1", "a9", 9)], None, "account_not_found"),
        ([("a1", "a2", 9)], None, "currency_mismatch"),
        ([Leg("a1", "a3", 9, "USD")], None, "currency_mismatch"),
        ([("a4", "a3", 1)], None, "insufficient_funds"),
        ([("a1", "a5", 1)], None, "insufficient_funds"),
    ]
    told = [teller.post(*legs, id=tx_id or uuid7()) for legs, tx_id, _ in rows]
    assert told == [code for _, _, code in rows]
    assert teller.balances("a1", "a3") == [-123, 123]


@pytest.mark.parametrize(
    "change",
    [
        {"legs": [("a3", "a1", 123)]},
        {"legs": [("a1", "bank", 123)]},
        {"legs": [("a1", "a3", 124)]},
        {"legs": [("a1", "a3", 123), ("a1", "a3", 1)]},
        {"reference": "r"},
        {"metadata": {"user": "1"}},
        {"kind": "hold", "expires_in_s": 60},
    ],
)
def test_an_id_is_for_one_request(teller: Teller, change: dict[str, Any]) -> None:
    """TigerBeetle, exists_with_different_*: whatever differs; the same again exists."""
    first = posting(("a1", "a3", 123))
    assert [teller.outcome(first), teller.outcome(first)] == ["created", "existing"]
    legs = change.get("legs", [("a1", "a3", 123)])
    more = {name: value for name, value in change.items() if name != "legs"}

    assert teller.post(*legs, id=first.id, **more) == "transaction_id_reused"
    assert teller.outcome(first) == "existing"


def test_an_id_that_failed_by_the_state_of_things_has_failed_for_ever(teller: Teller) -> None:
    """TigerBeetle, id_already_failed: exceeds_credits, closed accounts, though all is well now."""
    short = posting(("a4", "a3", 199))
    assert teller.outcome(short) == "insufficient_funds"
    teller.change("a1", status="frozen")
    frozen = posting(("a1", "a3", 1))
    assert teller.outcome(frozen) == "account_frozen"

    teller.change("a1", status="open")
    assert teller.post(("a1", "a4", 500)) == "created"

    assert teller.outcome(short) == "insufficient_funds"
    assert teller.outcome(frozen) == "account_frozen"
    assert teller.post(("a4", "a3", 199), id=short.id, reference="x") == "transaction_id_reused"


def test_a_transfer_that_failed_does_not_exist(teller: Teller) -> None:
    """TigerBeetle, failed transfer does not exist: a fault of the request leaves nothing."""
    good, bad = posting(("a1", "a3", 15)), posting(("a1", "nobody", 15))
    assert teller.batch([good, bad]) == ["created", "account_not_found"]
    assert found(teller) == [good.id]


def found(teller: Teller, **filters: Any) -> list[UUID]:
    """Return the ids of transactions, newest first."""
    rows, _ = teller.services.posting_queries.page(ACTOR, LogFilters(**filters), 200)
    return [row.id for row in rows]


# --- TigerBeetle: linked events -----------------------------------------------------------------


def linked(*legs: tuple[str, str, int], group: str = "x", **more: Any) -> list[Posting]:
    """Return a posting for each leg, all of one group."""
    return [posting(each, group=group, **more) for each in legs]


def test_a_chain_is_undone_by_any_of_its_events(teller: Teller) -> None:
    """TigerBeetle, linked accounts and transfers: first, middle, last; others do not see it."""
    good = ("a1", "a3", 15)
    bad = ("a4", "a3", 1)
    for chain in ([bad, good, good], [good, bad, good], [good, good, bad]):
        alone = posting(("a1", "a3", 1))
        told = teller.batch([alone, *linked(*chain), posting(("a3", "a1", 1))])
        expected = ["insufficient_funds" if each == bad else "group_failed" for each in chain]
        assert told == ["created", *expected, "created"]
    assert teller.balances("a1", "a3", "a4") == [0, 0, 0]


def test_chains_that_follow_each_other_are_each_their_own(teller: Teller) -> None:
    """TigerBeetle, linked accounts: failed, alone, failed, alone, good."""
    good, bad = ("a1", "a3", 1), ("a4", "a3", 1)
    told = teller.batch([
        *linked(good, bad, group="1"), posting(good), *linked(bad, good, group="2"), posting(good),
        *linked(good, good, group="3"),
    ])  # fmt: skip
    assert told == [
        "group_failed", "insufficient_funds", "created", "insufficient_funds", "group_failed",
        "created", "created", "created",
    ]  # fmt: skip
    assert teller.balances("a3") == [4]


def test_a_chain_of_one_is_a_transaction(teller: Teller) -> None:
    """TigerBeetle, linked_event_chain_open: here no chain can be left open."""
    assert teller.batch(linked(("a1", "a3", 1))) == ["created"]


def test_the_money_of_a_failed_chain_is_there_for_the_next(teller: Teller) -> None:
    """TigerBeetle, failed linked-chains are undone within a commit."""
    teller.post(("bank", "a4", 20))
    told = teller.batch([*linked(("a4", "a3", 15), ("a4", "no", 5)), posting(("a4", "a3", 15))])
    assert told == ["group_failed", "account_not_found", "created"]
    assert teller.balances("a4", "a3") == [5, 15]


def test_ids_of_a_failed_chain_can_be_used_again(teller: Teller) -> None:
    """TigerBeetle, per-transfer balance invariant: of theirs all but the culprit's, of ours all."""
    chain = linked(("a1", "a3", 41), ("a4", "a3", 1))
    assert teller.batch(chain) == ["group_failed", "insufficient_funds"]
    teller.post(("bank", "a4", 1))
    assert teller.batch(chain) == ["created", "created"]


def test_a_chain_with_one_id_twice_fails(teller: Teller) -> None:
    """TigerBeetle's Python client, test_link_transfers."""
    first = posting(("a1", "a3", 100), group="x")
    twin = posting(("a1", "a3", 101), id=first.id, group="x")
    assert teller.batch([first, twin]) == ["group_failed", "transaction_id_reused"]
    assert teller.balances("a1", "a3") == [0, 0]


def test_many_sources_pay_one_destination_or_none_does(teller: Teller) -> None:
    """TigerBeetle, multiple debits, single credit: as legs of one transaction."""
    for code, amount in (("s1", 40), ("s2", 40), ("s3", 19)):
        teller.open(code, floor=0)
        teller.post(("bank", code, amount))
    legs = [("s1", "bank", 40), ("s2", "bank", 40), ("s3", "bank", 20), ("bank", "a3", 100)]

    assert teller.post(*legs) == "insufficient_funds"
    assert teller.balances("s1", "s2", "s3", "a3") == [40, 40, 19, 0]
    teller.post(("bank", "s3", 2))
    assert teller.post(*legs) == "created"
    assert teller.balances("s1", "s2", "s3", "a3") == [0, 0, 1, 100]


# --- TigerBeetle: two phases --------------------------------------------------------------------


def test_two_phases_take_what_they_say(teller: Teller) -> None:
    """TigerBeetle, create/lookup 2-phase transfers: parts, all, twice, too much, none of it."""
    teller.post(("bank", "a4", 100))
    plain = posting(("a4", "a3", 15))
    teller.send(plain)
    t2, t3, t5 = (teller.hold("a4", "a3", amount) for amount in (15, 15, 7))
    assert pending(teller, "a4") == (85, 48)
    t101 = uuid7()

    assert plain.id
    rows = [
        (teller.capture(t2, 13, id=t101), "created"),
        (teller.capture(t2, 14, id=t101), "transaction_id_reused"),
        (teller.capture(t3, 13, id=t101), "transaction_id_reused"),
        (teller.void(t2, id=t101), "transaction_id_reused"),
        (teller.capture(t2, 13, id=t101), "existing"),
        (teller.void(uuid7()), "not_found"),
        (teller.void(plain.id), "not_found"),
        (teller.capture(t3, 16), "capture_exceeds_hold"),
        (teller.capture(t2, 13), "hold_resolved"),
        (teller.void(t3), "created"),
        (teller.capture(t3, 13), "hold_resolved"),
        (teller.capture(t5, 8), "capture_exceeds_hold"),
        (teller.capture(t5), "created"),
        (teller.capture(t5), "hold_resolved"),
    ]
    assert [told for told, _ in rows] == [expected for _, expected in rows]
    assert (pending(teller, "a4"), teller.balances("a3")) == ((65, 65), [35])


def test_the_largest_amount_goes_through_both_phases(teller: Teller) -> None:
    """TigerBeetle, 2-phase transfers (amount=maxInt)."""
    most = 999_999_999_999_999
    hold_id = teller.hold("a1", "a3", most)
    assert teller.capture(hold_id) == "created"
    assert teller.balances("a1", "a3") == [-most, most]


def test_what_has_expired_is_neither_taken_nor_given_back_twice(
    teller: Teller, database_owner: str
) -> None:
    """TigerBeetle, expired transfers; Python client, test_cannot_void_an_expired_transfer."""
    teller.post(("bank", "a4", 100))
    overdue, lives = teller.hold("a4", "a3", 11), teller.hold("a4", "a3", 10)
    teller.overdue(overdue, database_owner)
    writes = teller.services.postings._writes

    assert teller.capture(overdue) == "hold_expired"
    assert writes.expire(ACTOR.tenant_id, [str(overdue)]) == 1
    assert pending(teller, "a4") == (100, 90)
    assert [teller.capture(overdue), teller.void(overdue)] == ["hold_resolved"] * 2
    assert writes.expire(ACTOR.tenant_id, [str(overdue)]) == 0
    assert teller.capture(lives) == "created"
    assert pending(teller, "a4") == (90, 90)


def test_an_account_that_takes_nothing_lets_holds_go(teller: Teller) -> None:
    """TigerBeetle, closing accounts: no posting, no capture; void passes; open again, all does."""
    teller.post(("bank", "a4", 20))
    one, two = teller.hold("a4", "a3", 10), teller.hold("a4", "a3", 10)
    teller.change("a4", status="frozen")

    assert [teller.post(("a4", "a3", 5)), teller.post(("a3", "a4", 5))] == ["account_frozen"] * 2
    assert [teller.capture(one), teller.void(one)] == ["account_frozen", "created"]
    teller.change("a4", status="open")
    assert [teller.capture(two), teller.post(("a4", "a3", 10))] == ["created", "created"]
    teller.change("a4", status="closed")
    assert teller.post(("a3", "a4", 5)) == "account_closed"


# --- TigerBeetle: looking up --------------------------------------------------------------------


def test_an_accounts_transfers_are_found(teller: Teller) -> None:
    """TigerBeetle, get_account_transfers and query_transfers: both sides, two phases, filters."""
    one, two = posting(("a1", "a3", 1)), posting(("a3", "bank", 20), metadata={"user": "7"})
    for each in (one, two):
        teller.send(each)
    hold_id = teller.hold("a1", "bank", 5)
    taken = posting(kind="capture", hold_id=hold_id)
    teller.send(taken)

    assert found(teller, account="a1") == [taken.id, hold_id, one.id]
    assert found(teller, account="a3") == [two.id, one.id]
    assert found(teller, account="a1", kind="post") == [one.id]
    assert found(teller, hold_id=hold_id) == [taken.id, hold_id]
    assert found(teller, metadata={"user": "7"}) == [two.id]
    assert found(teller, amount_gte=2, amount_lte=19) == [taken.id, hold_id]
    assert found(teller, account="a4") == found(teller, account="nobody") == []


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=201", "kind=x", "account=", "posted_gte=x", "cursor=x", "flags=1"]
)
def test_a_filter_that_is_none_is_refused(world: World, query: str) -> None:
    """TigerBeetle, invalid filter."""
    assert world.get(f"{TRANSACTIONS}?{query}").status_code in {400, 422}


# --- pgledger -----------------------------------------------------------------------------------


def test_balances_stay_on_their_side(teller: Teller) -> None:
    """pgledger, accounts that cannot be negative, or positive: a floor of 0, a ceiling of 0."""
    teller.open("low", ceiling_minor=0)
    assert teller.post(("a4", "bank", 1)) == "insufficient_funds"
    assert teller.post(("bank", "low", 1)) == "ceiling_exceeded"
    assert teller.post(("low", "a4", 1)) == "created"
    assert teller.balances("low", "a4") == [-1, 1]


def test_an_exchange_goes_through_accounts_of_both_currencies(teller: Teller) -> None:
    """pgledger, currencies with extra accounts, and its concurrency with currency exchange."""
    for code, currency in (("liq:eur", "EUR"), ("liq:usd", "USD"), ("mine:usd", "USD")):
        teller.open(code, currency=currency)

    def exchange() -> str:
        """Sell ten euros for twelve dollars."""
        return teller.post(("a1", "liq:eur", 10), Leg("liq:usd", "mine:usd", 12, "USD"))

    assert Counter(at_once([exchange] * 8)) == {"created": 8}
    assert teller.balances("a1", "liq:eur", "liq:usd", "mine:usd") == [-80, 80, -96, 96]


def test_concurrent_transfers_add_up(teller: Teller) -> None:
    """pgledger, concurrency."""
    with ThreadPoolExecutor(8) as pool:
        told = Counter(pool.map(lambda _: teller.post(("a1", "a3", 1)), range(80)))
    assert (told, teller.balances("a1", "a3")) == ({"created": 80}, [-80, 80])
    assert teller.balance("a3")["version"] == 80


# --- Formance -----------------------------------------------------------------------------------


def test_a_key_is_of_its_tenant(world: World) -> None:
    """Formance, an idempotency key and a specific ledger: the same key in another one is new."""
    till = Till(world)
    world.services.tenants.create("other", "Other", "cli:test")
    ours, world.api_key = world.api_key, world.new_api_key(tenant_id="other")
    Till(world)
    asked = {"legs": [leg("a", "b", 1)]}

    theirs = world.post(TRANSACTIONS, asked, key="k")
    world.api_key = ours
    made = world.post(TRANSACTIONS, asked, key="k")

    assert (theirs.status_code, made.status_code, till.posted("b")) == (201, 201, [1])


def test_two_reversals_under_one_key_are_two_requests(world: World) -> None:
    """Formance, reverting two different transactions with the same idempotency key."""
    till = Till(world)
    one, two = (till.post(("a", "b", 1)).json["id"] for _ in range(2))
    first = world.post(f"{TRANSACTIONS}/{one}/reverse", {}, key="k")
    second = world.post(f"{TRANSACTIONS}/{two}/reverse", {}, key="k")

    assert first.status_code == 201
    assert refusal(second)[:2] == (422, "idempotency_key_reused")
    assert till.posted("b") == [1]


def test_a_pass_through_account_that_is_empty_is_reversed(teller: Teller) -> None:
    """Formance, through an empty passthrough account, and back at the original's date."""
    teller.open("through", floor=0)
    asked = posting(("a1", "through", 10), ("through", "a3", 10))
    made = teller.send(asked)
    assert asked.id

    assert teller.reverse(asked.id) == "created"
    assert teller.balances("a1", "through", "a3") == [0, 0, 0]
    assert made.status == 201


def test_a_dry_run_touches_no_account(teller: Teller) -> None:
    """Formance, dry run account persistence: no row, no version, no account."""
    before = teller.balance("a3")
    assert teller.outcome(posting(("a1", "a3", 5)), dry_run=True) == "created"
    assert teller.outcome(posting(("a1", "new", 5)), dry_run=True) == "account_not_found"
    assert (teller.balance("a3"), found(teller)) == (before, [])
