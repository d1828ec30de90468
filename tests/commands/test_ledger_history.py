"""`flask ledger-history`: what it prints, and how it exits."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from commands.ledger_history import ledger_history
from tests.commands.test_auth import Flask
from tests.teller import Teller, posting

if TYPE_CHECKING:
    from pathlib import Path

    from tests.world import World


@pytest.fixture
def flask(database: str, tmp_path: Path) -> Flask:
    return Flask({"DATABASE_URL": database, "REDIS_URL": "off", "VAR_DIR": str(tmp_path)})


@pytest.fixture
def teller(world: World) -> Teller:
    """A bank, and a shop that got 10.00 today and 2.50 that count since yesterday."""
    made = Teller(world)
    made.open("bank", "debit")
    made.open("shop")
    made.post(("bank", "shop", 1000))
    yesterday = datetime.now(UTC) - timedelta(days=1)
    made.send(posting(("bank", "shop", 250), effective_at=yesterday))
    return made


def test_balances_of_any_moment_are_shown(teller: Teller, flask: Flask) -> None:
    """LT2, LT3: now, by what the book said, by what counted."""
    hour_ago = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    now = flask.json(ledger_history, "balance", "shop")
    then = flask.json(ledger_history, "balance", "shop", "--as-of", hour_ago)
    counted = flask.json(ledger_history, "balance", "shop", "--effective-at", hour_ago)
    known = flask.json(
        ledger_history, "balance", "shop", "--effective-at", hour_ago, "--known-at", hour_ago
    )

    found = [each["posted_minor"] for each in (now, then, counted, known)]
    assert found == [1250, 0, 250, 0]
    assert flask(ledger_history, "balance", "shop").stdout == "shop  12.50 EUR\n"
    both = flask(ledger_history, "balance", "shop", "--as-of", hour_ago, "--effective-at", hour_ago)
    assert both.exit_code == 2
    assert flask(ledger_history, "balance", "nobody").exit_code == 3


def test_statements_go_on_after_a_cursor(teller: Teller, flask: Flask) -> None:
    """LQ1, LQ2."""
    asked = ("statement", "shop", "--order", "asc", "--limit", "1")
    first = flask.json(ledger_history, *asked)
    second = flask.json(ledger_history, *asked, "--after", str(first["next_cursor"]))
    lines = flask(ledger_history, "statement", "shop").stdout.splitlines()

    assert first["closing_minor"] == second["opening_minor"] == 1000
    assert [row["posted_minor"] for row in first["data"] + second["data"]] == [1000, 250]
    assert lines[0].endswith("credit  2.50  12.50  bank")
    assert lines[2] == "shop  0.00 to 12.50 EUR"


def test_both_columns_of_a_trial_balance_are_equal(teller: Teller, flask: Flask) -> None:
    """LI2."""
    found = flask.json(ledger_history, "trial-balance")
    lines = flask(ledger_history, "trial-balance").stdout.splitlines()

    (total,) = found["totals"]
    assert total["debit_minor"] == total["credit_minor"] == 1250
    assert lines == [
        "bank  12.50  0.00  EUR",
        "shop  0.00  12.50  EUR",
        "total  12.50  12.50  EUR",
    ]
