"""`flask legacy` and `flask verify-drift`: what they do, and how they exit (2.7)."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from legacy import install
from legacy.commands import legacy_group
from tests.commands.test_auth import Flask
from tests.legacy.maps import shop

if TYPE_CHECKING:
    from pathlib import Path

WHY = ("--reason", "test")


@pytest.fixture
def flask(
    database: str, database_owner: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Flask:
    """Commands over a file of three customers, one of whom breaks a rule."""
    people = [
        {"id": n, "mail": f"u{n}@x.org", "pw": None, "name": f"N{n}", "verified": False,
         "created": "2020-01-01 00:00:00", "updated": "2020-01-01 00:00:00Z", "is_active": True}
        for n in (1, 2)
    ]  # fmt: skip
    people.append({**people[0], "id": 3, "mail": "no address"})
    file = tmp_path / "customers.jsonl"
    file.write_text("\n".join(map(json.dumps, people)), "utf-8")
    config = tmp_path / "legacy.toml"
    head = f'adapter = "jsonl"\npath = "{file}"'
    config.write_text(shop(head).partition("[payments]")[0].replace('table = "customers"', ""))
    monkeypatch.setenv("LEGACY_CONFIG", str(config))
    return Flask(
        {
            "DATABASE_URL": database,
            "MIGRATE_DATABASE_URL": database_owner,
            "REDIS_URL": "off",
            # On a busy machine too.
            "DB_CONNECT_TIMEOUT_S": "60",
            "DB_POOL_TIMEOUT_MS": "60000",
            "LEGACY_TIMEOUT_MS": "60000",
            "VAR_DIR": str(tmp_path),
            "LEGACY_CONFIG": str(config),
            "FEATURE_DUAL_WRITE_USERS": "true",
        }
    )


def code(flask: Flask, *words: str, **given: Any) -> int:
    return int(flask(legacy_group, *words, **given).exit_code)


def test_a_move_begins_with_a_look(flask: Flask) -> None:
    """`check` names rows that break a rule: exit 3; `attach` is refused until that is waived."""
    found = json.loads(flask(legacy_group, "check", "users", "--json").stdout)
    assert [each["code"] for each in found["rejected"]] == ["email_invalid"]
    assert code(flask, "attach", "users", *WHY) == 3
    assert code(flask, "attach", "users", *WHY, "--waive-gate", "rejects") == 0
    status = json.loads(flask(legacy_group, "status", "--json").stdout)["domains"]
    assert [(each["domain"], each["phase"], each["truth"]) for each in status] == [
        ("users", 1, "legacy")
    ]


def test_a_way_to_verifying_by_hand(flask: Flask) -> None:
    """Advance, backfill, rejects, verify: each with its exit code."""
    flask(legacy_group, "attach", "users", *WHY, "--waive-gate", "rejects")
    assert code(flask, "advance", "users", *WHY) in {0, 3}
    refused = flask(legacy_group, "advance", "users", *WHY)
    assert (refused.exit_code, "backfill: 0 rows" in refused.stderr) == (3, True)
    assert code(flask, "backfill", "users") == 3
    assert code(flask, "rejects", "users") == 3
    assert code(flask, "rejects", "users", "--waive", "3", *WHY) == 0
    found = flask.json(legacy_group, "verify", "users")["runs"]
    assert found[0]["rows"] == {"truth": 3, "follower": 2}  # What is set aside has its own gate.


def test_an_export_is_imported_with_what_is_wrong_with_it(flask: Flask, tmp_path: Path) -> None:
    """2.7: lines, ids and rows that cannot be taken are named; a newer file brings what changed."""
    flask(legacy_group, "attach", "users", *WHY, "--waive-gate", "rejects")
    assert code(flask, "advance", "users", *WHY) == 0
    lines = (tmp_path / "customers.jsonl").read_text("utf-8").splitlines()
    export = tmp_path / "export.jsonl"
    export.write_text("\n".join([*lines, lines[1], "no row"]), "utf-8")
    first = json.loads(flask(legacy_group, "import", "users", str(export), "--json").stdout)
    assert first == {"seen": 4, "inserted": 1, "marked": 0, "rejected": 3, "finished": True}
    said = flask(legacy_group, "rejects", "users").stdout
    assert [line.split(" (")[0] for line in said.splitlines()] == [
        "2: duplicate_id",
        "3: email_invalid",
        "line 5: line_invalid",
    ]
    export.write_text("\n".join([lines[0].replace("N1", "Ada"), lines[1]]), "utf-8")
    assert code(flask, "import", "users", str(export)) == 0
    assert [
        line.split(" (")[0] for line in flask(legacy_group, "rejects", "users").stdout.splitlines()
    ] == ["3: email_invalid"]
    db = psycopg.connect(flask.environment["DATABASE_URL"])
    with db:
        rows = db.execute("SELECT legacy_id, display_name FROM users ORDER BY 1").fetchall()
    assert rows == [("1", "Ada"), ("2", "N2")]


def test_only_an_export_can_be_imported(
    flask: Flask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit 2: the adapter is another one."""
    config = tmp_path / "memory.toml"
    config.write_text(shop('adapter = "memory"'))
    monkeypatch.setitem(flask.environment, "LEGACY_CONFIG", str(config))
    assert code(flask, "import", "users", str(config)) == 2


@pytest.fixture
def shop_file(flask: Flask, tmp_path: Path) -> Path:
    """A SQLite file with a table of customers, and a configuration of it."""
    file, config = tmp_path / "shop.db", tmp_path / "sqlite.toml"
    head = f'adapter = "sqlite"\npath = "{file}"\nwriters = "legacy"\ncapture = "trigger"'
    config.write_text(shop(head).partition("[payments]")[0])
    flask.environment["LEGACY_CONFIG"] = str(config)
    with closing(sqlite3.connect(file)) as conn:
        conn.execute(
            "CREATE TABLE customers (id INTEGER PRIMARY KEY, mail TEXT, pw TEXT, name TEXT,"
            " verified INTEGER, created TEXT, updated TEXT, is_active INTEGER)"
        )
    return file


def test_the_legacy_side_is_prepared_by_its_owner(flask: Flask, shop_file: Path) -> None:
    """2.7: `prepare` says what lacks (exit 3), `--sql` what to run; twice does no harm."""
    assert code(flask, "prepare") == 3
    statements = flask(legacy_group, "prepare", "--sql").stdout
    with closing(sqlite3.connect(shop_file)) as conn:
        conn.executescript(statements)
        conn.executescript(statements)
    assert flask(legacy_group, "prepare", "users").stdout == "users: prepared\n"


def test_nothing_is_attached_to_begin_with(flask: Flask) -> None:
    assert flask(legacy_group, "status").stdout == "nothing is attached\n"
    assert flask(legacy_group, "verify").exit_code == 0


def test_finishing_asks_twice(flask: Flask) -> None:
    assert code(flask, "finish", "users", *WHY, "--confirm", "payments") == 2


def test_a_flag_without_a_configuration_refuses_the_boot(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D4: exit 2."""
    held = world.services
    flagged = held.config.model_copy(update={"feature_dual_write_users": True})
    world.app.extensions["strongroom"] = type("Held", (), {"config": flagged})()
    monkeypatch.delenv("LEGACY_CONFIG", raising=False)
    with pytest.raises(SystemExit) as caught:
        install(world.app)
    assert caught.value.code == 2
    world.app.extensions["strongroom"] = held
