"""Users: one address is one user per tenant, and which spellings are one address."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

from errors import NotFound, ValidationFailed
from persistence.db import Database, DbSettings
from services.tenants import Tenants
from services.users import EmailTaken, Users, normalise_email

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def db(database: str) -> Iterator[Database]:
    opened = Database(database, DbSettings(pool_size=1))
    yield opened
    opened.close()


def rows(url: str, query: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url, autocommit=True) as conn:
        return conn.execute(query.encode()).fetchall()


@pytest.mark.parametrize(
    ("typed", "compared"),
    [
        ("Ada@Example.COM", "ada@example.com"),
        ("ada+tag.x@x.de", "ada+tag.x@x.de"),
        ("STRASSE@bücher.de", "strasse@xn--bcher-kva.de"),
        ("straße@BÜCHER.DE", "strasse@xn--bcher-kva.de"),
        ("a@XN--BCHER-KVA.de", "a@xn--bcher-kva.de"),
        ("e\u0301@x.de", "é@x.de"),
        ("\u03a3\u03c2@x.de", "\u03c3\u03c3@x.de"),
        ("\u0390@x.de", "\u0390@x.de"),  # Case-folding takes it apart.
        ("a@例え.テスト", "a@xn--r8jz45g.xn--zckzah"),
        ("a@example。com", "a@example.com"),
        ("a@localhost", "a@localhost"),
        ("a" * 249 + "@x.de", "a" * 249 + "@x.de"),
    ],
)
def test_spellings_of_one_address_compare_alike(typed: str, compared: str) -> None:
    """Auth page, section 11."""
    assert normalise_email(typed) == compared
    assert normalise_email(compared) == compared


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "ada",
        "@x.de",
        "ada@",
        "a@b@c.de",
        "a b@x.de",
        "a\n@x.de",
        "a\r\nBcc: b@x.de",
        "a,b@x.de",
        "a\0@x.de",
        "a@x.de\0",
        "\ud800@x.de",
        "a@\ud800.de",
        "\u0378@x.de",
        "a\u200b@x.de",
        "<a@x.de>",
        "a@x..de",
        "a@x.de.",
        "a@-x.de",
        "a@x_y.de",
        "a@[127.0.0.1]",
        "a@ex\uff20ample.com",
        "a@" + "x" * 64 + ".de",
        "a" * 250 + "@x.de",
        "é" * 125 + "@x.de",
        "a@" + "é" * 10_000,
        "a@" + ("e\u0301" * 25 + ".") * 5 + "de",
    ],
)
def test_what_is_no_address_is_refused_and_not_repeated(typed: str) -> None:
    """A51, AE5."""
    with pytest.raises(ValidationFailed) as caught:
        normalise_email(typed)
    (fault,) = caught.value.errors
    assert (fault["pointer"], fault["code"]) == ("/email", "email_invalid")
    assert len(typed) < 2 or typed not in str(caught.value.errors)


def test_a_user_is_kept_as_typed_and_found_as_compared(db: Database, database: str) -> None:
    """A52: with an audit row of the same statement."""
    made = Users(db).create("default", "Ada@BÜCHER.de", "cli:ops")
    assert (made.tenant_id, made.email, made.status) == ("default", "Ada@BÜCHER.de", "active")
    assert made.id.version == 7
    assert rows(database, "SELECT email_norm, version FROM users") == [("ada@xn--bcher-kva.de", 1)]
    assert rows(database, "SELECT subject, user_id, event, outcome FROM audit_log") == [
        ("cli:ops", made.id, "user_registered", "ok")
    ]


def test_a_taken_address_changes_nothing(db: Database, database: str) -> None:
    first = Users(db).create("default", "ada@x.de", "cli:ops")
    with pytest.raises(EmailTaken):
        Users(db).create("default", "ADA@x.DE", "cli:ops")
    assert Users(db).list_page("default") == [first]
    assert rows(database, "SELECT count(*) FROM audit_log") == [(1,)]


def test_one_address_in_two_tenants_is_two_users(db: Database) -> None:
    """A2."""
    Tenants(db).create("acme", "Acme", "cli:ops")
    here = Users(db).create("default", "ada@x.de", "cli:ops")
    there = Users(db).create("acme", "ada@x.de", "cli:ops")
    assert here.id != there.id
    assert Users(db).list_page("acme") == [there]


def test_a_user_needs_a_tenant(db: Database) -> None:
    with pytest.raises(NotFound):
        Users(db).create("nobody", "ada@x.de", "cli:ops")


def test_pages_hold_every_user_once_in_order_of_creation(db: Database) -> None:
    users = Users(db)
    made = [users.create("default", f"u{i}@x.de", "cli:ops") for i in range(5)]
    first = users.list_page("default", limit=2)
    second = users.list_page("default", after_id=first[-1].id, limit=2)
    third = users.list_page("default", after_id=second[-1].id, limit=2)
    assert [*first, *second, *third] == made
