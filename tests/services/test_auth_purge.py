"""What log-ins leave behind goes, and nothing else does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from persistence.db import Database, DbSettings
from persistence.db_errors import OwnerNeeded
from services.auth_purge import purge_audit
from services.jobs import Ask
from tests.clients import People, new_email

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def verifying(database: str, tmp_path: Path) -> Iterator[People]:
    made = People(database, tmp_path, FEATURE_EMAIL_VERIFICATION_REQUIRED="true")
    yield made
    made.close()


def count(people: People, table: str) -> int:
    ((found,),) = people.rows(f"SELECT count(*) FROM {table}")
    return int(found)


def test_live_things_stay(people: People) -> None:
    email = new_email()
    tokens = people.signed_up(email)
    people.ask("POST", "/password/forgot", {"email": email})
    people.log_in(email, "wrong password here")
    before = {t: count(people, t) for t in ("auth_sessions", "one_time_tokens", "mail_outbox")}
    throttled = count(people, "login_throttle")
    assert people.purge() == 0
    assert before == {t: count(people, t) for t in before}
    assert count(people, "login_throttle") == throttled
    assert people.works(tokens)


def test_sessions_go_a_week_after_their_end(people: People) -> None:
    """Section 11; until then their tokens are refused as ended, afterwards as unknown."""
    old, recent = people.signed_up(), people.signed_up()
    for each in (old, recent):
        people.ask("POST", "/logout", {"refresh_token": each["refresh_token"]})
    people.change("UPDATE auth_sessions SET revoked_at = now() - interval '8 days' WHERE id = %s",
                  old["session_id"])  # fmt: skip
    people.purge()
    assert people.refresh(old["refresh_token"]).json["code"] == "refresh_token_invalid"
    assert people.refresh(recent["refresh_token"]).json["code"] == "session_revoked"


def test_refresh_tokens_go_after_a_week(people: People, database_owner: str) -> None:
    """A32: reuse is known all the same."""
    first = people.signed_up()
    second = people.refresh(first["refresh_token"]).json
    people.refresh(second["refresh_token"])
    people.change("UPDATE auth_sessions SET created_at = created_at - interval '8 days'")
    with psycopg.connect(database_owner) as conn:
        conn.execute("UPDATE refresh_tokens SET issued_at = now() - interval '8 days'"
                     " WHERE generation < 2")  # fmt: skip
    assert people.purge() == 2
    assert people.refresh(first["refresh_token"]).json["code"] == "refresh_token_reused"


def test_links_windows_and_mails_go(people: People) -> None:
    email = new_email()
    people.signed_up(email)
    people.ask("POST", "/password/forgot", {"email": email})
    people.log_in(new_email(), "wrong password here")
    people.ask("POST", "/login", {"email": email, "password": "x"}, Strongroom_Tenant="never-was")
    people.mails()
    people.change("UPDATE one_time_tokens SET expires_at = now() - interval '2 days'")
    people.change("UPDATE login_throttle SET window_start = now() - interval '26 hours'")
    people.change("UPDATE mail_outbox SET created_at = now() - interval '8 days'")
    people.purge()
    assert [count(people, t) for t in ("one_time_tokens", "login_throttle", "mail_outbox")] == [
        0,
        0,
        0,
    ]


def test_who_never_proved_the_address_goes_after_seven_days(verifying: People) -> None:
    """Section 8, UNVERIFIED_USER_DAYS: the row stays, empty; the address is free again."""
    old, young, proven = new_email(), new_email(), new_email()
    for email in (old, young, proven):
        verifying.register(email)
    verifying.ask("POST", "/email/verify", {"token": verifying.link(proven)})
    verifying.change("UPDATE users SET created_at = now() - interval '7 days 1 minute'"
                     " WHERE email <> %s", young)  # fmt: skip
    verifying.change("UPDATE one_time_tokens SET expires_at = now() - interval '2 days'")
    verifying.purge()
    rows = verifying.rows(
        "SELECT email FROM users WHERE email IS NOT NULL AND password_hash IS NOT NULL"
    )
    assert sorted(rows) == sorted([(young,), (proven,)])
    rows = verifying.rows(
        "SELECT u.status, a.subject, a.reason FROM audit_log a JOIN users u ON u.id = a.user_id"
        " WHERE a.event = 'user_erased'"
    )
    assert rows == [("deleted", "job:auth-purge", "unverified")]
    assert verifying.register(old).status_code == 202
    assert verifying.link(old)


def test_users_who_were_never_asked_to_prove_anything_stay(people: People) -> None:
    """Section 8: imported ones, and those of a time when nobody had to."""
    tokens = people.signed_up()
    people.change("UPDATE users SET created_at = now() - interval '99 days'")
    people.purge()
    assert people.works(tokens)
    assert people.rows("SELECT count(*) FROM users WHERE status = 'deleted'") == [(0,)]


def test_a_purge_may_only_count(people: People) -> None:
    """OJ1."""
    tokens = people.signed_up()
    people.ask("POST", "/logout", {"refresh_token": tokens["refresh_token"]})
    people.change("UPDATE auth_sessions SET revoked_at = now() - interval '8 days'")
    assert people.purge(Ask(dry_run=True)) == 1
    assert count(people, "auth_sessions") == 1
    assert people.purge(Ask(tenant_id="acme")) == 0
    assert people.purge(Ask(tenant_id="default")) == 1


def test_only_the_owner_ends_audit_rows(people: People, database_owner: str) -> None:
    """A53, AUDIT_RETENTION_DAYS."""
    people.signed_up()
    people.log_in(new_email(), "wrong password here")
    with psycopg.connect(database_owner) as conn:
        conn.execute("UPDATE audit_log SET at = now() - interval '401 days' WHERE event = 'login'")
    rows = count(people, "audit_log")
    with pytest.raises(OwnerNeeded):
        purge_audit(people.services.db, None, 400, 10, dry_run=False)
    db = Database(database_owner, DbSettings())
    given: list[Any] = [db, None, 400, 10]
    assert purge_audit(*given, dry_run=True) == 1
    assert purge_audit(db, "acme", 400, 10, dry_run=False) == 0
    assert purge_audit(*given, dry_run=False) == 1
    assert purge_audit(*given, dry_run=False) == 0
    db.close()
    assert count(people, "audit_log") == rows - 1
