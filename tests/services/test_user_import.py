"""Lines of an import: what is a user, and what is refused before anything is written."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from errors import NotFound
from persistence.db import Database, DbSettings
from services.user_import import BATCH_ROWS, BadLine, Imported, UserImport, read_person
from services.users import Users

if TYPE_CHECKING:
    from collections.abc import Iterator

ARGON2 = "$argon2id$v=19$m=256,t=2,p=2$c29tZXNhbHQ$bQk8UB/VmZZF4Oo79iDXuL5/0ttZwg2f/5U52iv1cDc"


@pytest.fixture
def db(database: str) -> Iterator[Database]:
    opened = Database(database, DbSettings(pool_size=1))
    yield opened
    opened.close()


def line(**given: Any) -> bytes:
    return json.dumps({"email": "ada@x.de", **given}).encode()


def test_an_address_is_enough() -> None:
    found = read_person(line(display_name=None))
    assert (found["email_norm"], found["email_verified"], found["status"]) == (
        "ada@x.de",
        True,
        "active",
    )
    assert found["password_hash"] is None


def test_what_stands_beside_a_hash_repeats_it() -> None:
    """A16."""
    found = read_person(line(password_hash=ARGON2))
    assert (found["password_hash"], found["password_algo"]) == (ARGON2, "argon2id")
    assert found["password_params"] == {"m": 256, "t": 2, "p": 2}


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (b"", "not a JSON object"),
        (b"[]", "not a JSON object"),
        (b"\xff\xfe\xfd", "not a JSON object"),
        (b"[" * 100_000, "not a JSON object"),
        (b"{}", "email: not an address"),
        (line(email="nobody"), "email: not an address"),
        (line(email="a\0@x.de"), "email: not an address"),
        (line(email=7), "email: of the wrong type"),
        (line(email_verified=1), "email_verified: of the wrong type"),
        (line(status="deleted"), "status: neither active nor disabled"),
        (line(role="operator"), "1 unknown fields"),
        (line(password="plain"), "1 unknown fields"),
        (line(display_name=""), "display_name: not a printable"),
        (line(display_name="a\0b"), "display_name: not a printable"),
        (line(display_name="\ud800"), "display_name: not a printable"),
        (line(legacy_id="x" * 201), "legacy_id: not a printable"),
        (line(password_hash=""), "password_hash: neither"),
        (line(password_hash="$1$abc"), "password_hash: neither"),
        (line(password_hash=ARGON2.replace("m=256", "m=4194304")), "password_hash: neither"),
    ],
)
def test_what_is_no_user_is_refused(text: bytes, fault: str) -> None:
    """A8, A20: the bounds are those of log-in, and nobody is imported as an operator."""
    with pytest.raises(BadLine, match=fault):
        read_person(text)


def test_many_are_brought_in_by_batches(db: Database) -> None:
    """A second run, or the same address twice, makes nobody twice."""
    people = [read_person(line(email=f"u{number}@x.de")) for number in range(BATCH_ROWS + 1)]
    people.append(people[0])
    imports = UserImport(db)
    assert list(imports.run("default", people, "cli:test")) == [
        Imported(BATCH_ROWS, 0),
        Imported(1, 1),
    ]
    assert sum(batch.imported for batch in imports.run("default", people, "cli:test")) == 0
    assert Users(db).find_by_email("default", "u7@x.de").status == "active"


def test_people_need_a_tenant(db: Database) -> None:
    with pytest.raises(NotFound):
        list(UserImport(db).run("nobody", [read_person(line())], "cli:test"))
