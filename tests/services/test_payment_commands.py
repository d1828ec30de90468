"""One statement per command: its answer, what is told first, a cut in the middle (P21 to P25)."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from tests.world import new_key

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.world import World

WAITING = "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE %s"


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("authorize", {"amount_minor": 700}),
        ("capture", {"amount_minor": 700, "fee_minor": 7}),
        ("cancel", {}),
        ("fail", {"failure_code": "declined", "failure_message": "No."}),
    ],
)
def test_a_command_answers_with_the_row_as_it_will_be(
    world: World, name: str, body: dict[str, Any]
) -> None:
    """P21: the answer is computed before anything is written, and equals the next read."""
    payment_id = world.payment(1_000, metadata={"a": "b"}, description="text")
    answer = world.command(payment_id, name, body)
    assert answer.status_code == 200
    assert answer.json == world.read(payment_id)
    assert answer.headers["ETag"] == f'"{answer.json["version"]}"'


def test_a_claim_that_is_lost_leaves_nothing(world: World) -> None:
    """P21: the statement of a used key gives no row: neither effect nor exception."""
    payment_id, key = world.authorized(1_000, capture_method="manual_multiple"), new_key()
    world.command(payment_id, "capture", {"amount_minor": 300}, key=key)
    before = world.rows(COUNTS)
    other = world.command(payment_id, "capture", {"amount_minor": 301}, key=key)
    assert (other.status_code, other.json["code"]) == (422, "idempotency_key_reused")
    assert world.rows(COUNTS) == before


COUNTS = (
    "SELECT (SELECT count(*) FROM payment_captures), (SELECT count(*) FROM payment_events),"
    " (SELECT count(*) FROM ledger_entries), (SELECT count(*) FROM idempotency_keys)"
)


def test_the_retry_of_a_command_that_worked_is_a_replay(world: World) -> None:
    """P23: though its If-Match is old, its state has passed and its reference is used."""
    payment_id, key = world.authorized(1_000), new_key()
    body = {"reference": "box-1"}
    first = world.command(payment_id, "capture", body, key=key, If_Match='"2"')
    assert first.status_code == 200
    again = world.command(payment_id, "capture", body, key=key, If_Match='"2"')
    assert (again.status_code, again.data) == (200, first.data)
    assert again.headers["Idempotent-Replayed"] == "true"


def test_of_several_reasons_the_first_in_order_is_told(world: World) -> None:
    """P23: key, payment, If-Match, state, amounts, funds: each hides those behind it."""
    payment_id, key = world.captured(1_000), new_key()
    world.resolve(world.disputed(payment_id, 400), "lost", fee_minor=100)
    world.command(payment_id, "refunds", {"amount_minor": 1}, key=key)
    nobody = "00000000-0000-7000-8000-000000000000"
    too_much = {"amount_minor": 10_000}

    def code(of: str, name: str, body: dict[str, Any], **more: Any) -> str:
        return str(world.command(of, name, body, **more).json["code"])

    old = {"If_Match": '"1"'}
    assert code(payment_id, "refunds", too_much, key=key, **old) == "idempotency_key_reused"
    assert code(nobody, "refunds", too_much, **old) == "not_found"
    assert code(payment_id, "refunds", too_much, **old) == "version_mismatch"
    assert code(payment_id, "capture", too_much) == "invalid_state"
    assert code(payment_id, "refunds", too_much) == "amount_exceeds_refundable"
    assert code(payment_id, "refunds", {"amount_minor": 599}) == "insufficient_funds"


def test_a_used_reference_undoes_the_claim_of_create(world: World) -> None:
    """P24: there was no row to lock; the key is as if it had never been sent."""
    key = new_key()
    body = {"amount_minor": 5, "currency": "EUR", "user_id": world.user_id, "reference": "once"}
    world.post("/v1/payments", body)
    refused = world.post("/v1/payments", body, key=key)
    assert (refused.status_code, refused.json["code"]) == (409, "duplicate_reference")
    assert world.get(f"/v1/idempotency-keys?key={key}").json["state"] == "unknown"
    made = world.post("/v1/payments", {**body, "reference": "twice"}, key=key)
    assert (made.status_code, made.headers["Idempotency-Status"]) == (201, "stored")


# --- Cut in the middle --------------------------------------------------------------------------


@pytest.fixture
def admin_conn(database_admin: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection that may look at others and end them."""
    with psycopg.connect(database_admin, autocommit=True) as conn:
        yield conn


def waiting(conn: psycopg.Connection[Any], file: str) -> int:
    """Return the pid of the server process that waits in this statement for a lock."""
    while True:
        row = conn.execute(WAITING, [f"-- {file}:%"]).fetchone()
        if row is not None:
            return int(row[0])
        threading.Event().wait(0.005)


def test_a_statement_whose_connection_breaks_is_sent_once_more(
    world: World, database: str, admin_conn: psycopg.Connection[Any]
) -> None:
    """P25: it had not committed, so it runs now; the client notices nothing."""
    payment_id, key = world.authorized(1_000), new_key()
    with psycopg.connect(database) as other, ThreadPoolExecutor(1) as client:
        other.execute("SELECT FROM payments WHERE id = %s FOR UPDATE", [payment_id])
        sent = client.submit(world.command, payment_id, "capture", key=key)
        admin_conn.execute("SELECT pg_terminate_backend(%s)", [waiting(admin_conn, CAPTURE)])
        waiting(admin_conn, CAPTURE)  # The second try.
        other.rollback()
        answer = sent.result()
    assert (answer.status_code, answer.headers["Idempotency-Status"]) == (200, "stored")
    assert world.read(payment_id)["captured_minor"] == 1_000
    assert world.rows("SELECT count(*) FROM payment_captures") == [(1,)]


CAPTURE = "payments/capture"


def test_events_of_a_payment_have_transaction_ids_in_their_order(
    world: World, database: str, admin_conn: psycopg.Connection[Any]
) -> None:
    """E2: who waits for the lock has drawn none yet, so whoever comes second has the higher one."""
    payment_id = world.payment(1_000)
    with psycopg.connect(database) as other, ThreadPoolExecutor(1) as client:
        other.execute("SELECT FROM payments WHERE id = %s FOR UPDATE", [payment_id])
        sent = client.submit(world.command, payment_id, "capture")
        pid = waiting(admin_conn, CAPTURE)
        drawn = "SELECT backend_xid FROM pg_stat_activity WHERE pid = %s"
        assert admin_conn.execute(drawn, [pid]).fetchone() == (None,)
        other.rollback()
        assert sent.result().status_code == 200
    world.command(payment_id, "refunds", {"amount_minor": 1})
    rows = world.rows(
        "SELECT array_agg(xid::text::bigint ORDER BY seq) FROM payment_events"
        " WHERE payment_id = %s",
        payment_id,
    )
    assert rows[0][0] == sorted(set(rows[0][0]))
