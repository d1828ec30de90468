"""Every rule of sql/checks: silent on a right database, loud when it is broken (AT3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from persistence import sql_files
from persistence.db import Database, DbSettings
from persistence.embedded_postgres import APP_ROLE, OWNER_ROLE
from services.webhook_queue import WebhookQueue
from tests.book import Book, unchecked_clone
from tests.people import store_session
from tests.sealing import seal_all, sealing
from tests.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import PostgresServer

pytestmark = pytest.mark.database  # Runs on 16 too.

CHECKS = sorted(path.stem for path in sql_files.ROOT.glob("checks/*.sql"))
CAPTURED = "(SELECT id FROM payments WHERE status = 'captured' AND fee_minor > 0)"
POSTING = "reference LIKE 'payment:%' AND cardinality(amounts) = 2"
ENTRY = f"tx_id = (SELECT id FROM ledger_transactions WHERE {POSTING}) AND leg = 2 AND side = 1"

# What each rule is there for, done to a right database.
BREAKS = {
    "users_passwords": [
        "UPDATE users SET password_params = jsonb_set(password_params, '{m}', '4')",
        "UPDATE users SET password_algo = 'argon2i' WHERE password_algo = 'argon2id'",
        (
            "UPDATE users SET password_hash = '$2b$12$abc', password_algo = 'bcrypt',"
            " password_params = '{\"cost\": 4}'"
        ),
        "UPDATE users SET status = 'deleted'",
        "UPDATE users SET password_hash_version = 2",
        "UPDATE users SET session_epoch = session_epoch + 1",
        "UPDATE auth_sessions SET epoch = epoch + 1",
    ],
    "ledger_entries": [
        f"UPDATE ledger_entries SET posted = posted + 1 WHERE {ENTRY}",
        f"UPDATE ledger_entries SET leg = 1 WHERE {ENTRY}",
        f"DELETE FROM ledger_entries WHERE {ENTRY}",
        f"UPDATE ledger_transactions SET amounts = '{{1,1}}' WHERE {POSTING}",
        f"UPDATE ledger_transactions SET status = 'rejected' WHERE {POSTING}",
        (
            "INSERT INTO ledger_entries SELECT tenant_id, account_id, stripe, posted_at,"
            " version + 9, tx_id, leg, side, posted, pending, effective_at, balance_after"
            " FROM ledger_entries"
            f" WHERE {ENTRY}"
        ),
    ],
    "ledger_double_entry": [
        f"UPDATE ledger_entries SET posted = posted + 1 WHERE {ENTRY}",
        "UPDATE ledger_balances SET credits_posted = credits_posted + 1 WHERE floor = 0",
        "UPDATE ledger_balances SET debits_pending = debits_pending + 1 WHERE floor = 0",
        "UPDATE ledger_accounts SET currency = 'USD' WHERE code = 'platform:fees'",
    ],
    "ledger_balances": [
        "UPDATE ledger_balances SET debits_posted = debits_posted + 1 WHERE floor = 0",
        "UPDATE ledger_balances SET credits_pending = credits_pending + 1 WHERE floor = 0",
        "UPDATE ledger_balances SET version = version + 1 WHERE floor = 0",
        "UPDATE ledger_balances SET last_posted_at = now() + interval '1 s' WHERE floor = 0",
        f"DELETE FROM ledger_entries WHERE {ENTRY}",
        "DELETE FROM ledger_balances WHERE version > 0",
    ],
    "ledger_versions": [
        f"UPDATE ledger_entries SET version = version + 1 WHERE {ENTRY}",
        f"UPDATE ledger_entries SET balance_after = balance_after + 1 WHERE {ENTRY}",
        "UPDATE ledger_entries SET tx_id = gen_random_uuid() WHERE leg = 2",
        "UPDATE ledger_entries SET posted_at = 'epoch'",
        "UPDATE ledger_entries SET leg = 3 - leg",
        "UPDATE ledger_accounts SET normal_side = -normal_side",
    ],
    "ledger_limits": [
        "UPDATE ledger_balances SET floor = 100000 WHERE floor = 0",
        "UPDATE ledger_balances SET ceiling = 1 WHERE floor = 0",
        "UPDATE ledger_balances SET status = 'closed' WHERE floor = 0",
    ],
    "ledger_holds": [
        "DELETE FROM ledger_holds",
        "UPDATE ledger_holds SET remaining = 1",
        "UPDATE ledger_balances SET debits_pending = debits_pending + 1 WHERE floor = 0",
    ],
    "ledger_links": [
        f"DELETE FROM ledger_transactions WHERE {POSTING}",
        f"UPDATE ledger_transactions SET debit_accounts = '{{0,0}}' WHERE {POSTING}",
        f"UPDATE ledger_entries SET account_id = 0 WHERE {ENTRY}",
        "UPDATE ledger_entries SET stripe = 63 WHERE leg = 1",
        "DELETE FROM ledger_balances WHERE version = 0",
        "UPDATE ledger_accounts SET stripes = stripes + 1",
        "UPDATE ledger_balances SET currency = 'USD' WHERE floor = 0",
        "UPDATE ledger_transactions SET hold_id = NULL",
    ],
    "ledger_leaves": [
        "DELETE FROM ledger_leaves WHERE idx = 0",
        "UPDATE ledger_leaves SET idx = idx + 100 WHERE idx = 0",
        "UPDATE ledger_leaves SET tx_id = gen_random_uuid() WHERE idx = 0",
        "UPDATE ledger_seal_state SET sealed_through = 'epoch'",
        "UPDATE ledger_seal_state SET tree_size = tree_size + 1",
        "UPDATE ledger_transactions SET posted_at = 'epoch' WHERE kind = 'hold'",
    ],
    "ledger_seals": [
        "INSERT INTO ledger_tiles (tenant_id, level, n, hashes) VALUES ('acme', 0, 0, '')",
        "UPDATE ledger_seal_state SET tree_size = 256 WHERE tenant_id = 'acme'",
        "UPDATE ledger_seals SET tree_size = 999 WHERE tenant_id = 'acme'",
        "UPDATE ledger_seals SET sealed_through = 'infinity'",
        (
            "INSERT INTO ledger_seals (tenant_id, tree_size, root, sealed_through, note)"
            " VALUES ('acme', 1, '', now(), '')"
        ),
    ],
    "payments_currency": [
        "UPDATE payments SET currency = 'QQQ'",
        "UPDATE ledger_accounts SET currency = 'QQQ'",
    ],
    "payments_keys": [
        "UPDATE idempotency_keys SET resource_id = gen_random_uuid()",
        "UPDATE idempotency_keys SET resource_type = 'refund'",
        "UPDATE idempotency_keys SET resource_type = 'dispute'",
        "UPDATE idempotency_keys SET resource_type = 'ledger_transaction'",
        "UPDATE idempotency_keys SET resource_type = 'secret'",
        "UPDATE idempotency_keys SET resource_type = NULL",
    ],
    "payments_events": [
        "UPDATE payment_events SET seq = seq + 10 WHERE type = 'payment.captured'",
        "DELETE FROM payment_events WHERE seq = 1",
        "DELETE FROM payment_events WHERE seq = 2",
        "UPDATE payment_events SET status_from = 'voided' WHERE seq = 2",
        "UPDATE payment_events SET status_from = NULL WHERE seq = 2",
        "UPDATE payment_events SET status_to = 'created' WHERE seq = 2",
        "UPDATE payment_events SET type = 'payment.unheard_of' WHERE seq = 2",
        "UPDATE payment_events SET type = 'payment.captured' WHERE type = 'payment.voided'",
        "UPDATE payment_events SET type = 'payment.refunded' WHERE type = 'payment.captured'",
        "UPDATE payment_events SET type = 'payment.cancelled' WHERE type = 'payment.voided'",
        "UPDATE payment_events SET amount_minor = amount_minor + 1 WHERE seq = 2",
        "UPDATE payment_events SET amount_minor = NULL WHERE type = 'payment.captured'",
        'UPDATE payment_events SET after = after || \'{"status": "voided"}\' WHERE seq = 2',
        "UPDATE payment_events SET after = after || '{\"fee_minor\": 999999}' WHERE seq = 2",
        "UPDATE payment_events SET after = after || '{\"voided_minor\": 1}' WHERE seq = 2",
        "UPDATE payment_events SET after = after - 'refunded_minor' WHERE seq = 2",
        "UPDATE payment_events SET after = '{}' WHERE seq = 1",
    ],
    "payments_amounts": [
        f"UPDATE payments SET version = version + 1 WHERE id = {CAPTURED}",
        f"UPDATE payments SET fee_minor = fee_minor + 1 WHERE id = {CAPTURED}",
        f"UPDATE payments SET capture_before = now() WHERE id = {CAPTURED}",
        "UPDATE payments SET end_reason = 'expired', status = 'expired' WHERE status = 'voided'",
        "DELETE FROM payment_captures",
        "DELETE FROM payment_events WHERE seq = 2",
        "UPDATE payment_captures SET fee_minor = 0",
        (
            "INSERT INTO payment_refunds (tenant_id, id, payment_id, amount_minor, created_at)"
            f" SELECT 'default', gen_random_uuid(), {CAPTURED}, 1, now()"
        ),
        (
            "INSERT INTO payment_disputes (tenant_id, id, payment_id, reference, amount_minor,"
            " reason, created_at, updated_at)"
            f" SELECT 'default', gen_random_uuid(), {CAPTURED}, 'd', 1, 'r', now(), now()"
        ),
    ],
    "payments_links": [
        "UPDATE payment_events SET payment_id = gen_random_uuid()",
        "UPDATE payment_events SET object_id = gen_random_uuid()",
        "UPDATE payment_events SET object_id = NULL",
        "UPDATE payment_events SET amount_minor = amount_minor + 1",
        "UPDATE payment_events SET type = 'payment.dispute_opened' WHERE seq = 2",
        "DELETE FROM payment_captures",
    ],
    "payments_postings": [
        f"DELETE FROM ledger_transactions WHERE {POSTING}",
        f"UPDATE ledger_transactions SET reference = reference || '0' WHERE {POSTING}",
        f"UPDATE ledger_transactions SET amounts = '{{1,1}}' WHERE {POSTING}",
        (
            "UPDATE ledger_transactions SET debit_accounts = credit_accounts,"
            f" credit_accounts = debit_accounts WHERE {POSTING}"
        ),
        "UPDATE ledger_accounts SET code = 'platform:charges' WHERE code = 'platform:fees'",
        "UPDATE ledger_accounts SET currency = 'USD'",
        "UPDATE ledger_transactions SET reference = 'payment:' || id WHERE reference IS NULL",
        "DELETE FROM payment_events WHERE type = 'payment.captured'",
    ],
    "webhooks_positions": [
        "UPDATE webhook_endpoints SET position_xid = '4611686018427387904'",
        "UPDATE webhook_endpoints SET position_epoch = 2",
    ],
    "webhooks_links": [
        "UPDATE webhook_endpoints SET position_xid = '0'",
        "UPDATE webhook_deliveries SET payment_id = gen_random_uuid() WHERE seq = 1",
        "UPDATE webhook_deliveries SET seq = seq + 100",
    ],
    "webhooks_order": [
        "UPDATE webhook_deliveries SET next_attempt_at = NULL",
        "UPDATE webhook_deliveries SET next_attempt_at = now()",
        "DELETE FROM webhook_deliveries WHERE seq = 1",
    ],
    "payments_ledger": [
        f"UPDATE ledger_entries SET posted = posted + 1 WHERE {ENTRY}",
        f"DELETE FROM ledger_entries WHERE {ENTRY}",
        f"DELETE FROM ledger_transactions WHERE {POSTING}",
        f"UPDATE payments SET fee_minor = fee_minor + 1 WHERE id = {CAPTURED}",
        "UPDATE ledger_accounts SET code = 'platform:charges' WHERE code = 'platform:fees'",
    ],
}


@pytest.fixture(scope="module")
def right(
    postgres: PostgresServer,
    admin: psycopg.Connection[Any],
    template: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[str]:
    """Name of a database with payments of every state, deliveries, a hold, a floor passed."""
    with unchecked_clone(admin, template) as name:
        world = World(postgres.url(name, APP_ROLE), tmp_path_factory.mktemp("var"))
        endpoint, _ = world.services.webhooks.create("default", "https://a.example/", "cli:test")
        _make_payments(world)
        _make_people(world, postgres.url(name, APP_ROLE))
        WebhookQueue(world.services.db).fan_out("default", endpoint.id, 1_000)
        world.close()
        _capture_without_ledger(postgres.url(name, APP_ROLE), tmp_path_factory.mktemp("var"))
        with Book(postgres.url(name, OWNER_ROLE)) as book:
            book.open("bank", side=-1)
            book.open("users:a", floor=0)
            book.post(("bank", "users:a", 100))
            book.hold("users:a", "bank", 30)
            book.post(("users:a", "bank", 500), forced=True)
        _seal(postgres.url(name, APP_ROLE))
        yield name


def _make_payments(world: World) -> None:
    commands: list[tuple[str, dict[str, Any]]] = [
        ("capture", {"fee_minor": 150}),
        ("cancel", {}),
        ("fail", {"failure_code": "card_declined"}),
        ("authorize", {}),
    ]
    for command, body in commands:
        assert world.command(world.payment(5000), command, body).status_code == 200
    assert world.command(world.authorized(5000), "void").status_code == 200
    pieces = world.authorized(5000, capture_method="manual_multiple")
    for amount in (1000, 2000):
        answer = world.command(pieces, "capture", {"amount_minor": amount})
        assert answer.status_code == 200
    assert world.command(pieces, "void").status_code == 200


def _make_people(world: World, url: str) -> None:
    given = {"tenant_id": "default", "email": "ada@x.de", "role": "user"}
    password = world.services.passwords.chosen("correct horse", **given)
    ada = world.services.users.create("default", "ada@x.de", "cli:test", password=password)
    store_session(url, ada.id)
    gone = world.new_user()
    world.services.users.erase("default", gone.id, "cli:test")


def _capture_without_ledger(url: str, var_dir: Path) -> None:
    """P34: such a payment waits for ledger-catch-up, and breaks no rule until then."""
    world = World(url, var_dir, FEATURE_LEDGER_ENABLED="false")
    assert world.command(world.payment(700), "capture").status_code == 200
    world.close()


def _seal(url: str) -> None:
    db = Database(url, DbSettings(pool_size=1))
    for tenant_id in ("acme", "default"):
        seal_all(sealing(db), tenant_id)
    db.close()


@pytest.fixture
def conn(postgres: PostgresServer, right: str) -> Iterator[psycopg.Connection[Any]]:
    """A transaction in it, of which nothing stays."""
    with psycopg.connect(postgres.url(right, OWNER_ROLE)) as opened:
        yield opened
        opened.rollback()


def broken(conn: psycopg.Connection[Any], check: str) -> list[tuple[Any, ...]]:
    return conn.execute((sql_files.ROOT / "checks" / f"{check}.sql").read_bytes()).fetchall()


@pytest.mark.parametrize("check", CHECKS)
def test_a_right_database_breaks_no_rule(conn: psycopg.Connection[Any], check: str) -> None:
    """AT3, P34, LI5: payments of every state, posted or not, and what only force may do."""
    assert broken(conn, check) == []


@pytest.mark.parametrize(
    ("check", "change"), [(check, change) for check in BREAKS for change in BREAKS[check]]
)
def test_a_broken_rule_is_told(conn: psycopg.Connection[Any], check: str, change: str) -> None:
    """LI1 to LI5, E1, P3, P30, P32: each rule finds what it is there for."""
    assert conn.execute(change.encode()).rowcount > 0

    assert broken(conn, check) != []


def test_every_rule_is_broken_once() -> None:
    """AT3: a rule that nothing breaks may say nothing."""
    assert sorted(BREAKS) == CHECKS


@pytest.mark.parametrize("check", CHECKS)
def test_a_rule_is_a_read_that_ends(check: str) -> None:
    """AQ4: it has its header, no parameter, and at most 100 rows however much is wrong."""
    file = sql_files.load(f"checks/{check}")

    assert (file.kind, file.returns, file.scan, file.params) == ("read", "many", "all", ())
    assert file.query.rstrip().endswith("LIMIT 100;")
