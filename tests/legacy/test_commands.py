"""`flask legacy` and `flask verify-drift`: what they do, and how they exit (2.7)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

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
    assert code(flask, "advance", "users", *WHY) == 3
    assert code(flask, "backfill", "users") == 3
    assert code(flask, "rejects", "users") == 3
    assert code(flask, "rejects", "users", "--waive", "3", *WHY) == 0
    found = flask.json(legacy_group, "verify", "users")["runs"]
    assert found[0]["rows"] == {"truth": 3, "follower": 2}  # What is set aside has its own gate.


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
