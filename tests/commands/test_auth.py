"""`flask tenants`, `api-keys`: what they print, and how they exit."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from click.testing import CliRunner, Result

from commands import auth
from errors import ApiKeyInvalid
from persistence.db import Database, DbSettings
from services.api_keys import ApiKeys

if TYPE_CHECKING:
    from pathlib import Path

    import click


class Flask:
    """The commands, run as one process each would run them."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.environment = environment

    def __call__(self, group: click.Command, *arguments: str, stdin: str | None = None) -> Result:
        result = CliRunner(env=self.environment).invoke(group, arguments, input=stdin)
        assert result.exit_code != 1, result.exception
        return result

    def json(
        self, group: click.Command, *arguments: str, stdin: str | None = None
    ) -> dict[str, Any]:
        result = self(group, *arguments, "--json", stdin=stdin)
        assert result.exit_code == 0, result.stderr
        return dict(json.loads(result.stdout))


@pytest.fixture
def flask(database: str, tmp_path: Path) -> Flask:
    return Flask({"DATABASE_URL": database, "REDIS_URL": "off", "VAR_DIR": str(tmp_path)})


def test_a_tenant_is_made_listed_suspended_and_resumed(flask: Flask) -> None:
    made = flask.json(auth.tenants, "create", "acme", "--name", "Acme Inc.")
    assert made.pop("created_at").endswith("Z")
    assert made == {
        "tenant_id": "acme",
        "name": "Acme Inc.",
        "status": "active",
        "registration_open": False,
    }
    listed = flask.json(auth.tenants, "list")["data"]
    assert [row["tenant_id"] for row in listed] == ["acme", "default"]
    assert flask.json(auth.tenants, "suspend", "acme")["status"] == "suspended"
    assert flask.json(auth.tenants, "resume", "acme")["status"] == "active"


def test_people_get_lines(flask: Flask) -> None:
    assert flask(auth.tenants, "create", "acme").stdout == "made tenant acme\n"
    assert flask(auth.tenants, "suspend", "acme").stdout == "acme is suspended\n"
    assert flask(auth.tenants, "resume", "acme").stdout == "acme is active\n"
    assert flask(auth.tenants, "list").stdout == ("acme  active  acme\ndefault  active  Default\n")


def test_a_key_is_shown_once_and_works(flask: Flask, database: str) -> None:
    """A9: create shows it, list does not."""
    result = flask(
        auth.api_keys,
        "create",
        *("--name", "shop", "--scope", "payments:read", "--scope", "payments:create"),
        *("--allow-cidr", "192.0.2.0/24", "--expires-at", "2099-01-01T00:00:00Z", "--json"),
    )
    shown = json.loads(result.stdout)
    bearer = shown.pop("api_key")
    assert (shown["scopes"], shown["allowed_cidrs"], shown["expires_at"]) == (
        ["payments:create", "payments:read"],
        ["192.0.2.0/24"],
        "2099-01-01T00:00:00Z",
    )
    assert bearer.startswith(shown["prefix"] + "_")
    assert flask.json(auth.api_keys, "list")["data"] == [shown]

    db = Database(database, DbSettings(pool_size=1))
    assert ApiKeys(db).authenticate(bearer, "192.0.2.1").key_id == shown["id"]
    db.close()


def test_the_text_form_prints_the_key_alone(flask: Flask) -> None:
    """So that it can be piped into a secret store; the advice is on stderr."""
    made = flask(auth.api_keys, "create", "--name", "shop", "--scope", "payments:read")
    assert made.stdout.startswith("srk_default_")
    assert made.stdout.count("\n") == 1
    assert "hash" in made.stderr


def test_a_key_is_revoked_with_a_reason_in_its_tenant(flask: Flask, database: str) -> None:
    """A52."""
    flask(auth.tenants, "create", "acme")
    made = flask.json(
        auth.api_keys, "create", "--tenant", "acme", "--name", "a", "--scope", "ops:read"
    )
    revoke = ("revoke", made["id"], "--reason", "lost laptop")
    assert flask(auth.api_keys, *revoke).exit_code == 3
    assert flask.json(auth.api_keys, *revoke, "--tenant", "acme")["revoked_at"]
    listed = flask(auth.api_keys, "list", "--tenant", "acme").stdout
    assert f"{made['id']}  revoked " in listed
    with psycopg.connect(database) as conn:
        told = conn.execute(
            "SELECT subject LIKE 'cli:_%', reason FROM audit_log WHERE event = 'api_key_revoked'"
        ).fetchall()
    assert told == [(True, "lost laptop")]


def test_a_key_is_rotated_and_its_successor_shown_once(flask: Flask, database: str) -> None:
    """A11."""
    made = flask.json(auth.api_keys, "create", "--name", "shop", "--scope", "payments:read")
    new = flask.json(auth.api_keys, "rotate", made["id"], "--overlap-s", "0")
    assert new["principal_id"] == made["principal_id"]
    again = flask(auth.api_keys, "rotate", made["id"])
    assert (again.exit_code, again.stderr[:14]) == (3, "api_key_ended:")
    text = flask(auth.api_keys, "rotate", new["id"]).stdout
    assert text.startswith("srk_default_")
    db = Database(database, DbSettings(pool_size=1))
    for bearer, works in ((made["api_key"], False), (new["api_key"], True), (text[:-1], True)):
        with contextlib.nullcontext() if works else pytest.raises(ApiKeyInvalid):
            ApiKeys(db).authenticate(bearer, "192.0.2.1")
    db.close()


@pytest.mark.parametrize(
    ("group", "arguments", "code"),
    [
        (auth.tenants, ["create", "Acme"], 2),
        (auth.tenants, ["create", "a_b"], 2),
        (auth.api_keys, ["rotate", "a" * 12, "--overlap-s", "604801"], 2),
        (auth.api_keys, ["rotate", "a" * 12], 3),
        (auth.tenants, ["create", "acme", "--name", "a\nb"], 2),
        (auth.tenants, ["create", "acme", "--name", "x" * 201], 2),
        (auth.tenants, ["create", "default"], 3),
        (auth.tenants, ["suspend", "nobody"], 3),
        (auth.api_keys, ["create", "--name", "a", "--scope", "keys:manage"], 2),
        (auth.api_keys, ["create", "--name", "a"], 2),
        (auth.api_keys, ["create", "--name", "", "--scope", "ops:read"], 2),
        (auth.api_keys, ["revoke", "000000000000"], 3),
        (auth.api_keys, ["revoke", "x"], 2),
    ],
)
def test_what_cannot_be_done_exits_with_its_code(
    flask: Flask, group: click.Command, arguments: list[str], code: int
) -> None:
    """Section 4 of the architecture page: 2 usage, 3 a finding; nothing on stdout."""
    result = flask(group, *arguments)
    assert (result.exit_code, result.stdout) == (code, "")
    assert result.stderr


def test_without_a_database_the_exit_code_is_4(flask: Flask) -> None:
    flask.environment["DATABASE_URL"] = "postgresql://127.0.0.1:1/nowhere"
    flask.environment["DB_RECONNECT_TIMEOUT_S"] = "1"
    result = flask(auth.tenants, "list")
    assert result.exit_code == 4
    assert result.stderr.startswith("database_")
