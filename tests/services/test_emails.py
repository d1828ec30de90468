"""Addresses: links that work once, mails that tell nobody who is there (A47 to A51)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from services.one_time_tokens import OneTimeTokens
from tests.clients import PASSWORD, new_email

if TYPE_CHECKING:
    from tests.clients import People
    from tests.world import Reply


def code(answer: Any) -> str:
    """Return the code of a problem, or the status of what is none."""
    return str(answer.json["code"]) if answer.status_code >= 400 else str(answer.status_code)


def verify(people: People, token: str, **headers: str) -> Reply:
    return people.ask("POST", "/email/verify", {"token": token}, **headers)


def resend(people: People, email: str) -> Reply:
    return people.ask("POST", "/email/verify/resend", {"email": email})


def ask_change(people: People, tokens: dict[str, Any], new: str, **body: str) -> Reply:
    given = {"new_email": new, "password": PASSWORD, **body}
    return people.ask("POST", "/email/change", given, token=tokens["access_token"])


# --- Verification -------------------------------------------------------------------------------


def test_a_link_proves_an_address_once(people: People) -> None:
    """A47: the second use is 400; sessions live on."""
    email = new_email()
    tokens = people.signed_up(email)
    assert resend(people, email).json == {"status": "accepted"}
    link = people.link(email)
    assert link.startswith("sro_")
    assert verify(people, link).status_code == 204
    assert code(verify(people, link)) == "token_invalid_or_expired"
    assert people.me(tokens["access_token"]).json["user"]["email_verified"] is True
    events = people.rows(
        "SELECT event, outcome FROM audit_log WHERE event LIKE 'email%%' ORDER BY id"
    )
    assert events == [("email_verification_requested", "ok"), ("email_verified", "ok")]


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE one_time_tokens SET expires_at = now()",
        "UPDATE users SET session_epoch = session_epoch + 1, version = version + 1",
        "UPDATE users SET status = 'disabled'",
        "UPDATE tenants SET status = 'suspended'",
        "DELETE FROM one_time_tokens",
    ],
)
def test_a_link_is_void_after_what_made_it_so(people: People, change: str) -> None:
    """A47: expiry, a new epoch, and whatever ended the user."""
    email = new_email()
    people.signed_up(email)
    resend(people, email)
    link = people.link(email)
    people.change(change)
    assert code(verify(people, link)) == "token_invalid_or_expired"


def test_a_newer_link_replaces_the_older(people: People) -> None:
    """A47."""
    email = new_email()
    people.signed_up(email)
    resend(people, email)
    older = people.link(email)
    resend(people, email)
    newer = people.link(email)
    assert code(verify(people, older)) == "token_invalid_or_expired"
    assert verify(people, newer).status_code == 204


def test_links_of_other_purposes_and_forgeries_are_refused(people: People) -> None:
    """A47: the purpose stands within the MAC."""
    email = new_email()
    people.signed_up(email)
    people.ask("POST", "/password/forgot", {"email": email})
    reset = people.link(email)
    own = OneTimeTokens(people.services.config.subkeys("one-time"))
    real = own.read(reset)
    assert real is not None
    forged = OneTimeTokens({"made": bytes(32)}).write(real)
    for each in (reset, forged, reset[:-1] + "x", "sro_", "x"):
        assert code(verify(people, each)) == "token_invalid_or_expired"


def test_a_link_names_its_tenant(people: People) -> None:
    """A1."""
    email = new_email()
    people.signed_up(email)
    resend(people, email)
    link = people.link(email)
    assert code(verify(people, link, Strongroom_Tenant="acme")) == "tenant_mismatch"
    assert verify(people, link, Strongroom_Tenant="default").status_code == 204


def test_known_and_unknown_addresses_are_answered_alike(people: People) -> None:
    """A48: forgot and resend: status, headers, body; an audit row either way."""
    known, verified = new_email(), new_email()
    people.signed_up(known)
    people.signed_up(verified)
    people.change("UPDATE users SET email_verified_at = now() WHERE email = %s", verified)
    for path in ("/password/forgot", "/email/verify/resend"):
        seen = set()
        for email in (known, verified, new_email()):
            answer = people.ask("POST", path, {"email": email})
            headers = {k: v for k, v in answer.headers.items() if k != "X-Request-ID"}
            seen.add((answer.status_code, answer.data, str(headers)))
        assert len(seen) == 1
        assert seen.pop()[0] == 202
    assert people.rows("SELECT count(*) FROM audit_log WHERE event LIKE '%%requested'") == [(6,)]
    assert sorted(mail.to for mail in people.mails()) == sorted([known, known, verified])


def test_a_suspended_tenant_looks_empty(people: People) -> None:
    """A3: forgot 202, and no mail."""
    email = new_email()
    people.signed_up(email)
    people.change("UPDATE tenants SET status = 'suspended'")
    for tenant in ("default", "nobody"):
        body = {"email": email}
        answer = people.ask("POST", "/password/forgot", body, Strongroom_Tenant=tenant)
        assert answer.status_code == 202
    assert people.mails() == []


def test_links_hold_the_token_behind_a_hash(people: People) -> None:
    """A51: MAIL_LINK_BASE, a path, a fragment; the Host header is never used."""
    email = new_email()
    people.signed_up(email)
    people.ask("POST", "/password/forgot", {"email": email}, Host="evil.example")
    (mail,) = people.mails(email)
    base = people.services.config.public_url
    assert f"\n{base}/reset-password#token=sro_" in mail.text
    assert "evil" not in mail.text


# --- Change -------------------------------------------------------------------------------------


def test_an_address_changes_by_the_link_to_the_new_one(people: People) -> None:
    """A4, A49: all sessions end, the old address is told, the new one is verified."""
    old, new = new_email(), new_email()
    tokens = people.signed_up(old)
    assert ask_change(people, tokens, new).json == {"status": "accepted"}
    assert people.works(tokens)
    assert people.log_in(new).status_code == 401
    assert verify(people, people.link(new)).status_code == 204
    assert not people.works(tokens)
    assert code(people.refresh(tokens["refresh_token"])) == "session_revoked"
    assert people.log_in(old).status_code == 401
    user = people.logged_in(new)["user"]
    assert (user["email"], user["email_verified"]) == (new, True)
    assert [mail.subject for mail in people.mails(old)] == ["Your e-mail address was changed"]


def test_an_address_that_is_taken_meanwhile_is_409(people: People) -> None:
    """Section 10: nothing is used up by it."""
    old, new = new_email(), new_email()
    tokens = people.signed_up(old)
    ask_change(people, tokens, new)
    link = people.link(new)
    other = people.signed_up(new)
    answer = verify(people, link)
    assert (answer.status_code, code(answer)) == (409, "email_taken")
    assert people.works(tokens)
    assert people.works(other)
    assert people.rows("SELECT consumed_at FROM one_time_tokens") == [(None,)]


def test_a_change_needs_the_password(people: People) -> None:
    """Section 10: 401 invalid_credentials; no mail."""
    tokens = people.signed_up()
    answer = ask_change(people, tokens, new_email(), password="wrong password here")
    assert code(answer) == "invalid_credentials"
    assert people.mails() == []


def test_choosing_addresses_is_no_guessing(people: People) -> None:
    """A27: success clears what was counted."""
    tokens = people.signed_up()
    for _ in range(12):
        assert ask_change(people, tokens, new_email()).status_code == 202


@pytest.mark.parametrize("address", ["a@b.de,c@d.de", "a@b.de\nBcc: c@d.de", "nobody"])
def test_one_address_is_one_address(people: People, address: str) -> None:
    """A51: CR, LF and comma are 422, where they stand."""
    tokens = people.signed_up()
    answer = ask_change(people, tokens, address)
    assert (answer.status_code, answer.json["errors"][0]["pointer"]) == (422, "/new_email")


def test_a_stolen_session_cannot_flood_an_address(people: People) -> None:
    """Section 5, `mail`: 5 an hour to one address, whoever asks."""
    victim = new_email()
    for _ in range(3):
        tokens = people.signed_up()
        for _ in range(3):
            ask_change(people, tokens, victim)
    assert len(people.mails(victim)) <= 5
