"""Refresh tokens: rotated, repeated, reused, ended; as a client sees it (A30 to A38)."""

from __future__ import annotations

import base64
import uuid
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from errors import AccessTokenInvalid, ApiKeyInvalid
from services.device_tokens import DeviceTokens
from services.one_time_tokens import OneTimeTokens
from services.refresh_tokens import RefreshTokens
from tests import mutants
from tests.clients import PASSWORD, People, new_email

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


def code(answer: Any) -> str:
    """Return the code of a problem, or the status of what is none."""
    return str(answer.json["code"]) if answer.status_code >= 400 else str(answer.status_code)


def set_session(people: People, tokens: dict[str, Any], assignment: str) -> None:
    """Change a session's row as time or an operator would."""
    people.change(f"UPDATE auth_sessions SET {assignment} WHERE id = %s", tokens["session_id"])


def events(people: People, event: str) -> list[tuple[Any, ...]]:
    return people.rows("SELECT outcome, reason FROM audit_log WHERE event = %s", event)


# --- The table of section 6 ---------------------------------------------------------------------


def test_the_newest_token_gives_the_next(people: People) -> None:
    """Section 6: generation + 1, rotated_at, idle expiry moved on, a refresh_tokens row."""
    first = people.signed_up()
    answer = people.refresh(first["refresh_token"])
    assert answer.status_code == 200
    second = answer.json
    assert second["refresh_token"] != first["refresh_token"]
    assert second["session_id"] == first["session_id"]
    assert (second["retried"], second["device_token"]) == (False, None)
    assert second["user"] == first["user"]
    assert people.works(second)
    assert people.works(first)
    rows = people.rows("SELECT generation, rotated_at IS NOT NULL FROM auth_sessions")
    assert rows == [(1, True)]
    assert people.rows("SELECT generation FROM refresh_tokens ORDER BY 1") == [(0,), (1,)]


def test_a_lost_answer_is_given_again_byte_for_byte(people: People) -> None:
    """Section 6, A30: same successor, new access token; the window is not moved."""
    first = people.signed_up()
    second = people.refresh(first["refresh_token"]).json
    before = people.rows("SELECT generation, rotated_at, idle_expires_at FROM auth_sessions")
    for _ in range(3):
        again = people.refresh(first["refresh_token"])
        assert again.json["refresh_token"] == second["refresh_token"]
        assert again.json["retried"] is True
        assert people.works(again.json)
    after = people.rows("SELECT generation, rotated_at, idle_expires_at FROM auth_sessions")
    assert before == after
    assert people.rows("SELECT retry_count FROM auth_sessions") == [(3,)]
    assert len(events(people, "refresh_retried")) == 3


def test_a_retry_after_the_window_is_reuse(people: People) -> None:
    """Section 6: REFRESH_GRACE_S from rotated_at, by the database's clock."""
    first = people.signed_up()
    second = people.refresh(first["refresh_token"]).json
    set_session(people, first, "rotated_at = now() - interval '29 seconds'")
    assert people.refresh(first["refresh_token"]).status_code == 200
    set_session(people, first, "rotated_at = now() - interval '31 seconds'")
    assert code(people.refresh(first["refresh_token"])) == "refresh_token_reused"
    assert code(people.refresh(second["refresh_token"])) == "session_revoked"


def test_using_the_successor_closes_the_window(people: People) -> None:
    """A31: within the grace time too."""
    first = people.signed_up()
    second = people.refresh(first["refresh_token"]).json
    assert people.refresh(second["refresh_token"]).status_code == 200
    assert code(people.refresh(first["refresh_token"])) == "refresh_token_reused"


def test_reuse_ends_the_family_and_only_it(people: People) -> None:
    """A32: committed, then answered; audit, mail; access tokens die, other sessions live."""
    email = new_email()
    first = people.signed_up(email)
    other = people.logged_in(email)
    second = people.refresh(first["refresh_token"]).json
    third = people.refresh(second["refresh_token"]).json
    assert code(people.refresh(first["refresh_token"])) == "refresh_token_reused"
    assert not people.works(third)
    assert code(people.refresh(third["refresh_token"])) == "session_revoked"
    assert code(people.refresh(first["refresh_token"])) == "session_revoked"
    assert people.works(other)
    assert people.refresh(other["refresh_token"]).status_code == 200
    assert events(people, "refresh_reuse_detected") == [("failed", None)]
    assert [mail.subject for mail in people.mails(email)] == ["A device was logged out"]
    rows = people.rows("SELECT revoked_reason FROM auth_sessions WHERE revoked_at IS NOT NULL")
    assert rows == [("reuse_detected",)]


def test_reuse_is_known_without_the_history_of_tokens(
    people: People, database: str, tmp_path: Path
) -> None:
    """A32: of any age; after a restart, and after refresh_tokens was purged."""
    first = people.signed_up()
    newest = first
    for _ in range(5):
        newest = people.refresh(newest["refresh_token"]).json
    people.change("DELETE FROM refresh_tokens WHERE session_id = %s", first["session_id"])
    restarted = People(database, tmp_path)
    assert code(restarted.refresh(first["refresh_token"])) == "refresh_token_reused"
    assert not restarted.works(newest)
    restarted.close()


def test_an_unused_session_ends(people: People) -> None:
    """Section 6: idle; the answer is the same for every generation."""
    first = people.signed_up()
    second = people.refresh(first["refresh_token"]).json
    set_session(people, first, "idle_expires_at = now() - interval '1 second'")
    for token in (first, second):
        assert code(people.refresh(token["refresh_token"])) == "refresh_token_expired"
    assert not people.works(second)
    assert people.rows("SELECT revoked_at FROM auth_sessions") == [(None,)]


def test_the_absolute_expiry_never_moves(people: People) -> None:
    """A34: the idle expiry follows it at most."""
    tokens = people.signed_up()
    set_session(people, tokens, "absolute_expires_at = now() + interval '1 hour'")
    tokens = people.refresh(tokens["refresh_token"]).json
    rows = people.rows("SELECT idle_expires_at = absolute_expires_at FROM auth_sessions")
    assert rows == [(True,)]
    rows = people.rows("SELECT absolute_expires_at <= now() + interval '1 hour' FROM auth_sessions")
    assert rows == [(True,)]
    set_session(people, tokens, "absolute_expires_at = now(), idle_expires_at = now()")
    assert code(people.refresh(tokens["refresh_token"])) == "refresh_token_expired"


@pytest.mark.parametrize(
    "ending",
    [
        (
            "UPDATE users SET status = 'disabled', session_epoch = session_epoch + 1,"
            " version = version + 1 WHERE id = %s"
        ),
        "UPDATE users SET status = 'disabled' WHERE id = %s",
        "UPDATE users SET session_epoch = session_epoch + 1, version = version + 1 WHERE id = %s",
        "UPDATE tenants SET status = 'suspended' WHERE tenant_id = 'default' AND %s <> ''",
    ],
)
def test_what_ended_answers_session_revoked(people: People, ending: str) -> None:
    """Section 6: revoked, old epoch, user or tenant not active; no effect (CVE-2023-22492)."""
    tokens = people.signed_up()
    people.change(ending, tokens["user"]["id"])
    assert code(people.refresh(tokens["refresh_token"])) == "session_revoked"
    assert not people.works(tokens)
    assert people.rows("SELECT generation, revoked_at FROM auth_sessions") == [(0, None)]


def test_a_token_newer_than_its_session_ends_nothing(people: People) -> None:
    """Section 6: a restored database; a forgery ends nothing."""
    first = people.signed_up()
    second = people.refresh(first["refresh_token"]).json
    set_session(people, first, "generation = 0, rotated_at = NULL")
    people.change("DELETE FROM refresh_tokens WHERE generation = 1 AND session_id = %s",
                  first["session_id"])  # fmt: skip
    assert code(people.refresh(second["refresh_token"])) == "refresh_token_invalid"
    assert people.refresh(first["refresh_token"]).status_code == 200


def test_a_forgery_costs_no_query_and_ends_nothing(people: People) -> None:
    """Section 6: bad MAC, unknown session, another secret, another master key."""
    tokens = people.signed_up()
    own = RefreshTokens(people.services.config.subkeys("refresh"))
    real = own.read(tokens["refresh_token"])
    assert real is not None
    forged = [
        tokens["refresh_token"][:-2] + "AA",
        RefreshTokens({"made": bytes(32)}).write(real),
        RefreshTokens({"other": bytes(32)}).write(replace(real, key_id="other")),
        own.write(own.first("default", real.session_id)),
        own.write(own.first("default", uuid.uuid4())),
        own.write(own.first("nobody", real.session_id)),
        "srr_",
        "x",
    ]
    for each in forged:
        assert code(people.refresh(each)) == "refresh_token_invalid"
    assert people.refresh(tokens["refresh_token"]).status_code == 200


def test_no_mutant_of_a_token_is_accepted(people: People) -> None:
    """Section 16: through the service's own readers; 0 accepted."""
    tokens = people.signed_up()
    subkeys = people.services.config.subkeys
    refresh, device = RefreshTokens(subkeys("refresh")), DeviceTokens(subkeys("device").values())
    once = OneTimeTokens(subkeys("one-time"))
    people.ask("POST", "/password/forgot", {"email": tokens["user"]["email"]})
    link = people.link(tokens["user"]["email"])
    readers: list[tuple[str, Callable[[str], bool]]] = [
        (tokens["refresh_token"], lambda text: refresh.read(text) is not None),
        (tokens["device_token"], lambda text: device.read(text) is not None),
        (link, lambda text: once.read(text) is not None),
        (people.api_key, lambda text: lets_in(people, text)),
    ]
    assert [mutants.accepted(text, accepts) for text, accepts in readers] == [[]] * 4


def lets_in(people: People, api_key: str) -> bool:
    try:
        people.services.credentials.authenticate(api_key, "192.0.2.1")
    except (AccessTokenInvalid, ApiKeyInvalid):
        return False
    return True


def test_kinds_of_tokens_are_not_exchanged(people: People) -> None:
    """A35: a refresh token as Bearer, an access token at /refresh: 401."""
    tokens = people.signed_up()
    assert people.me(tokens["refresh_token"]).status_code == 401
    assert code(people.refresh(tokens["access_token"])) == "refresh_token_invalid"
    assert code(people.refresh(tokens["device_token"])) == "refresh_token_invalid"


def test_only_hashes_are_stored(people: People) -> None:
    """Section 6: SHA-256 of the secret and of each token; no token, no secret."""
    tokens = people.signed_up()
    encoded = tokens["refresh_token"].removeprefix("srr_")
    secret = base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))[-64:-32]
    rows = people.rows("SELECT s::text, t::text FROM auth_sessions s, refresh_tokens t")
    assert secret.hex() not in str(rows)
    assert encoded not in str(rows)


# --- Tenants ------------------------------------------------------------------------------------


def test_a_token_names_its_tenant(people: People) -> None:
    """A1: a header that says another is refused, and changes nothing."""
    tokens = people.signed_up()
    body = {"refresh_token": tokens["refresh_token"]}
    other = people.ask("POST", "/refresh", body, Strongroom_Tenant="acme")
    assert (other.status_code, code(other)) == (403, "tenant_mismatch")
    same = people.ask("POST", "/refresh", body, Strongroom_Tenant="default")
    assert (same.status_code, same.json["retried"]) == (200, False)


# --- Ending -------------------------------------------------------------------------------------


def test_log_out_takes_the_refresh_token_alone(people: People) -> None:
    """A36: of any generation, twice, forged or expired: 204 every time."""
    first = people.signed_up()
    second = people.refresh(first["refresh_token"]).json
    for token in (first["refresh_token"], second["refresh_token"], "srr_forged", "x"):
        assert people.ask("POST", "/logout", {"refresh_token": token}).status_code == 204
    assert not people.works(second)
    assert code(people.refresh(second["refresh_token"])) == "session_revoked"
    assert events(people, "session_revoked") == [("ok", "logged_out")]


def test_log_out_takes_an_access_token_too(people: People) -> None:
    """Section 10: refresh_token? or Bearer; with neither: 401."""
    tokens = people.signed_up()
    assert people.ask("POST", "/logout", token=tokens["access_token"]).status_code == 204
    assert not people.works(tokens)
    assert code(people.ask("POST", "/logout")) == "unauthenticated"


def test_log_out_of_all_ends_what_comes_from_before(people: People) -> None:
    """A4: all of them, by the epoch."""
    email = new_email()
    one, two = people.signed_up(email), people.logged_in(email)
    answer = people.ask("POST", "/logout-all", {"scope": "all"}, token=one["access_token"])
    assert answer.status_code == 204
    assert not people.works(one)
    assert not people.works(two)
    assert code(people.refresh(two["refresh_token"])) == "session_revoked"
    assert events(people, "sessions_revoked_all") == [("ok", "all")]
    assert people.works(people.logged_in(email))


def test_log_out_of_others_keeps_the_one_that_asks(people: People) -> None:
    """Section 10."""
    email = new_email()
    one, two, stranger = people.signed_up(email), people.logged_in(email), people.signed_up()
    answer = people.ask("POST", "/logout-all", {"scope": "others"}, token=two["access_token"])
    assert answer.status_code == 204
    assert [people.works(each) for each in (one, two, stranger)] == [False, True, True]


def test_the_list_shows_live_sessions_and_no_secret(people: People) -> None:
    """A37: newest first, page by page, the current one marked."""
    email = new_email()
    one = people.signed_up(email, device_label="Ada's phone")
    two = people.logged_in(email)
    people.signed_up()
    ended = people.logged_in(email)
    people.ask("POST", "/logout", {"refresh_token": ended["refresh_token"]})
    found = people.ask("GET", "/sessions", token=two["access_token"], User_Agent="curl/8")
    assert [(each["id"], each["current"]) for each in found.json["data"]] == [
        (two["session_id"], True),
        (one["session_id"], False),
    ]
    assert found.json["data"][1]["device_label"] == "Ada's phone"
    assert found.json["data"][1]["ip"] == "192.0.2.7"
    assert not {"secret_hash", "refresh_token", "epoch"} & set(found.json["data"][0])
    page = people.ask("GET", "/sessions?limit=1", token=two["access_token"]).json
    assert [each["id"] for each in page["data"]] == [two["session_id"]]
    rest = people.ask(
        "GET", f"/sessions?limit=1&cursor={page['next_cursor']}", token=two["access_token"]
    ).json
    assert [each["id"] for each in rest["data"]] == [one["session_id"]]
    assert rest["next_cursor"] is None
    stolen = people.signed_up()
    answer = people.ask(
        "GET", f"/sessions?cursor={page['next_cursor']}", token=stolen["access_token"]
    )
    assert code(answer) == "cursor_invalid"


def test_a_session_is_ended_by_its_id(people: People) -> None:
    """A37: another user's id is 404; twice is harmless."""
    email = new_email()
    one, two, stranger = people.signed_up(email), people.logged_in(email), people.signed_up()
    path = f"/sessions/{one['session_id']}"
    assert code(people.ask("DELETE", path, token=stranger["access_token"])) == "not_found"
    assert people.works(one)
    for _ in range(2):
        assert people.ask("DELETE", path, token=two["access_token"]).status_code == 204
    assert not people.works(one)
    unknown = f"/sessions/{uuid.uuid4()}"
    assert code(people.ask("DELETE", unknown, token=two["access_token"])) == "not_found"
    assert events(people, "session_revoked") == [("ok", "revoked")]


def test_beyond_the_limit_the_least_recently_used_ends(database: str, tmp_path: Path) -> None:
    """A34: MAX_SESSIONS_PER_USER; a refresh is a use."""
    people = People(database, tmp_path, MAX_SESSIONS_PER_USER="3")
    email = new_email()
    first = people.signed_up(email)
    second, third = people.logged_in(email), people.logged_in(email)
    first = people.refresh(first["refresh_token"]).json
    fourth = people.logged_in(email)
    assert [people.works(each) for each in (first, second, third, fourth)] == [
        True,
        False,
        True,
        True,
    ]
    rows = people.rows(
        "SELECT reason, details -> 'sessions' ->> 0 FROM audit_log WHERE event = 'session_revoked'"
    )
    assert rows == [("evicted", second["session_id"])]
    people.close()


# --- Without refresh tokens ---------------------------------------------------------------------


@pytest.fixture
def without(database: str, tmp_path: Path) -> Iterator[People]:
    made = People(
        database, tmp_path, FEATURE_REFRESH_TOKENS_ENABLED="false", ACCESS_TOKEN_TTL_S="60"
    )
    yield made
    made.close()


def test_without_refresh_tokens_a_session_ends_with_its_access_token(without: People) -> None:
    """A38: /refresh is 404 feature_disabled; the session's life is the token's."""
    email = new_email()
    for tokens in (without.signed_up(email), without.logged_in(email)):
        assert (tokens["refresh_token"], tokens["refresh_token_expires_at"]) == (None, None)
        assert without.works(tokens)
    answer = without.refresh("srr_x")
    assert (answer.status_code, code(answer)) == (404, "feature_disabled")
    rows = without.rows(
        "SELECT DISTINCT extract(epoch FROM absolute_expires_at - created_at)::int,"
        " idle_expires_at = absolute_expires_at FROM auth_sessions"
    )
    assert rows == [(60, True)]


def test_old_refresh_tokens_still_log_out_without_the_feature(
    people: People, database: str, tmp_path: Path
) -> None:
    """A36: nobody is kept logged in by a switch."""
    tokens = people.signed_up()
    later = People(database, tmp_path, FEATURE_REFRESH_TOKENS_ENABLED="false")
    body = {"refresh_token": tokens["refresh_token"]}
    assert later.ask("POST", "/logout", body).status_code == 204
    assert not later.works(tokens)
    later.close()


def test_a_refresh_that_must_be_tried_again_says_so(people: People) -> None:
    """Section 6: what forbade it may have gone; three times, then 503 contention."""
    tokens = people.signed_up()
    sessions = people.services.sessions
    asked = []

    def none(*_: Any, **__: Any) -> None:
        asked.append(1)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("services.sessions.sessions.renew", none)
        answer = people.refresh(tokens["refresh_token"])
    assert (answer.status_code, code(answer), len(asked)) == (503, "contention", 3)
    assert answer.headers["Retry-After"] == "1"
    assert sessions is people.services.sessions
    assert people.refresh(tokens["refresh_token"]).status_code == 200


def test_a_session_counts_its_own_refreshes(database: str, tmp_path: Path) -> None:
    """Section 5: 120 a minute a session, whatever its address; forgeries count for theirs."""
    people = People(database, tmp_path, LOGIN_IP_PER_MINUTE="3")
    tokens = people.signed_up()
    for _ in range(120):
        assert people.refresh(tokens["refresh_token"]).status_code == 200
    answer = people.refresh(tokens["refresh_token"])
    assert (answer.status_code, code(answer)) == (429, "rate_limited")
    assert 1 <= int(answer.headers["Retry-After"]) <= 60
    forged = [code(people.refresh("srr_x")) for _ in range(4)]
    assert forged == ["refresh_token_invalid"] * 2 + ["rate_limited"] * 2
    people.close()


def test_a_password_of_yesterday_opens_nothing_today(people: People) -> None:
    """A4: the epoch that was read before the verification guards the session."""
    email = new_email()
    tokens = people.signed_up(email)
    people.change("UPDATE users SET session_epoch = session_epoch + 1, version = version + 1"
                  " WHERE id = %s", tokens["user"]["id"])  # fmt: skip
    assert people.log_in(email, PASSWORD).status_code == 200
    with psycopg.connect(str(people.services.config.database_url.get_secret_value())) as conn:  # type: ignore[union-attr]
        rows = conn.execute("SELECT epoch FROM auth_sessions ORDER BY id").fetchall()
    assert rows == [(0,), (1,)]
