"""`flask replay-ledger`: what it prints, and how it exits (LR7, LR8)."""

from __future__ import annotations

import getpass
import json
import os
import uuid
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner, Result

from commands.replay import Bar, replay_ledger
from persistence.embedded_postgres import APP_ROLE, OWNER_ROLE
from tests.book import TENANT, Book, unchecked_clone

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import psycopg

    from tests.conftest import PostgresServer

    Flask = Callable[..., Result]


@pytest.fixture
def scratch(admin: psycopg.Connection[Any], template: str) -> Iterator[str]:
    with unchecked_clone(admin, template) as name:
        yield name


@pytest.fixture
def flask(postgres: PostgresServer, scratch: str, tmp_path: Path) -> Flask:
    """The command, run as a process would run it."""
    environment = {
        "DATABASE_URL": postgres.url(scratch, APP_ROLE),
        "REDIS_URL": "off",
        "VAR_DIR": str(tmp_path),
    }
    return lambda *arguments: CliRunner(env=environment).invoke(replay_ledger, arguments)


@pytest.fixture
def book(postgres: PostgresServer, scratch: str) -> Iterator[Book]:
    with Book(postgres.url(scratch, OWNER_ROLE)) as made:
        made.open("bank", side=-1)
        made.open("users:a")
        made.post(("bank", "users:a", 100))
        yield made


def test_a_right_book_exits_0(book: Book, flask: Flask) -> None:
    """LR8: and one line says what was looked at."""
    result = flask("--tenant", TENANT)

    assert result.exit_code == 0
    assert result.stdout == (
        f"{TENANT}: clean (L0 ok of 1, L1 ok of 2, L2 ok of 2, L3 ok of 2,"
        " L4 ok of 0, L5 ok of 0)\n"
    )
    assert result.stderr == ""


def test_a_wrong_balance_exits_3(book: Book, flask: Flask) -> None:
    """LR8: only a projection differs; the line says which, and how."""
    book.run("UPDATE ledger_balances SET credits_posted = 99 WHERE credits_posted = 100")

    result = flask("--tenant", TENANT)

    assert result.exit_code == 3
    head, line = result.stdout.splitlines()
    assert head.startswith(f"{TENANT}: projection (")
    assert line == ("  L3 account users:a currency EUR stripe 0: credits_posted: not 99 but 100")


def test_a_damaged_book_exits_5(book: Book, flask: Flask) -> None:
    """LR8: before anything else that is wrong."""
    tx_id = book.post(("bank", "users:a", 7))
    book.run("DELETE FROM ledger_entries WHERE tx_id = %s AND side = 1", tx_id)

    result = flask()

    assert result.exit_code == 5
    assert f"L1 account users:a currency EUR stripe 0 tx_id {tx_id}: entry: not nothing but" in (
        result.stdout
    )


def test_json_is_one_object(book: Book, flask: Flask) -> None:
    """LR7: everything, and the numeric account id never (LA1)."""
    book.run("UPDATE ledger_balances SET credits_posted = 99 WHERE credits_posted = 100")

    shown = json.loads(flask("--tenant", TENANT, "--json", "--level", "L3").stdout)

    uuid.UUID(shown.pop("run_id"))
    assert shown == {
        "tenants": [
            {
                "tenant": TENANT,
                "levels": [
                    {"level": "L3", "ok": False, "checked": 2, "mismatches": 1, "listed_all": True}
                ],
                "verdict": "projection",
                "changed": 0,
                "error": None,
                "refusal": None,
                "balances": [],
            }
        ],
        "findings": [
            {
                "tenant": TENANT,
                "level": "L3",
                "account": "users:a",
                "currency": "EUR",
                "stripe": 0,
                "tx_id": None,
                "field": "credits_posted",
                "expected": "100",
                "found": "99",
                "action": None,
            }
        ],
        "changed": 0,
        "watermark": None,
        "recorded": True,
        "exit_code": 3,
    }


@pytest.mark.parametrize(
    "arguments",
    [
        ("--level", "L6"),
        ("--level", "L4", "--account", "bank"),
        ("--since-seal", "0"),
        ("--since-seal", "first"),
        ("--parallel", "9"),
        ("--checkpoint", "/nowhere"),
        ("--fix", "--rebuild"),
        ("--fix", "--yes", "--level", "L3"),
        ("--repair",),
        ("--level", "l1"),
        ("--tenant", "No Such"),
        ("--account", "users:*"),
        ("--account", "Users:"),
        ("--account", ":"),
        ("--account", ""),
        ("--currency", "eur"),
        ("--as-of", "yesterday"),
        ("--as-of", "2026-01-01T00:00:00"),
        ("--as-of", "2999-01-01T00:00:00Z"),
        ("--max-mismatches", "0"),
        ("--level", "L0", "--account", "bank"),
        ("extra",),
    ],
    ids=" ".join,
)
def test_what_makes_no_sense_exits_2(book: Book, flask: Flask, arguments: tuple[str, ...]) -> None:
    """LR8: unknown levels too, and nothing was looked at."""
    result = flask(*arguments)

    assert result.exit_code == 2
    assert result.stdout == ""
    assert book.run("SELECT verdict FROM ledger_replay_runs") == []


@pytest.mark.parametrize(
    "arguments",
    [("--tenant", "nobody"), ("--account", "users:b"), ("--account", "bank", "--currency", "USD")],
    ids=" ".join,
)
def test_what_is_not_there_exits_3(book: Book, flask: Flask, arguments: tuple[str, ...]) -> None:
    """LR8: no such tenant or account."""
    result = flask(*arguments)

    assert result.exit_code == 3
    assert result.stderr.startswith("not_found: ")


def test_a_server_that_does_not_answer_exits_4(tmp_path: Path) -> None:
    """LR8: not finished, nothing is known."""
    environment = {
        "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
        "REDIS_URL": "off",
        "VAR_DIR": str(tmp_path),
        "DB_POOL_TIMEOUT_MS": "100",
    }
    result = CliRunner(env=environment).invoke(replay_ledger, [])

    assert (result.exit_code, result.stdout) == (4, "")
    assert result.stderr.startswith("database_")


def test_a_run_that_is_stopped_exits_4(
    book: Book, flask: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """LR8: Ctrl-C."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Bar, "draw", stop)
    result = flask()

    assert (result.exit_code, result.stdout) == (4, "")
    assert result.stderr == "stopped: nothing is known\n"


def test_progress_is_drawn_on_stderr_if_asked_for(book: Book, flask: Flask) -> None:
    """LR7: elsewhere than on a terminal only then, and the answer is the same."""
    with_bar, without = flask("--progress"), flask()

    assert "entries [##############################] 100%" in with_bar.stderr
    assert with_bar.stderr.rpartition("\r")[2] == ""
    assert (with_bar.stdout, without.stderr) == (without.stdout, "")


def test_a_server_that_only_reads_is_told_of(book: Book, flask: Flask, scratch: str) -> None:
    """LR1: the check goes on without its audit rows."""
    book.run(f"ALTER DATABASE {scratch} SET default_transaction_read_only = on")

    result = flask("--tenant", TENANT)

    assert result.exit_code == 0
    assert "not recorded: database_unavailable" in result.stderr


def test_a_user_without_a_name_is_a_number(
    book: Book, flask: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """LR1: in a container; the audit row has it."""

    def nobody() -> str:
        raise KeyError

    monkeypatch.setattr(getpass, "getuser", nobody)
    assert flask("--tenant", TENANT).exit_code == 0

    assert book.run("SELECT actor FROM ledger_replay_runs") == [(f"cli:{os.getuid()}",)]
