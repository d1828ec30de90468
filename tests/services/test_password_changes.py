"""A new password: all sessions end, and what was mailed before is void (A4, A47, A49)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.clients import ADDRESS, PASSWORD, new_email

if TYPE_CHECKING:
    from tests.clients import People
    from tests.world import Reply

NEW = "an even longer sentence"


def code(answer: Any) -> str:
    """Return the code of a problem, or the status of what is none."""
    return str(answer.json["code"]) if answer.status_code >= 400 else str(answer.status_code)


def change(
    people: People, tokens: dict[str, Any], current: str = PASSWORD, new: str = NEW
) -> Reply:
    body = {"current_password": current, "new_password": new}
    return people.ask("POST", "/password/change", body, token=tokens["access_token"])


def asked_link(people: People, email: str) -> str:
    people.ask("POST", "/password/forgot", {"email": email})
    return people.link(email)


def reset(people: People, token: str, new: str = NEW) -> Reply:
    return people.ask("POST", "/password/reset", {"token": token, "new_password": new})


# --- Change -------------------------------------------------------------------------------------


def test_a_change_ends_all_sessions_and_opens_one(people: People) -> None:
    """A4, A37: the answer holds the new session; a notice is mailed (A49)."""
    email = new_email()
    one, two = people.signed_up(email), people.logged_in(email)
    answer = change(people, one)
    assert answer.status_code == 200
    assert [people.works(each) for each in (one, two, answer.json)] == [False, False, True]
    assert people.refresh(answer.json["refresh_token"]).status_code == 200
    assert code(people.log_in(email)) == "invalid_credentials"
    assert people.log_in(email, NEW).status_code == 200
    assert [mail.subject for mail in people.mails(email)] == ["Your password was changed"]
    rows = people.rows("SELECT outcome FROM audit_log WHERE event = 'password_changed'")
    assert rows == [("ok",)]


def test_a_change_needs_the_old_password(people: People) -> None:
    """A27: and counts its attempts."""
    tokens = people.signed_up()
    seen = [code(change(people, tokens, "wrong password here")) for _ in range(11)]
    assert seen == ["invalid_credentials"] * 10 + ["rate_limited"]
    assert people.works(tokens)


def test_a_weak_or_equal_password_changes_nothing(people: People) -> None:
    """A14: too_short, same_as_current; choosing is not guessing."""
    tokens = people.signed_up()
    for _ in range(6):
        short = change(people, tokens, new="short")
        same = change(people, tokens, new=PASSWORD)
        assert (code(short), code(same)) == ("weak_password", "weak_password")
    assert short.json["errors"][0]["pointer"] == "/new_password"
    assert [each["code"] for each in same.json["errors"]] == ["same_as_current"]
    assert people.works(tokens)


def test_a_change_voids_links_that_were_mailed(people: People) -> None:
    """A47: a new epoch."""
    email = new_email()
    tokens = people.signed_up(email)
    link = asked_link(people, email)
    change(people, tokens)
    assert code(reset(people, link)) == "token_invalid_or_expired"


def test_a_change_forgets_the_hash_of_an_older_store(people: People) -> None:
    """Migration page: a rollback must not revive the old password."""
    tokens = people.signed_up()
    people.change("UPDATE users SET legacy_password_hash = '$2b$12$x'")
    change(people, tokens)
    assert people.rows("SELECT legacy_password_hash FROM users WHERE password_hash <> ''") == [
        (None,)
    ]


# --- Reset --------------------------------------------------------------------------------------


def test_a_reset_sets_a_password_and_logs_nobody_in(people: People) -> None:
    """A49: 204, all sessions end, the address is verified, a notice is mailed."""
    email = new_email()
    tokens = people.signed_up(email)
    answer = reset(people, asked_link(people, email))
    assert (answer.status_code, answer.data) == (204, b"")
    assert not people.works(tokens)
    assert people.log_in(email).status_code == 401
    user = people.logged_in(email, NEW)["user"]
    assert user["email_verified"] is True
    assert people.mails(email)[-1].subject == "Your password was changed"


def test_a_reset_works_once(people: People) -> None:
    """A47 (supabase/supabase#3051)."""
    email = new_email()
    people.signed_up(email)
    link = asked_link(people, email)
    assert reset(people, link).status_code == 204
    answer = reset(people, link, "yet another sentence")
    assert (answer.status_code, code(answer)) == (400, "token_invalid_or_expired")


def test_a_weak_password_leaves_the_link(people: People) -> None:
    """A47: checked before hashing, claimed by the statement that stores the hash."""
    email = new_email()
    people.signed_up(email)
    link = asked_link(people, email)
    assert code(reset(people, link, "short")) == "weak_password"
    assert code(reset(people, link, PASSWORD)) == "weak_password"
    assert reset(people, link).status_code == 204


def test_a_link_to_reset_lives_an_hour(people: People) -> None:
    """A47."""
    email = new_email()
    people.signed_up(email)
    link = asked_link(people, email)
    rows = people.rows("SELECT extract(epoch FROM expires_at - now())::int FROM one_time_tokens")
    assert 3500 < rows[0][0] <= 3600
    people.change("UPDATE one_time_tokens SET expires_at = now()")
    assert code(reset(people, link)) == "token_invalid_or_expired"


def test_a_reset_clears_the_throttle(people: People) -> None:
    """A49: whoever reads the mail is the owner."""
    email = new_email()
    people.signed_up(email)
    for _ in range(11):
        people.log_in(email, "wrong password here")
    assert code(people.log_in(email)) == "rate_limited"
    reset(people, asked_link(people, email))
    assert people.log_in(email, NEW, address=ADDRESS).status_code == 200


def test_a_user_without_a_password_gets_one_by_a_link(people: People) -> None:
    """Section 8: who was made by command logs in so for the first time."""
    email = new_email()
    people.services.users.create("default", email, "cli:test")
    assert reset(people, asked_link(people, email)).status_code == 204
    assert people.log_in(email, NEW).status_code == 200


def test_an_operator_needs_a_longer_password(people: People) -> None:
    """A13: 15 characters, by a link too."""
    email = new_email()
    tokens = people.signed_up(email)
    people.change("UPDATE users SET role = 'operator' WHERE id = %s", tokens["user"]["id"])
    link = asked_link(people, email)
    assert code(reset(people, link, "fourteen chars")) == "weak_password"
    assert reset(people, link, "fifteen letters").status_code == 204
