"""Whole books: sums and trial balance now and then, by effective time, closing, the event feed."""

from __future__ import annotations

import random
import threading
import uuid
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from errors import CursorInvalid, ValidationFailed
from persistence.db import Database, DbSettings
from services.actors import Actor
from services.currencies import Currencies
from services.cursors import Cursors
from services.ledger import Ledger
from services.ledger_reports import LedgerReports, SumsAsk
from tests.book import START, TENANT, Book
from tests.sealing import seal_all, sealing
from tests.teller import ACTOR as TELLER
from tests.teller import Teller

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.world import World

ACTOR = Actor(TENANT, "key:test", frozenset({"ledger:read"}))
TODAY = datetime(2027, 3, 4, 1, tzinfo=UTC)
MS = timedelta(milliseconds=1)


@pytest.fixture
def db(database: str) -> Iterator[Database]:
    opened = Database(database, DbSettings(pool_size=4))
    yield opened
    opened.close()


@pytest.fixture
def book(database_owner: str) -> Iterator[Book]:
    with Book(database_owner) as made:
        made.open("bank:main", side=-1)
        made.open("shops:1:cash")
        made.open("shops:1:fees")
        made.open("shops:2:cash", stripes=2)
        made.open("shops")
        yield made


@pytest.fixture
def reports(db: Database) -> LedgerReports:
    return LedgerReports(db, Cursors(b"k" * 32), Currencies(db), lambda: TODAY)


@pytest.fixture
def ledger(db: Database) -> Ledger:
    return Ledger(db, Cursors(b"k" * 32), Currencies(db), 1000)


def rows(page: dict[str, Any]) -> dict[str, tuple[int, int, int]]:
    return {
        row["code"]: (row["accounts"], row["debit_minor"], row["credit_minor"])
        for row in page["data"]
    }


# --- Sums ---------------------------------------------------------------------------------------


def test_balances_are_summed_by_codes_cut_at_a_depth(book: Book, reports: LedgerReports) -> None:
    """Section 9, LA3: GET /balances."""
    book.post(("bank:main", "shops:1:cash", 70), ("bank:main", "shops:2:cash", 5))
    book.post(("shops:1:cash", "shops:1:fees", 7))
    book.post(("bank:main", "shops:2:cash", 3), stripes=[(0, 1)])

    first = reports.sums(ACTOR, SumsAsk(depth=1), 10, None)
    second = reports.sums(ACTOR, SumsAsk(depth=2, prefix="shops:"), 10, None)

    assert rows(first) == {"bank": (1, 78, 0), "shops": (4, 0, 78)}
    assert rows(second) == {"shops:1": (2, 0, 70), "shops:2": (1, 0, 8)}
    assert second["totals"][0]["credit_minor"] == 78


def test_the_columns_of_a_trial_balance_are_equal(book: Book, reports: LedgerReports) -> None:
    """Section 9: every account once, on every page the totals of all, 0 between them."""
    book.open("bank:usd", side=-1, currency="USD")
    book.open("shops:1:usd", currency="USD")
    book.post(("bank:main", "shops:1:cash", 70), ("bank:usd", "shops:1:usd", 9))

    cursor, seen = None, []
    while True:
        page = reports.sums(ACTOR, SumsAsk(), 2, cursor)
        seen += [(row["code"], row["currency"]) for row in page["data"]]
        assert [(t["currency"], t["debit_minor"], t["credit_minor"]) for t in page["totals"]] == [
            ("EUR", 70, 70), ("USD", 9, 9),
        ]  # fmt: skip
        cursor = page["next_cursor"]
        if cursor is None:
            break

    assert seen == sorted(seen)
    assert len(seen) == 7
    other = reports.sums(ACTOR, SumsAsk(), 2, None)["next_cursor"]
    with pytest.raises(CursorInvalid):
        reports.sums(ACTOR, SumsAsk(depth=2), 2, other)


def test_sums_of_the_past_are_those_of_then(book: Book, reports: LedgerReports) -> None:
    """LT2: each moment of a random book, added up by hand."""
    seed = random.randrange(10**6)
    luck = random.Random(seed)
    codes = ["bank:main", "shops:1:cash", "shops:1:fees", "shops"]
    totals, moments = dict.fromkeys(codes, 0), []
    for _ in range(30):
        debit, credit = luck.sample(codes, 2)
        amount = luck.randint(1, 99)
        book.post((debit, credit, amount))
        totals[debit] -= amount
        totals[credit] += amount
        moments.append((book.now, dict(totals)))

    for moment, expected in moments:
        page = reports.sums(ACTOR, SumsAsk(as_of=moment), 100, None)
        found = {row["code"]: row["credit_minor"] - row["debit_minor"] for row in page["data"]}
        assert {code: found[code] for code in codes} == expected, f"seed {seed}"
        (total,) = page["totals"]
        assert total["debit_minor"] == total["credit_minor"]


def test_an_empty_book_has_no_totals(reports: LedgerReports, book: Book) -> None:
    page = reports.sums(Actor("nobody", "key:x", frozenset()), SumsAsk(), 10, None)

    assert (page["data"], page["totals"], page["next_cursor"]) == ([], [], None)


def test_sums_are_final_up_to_the_watermark(
    book: Book, db: Database, reports: LedgerReports
) -> None:
    """LT5."""
    book.post(("bank:main", "shops", 1))
    seal_all(sealing(db))

    assert reports.sums(ACTOR, SumsAsk(as_of=book.now), 1, None)["final"]
    assert not reports.sums(ACTOR, SumsAsk(), 1, None)["final"]


# --- Effective time -----------------------------------------------------------------------------


def test_an_effective_balance_counts_what_was_dated_back(book: Book, ledger: Ledger) -> None:
    """LT3: against adding up by hand, for every pair of moments, on stripes too."""
    seed = random.randrange(10**6)
    luck = random.Random(seed)
    told: list[tuple[datetime, datetime, int]] = []
    for n in range(25):
        at = START + n * 10 * MS
        dated = at if luck.random() < 0.5 else START + luck.randrange(n * 10 + 1) * MS
        amount = luck.randint(1, 50)
        stripe = luck.randint(0, 1)
        book.post(("bank:main", "shops:2:cash", amount), at=at, effective_at=dated,
                  stripes=[(0, stripe)])  # fmt: skip
        told.append((at, dated, amount))

    for moment in [START + n * 7 * MS for n in range(-1, 40)]:
        for known in [START + n * 31 * MS for n in range(10)] + [None]:
            found = ledger.balance_effective(ACTOR, "shops:2:cash", None, moment, known)
            expected = [
                amount for at, dated, amount in told
                if dated <= moment and (known is None or at <= known)
            ]  # fmt: skip
            counted = (found["posted_minor"], found["version"])
            assert counted == (sum(expected), len(expected)), f"seed {seed}"


def test_an_effective_balance_is_final_once_it_is_said_when_it_was_known(
    book: Book, db: Database, ledger: Ledger
) -> None:
    """LT5: without `known_at` a posting may still be dated back."""
    book.post(("bank:main", "shops", 1))
    seal_all(sealing(db))

    open_end = ledger.balance_effective(ACTOR, "shops", None, book.now)
    fixed = ledger.balance_effective(ACTOR, "shops", None, book.now, book.now)

    assert (open_end["final"], fixed["final"]) == (False, True)


# --- Closing ------------------------------------------------------------------------------------


def test_a_closing_moves_back_only_if_that_is_said(book: Book, reports: LedgerReports) -> None:
    """Section 9: PUT /closing; audited."""
    days = [date(2027, 1, 31), date(2027, 2, 28)]
    for day in days:
        assert reports.close(ACTOR, day, reopen=False)["closed_through"] == day
    for back in (days[0], None):
        with pytest.raises(ValidationFailed):
            reports.close(ACTOR, back, reopen=False)
    assert reports.close(ACTOR, days[0], reopen=True)["closed_through"] == days[0]
    assert reports.closing(TENANT)["closed_through"] == days[0]
    assert reports.close(ACTOR, None, reopen=True)["closed_through"] is None
    assert book.run("SELECT count(*) FROM audit_log WHERE event = 'ledger.closed'") == [(4,)]


@pytest.mark.parametrize("day", [date(2027, 3, 4), date(2027, 3, 5)])
def test_a_day_that_is_not_over_is_not_closed(reports: LedgerReports, day: date) -> None:
    """LT1: a posting without a date of its own counts from now, and asks for no closing."""
    with pytest.raises(ValidationFailed):
        reports.close(ACTOR, day, reopen=False)


def test_every_tenant_has_its_row_of_settings(world: World) -> None:
    """LT1: a backdated posting locks it, so that a closing cannot pass it by."""
    world.services.tenants.create("shop", "Shop", "cli:test")

    found = world.rows("SELECT tenant_id FROM ledger_settings ORDER BY 1")

    assert found == [("default",), ("shop",)]


# --- Events -------------------------------------------------------------------------------------


def test_events_come_in_the_order_of_posting(
    book: Book, db: Database, reports: LedgerReports
) -> None:
    """Section 9: up to the watermark; a position holds, though more came."""
    early = [book.post(("bank:main", "shops", n)) for n in (1, 2, 3)]
    assert reports.events(ACTOR, None, 10) == ([], None, True)
    seal_all(sealing(db))
    page, after, caught_up = reports.events(ACTOR, None, 2)
    book.now = datetime.now(UTC)
    late = book.post(("shops", "bank:main", 4))
    seal_all(sealing(db))
    rest, end, ended = reports.events(ACTOR, after, 10)

    assert ([row.id for row in page], caught_up) == (early[:2], False)
    assert ([row.id for row in rest], ended) == ([early[2], late], True)
    assert rest[-1].legs == [
        {"debit": "shops", "credit": "bank:main", "amount_minor": 4, "currency": "EUR"}
    ]
    assert reports.events(ACTOR, end, 10) == ([], end, True)


def test_a_position_is_of_one_tenant(book: Book, db: Database, reports: LedgerReports) -> None:
    book.post(("bank:main", "shops", 1))
    seal_all(sealing(db))
    _, after, _ = reports.events(ACTOR, None, 1)

    with pytest.raises(CursorInvalid):
        reports.events(Actor("other", "key:x", frozenset()), after, 1)


def test_feed_and_final_answers_hold_under_concurrent_commits(world: World) -> None:
    """E3, LT4, LT5: readers miss nothing, read nothing twice, and no final answer ever changes."""
    teller = Teller(world)
    for code, side in (("bank", "debit"), ("a", "credit"), ("b", "credit")):
        teller.open(code, side)
    posted: list[uuid.UUID] = []
    reader = Reader(world)
    threads = [threading.Thread(target=write, args=(teller, posted, n)) for n in range(4)]
    reading = threading.Thread(target=reader.run)
    for thread in (*threads, reading):
        thread.start()
    for thread in threads:
        thread.join()
    reader.stop.set()
    reading.join()

    assert sorted(reader.seen) == sorted(posted)
    assert len(posted) == 100
    assert reader.finals
    for (code, moment), then in reader.finals.items():
        assert world.services.ledger.balance(TELLER, code, None, moment) == then


def write(teller: Teller, posted: list[uuid.UUID], n: int) -> None:
    luck = random.Random(n)
    for _ in range(25):
        tx_id = uuid.UUID(int=luck.getrandbits(128), version=4)
        debit, credit = luck.sample(["bank", "a", "b"], 2)
        assert teller.post((debit, credit, luck.randint(1, 9)), id=tx_id) == "created"
        posted.append(tx_id)


class Reader:
    """Seals, follows the feed to its end, and asks what the accounts were at each end of a page."""

    def __init__(self, world: World) -> None:
        self.services = world.services
        self.stop = threading.Event()
        self.seen: list[uuid.UUID] = []
        self.finals: dict[tuple[str, datetime], Any] = {}

    def run(self) -> None:
        seals, after = sealing(self.services.db), None
        while True:
            is_over = self.stop.is_set()
            if is_over:
                seal_all(seals, "default")
            seals.seal("default", 100, at_once=True)
            page, after, caught_up = self.services.ledger_reports.events(TELLER, after, 7)
            for row in page:
                if row.kind != "change":
                    self.seen.append(row.id)
            if page:
                self.ask(page[-1].posted_at)
            if is_over and caught_up:
                return

    def ask(self, moment: datetime) -> None:
        for code in ("a", "b"):
            found = self.services.ledger.balance(TELLER, code, None, moment)
            assert found["final"]
            self.finals[code, moment] = found
