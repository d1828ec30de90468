"""`flask users`: what it prints, what it asks for, and how it exits."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from commands.users import users
from tests.commands.test_auth import Flask
from tests.people import store_hash

if TYPE_CHECKING:
    from pathlib import Path

PASSWORD = "correct horse battery staple"
BCRYPT = "$2a$10$" + "." * 53


@pytest.fixture
def flask(database: str, tmp_path: Path) -> Flask:
    return Flask(
        {
            "DATABASE_URL": database,
            "REDIS_URL": "off",
            "VAR_DIR": str(tmp_path),
            "ARGON2_MEMORY_KIB": "8192",
            "ARGON2_TIME_COST": "1",
        }
    )


def rows(url: str, query: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url, autocommit=True) as conn:
        return conn.execute(query.encode()).fetchall()


def test_a_user_is_made_and_listed(flask: Flask) -> None:
    made = flask.json(users, "create", "Ada@x.de", "--display-name", "Ada L.")
    user_id = made.pop("id")
    assert made.pop("created_at").endswith("Z")
    assert made == {
        "tenant_id": "default",
        "email": "Ada@x.de",
        "email_verified": True,
        "display_name": "Ada L.",
        "role": "user",
        "status": "active",
    }
    assert flask(users, "list").stdout == f"{user_id}  active  user  Ada@x.de\n"
    assert flask.json(users, "list", "--status", "disabled")["data"] == []


def test_users_are_listed_page_by_page(flask: Flask) -> None:
    made = [flask.json(users, "create", f"u{i}@x.de")["id"] for i in range(3)]
    first = flask.json(users, "list", "--limit", "2")
    assert [row["id"] for row in first["data"]] == made[:2]
    second = flask.json(users, "list", "--limit", "2", "--after", first["next_after"])
    assert [row["id"] for row in second["data"]] == made[2:]
    assert second["next_after"] is None


def test_a_password_is_read_from_stdin_and_told_nowhere(flask: Flask, database: str) -> None:
    """A16, A35: one line; the end of it is no part of the password."""
    result = flask(users, "create", "ada@x.de", "--password", stdin=f"{PASSWORD}\nmore\n")
    assert result.exit_code == 0
    assert PASSWORD not in result.output
    ((text, algo),) = rows(database, "SELECT password_hash, password_algo FROM users")
    assert (algo, text[:30]) == ("argon2id", "$argon2id$v=19$m=8192,t=1,p=1$")
    assert PASSWORD not in str(rows(database, "SELECT audit_log::text FROM audit_log"))


def test_an_operator_is_made_with_a_password_of_15(flask: Flask) -> None:
    """A8, A13."""
    refused = flask(users, "create", "op@x.de", "--role", "operator", stdin="xk3-trevallion\n")
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert refused.stderr.startswith("weak_password: ")
    assert refused.stderr.endswith("At least 15 characters.\n")
    made = flask.json(users, "create", "op@x.de", "--role", "operator", stdin=f"{PASSWORD}\n")
    assert made["role"] == "operator"


def test_a_user_becomes_an_operator_with_a_new_password_and_back(
    flask: Flask, database: str
) -> None:
    """A4, A8: WHO is an address or an id."""
    made = flask.json(users, "create", "ada@x.de", "--password", stdin=f"{PASSWORD}\n")
    same = flask(users, "role", "ADA@x.de", "operator", stdin=f"{PASSWORD}\n")
    assert (same.exit_code, "password already" in same.stderr) == (2, True)
    new = flask.json(users, "role", "ADA@x.de", "operator", stdin=f"new {PASSWORD}\n")
    assert new["role"] == "operator"
    refused = flask(users, "role", made["id"], "user")
    assert (refused.exit_code, refused.stderr[:14]) == (3, "last_operator:")
    flask(users, "create", "op@x.de", "--role", "operator", stdin=f"{PASSWORD}\n")
    assert flask(users, "role", made["id"], "user").stdout == f"{made['id']} is user\n"
    assert rows(database, "SELECT session_epoch FROM users WHERE email = 'ada@x.de'") == [(2,)]


def test_a_user_is_disabled_and_enabled_with_a_reason(flask: Flask, database: str) -> None:
    """A4, A52."""
    made = flask.json(users, "create", "ada@x.de")
    assert flask.json(users, "disable", "ada@x.de", "--reason", "left")["status"] == "disabled"
    assert flask(users, "enable", made["id"]).stdout == f"{made['id']} is active\n"
    told = "SELECT reason FROM audit_log WHERE event = 'user_status_changed' ORDER BY id"
    assert rows(database, told) == [("left",), (None,)]


def test_a_user_is_unlocked(flask: Flask, database: str) -> None:
    """A27: told even if nothing was counted."""
    made = flask.json(users, "create", "ada@x.de")
    assert flask.json(users, "unlock", "ADA@x.de", "--reason", "called")["id"] == made["id"]
    assert flask(users, "unlock", made["id"]).stdout == f"{made['id']} is unlocked\n"
    told = "SELECT reason FROM audit_log WHERE event = 'user_unlocked' ORDER BY id"
    assert rows(database, told) == [("called",), (None,)]


def test_a_user_is_erased_once_it_is_meant(flask: Flask) -> None:
    made = flask.json(users, "create", "ada@x.de")
    assert flask(users, "erase", "ada@x.de").exit_code == 2
    assert flask.json(users, "erase", "ada@x.de", "--yes")["status"] == "deleted"
    assert flask(users, "list").stdout == f"{made['id']}  deleted  user  (erased)\n"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["create", "no address"], 2),
        (["create", "ada@x.de", "--tenant", "nobody"], 3),
        (["create", "ada@x.de", "--role", "god"], 2),
        (["list", "--limit", "0"], 2),
        (["disable", "nobody@x.de"], 3),
        (["unlock", "nobody@x.de"], 3),
        (["disable", "no address"], 2),
        (["enable", "01890a5d-ac96-774b-bcce-b302099a8057"], 3),
        (["role", "nobody@x.de", "user"], 3),
        (["erase", "nobody@x.de", "--yes"], 3),
        (["import", "/nowhere"], 2),
    ],
)
def test_what_cannot_be_done_exits_with_its_code(
    flask: Flask, arguments: list[str], code: int
) -> None:
    """Section 4 of the architecture page: 2 usage, 3 a finding; nothing on stdout."""
    result = flask(users, *arguments)
    assert (result.exit_code, result.stdout) == (code, "")
    assert result.stderr


def test_a_taken_address_is_named_by_its_code(flask: Flask) -> None:
    flask(users, "create", "ada@x.de")
    result = flask(users, "create", "ADA@x.de")
    assert result.exit_code == 3
    assert result.stderr.startswith("email_taken: ")


def test_people_of_another_system_are_imported_once(
    flask: Flask, database: str, tmp_path: Path
) -> None:
    """A17, A20: run again, it leaves out who is there."""
    people = [
        {"email": "Ada@x.de", "password_hash": BCRYPT, "legacy_id": "7", "display_name": "Ada"},
        {"email": "bob@x.de", "status": "disabled", "email_verified": False},
    ]
    file = tmp_path / "people.jsonl"
    file.write_text("\n".join(map(json.dumps, people)) + "\n\n")
    flask(users, "create", "bob@x.de")
    assert flask.json(users, "import", str(file)) == {"imported": 1, "skipped": 1}
    assert flask(users, "import", str(file)).stdout == "0 imported, 2 were there\n"
    assert rows(
        database,
        "SELECT email, password_hash, password_algo, password_params, role, legacy_id"
        " FROM users WHERE email_norm = 'ada@x.de'",
    ) == [("Ada@x.de", BCRYPT, "bcrypt", {"cost": 10}, "user", "7")]
    assert rows(database, "SELECT count(*) FROM audit_log WHERE reason = 'imported'") == [(1,)]


def test_one_bad_line_and_nothing_is_imported(flask: Flask, database: str, tmp_path: Path) -> None:
    """A20: each is named by its number, and not repeated."""
    file = tmp_path / "people.jsonl"
    good = json.dumps({"email": "ada@x.de"})
    bad = json.dumps({"email": "bob@x.de", "password_hash": "$2a$31$" + "s" * 53})
    file.write_text(f"{good}\n{bad}\nnothing\n")
    result = flask(users, "import", str(file))
    assert (result.exit_code, result.stdout) == (2, "")
    assert "line 2: password_hash: " in result.stderr
    assert "line 3: not a JSON object" in result.stderr
    assert "ssss" not in result.stderr
    assert rows(database, "SELECT count(*) FROM users") == [(0,)]


def test_what_is_left_to_upgrade_is_counted(flask: Flask, database: str) -> None:
    """A16: --strict makes a finding of it."""
    flask(users, "create", "ada@x.de", "--password", stdin=f"{PASSWORD}\n")
    flask(users, "create", "none@x.de")
    assert flask(users, "hash-report", "--strict").exit_code == 0
    store_hash(database, BCRYPT, legacy=True)
    store_hash(database, "what is this")
    report = flask.json(users, "hash-report")
    assert (report["current"], report["left"]) == ("$argon2id$v=19$m=8192,t=1,p=1", 2)
    kinds = {kind["hash"]: kind["is_current"] for kind in report["data"]}
    assert kinds == {report["current"]: True, "$2a$10": False, "unusable": False, None: False}
    strict = flask(users, "hash-report", "--strict")
    assert strict.exit_code == 3
    assert "        1  $2a$10\n" in strict.stdout
    assert strict.stdout.endswith("2 left\n")
