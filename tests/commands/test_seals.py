"""`flask ledger-seal`: what it does once, and how it exits (LM3, LM4, LM8)."""

from __future__ import annotations

import base64
import json
import os
import signal
import threading
from typing import TYPE_CHECKING

import psycopg
import pytest
from click.testing import CliRunner, Result
from structlog.testing import capture_logs

from commands.seals import ledger_redact, ledger_seal
from persistence.embedded_process import wait_until
from services.canonical_json import digest
from services.checkpoints import SealKeys
from tests import second_opinion
from tests.book import TENANT, Book

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Flask = Callable[..., Result]

SEED = bytes(range(32))
(KEY,) = SealKeys(origin="pay.example.com", seeds=(SEED,)).signing(TENANT)


@pytest.fixture
def flask(database: str, tmp_path: Path) -> Flask:
    environment = {
        "DATABASE_URL": database,
        "REDIS_URL": "off",
        "VAR_DIR": str(tmp_path),
        "LEDGER_SEAL_KEY": base64.b64encode(SEED).decode(),
        "LEDGER_ORIGIN": "pay.example.com",
        "LEDGER_CHECKPOINT_DIR": str(tmp_path / "copies"),
    }

    def run(*arguments: str, **more: str) -> Result:
        with capture_logs():
            return CliRunner(env=environment | more).invoke(ledger_seal, arguments)

    return run


@pytest.fixture
def book(database_owner: str) -> Iterator[Book]:
    with Book(database_owner) as made:
        made.open("bank", side=-1)
        made.open("users:a")
        made.post(("bank", "users:a", 100))
        yield made


def test_once_seals_signs_and_publishes(book: Book, flask: Flask, tmp_path: Path) -> None:
    """LM3, LM5, LM6."""
    result = flask("--once", "--tenant", TENANT)

    assert result.exit_code == 0, result.output
    assert result.stdout.startswith(f"{TENANT}: 1 leaves, tree of 1, signed to 1, through 20")
    copy = (tmp_path / "copies" / TENANT / "checkpoint").read_text()
    assert second_opinion.opened_note(copy, str(KEY))[:2] == [f"pay.example.com/{TENANT}", "1"]


def test_json_is_one_object(book: Book, flask: Flask) -> None:
    """Section 4 of architecture: every tenant, with what was reached."""
    result = flask("--once", "--json", LEDGER_SEAL_KEY="")

    shown = json.loads(result.stdout)
    assert (result.exit_code, shown["exit_code"]) == (0, 0)
    tenants = {each["tenant"]: each for each in shown["tenants"]}
    mine = tenants[TENANT]
    assert set(tenants) >= {TENANT, "default"}
    assert mine.pop("sealed_through").startswith("20")
    assert mine == {
        "tenant": TENANT,
        "leaves": 1,
        "tree_size": 1,
        "signed_size": 0,
        "stopped_reason": None,
        "finished": True,
    }


def test_what_still_runs_exits_4(book: Book, flask: Flask, database_owner: str) -> None:
    """LT4: the watermark is never guessed."""
    with psycopg.connect(database_owner) as slow:
        slow.execute("SELECT pg_current_xact_id()")
        result = flask("--once", "--tenant", TENANT, "--max-s", "0.2")
    assert result.exit_code == 4
    assert "not finished: older transactions still run" in result.stdout
    assert book.run("SELECT 1 FROM ledger_leaves") == []


def test_a_shorter_tree_than_published_exits_3(book: Book, flask: Flask, tmp_path: Path) -> None:
    """LM8: until a person decides: here for another name of the log."""
    folder = tmp_path / "copies" / TENANT
    folder.mkdir(parents=True)
    keys = SealKeys(origin="pay.example.com", seeds=(SEED,))
    (folder / "checkpoint").write_text(keys.sign_checkpoint(TENANT, 5, bytes(32)))
    result = flask("--once", "--tenant", TENANT)
    assert result.exit_code == 3
    assert "stopped: the published checkpoint is of 5 leaves, the tree has" in result.stdout

    assert flask("--once", "--resume", "--tenant", TENANT).exit_code == 3
    done = flask("--once", "--resume", "--tenant", TENANT, LEDGER_ORIGIN="new.example.com")
    assert done.exit_code == 0
    assert book.run("SELECT tree_size, note LIKE 'new.example.com/%%' FROM ledger_seals") == [
        (1, True)
    ]


def test_late_rows_are_sealed_if_asked(book: Book, flask: Flask) -> None:
    """LT6."""
    flask("--once", "--tenant", TENANT)
    book.open("users:b")
    book.open("users:c")
    book.post(("users:b", "users:c", 7))
    assert flask("--once", "--tenant", TENANT).exit_code == 0
    assert book.run("SELECT count(*) FROM ledger_leaves") == [(1,)]

    assert flask("--late", "--tenant", TENANT).exit_code == 0

    assert book.run("SELECT late FROM ledger_leaves ORDER BY idx") == [(False,), (True,)]


def test_without_once_it_goes_on_until_a_signal(book: Book, flask: Flask) -> None:
    """LM3: each second, as the job does."""

    def is_sealed() -> bool:
        return bool(book.run("SELECT 1 FROM ledger_seals"))

    def watch() -> None:
        wait_until(is_sealed, 60)
        os.kill(os.getpid(), signal.SIGTERM)

    watcher = threading.Thread(target=watch)
    watcher.start()
    result = flask()
    watcher.join()
    assert result.exit_code == 0


@pytest.mark.parametrize("arguments", [("--tenant", "No Such"), ("--max-s", "0"), ("extra",)])
def test_what_makes_no_sense_exits_2(flask: Flask, arguments: tuple[str, ...]) -> None:
    """Section 4 of architecture."""
    assert flask(*arguments).exit_code == 2


def test_an_unknown_tenant_exits_3(flask: Flask) -> None:
    """Section 4 of architecture."""
    assert flask("--once", "--tenant", "nobody").exit_code == 3


# --- flask ledger-redact ------------------------------------------------------------------------


def redact(database: str, owner: str, *arguments: str) -> Result:
    environment = {"DATABASE_URL": database, "MIGRATE_DATABASE_URL": owner, "REDIS_URL": "off"}
    with capture_logs():
        return CliRunner(env=environment).invoke(ledger_redact, arguments)


def test_redacted_metadata_is_gone_and_its_hash_stays(
    book: Book, flask: Flask, database: str, database_owner: str
) -> None:
    """LM9: the leaf is the same, and the audit log says who, why and what."""
    metadata = {"name": "Ann"}
    tx_id = book.post(
        ("bank", "users:a", 1), metadata=json.dumps(metadata), metadata_hash=digest(metadata)
    )
    leaf = "SELECT ledger_leaf(t, '') FROM ledger_transactions AS t WHERE id = %s"
    before = book.run(leaf, tx_id)
    arguments = (str(tx_id), "--tenant", TENANT, "--reason", "request 17")

    first = redact(database, database_owner, *arguments)
    second = redact(database, database_owner, *arguments, "--json")

    assert (first.exit_code, first.stdout) == (0, f"metadata of {tx_id}: emptied\n")
    assert json.loads(second.stdout) == {
        "tenant": TENANT, "tx_id": str(tx_id), "redacted": False,
    }  # fmt: skip
    assert book.run("SELECT metadata FROM ledger_transactions WHERE id = %s", tx_id) == [(None,)]
    assert book.run(leaf, tx_id) == before
    assert "metadata_sha256" in before[0][0]
    ((event, reason, details),) = book.run(
        "SELECT event, reason, details FROM audit_log WHERE tenant_id = %s", TENANT
    )
    assert (event, reason, details) == ("ledger.redacted", "request 17", {"tx_id": str(tx_id)})


def test_the_application_may_not_redact(book: Book, database: str) -> None:
    """LI7, LM9: without the owner's connection it exits 2 and says which it needs."""
    tx_id = book.post(("bank", "users:a", 1), metadata="{}")
    result = redact(database, "", str(tx_id), "--tenant", TENANT, "--reason", "x")
    assert result.exit_code == 2
    assert "MIGRATE_DATABASE_URL" in result.stderr


def test_what_is_not_there_cannot_be_redacted(
    book: Book, database: str, database_owner: str
) -> None:
    """Section 4 of architecture: exit 3; of another tenant too."""
    tx_id = book.post(("bank", "users:a", 1), metadata="{}")
    result = redact(database, database_owner, str(tx_id), "--reason", "x")
    assert (result.exit_code, result.stderr) == (3, "not_found: There is no such transaction.\n")
