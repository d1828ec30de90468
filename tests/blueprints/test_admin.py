"""Users and the audit log, as operators see them over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.blueprints.test_api_keys import everybody
from tests.clients import PASSWORD, People, new_email
from tests.world import SUBJECT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.world import Reply

USER = ["id", "tenant_id", "email", "email_verified", "display_name", "role", "status"]
USER += ["created_at"]
NOBODY = "01890a5d-ac96-774b-bcce-b302099a8057"
COMMANDS = ("disable", "enable", "revoke-sessions", "unlock")


class Office:
    """People, and an operator who has just given the password."""

    def __init__(self, people: People) -> None:
        self.people = people
        self.me = people.new_session("operator")

    def get(self, path: str) -> Reply:
        return self.people.get(f"/v1/admin{path}", **self.me.headers)

    def post(self, user_id: Any, command: str, reason: Any = "asked by mail") -> Reply:
        return self.people.post(
            f"/v1/admin/users/{user_id}/{command}",
            {"reason": reason},
            keyed=False,
            **self.me.headers,
        )

    def told(self, event: str) -> list[tuple[Any, ...]]:
        return self.people.rows(
            "SELECT subject, user_id::text, reason FROM audit_log WHERE event = %s", event
        )


@pytest.fixture
def office(people: People) -> Office:
    return Office(people)


# --- Users --------------------------------------------------------------------------------------


def test_a_user_is_found_by_id_and_by_address(office: Office) -> None:
    """A2: however it is spelt; a hash is shown nowhere."""
    email = new_email()
    user = office.people.signed_up(email, display_name="Ada")["user"]
    shown = office.get(f"/users/{user['id']}").json
    assert (list(shown), shown["display_name"]) == (USER, "Ada")
    found = office.get(f"/users?email={email.replace('@example', '%40EXAMPLE')}").json
    assert found == {"data": [shown], "next_cursor": None}
    assert office.get(f"/users?email={new_email()}").json["data"] == []
    assert "argon2" not in office.get("/users").get_data(as_text=True)


def test_pages_hold_every_user_once(office: Office) -> None:
    expected = {str(office.people.new_user().id) for _ in range(5)}
    expected |= {office.people.user_id, str(office.me.user_id)}
    found, cursor = [], ""
    while cursor is not None:
        page = office.get(f"/users?limit=3{cursor and '&cursor=' + cursor}").json
        found += [row["id"] for row in page["data"]]
        cursor = page["next_cursor"]
    assert sorted(found) == sorted(expected)


def test_users_are_narrowed_by_status(office: Office) -> None:
    user_id = office.people.new_user().id
    office.post(user_id, "disable")
    assert [row["id"] for row in office.get("/users?status=disabled").json["data"]] == [
        str(user_id)
    ]


@pytest.mark.parametrize(
    "query", ["email=x", "email=a%40b,c", "status=gone", "limit=0", "limit=x", "role=user"]
)
def test_a_wrong_question_about_users_is_422(office: Office, query: str) -> None:
    answer = office.get(f"/users?{query}")
    assert (answer.status_code, answer.json["code"]) == (422, "validation_failed")
    assert [fault["parameter"] for fault in answer.json["errors"]] == [query.partition("=")[0]]


def test_a_disabled_user_is_out_at_once_and_comes_back_by_a_log_in(office: Office) -> None:
    """A4, A33, A52: sessions end with the 204; an enabled user logs in anew."""
    email = new_email()
    tokens = office.people.signed_up(email)
    user_id = tokens["user"]["id"]
    assert office.post(user_id, "disable").status_code == 204
    assert office.people.me(tokens["access_token"]).json["code"] == "session_revoked"
    assert office.people.refresh(tokens["refresh_token"]).json["code"] == "session_revoked"
    assert office.people.log_in(email).json["code"] == "account_disabled"
    assert office.post(user_id, "enable").status_code == 204
    assert not office.people.works(tokens)
    assert office.people.works(office.people.logged_in(email))
    by = f"user:{office.me.user_id}"
    assert office.told("user_status_changed") == [(by, user_id, "asked by mail")] * 2


def test_sessions_end_and_the_password_stays(office: Office) -> None:
    """A4."""
    email = new_email()
    tokens = office.people.signed_up(email)
    assert office.post(tokens["user"]["id"], "revoke-sessions").status_code == 204
    assert not office.people.works(tokens)
    assert office.people.works(office.people.logged_in(email))
    assert office.told("sessions_revoked_all")[0][2] == "asked by mail"


def test_an_unlocked_user_may_try_at_once_from_everywhere(office: Office) -> None:
    """A27, A28: pair and account are forgotten; those of other users are not."""
    people = office.people
    email, other = new_email(), new_email()
    user_id = people.signed_up(email)["user"]["id"]
    people.signed_up(other)
    for address in ("192.0.2.7", "2001:db8::1"):
        while people.log_in(email, "wrong", address=address).status_code == 401:
            pass
    while people.log_in(other, "wrong").status_code == 401:
        pass
    assert people.log_in(email).status_code == 429
    assert office.post(user_id, "unlock").status_code == 204
    assert people.log_in(email, "wrong", address="2001:db8::2").status_code == 401
    assert people.log_in(email).status_code == 200
    assert people.log_in(other).status_code == 429
    assert office.told("user_unlocked") == [(f"user:{office.me.user_id}", user_id, "asked by mail")]


def test_an_account_that_everybody_guesses_at_is_unlocked(database: str, tmp_path: Path) -> None:
    """A27: the bucket of the account, whatever the addresses were."""
    people = People(database, tmp_path, LOGIN_PAIR_LIMIT="2", LOGIN_ACCOUNT_LIMIT="3")
    office, email = Office(people), new_email()
    user_id = people.signed_up(email)["user"]["id"]
    for number in range(4):
        people.log_in(email, "wrong", address=f"192.0.2.{number}")
    people.change(
        "UPDATE login_throttle SET blocked_until = now() + interval '5 minutes'"
        " WHERE bucket = 'account'"
    )
    assert people.log_in(email, address="192.0.2.99").status_code == 429
    assert office.post(user_id, "unlock").status_code == 204
    assert people.log_in(email, address="192.0.2.99").status_code == 200
    people.close()


def test_the_last_operator_stays(office: Office) -> None:
    """Of two operators one may end the other; nobody ends the last."""
    second = office.people.new_session("operator")
    assert office.post(second.user_id, "disable").status_code == 204
    answer = office.post(office.me.user_id, "disable")
    assert (answer.status_code, answer.json["code"]) == (409, "last_operator")
    assert office.get("/users").status_code == 200


@pytest.mark.parametrize("command", COMMANDS)
def test_who_is_not_of_the_tenant_is_not_there(office: Office, command: str) -> None:
    """A2: unknown, another tenant's, or no id: 404; nothing changes."""
    services = office.people.services
    services.tenants.create("acme", "Acme", SUBJECT)
    theirs = services.users.create("acme", new_email(), SUBJECT)
    for user_id in (NOBODY, theirs.id, NOBODY.upper(), "1"):
        answer = office.post(user_id, command)
        assert (answer.status_code, answer.json["code"]) == (404, "not_found")
    assert office.get(f"/users/{theirs.id}").status_code == 404
    assert services.users.find_by_id("acme", theirs.id).status == "active"


@pytest.mark.parametrize("reason", [None, "", "a" * 501, 7, "a\u0000"])
def test_a_change_needs_a_reason(office: Office, reason: Any) -> None:
    """It is what the audit log shows."""
    for command in COMMANDS:
        answer = office.post(office.people.user_id, command, reason)
        assert answer.status_code == 422
        assert answer.json["errors"][0]["pointer"] == "/reason"


# --- The audit log ------------------------------------------------------------------------------

EVENT = ["id", "at", "subject", "user_id", "session_id", "event", "outcome", "reason", "ip"]
EVENT += ["user_agent", "request_id", "details"]


def test_the_audit_log_is_read_newest_first(office: Office) -> None:
    """A52: what was done, by whom, about whom, from where."""
    email = new_email()
    user_id = office.people.signed_up(email)["user"]["id"]
    office.people.log_in(email, "wrong")
    office.people.log_in(email)
    rows = office.get(f"/audit?user_id={user_id}").json["data"]
    assert [(row["event"], row["outcome"]) for row in rows] == [
        ("login", "ok"),
        ("login", "failed"),
        ("user_registered", "ok"),
    ]
    assert list(rows[0]) == EVENT
    assert (rows[1]["reason"], rows[1]["ip"]) == ("wrong_password", "192.0.2.7")
    assert PASSWORD not in office.get("/audit").get_data(as_text=True)


def test_events_are_narrowed_by_kind_and_time(office: Office) -> None:
    office.people.new_user()
    at = office.get("/audit?event=user_created&limit=1").json["data"]
    assert at == []
    office.people.services.tenants.create("acme", "Acme", SUBJECT)
    kinds = {row["event"] for row in office.get("/audit").json["data"]}
    for kind in kinds:
        found = office.get(f"/audit?event={kind}").json["data"]
        assert {row["event"] for row in found} == {kind}
    moment = office.get("/audit?limit=1").json["data"][0]["at"]
    earlier = office.get(f"/audit?to={moment}").json["data"]
    later = office.get(f"/audit?from={moment}").json["data"]
    assert len(earlier) + len(later) == len(office.get("/audit").json["data"])
    assert all(row["at"] < moment for row in earlier)


def test_pages_of_a_rare_event_hold_every_row_once(database: str, tmp_path: Path) -> None:
    """A page that looked at its share of rows may be short, but has a next one."""
    people = People(database, tmp_path, LIST_SCAN_ROWS="1000")
    office = Office(people)
    people.change(
        "INSERT INTO audit_log (tenant_id, id, event, subject, at) SELECT 'default',"
        " gen_random_uuid(), CASE WHEN n %% 700 = 0 THEN 'rare' ELSE 'common' END, 'cli:x',"
        " now() - make_interval(secs => n / 2) FROM generate_series(1, 3000) AS n"
    )
    found, cursor, pages = [], "", 0
    while cursor is not None:
        page = office.get(f"/audit?event=rare&limit=2{cursor and '&cursor=' + cursor}").json
        found += [row["id"] for row in page["data"]]
        cursor, pages = page["next_cursor"], pages + 1
    assert len(found) == len(set(found)) == 4
    assert pages >= 3
    people.close()


def test_another_tenants_events_are_not_there(office: Office) -> None:
    """A2."""
    services = office.people.services
    services.tenants.create("acme", "Acme", SUBJECT)
    user_id = services.users.create("acme", new_email(), SUBJECT).id
    assert office.get(f"/audit?user_id={user_id}").json["data"] == []
    assert "acme" not in {
        row["details"].get("tenant_id") for row in office.get("/audit").json["data"]
    }


@pytest.mark.parametrize(
    "query",
    ["user_id=1", "event=A", "event=" + "a" * 65, "from=yesterday", "to=2026-01-01", "limit=201"],
)
def test_a_wrong_question_about_events_is_422(office: Office, query: str) -> None:
    answer = office.get(f"/audit?{query}")
    assert (answer.status_code, answer.json["code"]) == (422, "validation_failed")
    assert [fault["parameter"] for fault in answer.json["errors"]] == [query.partition("=")[0]]


def test_a_cursor_goes_on_in_its_own_list_alone(office: Office) -> None:
    for number in range(3):
        office.people.services.tenants.create(f"t{number}", "T", SUBJECT)
        office.people.new_user()
    cursor = office.get("/users?limit=1").json["next_cursor"]
    for path in ("/audit", "/users?status=active"):
        joined = f"{path}{'&' if '?' in path else '?'}cursor={cursor}"
        assert office.get(joined).json["code"] == "cursor_invalid"
    assert office.get(f"/users?limit=1&cursor={cursor}").status_code == 200


# --- Callers ------------------------------------------------------------------------------------


def test_who_may_look_and_who_may_change(people: People) -> None:
    """A6, section 2: users:read and audit:read may be a key's, users:manage is an operator's."""
    target = people.new_user().id
    callers = everybody(people)
    callers["a key without scopes"] = {
        "Authorization": f"Bearer {people.new_api_key(['payments:read'])}"
    }
    nobody, denied = (401, "unauthenticated"), (403, "scope_missing")
    stale, read, done = (403, "reauthentication_required"), (200, None), (204, None)
    expected = {
        "nobody": (nobody, nobody, nobody, nobody),
        "a key": (read, read, read, denied),
        "a key without scopes": (denied, denied, denied, denied),
        "a user": (denied, denied, denied, denied),
        "a stale operator": (read, read, read, stale),
        "an operator": (read, read, read, done),
    }
    for who, headers in callers.items():
        answers = [
            people.get("/v1/admin/users", **headers),
            people.get(f"/v1/admin/users/{target}", **headers),
            people.get("/v1/admin/audit", **headers),
            people.post(
                f"/v1/admin/users/{target}/enable", {"reason": "x"}, keyed=False, **headers
            ),
        ]
        got = tuple((each.status_code, (each.json or {}).get("code")) for each in answers)
        assert got == expected[who], who
