"""Replay: a right book is clean, and every kind of tampering is found at its level (LR1, LR2)."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from errors import DatabaseUnavailable, NotFound, ValidationFailed
from persistence.db import Database, DbSettings
from persistence.embedded_postgres import APP_ROLE, OWNER_ROLE
from services import replay_book
from services.canonical_json import digest
from services.replay import LEVELS, Replay, ReplayAsk, RunBy
from services.replay_book import BookCheck
from services.replay_report import worst
from tests.book import START, TENANT, Book, unchecked_clone

if TYPE_CHECKING:
    from collections.abc import Iterator
    from uuid import UUID

    import psycopg

    from services.replay_report import Report
    from tests.conftest import PostgresServer

BY = RunBy(actor="cli:test", host="here", app_version="0.0.1")
CLOCK = datetime(2027, 1, 1, tzinfo=UTC)


@pytest.fixture
def scratch(admin: psycopg.Connection[Any], template: str) -> Iterator[str]:
    with unchecked_clone(admin, template) as name:
        yield name


@pytest.fixture
def db(postgres: PostgresServer, scratch: str) -> Iterator[Database]:
    opened = Database(postgres.url(scratch, APP_ROLE), DbSettings(pool_size=1))
    yield opened
    opened.close()


@pytest.fixture
def book(postgres: PostgresServer, scratch: str) -> Iterator[Book]:
    """Seven transactions on four accounts, one of them striped, with a hold that is open."""
    with Book(postgres.url(scratch, OWNER_ROLE)) as made:
        made.open("bank", side=-1)
        made.open("hot", stripes=4)
        made.open("users:a", floor=0)
        made.open("users:b", floor=0, ceiling=10_000)
        made.post(("bank", "hot", 3), ("bank", "users:a", 97), stripes=[(0, 2), (0, 0)])
        made.post(("bank", "hot", 5), ("bank", "users:a", 195), stripes=[(0, 1), (0, 0)])
        made.post(("users:a", "users:b", 40))
        made.hold("users:a", "users:b", 25)
        made.post(("users:b", "bank", 10))
        made.post(("bank", "users:a", 1), reference="last")
        yield made


def run(db: Database, **ask: Any) -> Report:
    return Replay(db, lambda: CLOCK).run(ReplayAsk(tenant_id=TENANT, **ask), BY)


def found(report: Report) -> set[tuple[str, str]]:
    return {(finding.level, finding.row.field) for finding in report.findings}


def levels(report: Report) -> set[str]:
    return {finding.level for finding in report.findings}


def of(book: Book, code: str) -> int:
    ((account_id,),) = book.run("SELECT account_id FROM ledger_accounts WHERE code = %s", code)
    return int(account_id)


# --- What is right ------------------------------------------------------------------------------


def test_a_right_book_is_clean(book: Book, db: Database) -> None:
    """LR7: every level looked at something and found nothing wrong."""
    report = run(db)

    assert report.findings == []
    (tenant,) = report.tenants
    assert {name: level.checked for name, level in tenant.levels.items()} == {
        "L0": 6, "L1": 16, "L2": 16, "L3": 7, "L4": 0, "L5": 0,
    }  # fmt: skip
    assert (tenant.verdict, tenant.accounts, report.exit_code) == ("clean", 4, 0)


def test_an_empty_book_is_clean(book: Book, db: Database) -> None:
    """LR1: a tenant without accounts too."""
    book.run("INSERT INTO tenants (tenant_id, name) VALUES ('empty', 'Empty')")

    report = Replay(db).run(ReplayAsk(tenant_id="empty"), BY)

    assert (report.tenants[0].verdict, report.exit_code) == ("clean", 0)


def test_every_kind_of_transaction_is_understood(book: Book, db: Database) -> None:
    """Ledger page, section 3: what each kind posts and reserves."""
    for kind, released in (("capture", 25), ("void", None), ("expire", None)):
        hold_id = book.hold("users:a", "users:b", 25)
        book.post(
            ("users:a", "users:b", 20 if kind == "capture" else 25),
            kind=kind, released=released, hold_id=hold_id,
        )  # fmt: skip
        book.run("DELETE FROM ledger_holds WHERE hold_id = %s", hold_id)
    book.post(("users:b", "users:a", 1), kind="reverse")
    book.post(("users:b", "users:a", 1), kind="adjust")
    book.post(kind="change")
    book.run(
        "INSERT INTO ledger_transactions (tenant_id, id, kind, status, reason, posted_at,"
        " effective_at, debit_accounts, credit_accounts, amounts, actor, request_id)"
        " VALUES (%s, %s, 'post', 'rejected', 'insufficient_funds', now(), now(), %s, %s, %s,"
        " 'key:test', 'test')",
        TENANT, uuid.uuid4(), [of(book, "users:a")], [of(book, "users:b")], [10**9],
    )  # fmt: skip

    assert run(db).findings == []


def test_a_backdated_transaction_is_right(book: Book, db: Database) -> None:
    """LT1: posted now, effective before."""
    book.post(("bank", "users:a", 1), effective_at=START - timedelta(days=3))

    assert run(db).findings == []


def test_a_forced_transaction_may_pass_a_floor(book: Book, db: Database) -> None:
    """LI5: and what does not lower `available` may follow it."""
    book.post(("users:a", "bank", 500), forced=True)
    book.post(("bank", "users:a", 1))
    book.post(("users:a", "users:b", 1), ("bank", "users:a", 1))

    assert run(db).findings == []


def test_other_tenants_books_are_read_apart(book: Book, db: Database, scratch: str) -> None:
    """LR8: without a tenant all of them, each with its verdict; the worst gives the exit code."""
    with Book(book.conn.info.dsn + f" password={book.conn.info.password}", "other") as other:
        other.open("bank", side=-1)
        other.open("hot")
        other.post(("bank", "hot", 1))
    book.run("UPDATE ledger_balances SET version = 9 WHERE tenant_id = 'other'")

    report = Replay(db).run(ReplayAsk(), BY)

    verdicts = {tenant.tenant_id: tenant.verdict for tenant in report.tenants}
    assert {name: verdicts[name] for name in (TENANT, "other")} == {
        TENANT: "clean", "other": "projection",
    }  # fmt: skip
    assert report.exit_code == 3
    assert run(db).exit_code == 0


# --- Tampering ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "column", ["debits_posted", "credits_posted", "debits_pending", "credits_pending", "version"]
)
def test_a_changed_balance_is_found(book: Book, db: Database, column: str) -> None:
    """L3, LR8: only what is computed is wrong: verdict projection, exit 3."""
    book.run(
        f"UPDATE ledger_balances SET {column} = {column} + 1 WHERE account_id = %s",
        of(book, "users:a"),
    )

    report = run(db)

    assert ("L3", column) in found(report)
    assert levels(report) == {"L3"}
    assert (report.tenants[0].verdict, report.exit_code) == ("projection", 3)
    account = {(finding.row.code, finding.row.currency) for finding in report.findings}
    assert account == {("users:a", "EUR")}


def test_a_changed_part_of_a_hot_account_is_found(book: Book, db: Database) -> None:
    """L3, LS4: per stripe, so that two wrongs that cancel out are two."""
    for stripe, change in ((1, 7), (2, -3)):
        book.run(
            "UPDATE ledger_balances SET credits_posted = credits_posted + %s"
            " WHERE account_id = %s AND stripe = %s",
            change, of(book, "hot"), stripe,
        )  # fmt: skip

    rows = [finding.row for finding in run(db).findings]

    assert {(row.stripe, row.expected, row.found) for row in rows} == {
        (1, "5", "12"), (2, "3", "0"),
    }  # fmt: skip


def test_a_lost_balance_is_found(book: Book, db: Database) -> None:
    """L3: entries without the row that they add up to."""
    book.run("DELETE FROM ledger_balances WHERE account_id = %s", of(book, "users:b"))

    assert {("L3", "credits_posted"), ("L3", "version")} <= found(run(db))


LAST_ENTRY = "tx_id = (SELECT id FROM ledger_transactions WHERE reference = 'last') AND side = 1"


@pytest.mark.parametrize(
    ("change", "level"),
    [
        ("posted = posted + 1", "L1"),
        ("pending = 1", "L1"),
        ("leg = 2", "L1"),
        ("side = -1", "L1"),
        ("tx_id = gen_random_uuid()", "L1"),
        ("posted_at = posted_at + interval '1 microsecond'", "L1"),
        ("effective_at = effective_at - interval '1 day'", "L1"),
        ("stripe = 1", "L1"),
        ("account_id = account_id + 1", "L1"),
        ("version = version + 1", "L2"),
        ("balance_after = balance_after + 1", "L2"),
    ],
)
def test_a_changed_entry_is_found(book: Book, db: Database, change: str, level: str) -> None:
    """L1, L2: every column of it, and the book is damaged."""
    book.run(f"UPDATE ledger_entries SET {change} WHERE {LAST_ENTRY}")

    report = run(db)

    assert level in levels(report)
    assert (report.tenants[0].verdict, report.exit_code) == ("damaged", 5)


@pytest.mark.parametrize(
    ("change", "level"),
    [
        ("amounts = '{2}'", "L1"),
        ("posted_at = posted_at - interval '1 microsecond'", "L1"),
        ("effective_at = effective_at - interval '1 day'", "L1"),
        ("status = 'rejected'", "L1"),
        ("kind = 'hold'", "L1"),
        ("kind = 'void'", "L1"),
        ("stripes = '{{0,3}}'", "L1"),
        ("debit_accounts = credit_accounts, credit_accounts = debit_accounts", "L1"),
        ("amounts = '{}', debit_accounts = '{}', credit_accounts = '{}'", "L1"),
        ("stripes = '{{1,0}}'", "L1"),
    ],
)
def test_a_changed_header_is_found(book: Book, db: Database, change: str, level: str) -> None:
    """L1: its entries do not follow from it any more."""
    book.run(f"UPDATE ledger_transactions SET {change} WHERE reference = 'last'")

    report = run(db)

    # What is taken for a hold lacks its row, too.
    assert levels(report) - {"L3"} == {level}
    assert report.exit_code == 5


@pytest.mark.parametrize(("place", "also"), [("first", "L2"), ("middle", "L2"), ("last", "L3")])
def test_a_deleted_entry_is_found(book: Book, db: Database, place: str, also: str) -> None:
    """L1: at the head, in the middle, at the tail: the leg that lost it is named."""
    version = {"first": 1, "middle": 3, "last": 5}[place]
    account_id = of(book, "users:a")
    ((tx_id,),) = book.run(
        "DELETE FROM ledger_entries WHERE account_id = %s AND version = %s RETURNING tx_id",
        account_id, version,
    )  # fmt: skip

    report = run(db)

    (missing,) = [f.row for f in report.findings if f.level == "L1"]
    assert (missing.tx_id, missing.code, missing.found) == (tx_id, "users:a", None)
    assert also in levels(report)


def test_a_tail_cut_with_its_balances_is_found(book: Book, db: Database) -> None:
    """L1: where entries and balances agree, the header still tells (ledger page, Traps)."""
    book.run("DELETE FROM ledger_entries WHERE tx_id = "
             "(SELECT id FROM ledger_transactions WHERE reference = 'last')")  # fmt: skip
    _set_balances_to_entries(book)

    report = run(db)

    assert levels(report) == {"L1"}
    assert {f.row.expected for f in report.findings} == {"leg 1 credit 1", "leg 1 debit 1"}


def test_a_removed_header_is_found(book: Book, db: Database) -> None:
    """L1: entries that nothing explains."""
    book.run("DELETE FROM ledger_transactions WHERE reference = 'last'")

    report = run(db)

    assert found(report) == {("L1", "entry")}
    assert {f.row.expected for f in report.findings} == {None}


def test_a_transaction_removed_whole_is_found_by_what_follows(book: Book, db: Database) -> None:
    """L2: its versions are missing; only a seal could show that the newest one is gone (L4)."""
    ((tx_id,),) = book.run("SELECT tx_id FROM ledger_entries WHERE version = 1 AND account_id = %s",
                           of(book, "users:b"))  # fmt: skip
    book.run("DELETE FROM ledger_entries WHERE tx_id = %s", tx_id)
    book.run("DELETE FROM ledger_transactions WHERE id = %s", tx_id)
    _set_balances_to_entries(book)

    assert "L2" in levels(run(db))


def test_an_invented_entry_is_found(book: Book, db: Database) -> None:
    """L1: well made, on both sides, with balances that fit."""
    _invent(book, uuid.uuid4())
    _set_balances_to_entries(book)

    report = run(db)

    assert found(report) == {("L1", "entry")}
    assert len(report.findings) == 2


def test_an_entry_under_a_rejected_header_is_found(book: Book, db: Database) -> None:
    """L1: rejected transactions have none."""
    ((tx_id,),) = book.run(
        "UPDATE ledger_transactions SET status = 'rejected' WHERE reference = 'last' RETURNING id"
    )

    rows = [finding.row for finding in run(db).findings]

    assert {(row.tx_id, row.field) for row in rows} == {(tx_id, "entry")}


def test_an_entry_entered_twice_is_found(book: Book, db: Database) -> None:
    """L1: though another one is gone, so that the numbers agree."""
    ((tx_id,),) = book.run("SELECT id FROM ledger_transactions WHERE reference = 'last'")
    account_id = of(book, "users:a")
    book.run(
        "INSERT INTO ledger_entries SELECT tenant_id, account_id, stripe, posted_at, version + 1,"
        " tx_id, leg, side, posted, pending, effective_at, balance_after + posted"
        f" FROM ledger_entries WHERE {LAST_ENTRY}"
    )
    book.run("DELETE FROM ledger_entries WHERE tx_id = %s AND side = -1", tx_id)
    _set_balances_to_entries(book)

    for asked in ({}, {"levels": ("L1",)}):
        report = run(db, **asked)
        codes = {f.row.code for f in report.findings if f.level == "L1"}
        assert "users:a" in codes
        assert account_id in {f.row.account_id for f in report.findings}


def test_numbers_that_differ_are_found_where_nothing_can_be_named(book: Book, db: Database) -> None:
    """L1: a leg that stands twice, with another transaction of the same moment between."""
    book.post(("bank", "users:a", 1), at=book.now)
    book.run(
        "INSERT INTO ledger_entries SELECT tenant_id, account_id, stripe, posted_at, version + 2,"
        " tx_id, leg, side, posted, pending, effective_at, balance_after FROM ledger_entries"
        f" WHERE {LAST_ENTRY}"
    )

    report = run(db, levels=("L1",))

    assert [(f.row.field, f.row.expected, f.row.found) for f in report.findings] == [
        ("entries", "18", "19")
    ]


def test_swapped_versions_are_found(book: Book, db: Database) -> None:
    """L2: LI4."""
    account_id = of(book, "users:a")
    book.run("UPDATE ledger_entries SET version = 5 - version WHERE account_id = %s"
             " AND version IN (2, 3)", account_id)  # fmt: skip

    report = run(db)

    assert levels(report) == {"L2"}
    assert {f.row.found for f in report.findings if f.row.field == "version"} >= {"3", "2"}


def test_two_transactions_of_one_moment_are_found(book: Book, db: Database) -> None:
    """L2, LI4: posted_at grows strictly from one transaction to the next."""
    book.post(("bank", "users:a", 1), at=book.now)

    assert ("L2", "posted_at") in found(run(db))


def test_a_leg_between_two_currencies_is_found(book: Book, db: Database) -> None:
    """L0: such a leg makes money."""
    book.open("dollars", currency="USD")
    tx_id = book.post(("bank", "dollars", 100))

    report = run(db)

    assert levels(report) == {"L0"}
    assert {(f.row.currency, f.row.found) for f in report.findings if not f.row.tx_id} == {
        ("EUR", "-100"), ("USD", "100"),
    }  # fmt: skip
    assert [f.row.tx_id for f in report.findings if f.row.tx_id] == [tx_id]


def test_money_on_one_side_only_is_found(book: Book, db: Database) -> None:
    """L0: though entries, balances and versions agree with each other."""
    _invent(book, uuid.uuid4(), sides=(1,))
    _set_balances_to_entries(book)

    report = run(db, levels=("L0",))

    assert [(f.row.currency, f.row.found) for f in report.findings] == [("EUR", "77")]
    assert report.exit_code == 5


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ("floor = 1000", "floor"),
        ("ceiling = 200", "ceiling"),
        ("status = 'closed'", "closed"),
    ],
)
def test_a_broken_limit_is_found(book: Book, db: Database, change: str, field: str) -> None:
    """L3, LI5: no committed state has an account outside of its limits."""
    book.run(f"UPDATE ledger_balances SET {change} WHERE account_id = %s", of(book, "users:a"))

    assert found(run(db)) == {("L3", field)}


def test_a_hold_counts_against_the_limits(book: Book, db: Database) -> None:
    """LA5: 253 posted, 25 of them reserved."""
    for floor, expected in ((228, set()), (229, {("L3", "floor")})):
        book.run("UPDATE ledger_balances SET floor = %s WHERE account_id = %s",
                 floor, of(book, "users:a"))  # fmt: skip
        assert found(run(db)) == expected


def test_below_a_floor_only_what_does_not_lower_may_follow(book: Book, db: Database) -> None:
    """LI5: the first transaction was forced, the second was not."""
    book.post(("users:a", "bank", 500), forced=True)
    book.post(("users:a", "bank", 1))

    assert found(run(db)) == {("L3", "floor")}


def test_pending_without_a_hold_is_found(book: Book, db: Database) -> None:
    """L3: the hold is gone, what it reserved is not."""
    book.run("DELETE FROM ledger_holds")

    report = run(db)

    assert {(f.row.code, f.row.field, f.row.expected, f.row.found) for f in report.findings} == {
        ("users:a", "hold", "open with 25", None),
        ("users:a", "debits_pending", "0", "25"),
        ("users:b", "credits_pending", "0", "25"),
    }
    assert report.exit_code == 3


def test_a_hold_without_pending_is_found(book: Book, db: Database) -> None:
    """L3: it promises what nobody reserves."""
    book.run("UPDATE ledger_holds SET amount = 26, remaining = 26")

    assert levels(run(db)) == {"L3"}


def test_entries_of_no_account_are_found(book: Book, db: Database) -> None:
    """L1, L0: an account that was deleted with its balances."""
    account_id = of(book, "hot")
    book.run("DELETE FROM ledger_balances WHERE account_id = %s", account_id)
    book.run("DELETE FROM ledger_accounts WHERE account_id = %s", account_id)

    report = run(db)

    assert {"L0", "L3"} <= levels(report)
    assert report.exit_code == 5


@pytest.mark.parametrize("entries_max", [1, 101, 205])
def test_ranges_cut_nothing_off(
    book: Book, db: Database, monkeypatch: pytest.MonkeyPatch, entries_max: int
) -> None:
    """LR2: entries of accounts before, between and after the ranges are read too."""
    monkeypatch.setattr(replay_book, "ENTRIES_PER_RANGE", entries_max)
    clean = run(db)
    for number in (-5, 10**9):
        book.run(
            "INSERT INTO ledger_entries SELECT tenant_id, %s, stripe, posted_at, version, tx_id,"
            f" leg, side, posted, pending, effective_at, balance_after FROM ledger_entries"
            f" WHERE {LAST_ENTRY} AND account_id = %s",
            number, of(book, "users:a"),
        )  # fmt: skip

    tampered = run(db)

    assert (clean.exit_code, clean.tenants[0].entries, clean.tenants[0].accounts) == (0, 16, 4)
    assert tampered.tenants[0].entries == 18
    ids = {f.row.account_id for f in tampered.findings if f.row.field == "entry"}
    assert ids == {-5, 10**9}


# --- What is asked ------------------------------------------------------------------------------


@pytest.mark.parametrize("level", LEVELS[:4])
def test_only_the_levels_asked_for_are_told(book: Book, db: Database, level: str) -> None:
    """Section 13: --level."""
    book.run("DELETE FROM ledger_entries WHERE account_id = %s AND version = 2",
             of(book, "users:a"))  # fmt: skip

    report = run(db, levels=(level,))

    assert levels(report) == {level}
    assert list(report.tenants[0].levels) == [level]


def test_one_account_is_checked_alone(book: Book, db: Database) -> None:
    """Section 13: --account CODE; other accounts' faults are not its own."""
    book.run("DELETE FROM ledger_entries WHERE account_id = %s AND version = 2",
             of(book, "users:a"))  # fmt: skip

    wrong, right = run(db, account="users:a"), run(db, account="users:b")

    assert levels(wrong) == {"L1", "L2", "L3"}
    assert {f.row.code for f in wrong.findings} == {"users:a"}
    assert (right.exit_code, right.tenants[0].accounts, right.tenants[0].entries) == (0, 1, 3)
    assert list(right.tenants[0].levels) == ["L1", "L2", "L3"]


def test_a_prefix_is_all_below_it(book: Book, db: Database) -> None:
    """LA3: `users:` has two accounts; `use:` and `users:a:` none."""
    report = run(db, account="users:")

    assert (report.tenants[0].accounts, report.exit_code) == (2, 0)
    for nothing in ("use:", "users:a:", "user", "users"):
        with pytest.raises(NotFound):
            run(db, account=nothing)


def test_a_changed_entry_of_one_account_is_found(book: Book, db: Database) -> None:
    """L1: by its own header, without reading the whole book."""
    book.run(f"UPDATE ledger_entries SET effective_at = now() WHERE {LAST_ENTRY}")

    report = run(db, account="users:a")

    assert found(report) == {("L1", "effective_at")}


def test_one_currency_is_checked_alone(book: Book, db: Database) -> None:
    """Section 13: --currency."""
    book.open("bank", side=-1, currency="USD")

    report = run(db, account="bank", currency="USD")

    assert (report.tenants[0].accounts, report.tenants[0].entries) == (1, 0)
    assert run(db, currency="EUR").tenants[0].accounts == 4
    with pytest.raises(NotFound):
        run(db, currency="GBP")


def test_a_past_moment_leaves_out_what_came_later(book: Book, db: Database) -> None:
    """Section 13: --as-of, the moment included."""
    moment = book.now - timedelta(milliseconds=1)
    _watermark(book, book.now)
    book.run(f"UPDATE ledger_entries SET posted = posted + 1 WHERE {LAST_ENTRY}")

    before, now = run(db, as_of=moment), run(db, as_of=book.now)

    assert (before.exit_code, before.tenants[0].entries) == (0, 14)
    assert list(before.tenants[0].levels) == ["L0", "L1", "L2"]
    told = {row.code: (row.posted, row.pending_debits) for row in before.tenants[0].balances}
    assert told == {
        "bank": ("290", "0"), "hot": ("8", "0"), "users:a": ("252", "25"), "users:b": ("30", "0"),
    }  # fmt: skip
    assert (now.exit_code, now.tenants[0].entries) == (5, 16)


@pytest.mark.parametrize(
    "ask",
    [
        {"levels": ("L0",), "account": "users:a"},
        {"levels": ("L0",), "currency": "EUR"},
        {"levels": ("L3",), "as_of": START},
        {"as_of": CLOCK + timedelta(microseconds=1)},
        {"as_of": START},
        {"levels": ("L4",), "account": "users:a"},
        {"levels": ("L5",), "as_of": START},
        {"since_seal": "last", "account": "users:a"},
        {"since_seal": 1, "as_of": START},
        {"change": "fix", "levels": ("L3",)},
        {"change": "fix", "account": "users:a"},
        {"change": "rebuild", "as_of": START},
        {"change": "repair", "since_seal": "last"},
        {"checkpoints": ("no note",)},
    ],
    ids=str,
)
def test_what_cannot_be_checked_is_refused(book: Book, db: Database, ask: dict[str, Any]) -> None:
    """LR8: exit 2, nothing was looked at."""
    with pytest.raises(ValidationFailed):
        run(db, **ask)


def test_an_unknown_tenant_is_not_found(book: Book, db: Database) -> None:
    """LR8: exit 3."""
    with pytest.raises(NotFound):
        Replay(db).run(ReplayAsk(tenant_id="nobody"), BY)


def test_findings_are_listed_up_to_a_number(book: Book, db: Database) -> None:
    """Section 13: --max-mismatches, of each level; the verdict is the same."""
    book.run("UPDATE ledger_entries SET balance_after = 0, effective_at = 'epoch'")

    report = run(db, findings_max=2)

    wrong = {name: level for name, level in report.tenants[0].levels.items() if not level.is_ok}
    assert {name: (level.mismatches, level.listed_all) for name, level in wrong.items()} == {
        "L1": (2, False), "L2": (2, False),
    }  # fmt: skip
    assert (len(report.findings), report.exit_code) == (4, 5)


def test_progress_is_told_to_the_end(book: Book, db: Database) -> None:
    """LR7."""
    told: list[tuple[str, int, int]] = []

    Replay(db).run(ReplayAsk(tenant_id=TENANT), BY, lambda *now: told.append(now))

    assert told[0] == ("entries", 0, 16)
    assert ("headers", 16, 16) in told
    assert told[-1] == ("leaves", 0, 0)


def test_the_watermark_is_told(book: Book, db: Database) -> None:
    """LR7, LT4: None while no job has moved it."""
    assert run(db).data["watermark"] is None
    _watermark(book, book.now)

    assert run(db).watermark == book.now


# --- Audit --------------------------------------------------------------------------------------


def test_a_run_leaves_its_rows(book: Book, db: Database) -> None:
    """LR1: what was asked, by whom, when it ended and what it found."""
    tx_id = _wrong_tail(book)

    report = run(db, levels=("L1", "L2"))

    ((row),) = book.run(
        "SELECT mode, levels, filter, as_of, accounts, transactions, entries, mismatches, changed,"
        " verdict, exit_code, actor, host, app_version, finished_at >= started_at"
        " FROM ledger_replay_runs WHERE run_id = %s", report.run_id,
    )  # fmt: skip
    assert row == (
        "check", ["L1", "L2"], {"account": None, "currency": None}, None, 4, 6, 16, 1, 0,
        "damaged", 5, "cli:test", "here", "0.0.1", True,
    )  # fmt: skip
    assert book.run(
        "SELECT n, level, account_id, tx_id, field, expected, found, action"
        " FROM ledger_replay_findings WHERE run_id = %s", report.run_id,
    ) == [(1, "L1", of(book, "users:a"), tx_id, "posted", "1", "2", None)]  # fmt: skip


def test_a_run_that_did_not_end_is_known(book: Book, db: Database) -> None:
    """LR1: its row has no end and no verdict."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Replay(db).run(ReplayAsk(tenant_id=TENANT), BY, stop)

    assert book.run("SELECT finished_at, verdict FROM ledger_replay_runs") == [(None, None)]


def test_a_server_that_only_reads_is_checked_all_the_same(
    book: Book, db: Database, scratch: str
) -> None:
    """LR1: and the report says that nothing was recorded."""
    book.run(f"ALTER DATABASE {scratch} SET default_transaction_read_only = on")

    report = run(db)

    assert (report.exit_code, report.tenants[0].entries) == (0, 16)
    assert report.unrecorded is not None
    assert report.data["recorded"] is False
    assert book.run("SELECT FROM ledger_replay_runs") == []


def test_nothing_but_audit_rows_is_written(book: Book, db: Database) -> None:
    """LR1, LR6: a damaged book stays as it is."""
    _wrong_tail(book)
    before = _contents(book)

    run(db)

    assert _contents(book) == before


def test_ranges_are_read_on_several_connections(
    book: Book, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Section 13: --parallel; one moment for all, and the same findings."""
    monkeypatch.setattr(replay_book, "ENTRIES_PER_RANGE", 1)
    _wrong_tail(book)

    alone, together = run(db), run(db, parallel=3)

    assert [f.data for f in together.findings] == [f.data for f in alone.findings]
    assert together.tenants[0].data == alone.tenants[0].data


def test_metadata_that_was_changed_is_found(book: Book, db: Database) -> None:
    """L1: by its hash; what was redacted has its hash alone, and is right."""
    said = {"invoice": "17", "lines": [1, 2]}
    for note in (said, None):
        book.post(("bank", "users:a", 1), metadata=json.dumps(note) if note else None,
                  metadata_hash=digest(said))  # fmt: skip
    assert run(db).findings == []
    book.run("UPDATE ledger_transactions SET metadata = jsonb_set(metadata, '{invoice}', '\"18\"')"
             " WHERE metadata IS NOT NULL")  # fmt: skip

    assert found(run(db)) == {("L1", "metadata")}


def test_a_book_that_cannot_be_read_is_unfinished(
    book: Book, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """LR8: exit 4; the other books are checked, and a damaged one goes before it."""

    def away(*_: object, **__: object) -> None:
        raise DatabaseUnavailable

    monkeypatch.setattr(BookCheck, "check_payments", away)
    unread = run(db)
    _wrong_tail(book)
    monkeypatch.setattr(BookCheck, "check_tree", away)
    damaged = run(db, levels=("L1",))

    assert (unread.tenants[0].verdict, unread.exit_code) == ("unfinished", 4)
    assert (damaged.tenants[0].verdict, damaged.exit_code) == ("damaged", 5)


@pytest.mark.parametrize(
    ("codes", "expected"), [([3, 4], 4), ([6, 4, 3], 6), ([6, 5], 5), ([0, 3], 3), ([], 0)], ids=str
)
def test_the_worst_code_is_the_run_s(codes: list[int], expected: int) -> None:
    """LR8: 5, 6, 4, 3."""
    assert worst(codes) == expected


# --- Ways to tamper -----------------------------------------------------------------------------


def _watermark(book: Book, through: datetime) -> None:
    book.run("INSERT INTO ledger_seal_state (tenant_id, sealed_through) VALUES (%s, %s)",
             TENANT, through)  # fmt: skip


def _wrong_tail(book: Book) -> UUID:
    """Change an amount, and all that is computed from it, on one side."""
    ((tx_id,),) = book.run(
        "UPDATE ledger_entries SET posted = posted + 1, balance_after = balance_after + 1"
        f" WHERE {LAST_ENTRY} RETURNING tx_id"
    )
    _set_balances_to_entries(book)
    return tx_id  # type: ignore[no-any-return]


def _invent(book: Book, tx_id: UUID, sides: tuple[int, ...] = (1, -1)) -> None:
    """Write entries of 77 after the last ones of two accounts, without a header."""
    for code, side in (("users:a", 1), ("bank", -1)):
        if side in sides:
            book.run(
                "INSERT INTO ledger_entries SELECT tenant_id, account_id, stripe,"
                " posted_at + interval '1 second', version + 1, %s, 1, %s, 77, 0,"
                " posted_at + interval '1 second', balance_after + 77 FROM ledger_entries"
                " WHERE account_id = %s ORDER BY version DESC LIMIT 1",
                tx_id, side, of(book, code),
            )  # fmt: skip


def _set_balances_to_entries(book: Book) -> None:
    """Do what a careful thief would: let the balances agree with the entries."""
    book.run(
        "UPDATE ledger_balances AS b SET debits_posted = coalesce(x.d, 0),"
        " credits_posted = coalesce(x.c, 0), version = coalesce(x.n, 0),"
        " last_posted_at = coalesce(x.at, '-infinity')"
        " FROM ledger_balances AS o LEFT JOIN (SELECT account_id, stripe, count(*) AS n,"
        " sum(posted) FILTER (WHERE side = -1) AS d, sum(posted) FILTER (WHERE side = 1) AS c,"
        " max(posted_at) AS at FROM ledger_entries GROUP BY account_id, stripe) AS x"
        " USING (account_id, stripe)"
        " WHERE b.account_id = o.account_id AND b.stripe = o.stripe"
    )


def _contents(book: Book) -> list[Any]:
    tables = ("accounts", "balances", "transactions", "entries", "holds")
    return [sorted(book.run(f"SELECT t::text FROM ledger_{name} AS t")) for name in tables]
