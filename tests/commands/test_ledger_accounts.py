"""`flask ledger-accounts`: what it prints, and how it exits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from commands.ledger_accounts import ledger_accounts
from tests.commands.test_auth import Flask

if TYPE_CHECKING:
    from pathlib import Path

CASH = ("shops:42:cash", "--currency", "EUR", "--side", "debit")


@pytest.fixture
def flask(database: str, tmp_path: Path) -> Flask:
    return Flask({"DATABASE_URL": database, "REDIS_URL": "off", "VAR_DIR": str(tmp_path)})


def test_an_account_is_opened_shown_changed_and_listed(flask: Flask) -> None:
    """LA7, LA8: as over HTTP."""
    made = flask.json(
        ledger_accounts, "create", *CASH, "--no-floor", "--stripes", "2", "--metadata", "till=1"
    )
    shown = flask.json(ledger_accounts, "show", "shops:42:cash")
    changed = flask.json(
        ledger_accounts, "change", "shops:42:cash", "--status", "frozen", "--floor", "-5"
    )
    listed = flask.json(ledger_accounts, "list", "--prefix", "shops:")

    assert made == shown
    assert (made["floor_minor"], made["stripes"], made["metadata"]) == (None, 2, {"till": "1"})
    assert (changed["status"], changed["floor_minor"], changed["version"]) == ("frozen", -5, 2)
    assert listed == {"data": [changed], "next_cursor": None}


def test_accounts_are_shown_as_lines(flask: Flask) -> None:
    line = "shops:42:cash  debit  open  0.00 EUR\n"
    assert flask(ledger_accounts, "create", *CASH).stdout == f"opened {line}"
    assert flask(ledger_accounts, "create", *CASH).stdout == f"there already: {line}"
    assert flask(ledger_accounts, "show", "shops:42:cash").stdout == line
    assert flask(ledger_accounts, "list").stdout == line


def test_lists_go_on_after_a_cursor(flask: Flask) -> None:
    """LQ1."""
    for code in ("a", "b"):
        flask(ledger_accounts, "create", code, *CASH[1:])
    first = flask.json(ledger_accounts, "list", "--limit", "1")

    second = flask.json(
        ledger_accounts, "list", "--limit", "1", "--after", str(first["next_cursor"])
    )

    assert [row["code"] for row in first["data"] + second["data"]] == ["a", "b"]


@pytest.mark.parametrize(
    ("arguments", "exit_code"),
    [
        (("create", "Shops", *CASH[1:]), 2),
        (("create", "users:1", *CASH[1:]), 2),
        (("create", "a", "--currency", "XXX", "--side", "debit"), 2),
        (("create", "a", "--currency", "EUR"), 2),
        (("create", *CASH, "--floor", "-1", "--no-floor"), 2),
        (("create", *CASH, "--metadata", "till"), 2),
        (("create", *CASH, "--floor", "5"), 3),
        (("show", "nobody"), 3),
        (("change", "nobody", "--status", "closed"), 3),
    ],
)
def test_what_cannot_be_done_has_its_exit_code(
    flask: Flask, arguments: tuple[str, ...], exit_code: int
) -> None:
    """Section 4 of the architecture page: 2 usage, 3 a finding."""
    assert flask(ledger_accounts, *arguments).exit_code == exit_code


def test_limits_are_lifted_by_name(flask: Flask) -> None:
    """LA5: null is none."""
    flask(ledger_accounts, "create", *CASH, "--ceiling", "500")

    changed = flask.json(ledger_accounts, "change", "shops:42:cash", "--no-ceiling", "--no-floor")

    assert (changed["floor_minor"], changed["ceiling_minor"]) == (None, None)
