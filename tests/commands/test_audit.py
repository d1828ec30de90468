"""`flask audit`: what it shows, and how it exits."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import psycopg
import pytest

from commands import auth
from commands.audit import audit
from commands.users import users
from tests.commands.test_auth import Flask

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def flask(database: str, tmp_path: Path) -> Flask:
    return Flask({"DATABASE_URL": database, "REDIS_URL": "off", "VAR_DIR": str(tmp_path)})


def test_events_are_shown_newest_first(flask: Flask) -> None:
    """A52: of one tenant, by kind, about one user."""
    made = flask.json(users, "create", "ada@x.de")
    flask(users, "disable", made["id"], "--reason", "left")
    flask(auth.tenants, "create", "acme")
    shown = flask.json(audit)["data"]
    assert [row["event"] for row in shown] == ["user_status_changed", "user_registered"]
    assert shown[0]["at"].endswith("Z")
    assert "is_edge" not in shown[0]
    assert flask.json(audit, "--event", "user_registered")["data"] == shown[1:]
    assert flask.json(audit, "--user", made["id"], "--limit", "1")["data"] == shown[:1]
    assert flask.json(audit, "--from", shown[0]["at"])["data"] == shown[:1]
    assert flask.json(audit, "--to", shown[0]["at"])["data"] == shown[1:]
    acme = flask.json(audit, "--tenant", "acme")["data"]
    assert [row["event"] for row in acme] == ["tenant_created"]


def test_people_get_lines(flask: Flask) -> None:
    made = flask.json(users, "create", "ada@x.de")
    flask(users, "disable", made["id"], "--reason", "left")
    line = flask(audit, "--limit", "1").stdout
    moment, event, outcome, who, about, reason = line.rstrip("\n").split("  ")
    assert (event, outcome, reason) == ("user_status_changed", "ok", "left")
    assert (who[:4], about) == ("cli:", f"about user:{made['id']}")
    assert moment.endswith("Z")


def test_more_than_a_page_is_read_to_the_limit(flask: Flask, database: str) -> None:
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute(
            "INSERT INTO audit_log (tenant_id, id, event, at) SELECT 'default',"
            " gen_random_uuid(), 'login', now() - make_interval(secs => n)"
            " FROM generate_series(1, 450) AS n"
        )
    found = json.loads(flask(audit, "--json", "--limit", "430").stdout)["data"]
    assert len({row["id"] for row in found}) == 430
    assert [row["at"] for row in found] == sorted((row["at"] for row in found), reverse=True)


@pytest.mark.parametrize(
    "arguments", [["--event", "LOGIN"], ["--user", "1"], ["--from", "noon"], ["--limit", "0"]]
)
def test_a_wrong_question_is_a_usage_error(flask: Flask, arguments: list[str]) -> None:
    result = flask(audit, *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
