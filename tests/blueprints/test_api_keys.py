"""API keys over HTTP: made, listed, rotated and ended by operators (A9 to A12)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from services.actors import GRANTABLE
from tests.world import SUBJECT

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.world import Reply, World

KEY = ["id", "principal_id", "prefix", "name", "scopes", "allowed_cidrs"]
KEY += ["created_at", "expires_at", "last_used_at", "revoked_at"]
SHOP = {"name": "shop", "scopes": ["payments:create", "payments:read"]}


class Desk:
    """An operator who has just given the password."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.headers = world.new_session("operator").headers

    def get(self, path: str = "") -> Reply:
        return self.world.get(f"/v1/api-keys{path}", **self.headers)

    def post(self, path: str, body: dict[str, Any] | None = None, **more: Any) -> Reply:
        return self.world.post(f"/v1/api-keys{path}", body, keyed=False, **{**self.headers, **more})

    def made(self, **body: Any) -> dict[str, Any]:
        answer = self.post("", {**SHOP, **body})
        assert answer.status_code == 201, answer.json
        return dict(answer.json)

    def end(self, key_id: str) -> Reply:
        client = self.world.app.test_client()
        return client.delete(f"/v1/api-keys/{key_id}", headers=self.headers)  # type: ignore[return-value]

    def works(self, api_key: str, address: str = "192.0.2.1") -> tuple[int, Any]:
        answer = self.world.app.test_client().get(
            "/v1/payments",
            headers={"Authorization": f"Bearer {api_key}"},
            environ_overrides={"REMOTE_ADDR": address},
            buffered=True,
        )
        found: Any = answer.get_json()
        return answer.status_code, found.get("code")


@pytest.fixture
def desk(world: World) -> Desk:
    return Desk(world)


OK, INVALID = (200, None), (401, "api_key_invalid")


# --- Made and shown -----------------------------------------------------------------------------


def test_a_key_is_shown_once_and_works(desk: Desk) -> None:
    """A9: the answer of create, no-store; afterwards nobody sees the text again."""
    answer = desk.post("", {**SHOP, "allowed_cidrs": ["192.0.2.0/24"]})
    made = answer.json
    api_key = made.pop("api_key")
    assert list(made) == KEY
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Location"] == f"/v1/api-keys/{made['id']}"
    assert api_key.startswith(made["prefix"] + "_")
    assert (made["scopes"], made["allowed_cidrs"]) == (SHOP["scopes"], ["192.0.2.0/24"])
    assert desk.works(api_key) == OK
    assert desk.works(api_key, "198.51.100.1") == (403, "ip_not_allowed")

    shown = desk.get(f"/{made['id']}").json
    assert shown == {**made, "last_used_at": shown["last_used_at"]}
    assert shown["last_used_at"] is not None
    assert api_key not in desk.get().get_data(as_text=True)


def test_a_key_is_never_kept_for_replay(desk: Desk) -> None:
    """A9: Idempotency-Key is ignored there, and the answer says so."""
    answers = [desk.post("", SHOP, **{"Idempotency-Key": "same"}) for _ in range(2)]
    assert [answer.headers["Idempotency-Status"] for answer in answers] == ["ignored"] * 2
    assert len({answer.json["api_key"] for answer in answers}) == 2
    assert desk.world.rows("SELECT count(*) FROM idempotency_keys") == [(0,)]


def test_a_key_holds_what_keys_may(desk: Desk) -> None:
    """A10: every scope marked yes together; each other one is 422 in its place."""
    assert desk.made(scopes=sorted(GRANTABLE))["scopes"] == sorted(GRANTABLE)
    for name in ("users:manage", "keys:manage", "ops:write", "payments:*", "", "PAYMENTS:READ"):
        answer = desk.post("", {"name": "shop", "scopes": ["payments:read", name]})
        assert (answer.status_code, answer.json["code"]) == (422, "scope_not_grantable")
        assert [fault["pointer"] for fault in answer.json["errors"]] == ["/scopes/1"]
    assert desk.post("", {"name": "shop", "scopes": []}).json["code"] == "scope_not_grantable"


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"scopes": ["payments:read"]}, "/name"),
        ({**SHOP, "name": ""}, "/name"),
        ({**SHOP, "name": "a\nb"}, "/name"),
        ({**SHOP, "name": "a" * 201}, "/name"),
        ({**SHOP, "scopes": "payments:read"}, "/scopes"),
        ({**SHOP, "scopes": [1]}, "/scopes/0"),
        ({**SHOP, "expires_at": "2001-01-01T00:00:00Z"}, "/expires_at"),
        ({**SHOP, "expires_at": "2099-01-01T00:00:00"}, "/expires_at"),
        ({**SHOP, "expires_at": 4070908800}, "/expires_at"),
        ({**SHOP, "allowed_cidrs": []}, "/allowed_cidrs"),
        ({**SHOP, "allowed_cidrs": ["192.0.2.1/24"]}, "/allowed_cidrs/0"),
        ({**SHOP, "allowed_cidrs": ["fe80::1%eth0"]}, "/allowed_cidrs/0"),
        ({**SHOP, "key_hash": "x"}, "/key_hash"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_key_is_422_where_it_is_wrong(
    desk: Desk, body: dict[str, Any], pointer: str
) -> None:
    answer = desk.post("", body)
    assert (answer.status_code, answer.json["code"]) == (422, "validation_failed")
    assert pointer in [fault["pointer"] for fault in answer.json["errors"]]


def test_pages_hold_every_key_once_newest_first(desk: Desk) -> None:
    made = [desk.made(name=f"key {number}")["id"] for number in range(4)]
    desk.end(made[1])
    found, cursor = [], ""
    while True:
        page = desk.get(f"?limit=2{cursor}").json
        found += [row["id"] for row in page["data"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert found[:4] == made[::-1]
    assert len(found) == len(set(found)) == 5  # And the one of `world`.


# --- Rotated and ended --------------------------------------------------------------------------


def test_a_successor_is_the_same_principal(desk: Desk) -> None:
    """A11: name, scopes, networks and principal; for a while both work."""
    old = desk.made(allowed_cidrs=["192.0.2.0/24"])
    answer = desk.post(f"/{old['id']}/rotate", {"overlap_s": 3600})
    new = answer.json
    assert answer.status_code == 201
    assert answer.headers["Location"] == f"/v1/api-keys/{new['id']}"
    same = ("principal_id", "name", "scopes", "allowed_cidrs")
    assert [new[name] for name in same] == [old[name] for name in same]
    assert new["id"] != old["id"]
    assert [desk.works(key["api_key"]) for key in (old, new)] == [OK, OK]
    assert desk.get(f"/{old['id']}").json["expires_at"] is not None
    assert new["expires_at"] is None


def test_without_an_overlap_the_old_key_ends_at_once(desk: Desk) -> None:
    """A11, A12."""
    old = desk.made()
    new = desk.post(f"/{old['id']}/rotate", {"overlap_s": 0}).json
    assert desk.works(old["api_key"]) == INVALID
    assert desk.works(new["api_key"]) == OK


def test_a_payment_tried_again_with_the_new_key_pays_once(desk: Desk) -> None:
    """A11: idempotency goes by the principal."""
    old = desk.made()
    world, body = desk.world, {"amount_minor": 100, "currency": "EUR"}
    body |= {"user_id": world.user_id}
    first = world.post("/v1/payments", body, key="k", Authorization=f"Bearer {old['api_key']}")
    new = desk.post(f"/{old['id']}/rotate").json
    again = world.post("/v1/payments", body, key="k", Authorization=f"Bearer {new['api_key']}")
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json == first.json
    assert again.headers["Idempotency-Status"] == "replayed"


def test_an_ended_key_has_no_successor(desk: Desk) -> None:
    """409: revoked, or rotated before."""
    rotated, revoked = desk.made(), desk.made()
    assert desk.post(f"/{rotated['id']}/rotate").status_code == 201
    assert desk.end(revoked["id"]).status_code == 204
    for key in (rotated, revoked):
        answer = desk.post(f"/{key['id']}/rotate")
        assert (answer.status_code, answer.json["code"]) == (409, "api_key_ended")


@pytest.mark.parametrize("overlap_s", [-1, 604_801, "60", 1.5, None, True])
def test_an_overlap_is_a_week_at_most(desk: Desk, overlap_s: Any) -> None:
    """A11: 0 to 604800."""
    made = desk.made()
    answer = desk.post(f"/{made['id']}/rotate", {"overlap_s": overlap_s})
    assert answer.status_code == 422
    assert desk.works(made["api_key"]) == OK


def test_no_request_after_the_204_is_served(desk: Desk) -> None:
    """A12: twice is harmless."""
    made = desk.made()
    assert desk.works(made["api_key"]) == OK
    assert [desk.end(made["id"]).status_code for _ in range(2)] == [204, 204]
    assert desk.works(made["api_key"]) == INVALID
    assert desk.get(f"/{made['id']}").json["revoked_at"] is not None


def test_who_made_rotated_and_ended_a_key_is_told(desk: Desk) -> None:
    """A52: with the address and the id of the request, and no secret (A35)."""
    made = desk.made()
    new = desk.post(f"/{made['id']}/rotate").json
    desk.end(new["id"])
    told = desk.world.rows(
        "SELECT event, details->>'key', ip IS NOT NULL, request_id IS NOT NULL FROM audit_log"
        " WHERE event LIKE 'api_key%%' AND subject LIKE 'user:%%' ORDER BY id"
    )
    assert told == [
        ("api_key_created", made["id"], True, True),
        ("api_key_rotated", made["id"], True, True),
        ("api_key_revoked", new["id"], True, True),
    ]
    dump = str(desk.world.rows("SELECT a::text FROM audit_log a"))
    assert not any(key["api_key"].split("_")[3] in dump for key in (made, new))


# --- Callers ------------------------------------------------------------------------------------


def test_another_tenants_key_is_not_there(desk: Desk) -> None:
    """A2: 404 for whoever asks from outside, and nothing changes."""
    services = desk.world.services
    services.tenants.create("acme", "Acme", SUBJECT)
    row, text = services.api_keys.create("acme", "theirs", ["payments:read"], SUBJECT)
    for answer in (
        desk.get(f"/{row.id}"),
        desk.post(f"/{row.id}/rotate"),
        desk.end(row.id),
        desk.get("/short"),
        desk.get("/aaaaaaaaaaa%00"),
    ):
        assert (answer.status_code, answer.json["code"]) == (404, "not_found")
    assert row.id not in desk.get().get_data(as_text=True)
    assert desk.works(text) == OK


def everybody(world: World) -> dict[str, dict[str, str]]:
    """Return the headers of every kind of caller."""
    return {
        "nobody": {"Authorization": ""},
        "a key": {},
        "a user": world.new_session().headers,
        "a stale operator": world.new_session("operator", auth_age_s=301).headers,
        "an operator": world.new_session("operator").headers,
    }


def calls(world: World, headers: dict[str, str], key_id: str) -> list[tuple[int, str | None]]:
    send: list[Callable[[], Reply]] = [
        lambda: world.get("/v1/api-keys", **headers),
        lambda: world.get(f"/v1/api-keys/{key_id}", **headers),
        lambda: world.post("/v1/api-keys", SHOP, keyed=False, **headers),
        lambda: world.post(f"/v1/api-keys/{key_id}/rotate", None, keyed=False, **headers),
    ]
    return [(found.status_code, found.json.get("code")) for found in (each() for each in send)]


def test_only_a_fresh_operator_changes_keys(world: World) -> None:
    """A6, A10: GET needs keys:manage, all else the password of five minutes ago at most."""
    row, _ = world.services.api_keys.create("default", "x", ["payments:read"], SUBJECT)
    nobody, denied = (401, "unauthenticated"), (403, "scope_missing")
    stale, done = (403, "reauthentication_required"), (200, None)
    expected = {
        "nobody": [nobody] * 4,
        "a key": [denied] * 4,
        "a user": [denied] * 4,
        "a stale operator": [done, done, stale, stale],
        "an operator": [done, done, (201, None), (201, None)],
    }
    callers = everybody(world)
    assert {who: calls(world, callers[who], row.id) for who in callers} == expected
