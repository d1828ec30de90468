"""Replay that changes: what each option mends and refuses, and its audit (LR3 to LR6)."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from persistence.db import Database, DbSettings
from persistence.db_errors import OwnerNeeded
from persistence.embedded_postgres import APP_ROLE, OWNER_ROLE
from services.replay import Replay, ReplayAsk, RunBy, Trust
from tests.book import TENANT, Book, unchecked_clone
from tests.sealing import KEYS, seal_all, sealing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from services.replay_report import Report
    from tests.conftest import PostgresServer

BY = RunBy(actor="cli:test", host="here", app_version="0.0.1")


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
def owner(postgres: PostgresServer, scratch: str) -> Iterator[Database]:
    opened = Database(postgres.url(scratch, OWNER_ROLE), DbSettings(pool_size=1))
    yield opened
    opened.close()


@pytest.fixture
def book(postgres: PostgresServer, scratch: str) -> Iterator[Book]:
    with Book(postgres.url(scratch, OWNER_ROLE)) as made:
        made.now = datetime.now(UTC)
        made.open("bank", side=-1)
        made.open("hot", stripes=2)
        made.open("users:a", floor=0)
        made.open("users:b", floor=0)
        made.post(("bank", "hot", 3), ("bank", "users:a", 97), stripes=[(0, 1), (0, 0)])
        made.post(("bank", "users:a", 100))
        made.hold("users:a", "users:b", 25)
        made.post(("users:a", "users:b", 40))
        yield made


def run(db: Database, change: str | None, **ask: Any) -> Report:
    asked = ReplayAsk(tenant_id=TENANT, change=change, **ask)
    return Replay(db, trust=Trust(keys=KEYS)).run(asked, BY)


def contents(book: Book) -> list[Any]:
    tables = ("accounts", "balances", "transactions", "entries", "holds")
    return [sorted(book.run(f"SELECT t::text FROM ledger_{name} AS t")) for name in tables]


def of(book: Book, code: str) -> int:
    ((account_id,),) = book.run("SELECT account_id FROM ledger_accounts WHERE code = %s", code)
    return int(account_id)


WRONG = [
    "UPDATE ledger_balances SET credits_posted = credits_posted + 1, version = version + 3",
    "UPDATE ledger_balances SET debits_pending = 7, last_posted_at = '-infinity'",
    "UPDATE ledger_holds SET remaining = 5",
    "UPDATE ledger_holds SET amount = 26, expires_at = now() WHERE false",
    """INSERT INTO ledger_holds SELECT tenant_id, gen_random_uuid(), debit_account, credit_account,
    stripes, amount, remaining, expires_at, created_at FROM ledger_holds""",
]
LOST = [
    "DELETE FROM ledger_balances WHERE stripe = 1",
    "DELETE FROM ledger_holds",
]


@pytest.mark.parametrize("mode", ["fix", "rebuild"])
@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_computed_is_set_again(book: Book, db: Database, wrong: str, mode: str) -> None:
    """LR3, LR8: exit 0 after it; each change says what was there before."""
    before = contents(book)
    book.run(wrong)

    report = run(db, mode)

    assert contents(book) == before
    assert (report.exit_code, report.tenants[0].verdict) == (0, "clean")
    assert bool(report.tenants[0].changed) == ("false" not in wrong)


@pytest.mark.parametrize("lost", LOST)
def test_what_is_lost_is_made_anew_by_a_rebuild_only(book: Book, db: Database, lost: str) -> None:
    """LR4."""
    book.run("UPDATE ledger_transactions SET expires_at = h.expires_at FROM ledger_holds AS h"
             " WHERE ledger_transactions.hold_id = h.hold_id")  # fmt: skip
    before = contents(book)
    book.run(lost)

    fixed, rebuilt = run(db, "fix"), run(db, "rebuild")

    assert fixed.exit_code == 3
    assert rebuilt.exit_code == 0
    assert contents(book) == before


def test_an_account_that_lost_its_limits_is_frozen(book: Book, db: Database) -> None:
    """LR4, LR6: nothing is invented; who looks at it finds why in the audit."""
    book.run("DELETE FROM ledger_balances WHERE account_id = %s", of(book, "users:b"))

    report = run(db, "rebuild")

    sql = "SELECT status, floor, credits_posted FROM ledger_balances WHERE account_id = %s"
    assert book.run(sql, of(book, "users:b")) == [("frozen", 0, 40)]
    assert "made, frozen: its limits are lost" in {f.action for f in report.findings}
    assert report.exit_code == 0


def test_limits_come_from_the_last_change(book: Book, db: Database) -> None:
    """LR4, LA8: a change of status or limits is a transaction."""
    book.post(kind="change", metadata='{"account": "users:b", "currency": "EUR",'
              ' "floor_minor_after": "-500", "status_after": "open"}')  # fmt: skip
    book.run("UPDATE ledger_transactions SET metadata_hash = NULL")
    book.run("DELETE FROM ledger_balances WHERE account_id = %s", of(book, "users:b"))
    from services.canonical_json import digest  # noqa: PLC0415

    ((said,),) = book.run("SELECT metadata FROM ledger_transactions WHERE kind = 'change'")
    book.run(
        "UPDATE ledger_transactions SET metadata_hash = %s WHERE kind = 'change'", digest(said)
    )

    run(db, "rebuild")

    sql = "SELECT status, floor FROM ledger_balances WHERE account_id = %s"
    assert book.run(sql, of(book, "users:b")) == [("open", -500)]


@pytest.mark.parametrize("mode", ["fix", "rebuild"])
@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE ledger_entries SET posted = posted + 1 WHERE posted = 40",
        "UPDATE ledger_entries SET balance_after = 0 WHERE posted = 40",
        "DELETE FROM ledger_transactions WHERE amounts = '{40}'",
    ],
)
def test_a_damaged_book_is_not_changed(book: Book, db: Database, damage: str, mode: str) -> None:
    """LR3: refused where L0, L1, L2 or L4 fail: a right balance of wrong entries is none."""
    book.run(damage)
    book.run("UPDATE ledger_balances SET version = version + 1")
    before = contents(book)

    report = run(db, mode)

    assert contents(book) == before
    assert (report.exit_code, report.tenants[0].changed) == (5, 0)
    assert "cannot be trusted" in (report.tenants[0].refusal or "")


def test_a_broken_limit_is_not_mended_by_a_change(book: Book, db: Database) -> None:
    """LR8: a change was made, and something is left: exit 3."""
    book.run("UPDATE ledger_balances SET floor = 1000, version = version + 1"
             " WHERE account_id = %s", of(book, "users:a"))  # fmt: skip

    report = run(db, "fix")

    assert (report.exit_code, report.tenants[0].changed) == (3, 1)


def test_every_change_has_its_audit_row(book: Book, db: Database) -> None:
    """LR6: before and after, beside what the check had found."""
    book.run("UPDATE ledger_balances SET version = 9 WHERE account_id = %s", of(book, "users:b"))

    report = run(db, "fix")

    rows = book.run(
        "SELECT n, level, account_id, field, expected, found, action FROM ledger_replay_findings"
        " WHERE run_id = %s ORDER BY n", report.run_id,
    )  # fmt: skip
    at = book.run("SELECT last_posted_at::text FROM ledger_balances WHERE account_id = %s",
                  of(book, "users:b"))[0][0]  # fmt: skip
    now, then = f"0 40 0 25 2 {at}", f"0 40 0 25 9 {at}"
    assert rows == [
        (1, "L3", of(book, "users:b"), "version", "2", "9", None),
        (2, "L3", of(book, "users:b"), "balance", now, then, "set"),
    ]
    runs = book.run("SELECT mode, changed, verdict, exit_code FROM ledger_replay_runs")
    assert runs == [("fix", 1, "clean", 0)]


def test_a_clean_book_is_not_changed(book: Book, db: Database) -> None:
    """LR3."""
    before = contents(book)

    assert [run(db, mode).data["changed"] for mode in ("fix", "rebuild")] == [0, 0]
    assert contents(book) == before


def test_a_fix_beside_traffic_is_exact(
    book: Book, db: Database, postgres: PostgresServer, scratch: str
) -> None:
    """LR3: locked and compared again, so that nothing posted meanwhile is lost."""
    stop = threading.Event()

    def post() -> None:
        with psycopg.connect(postgres.url(scratch, OWNER_ROLE)) as conn:
            while not stop.is_set():
                with conn.transaction():
                    _transfer(conn)

    writers = [threading.Thread(target=post) for _ in range(3)]
    for writer in writers:
        writer.start()
    try:
        for _ in range(5):
            book.run("UPDATE ledger_balances SET credits_posted = credits_posted + 7"
                     " WHERE account_id = %s", of(book, "hot"))  # fmt: skip
            assert run(db, "fix").exit_code == 0
    finally:
        stop.set()
        for writer in writers:
            writer.join()

    assert run(db, None).findings == []


def _transfer(conn: psycopg.Connection[Any]) -> None:
    """Move 1 from the bank to hot, with the locks of a posting, in one statement after them."""
    conn.execute(
        "SELECT FROM ledger_balances WHERE stripe = 0 ORDER BY account_id FOR NO KEY UPDATE"
    )
    conn.execute(
        "WITH leg AS (SELECT b.account_id, CASE a.code WHEN 'bank' THEN -1 ELSE 1 END AS side"
        " FROM ledger_balances AS b JOIN ledger_accounts AS a USING (account_id)"
        " WHERE a.code IN ('bank', 'hot') AND b.stripe = 0),"
        " clock AS (SELECT greatest(clock_timestamp(), max(b.last_posted_at)"
        " + interval '1 microsecond') AS at FROM ledger_balances AS b WHERE b.stripe = 0),"
        " header AS (INSERT INTO ledger_transactions (tenant_id, id, kind, status, posted_at,"
        " effective_at, debit_accounts, credit_accounts, amounts, actor, request_id)"
        " SELECT 'acme', gen_random_uuid(), 'post', 'applied', c.at, c.at,"
        " ARRAY(SELECT account_id FROM leg WHERE side = -1),"
        " ARRAY(SELECT account_id FROM leg WHERE side = 1), '{1}', 'x', 'x' FROM clock AS c"
        " RETURNING id, posted_at),"
        " moved AS (UPDATE ledger_balances AS b SET version = b.version + 1,"
        " debits_posted = b.debits_posted + (l.side = -1)::int,"
        " credits_posted = b.credits_posted + (l.side = 1)::int, last_posted_at = h.posted_at"
        " FROM leg AS l, header AS h WHERE b.account_id = l.account_id AND b.stripe = 0"
        " RETURNING b.account_id, b.version, l.side)"
        " INSERT INTO ledger_entries (tenant_id, account_id, stripe, posted_at, version, tx_id,"
        " leg, side, posted, effective_at, balance_after)"
        " SELECT 'acme', m.account_id, 0, h.posted_at, m.version, h.id, 1, m.side, 1, h.posted_at,"
        " 1 + coalesce((SELECT e.balance_after FROM ledger_entries AS e WHERE"
        " e.account_id = m.account_id AND e.stripe = 0 ORDER BY e.posted_at DESC, e.version DESC"
        " LIMIT 1), 0) FROM moved AS m, header AS h"
    )


# --- Repair -------------------------------------------------------------------------------------

DAMAGES = [
    "UPDATE ledger_entries SET posted = posted + 1 WHERE posted = 40 AND side = 1",
    "UPDATE ledger_entries SET balance_after = balance_after + 1",
    "UPDATE ledger_entries SET version = version + 10 WHERE version = 2",
    "DELETE FROM ledger_entries WHERE posted = 40",
    "DELETE FROM ledger_entries",
    "UPDATE ledger_entries SET effective_at = 'epoch', pending = 3 WHERE posted = 100",
    """INSERT INTO ledger_entries SELECT tenant_id, account_id, stripe,
    posted_at - interval '1 microsecond', version + 1, gen_random_uuid(), 1, side, 77, 0,
    posted_at, balance_after FROM ledger_entries WHERE posted = 40""",
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_entries_are_made_anew_from_sealed_transactions(
    book: Book, db: Database, owner: Database, damage: str
) -> None:
    """LR5: then the balances, and all is as it was."""
    seal_all(sealing(db))
    before = contents(book)
    book.run(damage)
    book.run("UPDATE ledger_balances SET credits_posted = credits_posted + 1")

    report = run(owner, "repair")

    assert report.tenants[0].refusal is None
    assert contents(book) == before
    assert report.exit_code == 0
    ((rows,),) = book.run("SELECT count(*) FROM ledger_replay_findings WHERE action IS NOT NULL")
    assert rows == report.tenants[0].changed > 0


def test_nothing_is_repaired_without_a_proof(book: Book, owner: Database) -> None:
    """LR5: header and entry differ, no checkpoint says which is right: a person has to look."""
    book.run(DAMAGES[0])
    before = contents(book)

    report = run(owner, "repair")

    assert contents(book) == before
    assert (report.exit_code, report.tenants[0].changed) == (5, 0)
    assert "proves which side is right" in (report.tenants[0].refusal or "")


def test_what_is_not_sealed_yet_is_not_repaired(book: Book, db: Database, owner: Database) -> None:
    """LR5: the newest transaction lies behind the checkpoint; it is named."""
    seal_all(sealing(db))
    tx_id = book.post(("bank", "users:a", 8), at=datetime.now(UTC))
    book.run("UPDATE ledger_entries SET posted = 9 WHERE tx_id = %s AND side = 1", tx_id)
    before = contents(book)

    report = run(owner, "repair")

    assert contents(book) == before
    assert str(tx_id) in (report.tenants[0].refusal or "")


def test_a_changed_transaction_is_never_repaired(book: Book, db: Database, owner: Database) -> None:
    """LR6: no option changes or invents one."""
    seal_all(sealing(db))
    book.run("UPDATE ledger_transactions SET amounts = '{41}' WHERE amounts = '{40}'")
    before = contents(book)

    report = run(owner, "repair")

    assert contents(book) == before
    assert (report.exit_code, report.tenants[0].changed) == (5, 0)


def test_a_repair_needs_the_owner(book: Book, db: Database) -> None:
    """LR5, LI7: the application's role can neither change nor delete an entry."""
    seal_all(sealing(db))
    book.run(DAMAGES[0])

    with pytest.raises(OwnerNeeded):
        run(db, "repair")
