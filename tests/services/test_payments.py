"""What payments post to the ledger, and what the ledger refuses them (P30 to P34)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from persistence.db_connection import DeadlineConnection
from services.payment_commands import HOUSE_STRIPES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.world import World

BALANCES = """
    SELECT replace(a.code, %s, 'me'), sum(b.debits_posted)::bigint, sum(b.credits_posted)::bigint
    FROM ledger_accounts AS a
    INNER JOIN ledger_balances AS b USING (tenant_id, account_id)
    GROUP BY a.code ORDER BY a.code
"""


def balances(world: World) -> dict[str, tuple[int, int]]:
    """Return {account: (debits, credits)}, over all stripes."""
    return {code: (dr, cr) for code, dr, cr in world.rows(BALANCES, world.user_id)}


def test_a_capture_splits_the_money_into_fee_and_balance(world: World) -> None:
    """P30: one transaction, legs of 0 left out."""
    world.command(world.payment(1000), "capture", {"fee_minor": 30})
    assert balances(world) == {
        "gateways:manual:clearing": (1000, 0),
        "platform:fees": (0, 30),
        "users:me:available": (0, 970),
    }


@pytest.mark.parametrize(("fee_minor", "legs"), [(0, 1), (30, 2), (1000, 1)])
def test_legs_of_nothing_are_left_out(world: World, fee_minor: int, legs: int) -> None:
    """P30."""
    world.command(world.payment(1000), "capture", {"fee_minor": fee_minor})
    assert world.rows("SELECT cardinality(amounts) FROM ledger_transactions") == [(legs,)]


def test_a_posting_names_its_event(world: World) -> None:
    """P30: reference `payment:<id>:<seq>`, so no event is posted twice by whatever road."""
    payment_id = world.authorized(1000)
    world.command(payment_id, "capture")
    assert world.rows("SELECT reference FROM ledger_transactions") == [(f"payment:{payment_id}:3",)]


@pytest.mark.parametrize("command", ["authorize", "cancel", "fail"])
def test_a_promise_is_not_yet_money(world: World, command: str) -> None:
    """Section 5: all other events post nothing."""
    body = {"failure_code": "no"} if command == "fail" else {}
    assert world.command(world.payment(), command, body).status_code == 200
    assert world.rows("SELECT count(*) FROM ledger_transactions") == [(0,)]


def test_writers_spread_over_the_stripes_of_a_hot_account(world: World) -> None:
    """LS1, LS4: each goes to a row of its own, and the sum is exact."""
    stripes = iter(range(4))
    world.services.payments._commands._stripe = lambda: next(stripes)
    for _ in range(4):
        world.command(world.payment(100), "capture")
    used = world.rows(
        "SELECT b.stripe FROM ledger_balances AS b INNER JOIN ledger_accounts AS a"
        " USING (tenant_id, account_id) WHERE a.code = 'gateways:manual:clearing' AND b.version > 0"
        " ORDER BY 1"
    )
    assert used == [(0,), (1,), (2,), (3,)]
    assert balances(world)["gateways:manual:clearing"] == (400, 0)
    rows = world.rows("SELECT stripes FROM ledger_accounts WHERE code ~ '^gateways:'")
    assert rows == [(HOUSE_STRIPES,)]


# --- What the ledger refuses --------------------------------------------------------------------


@pytest.fixture
def alter(world: World, database_admin: str) -> Iterator[Callable[[str], None]]:
    """Change the user's balance row past the service, which has no such command yet."""
    world.command(world.payment(100), "capture")

    def change(assignment: str) -> None:
        with psycopg.connect(database_admin, autocommit=True) as conn:
            conn.execute(
                f"UPDATE ledger_balances AS b SET {assignment} FROM ledger_accounts AS a"
                " WHERE a.account_id = b.account_id AND a.code LIKE 'users:%'"
            )

    yield change
    change("status = 'open', ceiling = NULL")


@pytest.mark.parametrize(
    ("assignment", "status", "code"),
    [
        ("status = 'frozen'", 409, "account_frozen"),
        ("status = 'closed'", 409, "account_closed"),
        ("ceiling = 150", 422, "ceiling_exceeded"),
    ],
)
def test_an_account_that_takes_nothing_refuses_the_capture(
    world: World, alter: Callable[[str], None], assignment: str, status: int, code: str
) -> None:
    """P31: nothing changes; LA9, LA5."""
    payment_id = world.authorized(100)
    alter(assignment)
    answer = world.command(payment_id, "capture")
    assert (answer.status_code, answer.json["code"]) == (status, code)
    assert world.read(payment_id)["status"] == "authorized"


def test_a_sum_beyond_a_balance_is_refused(world: World, database_admin: str) -> None:
    """P1, LP11: decided before the write, so the statement does not fail."""
    world.command(world.payment(100), "capture")
    grow = """
        UPDATE ledger_balances AS b SET credits_posted = credits_posted + %s
        FROM ledger_accounts AS a WHERE a.account_id = b.account_id AND a.code LIKE 'users:%%'
    """
    most = 2**62 - 150
    payment_id = world.authorized(100)
    with psycopg.connect(database_admin, autocommit=True) as conn:
        conn.execute(grow, [most])
        answer = world.command(payment_id, "capture")
        conn.execute(grow, [-most])
    assert (answer.status_code, answer.json["code"]) == (422, "amount_overflow")


# --- The ledger switched off --------------------------------------------------------------------


def test_without_the_ledger_a_capture_is_noted_as_unposted(silent_world: World) -> None:
    """P34: commands do all but post."""
    payment_id = silent_world.payment(1000)
    assert silent_world.command(payment_id, "capture").json["status"] == "captured"
    assert silent_world.rows("SELECT unposted FROM payments") == [(True,)]
    assert silent_world.rows("SELECT count(*) FROM ledger_accounts") == [(0,)]


def test_the_ledger_must_catch_up_before_the_next_posting(
    silent_world: World, awake: World
) -> None:
    """P34: true again, a command that posts waits; others pass."""
    payment_id = silent_world.authorized(1000, capture_method="manual_multiple")
    silent_world.command(payment_id, "capture", {"amount_minor": 100})
    answer = awake.command(payment_id, "capture", {"amount_minor": 100})
    assert (answer.status_code, answer.json["code"]) == (409, "ledger_behind")
    assert (answer.json["retryable"], answer.headers["Retry-After"]) == (True, "5")
    assert awake.command(payment_id, "void").status_code == 200


# --- One statement ------------------------------------------------------------------------------


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The statement files that are sent from now on, in order."""
    names: list[str] = []
    plain = DeadlineConnection.send

    def watched(connection: DeadlineConnection, statement: Any, values: Any) -> Any:
        names.append(statement.name)
        return plain(connection, statement, values)

    monkeypatch.setattr(DeadlineConnection, "send", watched)
    return names


def test_a_command_is_one_write_beside_the_proof_of_the_key(world: World, sent: list[str]) -> None:
    """AW1, decision 2: one use case, one round trip, one commit."""
    payment_id = world.payment()
    world.command(world.payment(), "capture")  # Opens the accounts.
    sent.clear()
    world.command(payment_id, "capture")
    assert sent == ["api_keys/authenticate", "payments/capture"]
