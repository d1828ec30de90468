"""Log-in and registration: counted, verified, answered alike (A1, A3, A24 to A29, A48)."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from tests.clients import ADDRESS, PASSWORD, People, new_email

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from services.hashing_gate import HashingGate

WRONG = "not the password of anybody"


def code(answer: Any) -> str:
    """Return the code of a problem, or the status of what is none."""
    return str(answer.json["code"]) if answer.status_code >= 400 else str(answer.status_code)


def told(people: People, event: str = "login") -> list[tuple[Any, ...]]:
    return people.rows("SELECT outcome, reason FROM audit_log WHERE event = %s ORDER BY id", event)


def buckets(people: People) -> dict[str, int]:
    rows = people.rows("SELECT bucket, attempts FROM login_throttle WHERE tenant_id <> '-'")
    return dict(rows)


# --- Log-in -------------------------------------------------------------------------------------


def test_a_log_in_gives_all_tokens(people: People) -> None:
    """Section 10: Tokens; the audit row and the session stand beside each other."""
    email = new_email()
    registered = people.signed_up(email, display_name="Ada")
    tokens = people.logged_in(email.upper(), device_label="phone")
    assert tokens["token_type"] == "Bearer"
    assert 570 <= tokens["expires_in"] <= 600
    assert tokens["refresh_token"].startswith("srr_")
    assert tokens["device_token"].startswith("srd_")
    assert tokens["user"] == registered["user"]
    assert tokens["user"] | {"id": "", "created_at": ""} == {
        "id": "",
        "tenant_id": "default",
        "email": email,
        "email_verified": False,
        "display_name": "Ada",
        "role": "user",
        "status": "active",
        "created_at": "",
    }
    rows = people.rows(
        "SELECT a.event, a.subject, host(a.ip), s.device_label FROM audit_log a"
        " JOIN auth_sessions s ON s.id = a.session_id ORDER BY a.id"
    )
    subject = f"user:{tokens['user']['id']}"
    assert rows == [
        ("user_registered", subject, ADDRESS, None),
        ("login", subject, ADDRESS, "phone"),
    ]


def test_wrong_unknown_and_disabled_look_alike(people: People) -> None:
    """A26: status, headers and body but request_id; nobody is told which it was."""
    known, disabled = new_email(), new_email()
    people.signed_up(known)
    off = people.signed_up(disabled)
    people.change("UPDATE users SET status = 'disabled' WHERE id = %s", off["user"]["id"])
    answers = [
        people.log_in(known, WRONG),
        people.log_in(disabled, WRONG),
        people.log_in(new_email(), WRONG),
        people.ask(
            "POST", "/login", {"email": known, "password": PASSWORD}, Strongroom_Tenant="nobody"
        ),
    ]
    seen = {
        (
            answer.status_code,
            str({k: v for k, v in answer.headers.items() if k != "X-Request-ID"}),
            str({k: v for k, v in answer.json.items() if k not in {"request_id", "instance"}}),
        )
        for answer in answers
    }
    assert len(seen) == 1
    assert code(answers[0]) == "invalid_credentials"
    assert answers[0].headers["WWW-Authenticate"] == 'Bearer realm="strongroom"'
    assert [reason for _, reason in told(people)] == [
        "wrong_password",
        "wrong_password",
        "unknown_email",
        "unknown_email",
    ]


def test_only_the_right_password_learns_that_the_account_is_disabled(people: People) -> None:
    """A26: 403 account_disabled."""
    email = new_email()
    tokens = people.signed_up(email)
    people.change("UPDATE users SET status = 'disabled' WHERE id = %s", tokens["user"]["id"])
    answer = people.log_in(email)
    assert (answer.status_code, code(answer)) == (403, "account_disabled")
    assert told(people) == [("failed", "account_disabled")]


@pytest.mark.parametrize(
    ("stored", "params"),
    [
        ("$2x$10$broken", "{}"),
        ("$argon2id$v=19$m=4194304,t=3,p=1$a$b", '{"m": 4194304, "t": 3, "p": 1}'),
        (None, None),
    ],
)
def test_an_unusable_hash_is_a_wrong_password(
    people: People, stored: str | None, params: str | None
) -> None:
    """A20: 401, an audit row of its own, never a 500."""
    email = new_email()
    people.signed_up(email)
    people.change(
        "UPDATE users SET password_hash = %(stored)s::text, password_params = %(params)s::jsonb,"
        " password_algo = CASE WHEN %(stored)s::text IS NOT NULL THEN password_algo END"
        " WHERE email = %(email)s",
        stored=stored,
        params=params,
        email=email,
    )
    assert code(people.log_in(email)) == "invalid_credentials"
    assert told(people, "password_hash_unusable") == [("failed", "login")]


def test_unknown_addresses_are_kept_as_hmac(people: People) -> None:
    """A52."""
    email = new_email()
    people.log_in(email, WRONG)
    ((details, user_id),) = people.rows(
        "SELECT details, user_id FROM audit_log WHERE event = 'login'"
    )
    assert user_id is None
    assert len(details["email_hmac"]) == 64
    assert email not in str(people.rows("SELECT a::text FROM audit_log AS a"))


def test_a_hash_of_other_parameters_is_replaced_by_log_in(
    people: People, database: str, tmp_path: Path
) -> None:
    """A17: by the statement that opens the session; told as password_upgraded."""
    email = new_email()
    people.signed_up(email)
    people.log_in(email, WRONG)
    later = People(database, tmp_path, ARGON2_TIME_COST="6")
    later.logged_in(email)
    ((text, version, algo),) = later.rows(
        "SELECT password_hash, password_hash_version, password_algo FROM users WHERE email = %s",
        email,
    )
    assert "t=6" in text
    assert (version, algo) == (2, "argon2id")
    assert told(later, "password_upgraded") == [("ok", None)]
    later.logged_in(email)
    assert len(told(later, "password_upgraded")) == 1
    later.close()


# --- Buckets ------------------------------------------------------------------------------------


def test_ten_attempts_from_one_address_and_no_more(people: People) -> None:
    """Section 5, `pair`: 429 to the window's end, told once; from elsewhere it goes on."""
    email = new_email()
    people.signed_up(email)
    for _ in range(10):
        assert code(people.log_in(email, WRONG)) == "invalid_credentials"
    for _ in range(3):
        answer = people.log_in(email)
        assert (answer.status_code, code(answer)) == (429, "rate_limited")
        assert 890 <= int(answer.headers["Retry-After"]) <= 900
    assert told(people)[10:] == [("throttled", "pair")]
    assert people.log_in(email, address="192.0.2.8").status_code == 200


def test_a_window_that_has_passed_counts_from_anew(people: People) -> None:
    email = new_email()
    people.signed_up(email)
    for _ in range(11):
        people.log_in(email, WRONG)
    people.change(
        "UPDATE login_throttle SET window_start = now() - interval '15 minutes 1 second',"
        " blocked_until = now() - interval '1 second' WHERE bucket = 'pair'"
    )
    assert code(people.log_in(email, WRONG)) == "invalid_credentials"
    assert buckets(people) == {"pair": 1, "account": 11}
    assert people.log_in(email).status_code == 200
    assert buckets(people) == {}


def test_success_clears_what_was_counted(people: People) -> None:
    """A27: attempts since the last success."""
    email = new_email()
    people.signed_up(email)
    for _ in range(3):
        for _ in range(9):
            people.log_in(email, WRONG)
        assert people.log_in(email).status_code == 200
        assert buckets(people) == {}


def test_unknown_addresses_have_the_same_buckets(people: People) -> None:
    """A27: a 429 tells nobody that there is an account."""
    email = new_email()
    seen = [code(people.log_in(email, WRONG)) for _ in range(11)]
    assert seen == ["invalid_credentials"] * 10 + ["rate_limited"]
    assert told(people)[-1] == ("throttled", "pair")


def test_an_account_slows_down_after_its_limit(database: str, tmp_path: Path) -> None:
    """Section 5, `account`: 2^(n - limit) seconds, at most 15 minutes, from all addresses."""
    people = People(database, tmp_path, LOGIN_ACCOUNT_LIMIT="12", LOGIN_PAIR_LIMIT="2")
    email = new_email()
    people.signed_up(email)
    for n in range(12):
        assert code(people.log_in(email, WRONG, address=f"192.0.2.{n}")) == "invalid_credentials"
    waits = []
    for n in range(12, 24):
        answer = people.log_in(email, WRONG, address=f"192.0.2.{n}")
        assert code(answer) == "rate_limited"
        waits.append(int(answer.headers["Retry-After"]))
        people.change("UPDATE login_throttle SET blocked_until = now() WHERE bucket = 'account'")
        assert code(people.log_in(email, WRONG, address=f"198.51.100.{n}")) != "rate_limited"
    assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900]
    assert told(people).count(("throttled", "account")) == 12
    people.close()


def test_a_refused_attempt_is_told_once_a_block(people: People) -> None:
    """A52: one row per bucket and window, however often it is tried."""
    email = new_email()
    for _ in range(15):
        people.log_in(email, WRONG)
    assert told(people).count(("throttled", "pair")) == 1
    rows = people.rows("SELECT attempts, refused FROM login_throttle WHERE bucket = 'pair'")
    assert rows == [(10, 5)]


def test_a_known_device_is_not_locked_out_by_strangers(people: People) -> None:
    """A28: the device's bucket stands for pair and account (GHSA-cq42-vhv7-xr7p)."""
    email = new_email()
    device = people.signed_up(email)["device_token"]
    for _ in range(12):
        people.log_in(email, WRONG)
    assert code(people.log_in(email)) == "rate_limited"
    assert people.log_in(email, device_token=device).status_code == 200


def test_a_known_device_has_a_limit_of_its_own(people: People) -> None:
    """Section 5, `device`: 10 attempts in 15 minutes, wherever it is."""
    email = new_email()
    device = people.signed_up(email)["device_token"]
    for n in range(10):
        answer = people.log_in(email, WRONG, device_token=device, address=f"192.0.2.{n}")
        assert code(answer) == "invalid_credentials"
    assert code(people.log_in(email, device_token=device)) == "rate_limited"
    assert told(people)[-1] == ("throttled", "device")
    assert buckets(people) == {"device": 10}
    assert people.log_in(email).status_code == 200


def test_a_device_is_bound_to_its_user_and_tenant(people: People) -> None:
    """A28: somebody else's token opens no bucket."""
    victim, thief = new_email(), new_email()
    people.signed_up(victim)
    device = people.signed_up(thief)["device_token"]
    for _ in range(10):
        people.log_in(victim, WRONG, device_token=device)
    assert code(people.log_in(victim, device_token=device)) == "rate_limited"
    assert buckets(people) == {"pair": 10, "account": 10}


def test_a_device_keeps_its_bucket_over_log_ins(people: People) -> None:
    email = new_email()
    first = people.signed_up(email)["device_token"]
    second = people.logged_in(email, device_token=first)["device_token"]
    for _ in range(10):
        people.log_in(email, WRONG, device_token=first)
    assert code(people.log_in(email, device_token=second)) == "rate_limited"


def test_failed_log_ins_of_an_address_are_bounded(database: str, tmp_path: Path) -> None:
    """Section 5, `ip`: failed ones count, whomever they are about; successes do not."""
    people = People(database, tmp_path, LOGIN_IP_PER_MINUTE="5")
    email = new_email()
    people.signed_up(email)
    for _ in range(8):
        assert people.log_in(email).status_code == 200
    for _ in range(5):
        assert code(people.log_in(new_email(), WRONG)) == "invalid_credentials"
    assert code(people.log_in(email)) == "rate_limited"
    assert people.log_in(email, address="192.0.2.8").status_code == 200
    people.close()


def test_the_address_is_what_trusted_proxies_vouch_for(database: str, tmp_path: Path) -> None:
    """A29: a longer forged X-Forwarded-For changes nothing."""
    people = People(database, tmp_path, LOGIN_IP_PER_MINUTE="3", TRUSTED_PROXY_HOPS="1")

    def attempt(forwarded: str) -> str:
        body = {"email": new_email(), "password": WRONG}
        return code(people.ask("POST", "/login", body, X_Forwarded_For=forwarded))

    seen = [attempt(f"198.51.100.{n}, 203.0.113.9") for n in range(4)]
    assert seen == ["invalid_credentials"] * 3 + ["rate_limited"]
    assert attempt("198.51.100.1, 203.0.113.10") == "invalid_credentials"
    people.close()


def test_a_full_queue_gives_the_attempt_back(database: str, tmp_path: Path) -> None:
    """A24: 503 auth_busy with Retry-After 1; nothing was guessed, nothing stays counted."""
    people = People(database, tmp_path, ARGON2_SLOTS="1", ARGON2_QUEUE_S="1")
    email = new_email()
    people.signed_up(email)
    gate: HashingGate = people.services.passwords._gate
    hold, held = threading.Event(), threading.Event()

    def wait() -> None:
        held.set()
        hold.wait(30)

    occupied = threading.Thread(target=gate.run, args=(wait,))
    occupied.start()
    assert held.wait(30)
    answer = people.log_in(email)
    hold.set()
    occupied.join()
    assert (answer.status_code, code(answer)) == (503, "auth_busy")
    assert answer.headers["Retry-After"] == "1"
    assert buckets(people) == {"account": 0, "pair": 0}
    assert (0,) in people.rows("SELECT attempts FROM login_throttle WHERE bucket = 'ip'")
    assert people.log_in(email).status_code == 200
    people.close()


# --- Bad input ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        {"email": "nobody", "password": PASSWORD},
        {"email": "a@b.de\r\nBcc: c@d.de", "password": PASSWORD},
        {"email": "a,c@b.de", "password": PASSWORD},
        {"email": "a@b.de", "password": 12345678},
        {"email": "a@b.de", "password": "\u0378unassigned"},
        {"email": "a@b.de", "password": ""},
        {"email": ["a@b.de"], "password": PASSWORD},
        {"email": "a@b.de"},
    ],
)
def test_what_is_no_credential_is_422(people: People, body: dict[str, Any]) -> None:
    """A21, A51: before anything is counted or hashed."""
    answer = people.ask("POST", "/login", body)
    assert (answer.status_code, code(answer)) == (422, "validation_failed")
    assert people.rows("SELECT FROM login_throttle WHERE bucket <> 'ip'") == []


# --- Registration -------------------------------------------------------------------------------


def test_a_taken_address_is_told_where_nobody_verifies(people: People) -> None:
    """Section 10: 409 email_taken; upper case and width are no difference."""
    email = new_email()
    people.signed_up(email)
    answer = people.register(email.upper())
    assert (answer.status_code, code(answer)) == (409, "email_taken")


def test_a_weak_password_is_refused_with_its_reasons(people: People) -> None:
    """A14."""
    answer = people.register("ada@example.org", "ada@exam")
    assert (answer.status_code, code(answer)) == (422, "weak_password")
    assert [each["pointer"] for each in answer.json["errors"]] == ["/password"]
    assert people.rows("SELECT FROM users WHERE email = 'ada@example.org'") == []


def test_a_closed_or_unknown_tenant_is_closed(people: People) -> None:
    """A3: 403 registration_closed for both, and for a suspended one."""
    people.services.tenants.create("acme", "Acme", "cli:test")
    people.services.tenants.create("gone", "Gone", "cli:test")
    people.change("UPDATE tenants SET registration_open = true WHERE tenant_id = 'gone'")
    people.services.tenants.suspend("gone", "cli:test")
    for tenant in ("acme", "nobody", "gone"):
        body = {"email": new_email(), "password": PASSWORD}
        answer = people.ask("POST", "/register", body, Strongroom_Tenant=tenant)
        assert (answer.status_code, code(answer)) == (403, "registration_closed")


def test_one_address_in_two_tenants_is_two_users(people: People) -> None:
    """A2."""
    people.services.tenants.create("acme", "Acme", "cli:test")
    people.change("UPDATE tenants SET registration_open = true WHERE tenant_id = 'acme'")
    email = new_email()
    one = people.signed_up(email)
    body = {"email": email, "password": "another long sentence"}
    two = people.ask("POST", "/register", body, Strongroom_Tenant="acme")
    assert two.status_code == 201
    assert two.json["user"]["tenant_id"] == "acme"
    assert one["user"]["id"] != two.json["user"]["id"]
    wrong = people.ask(
        "POST", "/login", {"email": email, "password": PASSWORD}, Strongroom_Tenant="acme"
    )
    assert code(wrong) == "invalid_credentials"


def test_a_tenant_that_cannot_be_is_400(people: People) -> None:
    body = {"email": new_email(), "password": PASSWORD}
    answer = people.ask("POST", "/login", body, Strongroom_Tenant="No/Tenant")
    assert (answer.status_code, code(answer)) == (400, "invalid_header")


# --- Registration with verification -------------------------------------------------------------


@pytest.fixture
def verifying(database: str, tmp_path: Path) -> Iterator[People]:
    made = People(database, tmp_path, FEATURE_EMAIL_VERIFICATION_REQUIRED="true")
    yield made
    made.close()


def test_a_log_in_waits_for_the_link(verifying: People) -> None:
    """Section 8: register answers 202; the right password learns email_not_verified."""
    email = new_email()
    answer = verifying.register(email)
    assert (answer.status_code, answer.json) == (202, {"status": "accepted"})
    assert code(verifying.log_in(email, WRONG)) == "invalid_credentials"
    waiting = verifying.log_in(email)
    assert (waiting.status_code, code(waiting)) == (403, "email_not_verified")
    token = verifying.link(email)
    assert verifying.ask("POST", "/email/verify", {"token": token}).status_code == 204
    tokens = verifying.logged_in(email)
    assert tokens["user"]["email_verified"] is True


def test_every_address_is_answered_alike(verifying: People) -> None:
    """A48: new, unverified and verified: same status, headers and body."""
    new, unverified, verified = new_email(), new_email(), new_email()
    verifying.register(unverified)
    verifying.register(verified)
    verifying.ask("POST", "/email/verify", {"token": verifying.link(verified)})
    seen = set()
    for email in (new, unverified, verified):
        answer = verifying.register(email)
        headers = {k: v for k, v in answer.headers.items() if k != "X-Request-ID"}
        seen.add((answer.status_code, answer.data, str(headers)))
    assert len(seen) == 1


def test_a_verified_address_keeps_its_password_and_gets_a_mail(verifying: People) -> None:
    """A48: nothing changes but that its owner is told."""
    email = new_email()
    verifying.register(email)
    verifying.ask("POST", "/email/verify", {"token": verifying.link(email)})
    before = verifying.rows(
        "SELECT password_hash, session_epoch FROM users WHERE email = %s", email
    )
    verifying.register(email, "the password of a stranger")
    rows = verifying.rows("SELECT password_hash, session_epoch FROM users WHERE email = %s", email)
    assert rows == before
    assert verifying.mails(email)[-1].subject == "You have an account already"
    assert verifying.mails(email)[-1].token is None


def test_an_unverified_address_takes_the_newer_password(verifying: People) -> None:
    """A48: and older links die."""
    email = new_email()
    verifying.register(email, "the password of a stranger")
    older = verifying.link(email)
    verifying.register(email)
    newer = verifying.link(email)
    assert code(verifying.ask("POST", "/email/verify", {"token": older})) == (
        "token_invalid_or_expired"
    )
    assert verifying.ask("POST", "/email/verify", {"token": newer}).status_code == 204
    assert code(verifying.log_in(email, "the password of a stranger")) == "invalid_credentials"
    assert verifying.log_in(email).status_code == 200


def test_who_was_ever_let_in_keeps_the_password(
    people: People, database: str, tmp_path: Path
) -> None:
    """A48: a switch that is turned on later hands no account to whoever registers again."""
    email = new_email()
    tokens = people.signed_up(email)
    later = People(database, tmp_path, FEATURE_EMAIL_VERIFICATION_REQUIRED="true")
    assert later.register(email, "the password of a stranger").status_code == 202
    assert code(later.log_in(email, "the password of a stranger")) == "invalid_credentials"
    assert people.works(tokens)
    assert people.log_in(email).status_code == 200
    later.close()


def test_mails_to_an_address_are_bounded(verifying: People) -> None:
    """Section 5, `mail`: 5 an hour; same 202, no mail."""
    email = new_email()
    for _ in range(7):
        assert verifying.register(email).status_code == 202
    assert len(verifying.mails(email)) == 5


def test_a_closed_tenant_is_closed_to_every_address(verifying: People) -> None:
    """A3."""
    email = new_email()
    verifying.register(email)
    verifying.change("UPDATE tenants SET registration_open = false")
    for each in (email, new_email()):
        assert code(verifying.register(each)) == "registration_closed"


# --- Reauthentication ---------------------------------------------------------------------------


def test_reauthentication_moves_the_time_of_authentication(people: People) -> None:
    """Section 10: a new access token; the refresh token stays as it is."""
    tokens = people.signed_up()
    people.change("UPDATE auth_sessions SET auth_time = now() - interval '1 day'")
    answer = people.ask(
        "POST", "/reauthenticate", {"password": PASSWORD}, token=tokens["access_token"]
    )
    assert answer.status_code == 200
    assert set(answer.json) == {
        "access_token",
        "token_type",
        "expires_in",
        "session_id",
        "auth_time",
    }
    rows = people.rows("SELECT now() - auth_time < interval '1 minute' FROM auth_sessions")
    assert rows == [(True,)]
    assert people.works(answer.json)
    assert people.refresh(tokens["refresh_token"]).json["retried"] is False
    assert told(people, "reauthenticated") == [("ok", None)]


def test_reauthentication_counts_like_a_log_in(people: People) -> None:
    """A27: a stolen access token is no way to guess."""
    tokens = people.signed_up()
    seen = [
        code(
            people.ask("POST", "/reauthenticate", {"password": WRONG}, token=tokens["access_token"])
        )
        for _ in range(11)
    ]
    assert seen == ["invalid_credentials"] * 10 + ["rate_limited"]
    assert told(people, "reauthenticated")[-1] == ("throttled", "pair")
