"""`flask signing-keys`: what it prints, and how it exits."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from click.testing import CliRunner, Result

from commands.signing_keys import signing_keys

if TYPE_CHECKING:
    from pathlib import Path

OLD, NEW = (f"{name}:{base64.urlsafe_b64encode(name.encode() * 32)[:43].decode()}" for name in "on")


class Flask:
    """The command, run as one process each would run it."""

    def __init__(self, database: str, tmp_path: Path) -> None:
        self.database = database
        self.environment = {
            "DATABASE_URL": database,
            "REDIS_URL": "off",
            "VAR_DIR": str(tmp_path),
            "JWT_ALG": "EdDSA",
            "AUTH_MASTER_KEYS": OLD,
        }

    def __call__(self, *arguments: str) -> Result:
        result = CliRunner(env=self.environment).invoke(signing_keys, arguments)
        assert result.exit_code != 1, result.exception
        return result

    def json(self, *arguments: str) -> dict[str, Any]:
        result = self(arguments[0], "--json", *arguments[1:])
        assert result.exit_code == 0, result.stderr
        return dict(json.loads(result.stdout))

    def states(self) -> list[str]:
        return [row["state"] for row in self.json("list")["data"]]


@pytest.fixture
def flask(database: str, tmp_path: Path) -> Flask:
    return Flask(database, tmp_path)


def test_keys_are_made_listed_and_revoked(flask: Flask) -> None:
    """A44, A45."""
    first = flask.json("rotate")["kid"]
    second = flask.json("rotate")["kid"]
    listed = flask.json("list")["data"]
    assert [(row["kid"], row["state"]) for row in listed] == [
        (second, "standby"),
        (first, "active"),
    ]
    assert "private_enc" not in listed[0]
    revoked = flask.json("revoke", "--reason", "stolen", "--", first)
    assert revoked["kid"] == first
    assert flask.states() == ["standby", "active", "revoked"]
    assert flask.json("revoke", "--", first)["successor"] is None


def test_people_get_lines_about_keys(flask: Flask) -> None:
    kid = flask("rotate").stdout.removeprefix("made key ").strip()
    assert flask("list").stdout.startswith(f"{kid}  EdDSA  active since 20")
    assert flask("rotate", "--if-older-than-days", "30").stdout == "no key is that old\n"
    said = flask("revoke", "--", kid).stdout
    assert said.startswith(f"revoked {kid}, ")
    assert said.endswith(" signs\n")
    assert flask("rewrap").stdout == "sealed 0 keys again\n"


def test_a_young_key_is_not_rotated(flask: Flask) -> None:
    """Section 12: --if-older-than-days."""
    assert flask.json("rotate", "--if-older-than-days", "1")["kid"] is None
    flask("rotate")
    assert flask.json("rotate", "--if-older-than-days", "1")["kid"] is None
    with psycopg.connect(flask.database, autocommit=True) as conn:
        conn.execute("UPDATE signing_keys SET created_at = now() - interval '25 h'")
    assert flask.json("rotate", "--if-older-than-days", "1")["kid"]
    assert flask.states() == ["standby", "active"]


def test_all_keys_are_sealed_under_the_first_master_key(flask: Flask) -> None:
    """A46: then the old master key may go."""
    flask("rotate")
    flask.environment["AUTH_MASTER_KEYS"] = f"{NEW},{OLD}"
    assert flask.json("rewrap", "--tenant", "nobody") == {"rewrapped": 0}
    assert flask.json("rewrap") == {"rewrapped": 1}
    flask.environment["AUTH_MASTER_KEYS"] = NEW
    assert flask.json("rewrap") == {"rewrapped": 0}
    assert [row["master_key_id"] for row in flask.json("list")["data"]] == ["n"]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["revoke", "A" * 43], 3),
        (["revoke", "x"], 2),
        (["rotate", "--tenant", "nobody"], 3),
        (["rotate", "--if-older-than-days", "0"], 2),
        (["list", "--tenant", "A"], 2),
    ],
)
def test_what_cannot_be_has_an_exit_code_of_its_own(
    flask: Flask, arguments: list[str], code: int
) -> None:
    assert flask(*arguments).exit_code == code
