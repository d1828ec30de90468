"""Balances and statements: exact over stripes, of one moment, page by page (LQ1, LQ2, LT2, LS4)."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from errors import CurrencyAmbiguous, CursorInvalid, NotFound
from persistence.db import Database, DbSettings
from services.actors import Actor
from services.currencies import Currencies
from services.cursors import Cursors
from services.ledger import EntryFilters, Ledger
from tests.book import START, TENANT, Book
from tests.sealing import seal_all, sealing

if TYPE_CHECKING:
    from collections.abc import Iterator

OWNER = UUID(int=7)
CASH, SALES = "shops:42:cash", "income:sales"


def actor(tenant_id: str = TENANT, owner_id: UUID | None = None) -> Actor:
    return Actor(tenant_id, "key:1", frozenset({"ledger:read"}), owner_id=owner_id, key_id="1")


@pytest.fixture
def db(database: str) -> Iterator[Database]:
    opened = Database(database, DbSettings(pool_size=1))
    yield opened
    opened.close()


@pytest.fixture
def ledger(db: Database) -> Ledger:
    return Ledger(db, Cursors(b"s" * 32), Currencies(db), scan_rows=1000)


@pytest.fixture
def book(database_owner: str) -> Iterator[Book]:
    """One shop: cash on the debit side, sales on the credit side."""
    with Book(database_owner) as made:
        made.open(CASH, side=-1)
        made.open(SALES)
        yield made


def amounts(found: dict[str, Any], *names: str) -> list[int | None]:
    return [found[f"{name}_minor"] for name in names]


# --- Balances -----------------------------------------------------------------------------------


def test_a_balance_counts_up_on_its_normal_side(book: Book, ledger: Ledger) -> None:
    """LA4: debits raise cash, credits raise sales."""
    book.post((CASH, SALES, 500))
    book.post((SALES, CASH, 120))

    cash, sales = ledger.balance(actor(), CASH), ledger.balance(actor(), SALES)

    assert amounts(cash, "posted", "debits_posted", "credits_posted") == [380, 500, 120]
    assert amounts(sales, "posted", "debits_posted", "credits_posted") == [380, 120, 500]
    assert (cash["version"], cash["currency"], cash["final"]) == (2, "EUR", False)


def test_what_is_reserved_counts_at_its_worst(book: Book, ledger: Ledger) -> None:
    """LA5: a hold lowers what the payer may spend, and raises what the payee may come to."""
    book.open("users:a")
    book.open("users:b")
    book.post((CASH, "users:a", 1000))
    book.hold("users:a", "users:b", 300)
    book.hold(CASH, "users:b", 50)

    payer, payee = ledger.balance(actor(), "users:a"), ledger.balance(actor(), "users:b")
    cash = ledger.balance(actor(), CASH)

    assert amounts(payer, "posted", "available", "reachable") == [1000, 700, 1000]
    assert amounts(payee, "posted", "available", "reachable") == [0, 0, 350]
    assert amounts(cash, "posted", "available", "reachable") == [1000, 1000, 1050]
    assert amounts(payer, "debits_pending", "credits_pending") == [300, 0]


def test_a_balance_is_the_sum_of_its_stripes(book: Book, ledger: Ledger) -> None:
    """LS4: one of them may be below zero."""
    book.open("hot", stripes=4)
    book.post((CASH, "hot", 100), stripes=[(0, 3)])
    book.post((CASH, "hot", 10), stripes=[(0, 1)])
    book.post(("hot", CASH, 40), stripes=[(2, 0)])

    found = ledger.balance(actor(), "hot")

    assert amounts(found, "posted", "available", "debits_posted", "credits_posted") == [
        70, 70, 40, 110,
    ]  # fmt: skip
    assert found["version"] == 3


def test_amounts_are_written_for_people_too(book: Book, ledger: Ledger) -> None:
    """P5: a decimal beside every amount, in the currency's digits."""
    book.post((CASH, SALES, 1099))
    book.open("yen", currency="JPY")

    assert ledger.balance(actor(), CASH)["posted_decimal"] == "10.99"
    assert ledger.balance(actor(), "yen")["posted_decimal"] == "0"


def test_a_balance_says_of_which_moment_it_is(book: Book, ledger: Ledger) -> None:
    """LT5: never before its last entry, whatever the clock says."""
    future = datetime(2999, 1, 1, tzinfo=UTC)
    before = ledger.balance(actor(), CASH)["as_of"]
    book.post((CASH, SALES, 1), at=future)

    assert before < future
    assert ledger.balance(actor(), CASH)["as_of"] == future


@pytest.mark.parametrize(
    ("milliseconds", "posted", "version"), [(0, 0, 0), (1, 500, 1), (2, 380, 2), (99, 380, 2)]
)
def test_a_past_balance_is_that_of_its_last_entry(
    book: Book, ledger: Ledger, milliseconds: int, posted: int, version: int
) -> None:
    """LT2: to the microsecond, the moment itself included."""
    book.post((CASH, SALES, 500))
    book.post((SALES, CASH, 120))
    moment = START + timedelta(milliseconds=milliseconds)

    found = ledger.balance(actor(), CASH, as_of=moment)

    assert (found["posted_minor"], found["version"]) == (posted, version)
    assert (found["as_of"], found["final"]) == (moment, False)


def test_just_before_an_entry_it_is_not_there(book: Book, ledger: Ledger) -> None:
    """LT2."""
    book.post((CASH, SALES, 500))

    before = ledger.balance(actor(), CASH, as_of=book.now - timedelta(microseconds=1))

    assert before["posted_minor"] == 0


def test_a_past_balance_sums_its_stripes(book: Book, ledger: Ledger) -> None:
    """LT2, LS4: one probe for each of them."""
    book.open("hot", stripes=4)
    for stripe in (3, 1, 3, 0):
        book.post((CASH, "hot", 10), stripes=[(0, stripe)])

    found = ledger.balance(actor(), "hot", as_of=book.now - timedelta(milliseconds=1))

    assert (found["posted_minor"], found["version"]) == (30, 3)


def test_a_past_balance_is_final_once_the_watermark_has_passed(
    book: Book, db: Database, ledger: Ledger
) -> None:
    """LT5: at it, not after it."""
    book.post((CASH, SALES, 500))
    mark = seal_all(sealing(db)).sealed_through
    assert mark is not None
    later = mark + timedelta(microseconds=1)

    assert ledger.balance(actor(), CASH, as_of=mark)["final"] is True
    assert ledger.balance(actor(), CASH, as_of=later)["final"] is False


@pytest.mark.parametrize(
    "moment",
    ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "2026-01-01T00:00:00+17:30"],
)
def test_any_moment_can_be_asked_about(book: Book, ledger: Ledger, moment: str) -> None:
    """LT2: PostgreSQL itself takes no such offsets."""
    book.post((CASH, SALES, 500), at=datetime(2026, 1, 1, tzinfo=UTC))
    expected = 500 if moment.startswith("9999") else 0

    found = ledger.balance(actor(), CASH, as_of=datetime.fromisoformat(moment))

    assert found["posted_minor"] == expected


# --- Whose accounts -----------------------------------------------------------------------------


@pytest.mark.parametrize("code", ["nobody", "shops:42", "shops:42:cash:", "", "%", "shops:42:CASH"])
def test_an_unknown_code_is_not_found(book: Book, ledger: Ledger, code: str) -> None:
    """LA1: a code is whole; a prefix is no account."""
    with pytest.raises(NotFound):
        ledger.balance(actor(), code)
    with pytest.raises(NotFound):
        ledger.statement(actor(), code, EntryFilters(), 50)


def test_another_tenants_account_is_not_found(book: Book, ledger: Ledger) -> None:
    """A2: whatever its code."""
    with pytest.raises(NotFound):
        ledger.balance(actor("other"), CASH)
    with pytest.raises(NotFound):
        ledger.statement(actor("other"), CASH, EntryFilters(), 50)


def test_an_owner_reads_their_own_accounts_only(book: Book, ledger: Ledger) -> None:
    """LA6: house accounts and others' are not there."""
    book.open("users:7:available", owner_id=OWNER)
    book.open("users:8:available", owner_id=UUID(int=8))
    owner = actor(owner_id=OWNER)

    assert ledger.balance(owner, "users:7:available")["posted_minor"] == 0
    assert ledger.statement(owner, "users:7:available", EntryFilters(), 50)["data"] == []
    for code in ("users:8:available", CASH):
        with pytest.raises(NotFound):
            ledger.balance(owner, code)
        with pytest.raises(NotFound):
            ledger.balance(owner, code, as_of=START)
        with pytest.raises(NotFound):
            ledger.statement(owner, code, EntryFilters(), 50)


def test_a_code_of_several_currencies_needs_one(book: Book, ledger: Ledger) -> None:
    """LA1: an account is code and currency."""
    book.post((CASH, SALES, 5))
    book.open(CASH, side=-1, currency="USD")

    with pytest.raises(CurrencyAmbiguous):
        ledger.balance(actor(), CASH)
    with pytest.raises(CurrencyAmbiguous):
        ledger.balance(actor(), CASH, as_of=START)
    with pytest.raises(CurrencyAmbiguous):
        ledger.statement(actor(), CASH, EntryFilters(), 50)
    assert ledger.balance(actor(), CASH, "EUR")["posted_minor"] == 5
    assert ledger.balance(actor(), CASH, "USD")["posted_minor"] == 0
    dollars = ledger.statement(actor(), CASH, EntryFilters(currency="USD"), 50)
    assert (dollars["currency"], dollars["data"]) == ("USD", [])
    with pytest.raises(NotFound):
        ledger.balance(actor(), CASH, "GBP")


# --- Statements ---------------------------------------------------------------------------------


def pages(ledger: Ledger, code: str, limit: int, **filters: Any) -> list[dict[str, Any]]:
    """Follow the cursors from the first page to the last."""
    asked = EntryFilters(**filters)
    found = [ledger.statement(actor(), code, asked, limit)]
    while cursor := found[-1]["next_cursor"]:
        found.append(ledger.statement(actor(), code, asked, limit, cursor))
    return found


def entries(found: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return [
        (e["posted_at"], e["version"], e["side"], e["posted_minor"], e["balance_after_minor"])
        for page in found
        for e in page["data"]
    ]


def signed(entry: dict[str, Any]) -> int:
    """An entry of an account on the credit side."""
    return int(entry["posted_minor"] if entry["side"] == "credit" else -entry["posted_minor"])


@pytest.fixture
def hot(book: Book) -> Book:
    """60 postings on an account of four stripes, some with two legs, some at one moment."""
    rng = random.Random(7)
    book.open("hot", stripes=4)
    for _ in range(60):
        legs = [
            (CASH, "hot", amount) if rng.random() < 0.7 else ("hot", CASH, amount)
            for amount in rng.choices(range(1, 100), k=rng.choice((1, 2)))
        ]
        stripe = rng.randrange(4)
        stripes = [(0, stripe) if debit == CASH else (stripe, 0) for debit, _, _ in legs]
        at = book.now + timedelta(microseconds=1)
        book.post(*legs, stripes=stripes, at=at)
    return book


@pytest.mark.parametrize("limit", [1, 7, 200])
@pytest.mark.parametrize("order", ["asc", "desc"])
def test_opening_and_data_make_closing_on_every_page(
    hot: Book, ledger: Ledger, order: str, limit: int
) -> None:
    """LQ2, LS4: and each entry's balance is that after it."""
    found = pages(ledger, "hot", limit, order=order)

    for page in found:
        data = page["data"] if order == "asc" else page["data"][::-1]
        balance = page["opening_minor"]
        for entry in data:
            balance += signed(entry)
            assert entry["balance_after_minor"] == balance
        assert page["closing_minor"] == balance
    ends = [found[0]["opening_minor"], found[-1]["closing_minor"]]
    if order == "desc":
        ends = [found[-1]["opening_minor"], found[0]["closing_minor"]]
    assert ends == [0, ledger.balance(actor(), "hot")["posted_minor"]]


@pytest.mark.parametrize("limit", [1, 7, 64])
def test_pages_hold_every_entry_once_in_both_orders(hot: Book, ledger: Ledger, limit: int) -> None:
    """LQ1: the key is (posted_at, version, stripe)."""
    forwards = entries(pages(ledger, "hot", limit, order="asc"))
    backwards = entries(pages(ledger, "hot", limit, order="desc"))
    ((stored,),) = hot.run(
        "SELECT count(*) FROM ledger_entries AS e JOIN ledger_accounts AS a USING (account_id)"
        " WHERE a.code = 'hot'"
    )

    assert len(forwards) == stored
    assert forwards == backwards[::-1]
    assert [e[0] for e in forwards] == sorted(e[0] for e in forwards)


def test_entries_of_one_moment_in_several_stripes_are_all_there(book: Book, ledger: Ledger) -> None:
    """LQ1: a page may end between them."""
    book.open("hot", stripes=3)
    for stripe in (2, 0, 1):
        book.open(f"cash:{stripe}", side=-1)
        book.post((f"cash:{stripe}", "hot", 10 + stripe), stripes=[(0, stripe)], at=START)

    for limit in (1, 2):
        forwards = entries(pages(ledger, "hot", limit, order="asc"))
        assert [e[3] for e in forwards] == [10, 11, 12]
        assert [e[4] for e in forwards] == [10, 21, 33]
        assert entries(pages(ledger, "hot", limit, order="desc"))[::-1] == forwards


def test_an_account_without_entries_has_an_empty_statement(book: Book, ledger: Ledger) -> None:
    """LQ2: opening + nothing = closing."""
    page = ledger.statement(actor(), CASH, EntryFilters(), 50)

    assert (page["data"], page["next_cursor"], page["final"]) == ([], None, False)
    assert amounts(page, "opening", "closing") == [0, 0]


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_a_stretch_of_time_opens_with_what_was_before(
    book: Book, ledger: Ledger, order: str
) -> None:
    """LQ2: from `posted_gte`, which is included, to `posted_lt`, which is not."""
    for amount in (1, 10, 100, 1000):
        book.post((CASH, SALES, amount))
    times: dict[str, Any] = {
        "posted_gte": START + timedelta(milliseconds=2),
        "posted_lt": book.now,
    }

    whole = ledger.statement(actor(), SALES, EntryFilters(order=order, **times), 50)
    found = pages(ledger, SALES, 1, order=order, **times)

    assert amounts(whole, "opening", "closing") == [1, 111]
    assert sorted(e["posted_minor"] for e in whole["data"]) == [10, 100]
    assert entries(found) == entries([whole])


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_a_stretch_without_entries_keeps_its_balance(
    book: Book, ledger: Ledger, order: str
) -> None:
    """LQ2: opening and closing are the balance of that time, not 0."""
    book.post((CASH, SALES, 500))
    later = EntryFilters(
        posted_gte=book.now + timedelta(days=1), posted_lt=book.now + timedelta(days=2), order=order
    )

    page = ledger.statement(actor(), SALES, later, 50)

    assert page["data"] == []
    assert amounts(page, "opening", "closing") == [500, 500]


def test_a_stretch_is_final_once_the_watermark_has_passed(
    book: Book, db: Database, ledger: Ledger
) -> None:
    """LT5: only one that ends."""
    book.post((CASH, SALES, 500))
    seal_all(sealing(db))

    for order in ("asc", "desc"):
        final = [
            ledger.statement(actor(), SALES, EntryFilters(order=order, posted_lt=end), 50)["final"]
            for end in (book.now, None)
        ]
        assert final == [True, False]


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("limit", [1, 3, 200])
def test_one_side_alone_keeps_the_balances(
    hot: Book, ledger: Ledger, limit: int, order: str
) -> None:
    """LQ2: the entries between are not shown, and count all the same."""
    both = entries(pages(ledger, "hot", 200, order=order))

    found = pages(ledger, "hot", limit, order=order, side="debit")

    assert entries(found) == [e for e in both if e[2] == "debit"]
    assert all(amounts(page, "opening", "closing") == [None, None] for page in found)


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("stripes", [1, 4])
def test_a_page_reads_a_bounded_number_of_rows(
    db: Database, book: Book, order: str, stripes: int
) -> None:
    """LQ1: it may be short or empty while there is a next one: never a gap, never a time-out."""
    ledger = Ledger(db, Cursors(b"s" * 32), Currencies(db), scan_rows=10)
    book.open("hot", stripes=stripes)
    for number in range(40):
        leg = ("hot", CASH, 1) if number == 20 else (CASH, "hot", 100)
        pair = (0, number % stripes)
        book.post(leg, stripes=[pair if leg[0] == CASH else pair[::-1]])

    found = pages(ledger, "hot", 2, order=order, side="debit")

    assert [e[3] for e in entries(found)] == [1]
    assert len(found) > 3
    assert [] in [page["data"] for page in found]


def test_an_entry_names_its_transaction_and_the_other_side(book: Book, ledger: Ledger) -> None:
    """LQ2: kind, reference and counterparty come from the header."""
    book.open("fees")
    tx_id = book.post(("fees", SALES, 3), (CASH, SALES, 97), reference="order-1")

    (page,) = pages(ledger, SALES, 50, order="asc")

    shown = ("tx_id", "leg", "kind", "side", "counterparty", "reference", "posted_decimal")
    assert [tuple(e[name] for name in shown) for e in page["data"]] == [
        (tx_id, 1, "post", "credit", "fees", "order-1", "0.03"),
        (tx_id, 2, "post", "credit", CASH, "order-1", "0.97"),
    ]


def test_a_hold_shows_what_is_pending_and_moves_nothing(book: Book, ledger: Ledger) -> None:
    """LQ2: posted 0, pending the amount, the balance as before."""
    book.hold(CASH, SALES, 300)

    (entry,) = ledger.statement(actor(), SALES, EntryFilters(), 50)["data"]

    assert amounts(entry, "posted", "pending", "balance_after") == [0, 300, 0]
    assert entry["kind"] == "hold"


def test_a_page_is_not_shifted_by_what_is_posted_meanwhile(book: Book, ledger: Ledger) -> None:
    """LQ1: keyset, no offset."""
    for amount in (1, 2, 3, 4):
        book.post((CASH, SALES, amount))
    newest = ledger.statement(actor(), SALES, EntryFilters(), 2)
    book.post((CASH, SALES, 5))

    older = ledger.statement(actor(), SALES, EntryFilters(), 2, newest["next_cursor"])

    shown = [[e["posted_minor"] for e in page["data"]] for page in (newest, older)]
    assert shown == [[4, 3], [2, 1]]


def test_a_cursor_serves_its_own_statement_only(book: Book, ledger: Ledger) -> None:
    """P45: another account, filter, order or reach is another list."""
    book.open("users:7:available", owner_id=OWNER)
    for code in (SALES, SALES, "users:7:available", "users:7:available"):
        book.post((CASH, code, 1))
    cursor = ledger.statement(actor(), SALES, EntryFilters(), 1)["next_cursor"]
    owned = ledger.statement(actor(), "users:7:available", EntryFilters(), 1)["next_cursor"]

    tried = [
        (actor(), CASH, EntryFilters(), cursor),
        (actor(), SALES, EntryFilters(order="asc"), cursor),
        (actor(), SALES, EntryFilters(side="credit"), cursor),
        (actor(), SALES, EntryFilters(currency="EUR"), cursor),
        (actor("other"), SALES, EntryFilters(), cursor),
        (actor(owner_id=OWNER), "users:7:available", EntryFilters(), owned),
        (actor(), SALES, EntryFilters(), cursor[:-2]),
    ]
    for who, code, filters, text in tried:
        with pytest.raises(CursorInvalid):
            ledger.statement(who, code, filters, 1, text)
