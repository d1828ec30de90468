"""Users over HTTP: what each answer holds, and what is refused in which words (section 10)."""

from __future__ import annotations

import base64
import hmac
import io
import json
import random
import socket
import string
import unicodedata
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

import observability
from services.jws import members
from tests.clients import PASSWORD, People, new_email

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.world import Reply

USER = ["id", "tenant_id", "email", "email_verified", "display_name", "role", "status"]
USER += ["created_at"]
TOKENS = ["access_token", "token_type", "expires_in", "refresh_token"]
TOKENS += ["refresh_token_expires_at", "session_id", "device_token", "retried", "user"]
SESSION = ["id", "current", "device_label", "user_agent", "ip", "amr", "created_at"]
SESSION += ["last_used_at", "expires_at"]
NEW = "an even longer sentence"


def problem(answer: Reply) -> tuple[int, str]:
    """Return status and code of a refusal, whose frame is checked."""
    found = answer.json
    assert answer.content_type == "application/problem+json"
    challenge = answer.headers.get("WWW-Authenticate", "")
    assert challenge.startswith("Bearer") is (answer.status_code == 401)
    assert found["retryable"] is (answer.status_code in {429, 503})
    assert answer.headers["Cache-Control"] == "no-store"
    return answer.status_code, found["code"]


# --- What answers hold --------------------------------------------------------------------------


def test_a_whole_life(people: People) -> None:
    """Section 10: register, refresh, log in, reauthenticate, change, forget, reset, log out."""
    email = new_email()
    first = people.register(email, display_name="Ada", device_label="phone")
    assert (first.status_code, list(first.json)) == (201, TOKENS)
    assert list(first.json["user"]) == USER
    assert first.json["user"]["email"] == email
    second = people.refresh(first.json["refresh_token"])
    assert (second.status_code, list(second.json)) == (200, TOKENS)
    third = people.log_in(email, device_token=first.json["device_token"])
    assert (third.status_code, list(third.json)) == (200, TOKENS)
    token = third.json["access_token"]
    fresh = people.ask("POST", "/reauthenticate", {"password": PASSWORD}, token=token)
    assert list(fresh.json) == [
        "access_token", "token_type", "expires_in", "session_id", "auth_time",
    ]  # fmt: skip
    listed = people.ask("GET", "/sessions", token=token)
    assert list(listed.json) == ["data", "next_cursor"]
    assert [list(row) for row in listed.json["data"]] == [SESSION] * 2
    change = {"current_password": PASSWORD, "new_password": NEW}
    changed = people.ask("POST", "/password/change", change, token=token)
    assert (changed.status_code, list(changed.json)) == (200, TOKENS)
    forgot = people.ask("POST", "/password/forgot", {"email": email})
    assert (forgot.status_code, forgot.json) == (202, {"status": "accepted"})
    reset = {"token": people.link(email), "new_password": PASSWORD}
    done = people.ask("POST", "/password/reset", reset)
    assert (done.status_code, done.get_data()) == (204, b"")
    last = people.logged_in(email)
    out = people.ask("POST", "/logout", {"refresh_token": last["refresh_token"]})
    assert (out.status_code, out.get_data()) == (204, b"")
    everything = [first, second, third, fresh, listed, changed, forgot, done, out]
    assert {answer.headers["Cache-Control"] for answer in everything} == {"no-store"}
    assert not any("Set-Cookie" in answer.headers for answer in everything)
    events = [event for (event,) in people.rows("SELECT event FROM audit_log ORDER BY id")]
    expected = ["user_registered", "login", "reauthenticated", "password_changed"]
    expected += ["password_reset_requested", "password_reset", "login", "session_revoked"]
    assert [event for event in events if event in {*expected}][1:] == expected


def test_who_asks_is_told_what_they_may(people: People) -> None:
    """Section 10: kind, scopes, reach; a user or a key, and never a secret of it."""
    tokens = people.signed_up()
    mine = people.me(tokens["access_token"]).json
    members_of_me = ["kind", "scopes", "reach", "tenant_id", "user", "key"]
    assert list(mine) == members_of_me
    assert (mine["kind"], mine["reach"], mine["user"]) == ("user", "own", tokens["user"])
    assert mine["scopes"] == ["ledger:read", "payments:create", "payments:read"]
    theirs = people.me(people.new_api_key(["audit:read"])).json
    assert (theirs["kind"], theirs["reach"], theirs["user"]) == ("key", "tenant", None)
    assert theirs["scopes"] == theirs["key"]["scopes"] == ["audit:read"]
    operator = people.me(people.new_session("operator").token).json
    assert (operator["reach"], len(operator["scopes"])) == ("tenant", 18)


def test_a_token_says_what_rfc_9068_wants(people: People) -> None:
    """Section 7: header and claims, and nothing more."""
    tokens = people.signed_up()
    header, claims, _ = (
        base64.urlsafe_b64decode(part + "==") for part in tokens["access_token"].split(".")
    )
    assert set(members(header)) == {"alg", "kid", "typ"}
    found = members(claims)
    named = "iss aud sub client_id sid tid jti iat nbf exp auth_time amr scope"
    assert set(found) == set(named.split())
    assert (found["sub"], found["sid"]) == (
        f"user:{tokens['user']['id']}",
        tokens["session_id"],
    )


# --- Passwords of any text ----------------------------------------------------------------------

TEXTS = {
    "emoji": "🔐🧪🎷🪗🦑🏔️🚲🧶",
    "right to left": "סיסמה ארוכה מאוד",
    "combining": "e\u0301" * 20 + " trevallion",
    "spaces": "  two   spaces at  both ends  ",
    "64 characters": "x7 " * 21 + "y",
    "256 characters": "7q" * 128,
    "quotes": "' OR 1=1; --\"\\ {}%s",
    "long after 72 bytes": "é" * 60 + " trevallion",
}


@pytest.mark.parametrize("name", TEXTS)
def test_any_text_is_a_password(people: People, name: str) -> None:
    """A13, A15: in NFC and NFD alike, to its last character."""
    email, text = new_email(), TEXTS[name]
    assert people.register(email, text).status_code == 201
    for form in ("NFC", "NFD"):
        assert people.log_in(email, unicodedata.normalize(form, text)).status_code == 200
    for other in (text[:-1], text + "x", text.swapcase() + "x"):
        assert problem(people.log_in(email, other)) == (401, "invalid_credentials")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("7q" * 128 + "7", "too_long"),
        ("🔐" * 256, None),  # 1,024 bytes.
        ("🔐" * 255 + "aé🔐", "too_long"),
        ("a🔐7qz!x", "too_short"),
        ("password1", "common"),
        ("PassWord1", "common"),
        ("Strongroom", "context_word"),
    ],
    ids=["257", "1024 bytes", "too many bytes", "7", "common", "any case", "our name"],
)
def test_a_weak_password_is_told_why(people: People, text: str, code: str | None) -> None:
    """A13, A14."""
    answer = people.register(password=text)
    if code is None:
        assert answer.status_code == 201
        return
    assert problem(answer) == (422, "weak_password")
    assert code in {fault["code"] for fault in answer.json["errors"]}
    assert {fault["pointer"] for fault in answer.json["errors"]} == {"/password"}
    assert text not in answer.get_data(as_text=True)


NO_TEXT: list[Any] = ["a\u0000bcdefgh", "abcdefg\ud800", "\udc00abcdefg", "abcdefg\u0378"]
NO_TEXT += ["", "a" * 1025, None, True, 12345678, 1.5, ["password"], {"a": 1}]


@pytest.mark.parametrize("value", NO_TEXT, ids=lambda value: ascii(value)[:16])
def test_what_is_no_text_is_422_wherever_a_password_stands(people: People, value: Any) -> None:
    """A21: for known and unknown addresses alike, and nothing of it is counted."""
    email = new_email()
    token = people.signed_up(email)["access_token"]
    calls: list[tuple[str, dict[str, Any], str | None]] = [
        ("/register", {"email": new_email(), "password": value}, None),
        ("/login", {"email": email, "password": value}, None),
        ("/login", {"email": new_email(), "password": value}, None),
        ("/reauthenticate", {"password": value}, token),
        ("/password/change", {"current_password": value, "new_password": NEW}, token),
        ("/password/change", {"current_password": PASSWORD, "new_password": value}, token),
        ("/email/change", {"new_email": new_email(), "password": value}, token),
    ]
    for path, body, bearer in calls:
        answer = people.app.test_client().post(
            f"/v1/auth{path}",
            data=json.dumps(body),
            content_type="application/json",
            headers={"Authorization": f"Bearer {bearer}"} if bearer else {},
        )
        status, found = answer.status_code, answer.get_json()["code"]
        assert (status, found) in {(422, "validation_failed"), (400, "invalid_json")}, path
    assert people.rows("SELECT count(*) FROM login_throttle WHERE bucket = 'account'") == [(0,)]
    assert people.log_in(email).status_code == 200


# --- Tokens that are none -----------------------------------------------------------------------


def forgeries(people: People, tokens: dict[str, Any]) -> dict[str, str]:
    """Return what somebody tries who has no session, by name."""
    header, claims, signature = tokens["access_token"].split(".")
    said = members(base64.urlsafe_b64decode(header + "=="))
    mine = people.services.signing_keys.published("default")[0]
    other = people.signed_up()["access_token"].split(".")

    def written(document: dict[str, Any]) -> str:
        return base64.urlsafe_b64encode(json.dumps(document).encode()).decode().rstrip("=")

    def by_hmac(secret: str) -> str:
        text = f"{written({**said, 'alg': 'HS256'})}.{claims}"
        made = hmac.digest(secret.encode(), text.encode(), "sha256")
        return f"{text}.{base64.urlsafe_b64encode(made).decode().rstrip('=')}"

    return {
        "no signature": f"{header}.{claims}.",
        "none": f"{written({**said, 'alg': 'none'})}.{claims}.",
        "None with a signature": f"{written({**said, 'alg': 'None'})}.{claims}.{signature}",
        "hmac by the public key": by_hmac(json.dumps(mine)),
        "hmac by its x": by_hmac(str(mine.get("x", "x" * 43))),
        "another's signature": f"{header}.{claims}.{other[2]}",
        "another's claims": f"{header}.{other[1]}.{signature}",
        "an unknown kid": f"{written({**said, 'kid': 'A' * 43})}.{claims}.{signature}",
        "a kid that is a path": f"{written({**said, 'kid': '../../x'})}.{claims}.{signature}",
        "a key of its own": f"{written({**said, 'jwk': mine})}.{claims}.{signature}",
        "a place of keys": f"{written({**said, 'jku': 'https://x.example'})}.{claims}.{signature}",
        "another type": f"{written({**said, 'typ': 'JWT'})}.{claims}.{signature}",
        "a crit": f"{written({**said, 'crit': ['exp']})}.{claims}.{signature}",
        "padding": tokens["access_token"] + "=",
        "a fourth part": tokens["access_token"] + ".x",
        "too long": "a" * 5000,
        "a refresh token": tokens["refresh_token"],
        "a device token": tokens["device_token"],
        "an undefined": "undefined",
    }


def test_forged_tokens_are_refused_alike(people: People) -> None:
    """A35, A39, A40: 401 and the same words for all; the session itself lives on."""
    tokens = people.signed_up()
    bodies = set()
    for name, text in forgeries(people, tokens).items():
        answer = people.me(text)
        assert problem(answer) == (401, "access_token_invalid"), name
        bodies.add((answer.json["title"], answer.json["detail"]))
    assert len(bodies) == 1
    assert people.works(tokens)


def test_no_mutant_of_an_access_token_is_accepted(people: People) -> None:
    """A39: each character changed once; never a 5xx."""
    tokens = people.signed_up()
    text, draw = tokens["access_token"], random.Random(7)
    letters = string.ascii_letters + string.digits + "-_.="
    for place, letter in enumerate(text):
        other = draw.choice(letters.replace(letter, ""))
        answer = people.me(text[:place] + other + text[place + 1 :])
        assert problem(answer)[0] == 401, place
    assert people.works(tokens)


def test_tokens_of_another_kind_are_refused_where_they_are_posted(people: People) -> None:
    """A35, A47: each kind works in its own place alone."""
    email = new_email()
    tokens = people.signed_up(email)
    people.ask("POST", "/password/forgot", {"email": email})
    link = people.link(email)
    wrong = [tokens["access_token"], tokens["device_token"], link, people.api_key]
    for text in wrong:
        assert problem(people.refresh(text)) == (401, "refresh_token_invalid")
    for text in [tokens["access_token"], tokens["refresh_token"], "sro_", "sro_" + "A" * 150]:
        for path, body in (
            ("/password/reset", {"token": text, "new_password": NEW}),
            ("/email/verify", {"token": text}),
        ):
            expected = (400, "token_invalid_or_expired")
            assert problem(people.ask("POST", path, body)) == expected
    assert people.works(tokens)


def test_a_replayed_token_ends_the_family(people: People) -> None:
    """A31, A32: and the answers say what happened, in the same frame."""
    first = people.signed_up()
    second = people.refresh(first["refresh_token"]).json
    third = people.refresh(second["refresh_token"]).json
    assert problem(people.refresh(first["refresh_token"])) == (401, "refresh_token_reused")
    assert problem(people.refresh(third["refresh_token"])) == (401, "session_revoked")
    assert problem(people.me(third["access_token"])) == (401, "session_revoked")


# --- Nobody learns who is here ------------------------------------------------------------------


def seen(answer: Reply) -> tuple[Any, ...]:
    """Return what a stranger sees: status, headers and body but what differs by request."""
    body = {name: value for name, value in (answer.json or {}).items() if name != "request_id"}
    body.pop("instance", None)
    headers = {name for name, _ in answer.headers}
    return answer.status_code, tuple(sorted(headers)), json.dumps(body, sort_keys=True)


def test_known_and_unknown_addresses_get_one_answer(people: People) -> None:
    """A26, A48: log-in with a wrong password, forgot and resend."""
    known, unknown, off = new_email(), new_email(), new_email()
    people.signed_up(known)
    user_id = people.signed_up(off)["user"]["id"]
    people.change(
        "UPDATE users SET status = 'disabled', session_epoch = session_epoch + 1,"
        " version = version + 1 WHERE id = %s",
        user_id,
    )
    for path, more in (
        ("/login", {"password": "wrong password here"}),
        ("/password/forgot", {}),
        ("/email/verify/resend", {}),
    ):
        answers = [
            people.ask("POST", path, {"email": email, **more}) for email in (known, unknown, off)
        ]
        assert len({seen(answer) for answer in answers}) == 1, path


# --- Secrets, and a Redis that does not answer --------------------------------------------------


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    written = io.StringIO()
    observability.set_up_logging("debug", file=written)
    yield written
    observability.set_up_logging()


def test_no_secret_is_kept_or_told(
    database: str, tmp_path: Path, database_admin: str, log: io.StringIO
) -> None:
    """A9, A35, A52: every secret of a life, searched in all tables, the log and the answers."""
    people = People(database, tmp_path, LOG_LEVEL="debug")
    observability.set_up_logging("debug", file=log)
    email = new_email()
    tokens = people.signed_up(email)
    again = people.refresh(tokens["refresh_token"]).json
    people.ask("POST", "/password/forgot", {"email": email})
    link = people.link(email)
    people.ask("POST", "/password/reset", {"token": link, "new_password": NEW})
    people.refresh(again["refresh_token"])
    people.me(again["access_token"])
    people.log_in(email, PASSWORD)
    key = people.new_api_key()
    people.me(key)
    secrets = {PASSWORD, NEW, link, key}
    for name in ("access_token", "refresh_token", "device_token"):
        secrets |= {tokens[name], again[name]} - {None}
    told = log.getvalue() + dump(database_admin)
    assert email in told
    assert "/v1/auth/login" in told
    found = [secret[:12] for secret in secrets if secret in told or secret[-24:] in told]
    assert found == []
    people.close()


def dump(url: str) -> str:
    """Return every row of every table as text."""
    with psycopg.connect(url) as conn:
        names = conn.execute(
            "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables"
            " WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
        ).fetchall()
        return "\n".join(
            row
            for (name,) in names
            for (row,) in conn.execute(f"SELECT t::text FROM {name} AS t".encode()).fetchall()
        )


@pytest.fixture
def hung() -> Iterator[str]:
    """The URL of a Redis that takes connections and never answers."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        yield f"redis://127.0.0.1:{listener.getsockname()[1]}/0"


def test_a_hung_redis_changes_no_answer(database: str, tmp_path: Path, hung: str) -> None:
    """A27, A32, A41: log-in, refresh, reuse, log-out and the limits, all by PostgreSQL."""
    people = People(database, tmp_path, hung)
    email = new_email()
    first = people.signed_up(email)
    second = people.refresh(first["refresh_token"]).json
    assert people.refresh(first["refresh_token"]).json["retried"] is True
    third = people.refresh(second["refresh_token"]).json
    assert problem(people.refresh(first["refresh_token"])) == (401, "refresh_token_reused")
    assert not people.works(third)
    tokens = people.logged_in(email)
    people.ask("POST", "/logout", {"refresh_token": tokens["refresh_token"]})
    assert not people.works(tokens)
    told = [people.log_in(email, "wrong").status_code for _ in range(12)]
    assert told == [401] * 10 + [429] * 2
    people.close()
