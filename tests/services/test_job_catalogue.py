"""What the jobs of the installation do: expired keys go, broken invariants are an alarm."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from structlog.testing import capture_logs

from persistence.checks import broken_rows
from persistence.db import Database, DbSettings
from services.job_catalogue import catalogue
from services.jobs import Ask, Finding, Jobs, JobSettings
from services.replay import RunBy
from services.sealed_keys import SealedKeys
from services.signing_keys import SigningKeys, SigningSettings
from tests.book import TENANT, Book
from tests.clients import auth_jobs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from services.jobs import Run


@pytest.fixture
def db(database: str) -> Iterator[Database]:
    made = Database(database, DbSettings(pool_size=1))
    yield made
    made.close()


@pytest.fixture
def sql(database: str) -> Iterator[Callable[..., list[tuple[Any, ...]]]]:
    with psycopg.connect(database, autocommit=True) as conn:

        def execute(query: str, *values: Any) -> list[tuple[Any, ...]]:
            cursor = conn.execute(query.encode(), values)
            return cursor.fetchall() if cursor.description else []

        yield execute


BY = RunBy(actor="job:verify-ledger", host="here", app_version="0.0.1")
KEY = """
    INSERT INTO idempotency_keys (tenant_id, scope, key, operation, fingerprint,
        fingerprint_version, kind, request_id, created_at, expires_at)
    SELECT %s, 'key:1', 'k' || n, 'POST /', '', 1, 'cancelled', 'r', now() - interval '1 day',
        now() + n * interval '1 h'
    FROM generate_series(%s::int, %s::int) AS n
"""


def nothing(_: Run) -> Iterator[int]:
    """Stand for what has tests of its own."""
    return iter([])


def keys_of(db: Database) -> SigningKeys:
    settings = SigningSettings(alg="EdDSA", ttl_s=600, max_age_s=300)
    return SigningKeys(db, SealedKeys({"old": bytes(32)}), settings)


def cleaner(db: Database) -> Jobs:
    jobs = catalogue(db, lambda: iter([]), BY, nothing, nothing, auth_jobs(db))
    return Jobs(db, jobs, JobSettings(), "here:1")


def left(sql: Callable[..., Any]) -> list[tuple[str, int]]:
    return sql("SELECT tenant_id, count(*) FROM idempotency_keys GROUP BY 1 ORDER BY 1")  # type: ignore[no-any-return]


def test_expired_keys_go_and_live_ones_stay(db: Database, sql: Callable[..., Any]) -> None:
    """K10: in batches, tenant by tenant."""
    sql("INSERT INTO tenants (tenant_id, name) VALUES ('acme', 'Acme')")
    sql(KEY, "default", -6, 3)
    sql(KEY, "acme", -4, 0)
    outcome = cleaner(db).run("idempotency-cleanup", Ask(batch=2))
    assert outcome is not None
    assert (outcome.outcome, outcome.rows) == ("ok", 12)
    assert left(sql) == [("default", 3)]


def test_the_oldest_go_first(db: Database, sql: Callable[..., Any]) -> None:
    """K10."""
    sql(KEY, "default", -6, 0)
    cleaner(db).run("idempotency-cleanup", Ask(limit=4))
    assert sql("SELECT key FROM idempotency_keys ORDER BY key") == [("k-1",), ("k-2",), ("k0",)]


def test_one_tenants_keys_go_alone(db: Database, sql: Callable[..., Any]) -> None:
    """OJ1: `--tenant`."""
    sql("INSERT INTO tenants (tenant_id, name) VALUES ('acme', 'Acme')")
    sql(KEY, "default", -2, 0)
    sql(KEY, "acme", -2, 0)
    cleaner(db).run("idempotency-cleanup", Ask(tenant_id="acme"))
    assert left(sql) == [("default", 3)]


def test_a_dry_run_counts_the_keys_that_would_go(db: Database, sql: Callable[..., Any]) -> None:
    """OJ1."""
    sql(KEY, "default", -2, 5)
    outcome = cleaner(db).run("idempotency-cleanup", Ask(dry_run=True))
    assert outcome is not None
    assert outcome.rows == 3
    assert left(sql) == [("default", 8)]


def test_a_key_that_is_being_taken_over_is_left_alone(
    db: Database, database: str, sql: Callable[..., Any]
) -> None:
    """K10: SKIP LOCKED; two clean-ups at once do not wait for each other either."""
    sql(KEY, "default", -2, 0)
    with psycopg.connect(database) as other:
        other.execute("SELECT FROM idempotency_keys WHERE key = 'k-1' FOR UPDATE")
        cleaner(db).run("idempotency-cleanup", Ask())
    assert sql("SELECT key FROM idempotency_keys") == [("k-1",)]


def checking(db: Database, root: Path) -> Jobs:
    jobs = catalogue(db, lambda: broken_rows(db, root), BY, nothing, nothing, auth_jobs(db))
    return Jobs(db, jobs, JobSettings(), "here:1")


def rule(root: Path, name: str, query: str) -> None:
    folder = root / "checks"
    folder.mkdir(exist_ok=True)
    head = (
        f"-- checks/{name}: an example.\n-- why: to be broken.\n-- params: none\n"
        "-- kind: read | returns: many\n"
    )
    (folder / f"{name}.sql").write_text(f"{head}{query};\n", "utf-8")


def test_a_broken_invariant_is_an_alarm(db: Database, tmp_path: Path) -> None:
    """Section 9: any row of sql/checks on live data, whatever its columns."""
    rule(tmp_path, "holds", "SELECT 1 WHERE false")
    rule(tmp_path, "broken", "SELECT n, 'x' AS x FROM generate_series(1, 3) AS n")
    jobs = checking(db, tmp_path)
    with capture_logs() as lines:
        outcome = jobs.run("check-invariants", Ask())
    assert outcome is not None
    assert (outcome.outcome, outcome.rows, outcome.is_finding) == ("failed", 3, True)
    assert outcome.error == f"{Finding.__name__}: broken (3)"
    alarms = [line for line in lines if line["event"] == "invariant.broken"]
    assert [(line["check"], line["rows"], line["log_level"]) for line in alarms] == [
        ("broken", 3, "error")
    ]


def test_invariants_that_hold_are_a_success(db: Database, tmp_path: Path) -> None:
    rule(tmp_path, "holds", "SELECT 1 WHERE false")
    outcome = checking(db, tmp_path).run("check-invariants", Ask())
    assert outcome is not None
    assert (outcome.outcome, outcome.rows) == ("ok", 0)


def test_books_that_are_right_are_a_success(
    db: Database, database_owner: str, sql: Callable[..., Any]
) -> None:
    """Section 9: every tenant's, and the audit rows say who looked."""
    with Book(database_owner) as book:
        book.open("bank", side=-1)
        book.open("users:a")
        book.post(("bank", "users:a", 97))
    outcome = cleaner(db).run("verify-ledger", Ask())
    assert outcome is not None
    assert (outcome.outcome, outcome.rows) == ("ok", 0)
    runs = sql("SELECT DISTINCT actor, verdict FROM ledger_replay_runs")
    assert runs == [("job:verify-ledger", "clean")]


def test_a_wrong_book_is_an_alarm(db: Database, database_owner: str) -> None:
    """Section 9: its tenant, how bad it is, how much is wrong."""
    change = "UPDATE ledger_balances SET version = version {} WHERE debits_posted > 0"
    with Book(database_owner) as book:
        book.open("bank", side=-1)
        book.open("users:a")
        book.post(("bank", "users:a", 97))
        book.run(change.format("+ 1"))
        with capture_logs() as lines:
            outcome = cleaner(db).run("verify-ledger", Ask(tenant_id=TENANT))
        book.run(change.format("- 1"))
    assert outcome is not None
    assert (outcome.outcome, outcome.is_finding) == ("failed", True)
    assert outcome.error == f"Finding: {TENANT} projection (1)"
    alarms = [line for line in lines if line["event"] == "ledger.wrong"]
    assert [(line["verdict"], line["mismatches"]) for line in alarms] == [("projection", 1)]


# --- Signing keys -------------------------------------------------------------------------------


def test_old_signing_keys_get_a_successor(db: Database, sql: Callable[..., Any]) -> None:
    """Section 12: rotate-signing-keys, 90 days; tenants without keys get none."""
    first = keys_of(db).signer("default", "user:1").kid
    jobs = cleaner(db)

    def run(*, dry_run: bool = False) -> int:
        outcome = jobs.run("rotate-signing-keys", Ask(dry_run=dry_run))
        assert outcome is not None
        assert outcome.outcome == "ok"
        return outcome.rows

    sql("INSERT INTO tenants (tenant_id, name) VALUES ('acme', 'Acme')")
    assert run() == 0
    sql("UPDATE signing_keys SET created_at = now() - interval '91 days'")
    assert run(dry_run=True) == 1
    assert run() == 1
    assert run() == 0
    states = {row.kid: row.state for row in keys_of(db).list_by_tenant("default")}
    assert states.pop(first) == "active"
    assert list(states.values()) == ["standby"]
    told = sql("SELECT subject FROM audit_log WHERE event = 'signing_key_created' ORDER BY id")
    assert told == [("user:1",), ("job:rotate-signing-keys",)]
    assert keys_of(db).published("acme") == []
