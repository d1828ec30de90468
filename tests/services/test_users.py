"""Users: one address is one user per tenant, and which spellings are one address."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import psycopg
import pytest
from psycopg.rows import dict_row

from errors import EmailTaken, LastOperator, NotFound, ValidationFailed
from persistence.db import Database, DbSettings
from services.passwords import NewHash
from services.tenants import Tenants
from services.users import Users, normalise_email
from tests.people import store_hash, store_session

if TYPE_CHECKING:
    from collections.abc import Iterator
    from uuid import UUID


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


# --- With passwords, roles and statuses ---------------------------------------------------------


def hashed(text: str = "$2b$12$" + "." * 53, algo: str = "bcrypt", **params: int) -> NewHash:
    return NewHash(text, algo, params or {"cost": 12})


def row_of(url: str, user_id: UUID) -> dict[str, Any]:
    with psycopg.connect(url, autocommit=True, row_factory=dict_row) as conn:
        found = conn.execute("SELECT * FROM users WHERE id = %s", [user_id]).fetchone()
    assert found is not None
    return found


def told(url: str, event: str) -> list[tuple[object, ...]]:
    """Subject, user and reason of the audit rows of an event."""
    query = "SELECT subject, user_id, reason FROM audit_log WHERE event = %s ORDER BY id"
    with psycopg.connect(url, autocommit=True) as conn:
        return conn.execute(query, [event]).fetchall()


def test_a_user_is_found_by_address_and_by_id_in_its_tenant(db: Database) -> None:
    """A2: another tenant's id is nobody's."""
    users = Users(db)
    made = users.create("default", "Ada@BÜCHER.de", "cli:ops", display_name="Ada L.")
    assert (made.display_name, made.role, made.email_verified) == ("Ada L.", "user", True)
    assert users.find_by_email("default", "ada@xn--bcher-kva.de") == made
    assert users.find_by_id("default", made.id) == made
    Tenants(db).create("acme", "Acme", "cli:ops")
    for find in (
        lambda: users.find_by_id("acme", made.id),
        lambda: users.find_by_email("acme", "ada@bücher.de"),
        lambda: users.set_status("acme", made.id, "disabled", "cli:ops"),
        lambda: users.promote("acme", made.id, hashed(), "cli:ops"),
        lambda: users.demote("acme", made.id, "cli:ops"),
        lambda: users.erase("acme", made.id, "cli:ops"),
    ):
        with pytest.raises(NotFound):
            find()


def test_pages_are_narrowed_by_address_and_status(db: Database) -> None:
    users = Users(db)
    ada, bob = (users.create("default", f"{name}@x.de", "cli:ops") for name in ("ada", "bob"))
    users.set_status("default", bob.id, "disabled", "cli:ops")
    assert [row.id for row in users.list_page("default", status="active")] == [ada.id]
    assert [row.id for row in users.list_page("default", email="BOB@x.de")] == [bob.id]
    assert users.list_page("default", email="bob@x.de", status="active") == []


def test_a_user_is_made_with_its_hash_and_what_it_says(db: Database, database: str) -> None:
    """A16."""
    made = Users(db).create("default", "a@x.de", "cli:ops", role="operator", password=hashed())
    row = row_of(database, made.id)
    assert (row["role"], row["password_hash"]) == ("operator", hashed().text)
    assert (row["password_algo"], row["password_params"]) == ("bcrypt", {"cost": 12})
    assert (row["password_hash_version"], row["session_epoch"], row["version"]) == (1, 0, 1)
    assert row["password_changed_at"] is not None


@pytest.mark.parametrize("status", ["disabled", "active"])
def test_a_changed_status_ends_the_sessions_and_is_told(
    db: Database, database: str, status: Literal["active", "disabled"]
) -> None:
    """A4, A52."""
    users = Users(db)
    made = users.create("default", "a@x.de", "cli:ops")
    if status == "active":
        users.set_status("default", made.id, "disabled", "cli:ops")
    before = row_of(database, made.id)
    changed = users.set_status(
        "default", made.id, status, "user:1", reason="asked for", address="192.0.2.7"
    )
    after = row_of(database, made.id)
    assert changed.status == after["status"] == status
    assert after["session_epoch"] == before["session_epoch"] + 1
    assert after["version"] == before["version"] + 1
    assert told(database, "user_status_changed")[-1] == ("user:1", made.id, "asked for")


def test_what_is_so_already_ends_no_session(db: Database, database: str) -> None:
    """A4: asking twice is harmless, and told once."""
    users = Users(db)
    made = users.create("default", "a@x.de", "cli:ops")
    for _ in range(2):
        users.set_status("default", made.id, "disabled", "cli:ops")
        users.demote("default", made.id, "cli:ops")
    assert row_of(database, made.id)["session_epoch"] == 1
    assert len(told(database, "user_status_changed")) == 1
    assert told(database, "role_changed") == []


def test_a_new_operator_gets_a_new_password_and_loses_its_sessions(
    db: Database, database: str
) -> None:
    """A4, A8: the hash of an older store goes too, or it would still let in."""
    users = Users(db)
    user_id = store_hash(database, "$2a$10$" + "." * 53, legacy=True)
    assert users.promote("default", user_id, hashed(), "cli:ops").role == "operator"
    row = row_of(database, user_id)
    assert (row["role"], row["password_hash"]) == ("operator", hashed().text)
    assert (row["legacy_password_hash"], row["password_hash_version"]) == (None, 1)
    assert row["session_epoch"] == 1
    assert told(database, "role_changed") == [("cli:ops", user_id, None)]


def test_an_operator_who_becomes_a_user_keeps_the_password(db: Database, database: str) -> None:
    """A4, A8."""
    users = Users(db)
    users.create("default", "other@x.de", "cli:ops", role="operator")
    made = users.create("default", "a@x.de", "cli:ops", role="operator", password=hashed())
    assert users.demote("default", made.id, "cli:ops").role == "user"
    row = row_of(database, made.id)
    assert (row["password_hash"], row["password_hash_version"]) == (hashed().text, 1)
    assert row["session_epoch"] == 1


def test_the_last_operator_stays(db: Database, database: str) -> None:
    """Section 10, `last_operator`: disabled ones and those of other tenants do not count."""
    users = Users(db)
    Tenants(db).create("acme", "Acme", "cli:ops")
    users.create("acme", "a@x.de", "cli:ops", role="operator")
    away = users.create("default", "away@x.de", "cli:ops", role="operator")
    last = users.create("default", "last@x.de", "cli:ops", role="operator")
    users.set_status("default", away.id, "disabled", "cli:ops")
    for refused in (
        lambda: users.set_status("default", last.id, "disabled", "cli:ops"),
        lambda: users.demote("default", last.id, "cli:ops"),
        lambda: users.erase("default", last.id, "cli:ops"),
    ):
        with pytest.raises(LastOperator):
            refused()
    assert users.find_by_id("default", last.id) == last
    assert row_of(database, last.id)["version"] == 1
    users.demote("default", away.id, "cli:ops")
    users.erase("default", away.id, "cli:ops")


def test_an_erased_user_is_an_id_and_nothing_else(db: Database, database: str) -> None:
    """Section 11: the row stays for what points to it; sessions, links and mails let go."""
    users = Users(db)
    made = users.create("default", "a@x.de", "cli:ops", display_name="Ada", password=hashed())
    session_id = store_session(database, made.id)
    users.erase("default", made.id, "cli:ops", reason="asked for")
    users.erase("default", made.id, "cli:ops")
    row = row_of(database, made.id)
    for name in ("email", "email_norm", "email_verified_at", "display_name", "password_hash"):
        assert row[name] is None
    assert (row["status"], row["session_epoch"], row["password_hash_version"]) == ("deleted", 1, 2)
    session = f"FROM auth_sessions WHERE id = '{session_id}'"
    assert rows(database, f"SELECT ip, user_agent, device_label, revoked_reason {session}") == [
        (None, None, None, "user_erased")
    ]
    assert told(database, "user_erased") == [("cli:ops", made.id, "asked for")]
    assert users.create("default", "a@x.de", "cli:ops").id != made.id


def test_an_erased_user_comes_back_in_no_way(db: Database) -> None:
    users = Users(db)
    made = users.create("default", "a@x.de", "cli:ops")
    users.erase("default", made.id, "cli:ops")
    with pytest.raises(NotFound):
        users.set_status("default", made.id, "active", "cli:ops")
    with pytest.raises(NotFound):
        users.promote("default", made.id, hashed(), "cli:ops")
    assert not users.upgrade_password("default", made.id, 0, hashed())
    assert users.find_by_id("default", made.id).status == "deleted"


def test_an_upgrade_keeps_what_a_way_back_needs(db: Database, database: str) -> None:
    """A17: the older store's hash, the sessions, and when the password was chosen."""
    user_id = store_hash(database, "$2a$10$" + "." * 53, legacy=True)
    assert Users(db).upgrade_password("default", user_id, 0, hashed())
    row = row_of(database, user_id)
    assert row["password_hash"] == hashed().text
    assert row["legacy_password_hash"] == "$2a$10$" + "." * 53
    assert (row["password_hash_version"], row["version"], row["session_epoch"]) == (1, 2, 0)
    assert row["password_changed_at"] is None
    assert told(database, "password_upgraded") == [(f"user:{user_id}", user_id, None)]


def test_an_upgrade_of_what_was_replaced_changes_nothing(db: Database, database: str) -> None:
    """A17: no row, no failure, no audit."""
    user_id = store_hash(database, hashed().text)
    users = Users(db)
    assert not users.upgrade_password("default", user_id, 7, hashed("$2b$12$" + "a" * 53))
    assert row_of(database, user_id)["password_hash"] == hashed().text
    assert told(database, "password_upgraded") == []


def test_hashes_are_counted_by_kind(db: Database, database: str) -> None:
    """A16: of this tenant's users who are still there."""
    for _ in range(3):
        store_hash(database, "$2b$12$" + "." * 53)
    store_hash(database, "$2a$10$" + "." * 53, legacy=True)
    store_hash(database, "$argon2i$v=19$m=64,t=1,p=1$c29tZXNhbHQ$c29tZXNhbHRzb21lc2FsdA")
    store_hash(database, "what is this")
    users = Users(db)
    users.erase("default", users.create("default", "gone@x.de", "cli:ops").id, "cli:ops")
    users.create("default", "none@x.de", "cli:ops")
    found = {(row.beginning, row.has_hash): row.user_count for row in users.count_hashes("default")}
    assert found == {
        ("$2b$12", True): 3,
        ("$2a$10", True): 1,
        ("$argon2i$v=19$m=64,t=1,p=1", True): 1,
        (None, True): 1,
        (None, False): 1,
    }
