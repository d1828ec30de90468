"""Writes to users during a move: to legacy first where it decides, and a second hash (D41)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

import bcrypt
import pytest

from legacy.store import LegacyUnavailable
from tests.legacy.sample_rows import soon, user
from tests.legacy.shops import PASSWORD, PAYER

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.legacy.shops import Shop

    Make = Callable[[int], Shop]

NEW = "staple of batteries"


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bcrypt hash that takes a millisecond: what it costs is not what these tests are about."""
    monkeypatch.setattr("services.passwords.BCRYPT_COST", 4)


def register(world: Shop, email: str, password: str = PASSWORD) -> Any:
    body = {"email": email, "password": password}
    return world.app.test_client().post("/v1/auth/register", json=body)


def there(world: Shop, email: str) -> Any:
    """What legacy has of an address."""
    return world.store("users").find("email", email)


def opens(stored: str, password: str) -> bool:
    return bcrypt.checkpw(password.encode(), stored.encode())


def change(world: Shop, token: str, old: str, new: str) -> Any:
    body = {"current_password": old, "new_password": new}
    return world.asked("POST", "/v1/auth/password/change", token, body)


@pytest.mark.parametrize("phase", [1, 2, 3])
def test_who_registers_is_made_in_legacy(shop_world: Make, phase: int) -> None:
    """2.1: with a hash that legacy understands; the session is here."""
    world = shop_world(phase)
    made = register(world, "ada@example.org")
    assert made.status_code == 201, made.json
    sent = there(world, "ada@example.org")
    assert opens(sent.row["legacy_password_hash"], PASSWORD)
    here = world.rows("SELECT id::text, legacy_id FROM users WHERE email = 'ada@example.org'")
    assert here == [(made.json["user"]["id"], sent.id)]
    assert world.asked("GET", "/v1/auth/me", made.json["access_token"]).status_code == 200
    assert world.log_in(PASSWORD, "ADA@example.org").status_code == 200
    # An address of legacy alone is taken, however it is spelt.
    world.store("users").create(user("77", email="Bob@example.org"), "op77", soon())
    taken = register(world, "bob@example.org")
    assert (taken.status_code, taken.json["code"]) == (409, "email_taken")
    assert world.rows("SELECT status FROM migration_intents") == [("applied",)]


def test_a_password_is_changed_in_both(shop_world: Make) -> None:
    """T12, in one world: in phases 1 to 5 and back only the newest works, in both stores."""
    world = shop_world(1)
    token, password = world.token_of("1"), PASSWORD
    for number, phase in enumerate((1, 2, 3, 4, 5, 4, 3, 1)):
        world.in_phase(phase)
        new = f"{NEW} {number}"
        changed = change(world, token, password, new)
        assert changed.status_code == 200, (phase, changed.json)
        token = changed.json["access_token"]
        if phase == 4:
            world.parts.mirror.run_once()
        (here,) = world.rows("SELECT legacy_password_hash FROM users WHERE legacy_id = '1'")
        assert opens(here[0], new)
        if phase != 5:
            assert opens(world.rows_of("users")["1"].row["legacy_password_hash"], new)
        assert world.log_in(password).status_code == 401
        assert world.log_in(new).status_code == 200
        password = new


@pytest.mark.parametrize("phase", [3, 4])
def test_what_bcrypt_would_cut_off_is_too_long(shop_world: Make, phase: int) -> None:
    """D41: 72 bytes, while a tenant moves."""
    world = shop_world(phase)
    refused = register(world, "ada@example.org", "long enough " * 7)
    assert (refused.status_code, refused.json["code"]) == (422, "weak_password")
    assert [fault["code"] for fault in refused.json["errors"]] == ["too_long"]
    assert refused.json["errors"][0]["pointer"] == "/password"


def test_a_user_is_disabled_in_legacy(shop_world: Make) -> None:
    """2.1: status, by an operator; sessions end."""
    world = shop_world(1)
    token = world.token_of("1")
    path, body = f"/v1/admin/users/{PAYER}", {"reason": "fraud"}
    done = world.asked("POST", f"{path}/disable", world.operator.token, body)
    assert done.status_code == 204, done.json
    assert world.rows_of("users")["1"].row["status"] == "disabled"
    assert world.asked("GET", "/v1/auth/me", token).status_code == 401
    locked_out: Any = world.log_in(PASSWORD).json
    assert locked_out["code"] == "account_disabled"
    # What is so already writes nothing.
    version = world.rows_of("users")["1"].version
    assert world.asked("POST", f"{path}/disable", world.operator.token, body).status_code == 204
    assert world.rows_of("users")["1"].version == version
    assert world.asked("POST", f"{path}/enable", world.operator.token, body).status_code == 204
    assert world.log_in(PASSWORD).status_code == 200
    audited = world.rows("SELECT count(*) FROM audit_log WHERE event = 'user_status_changed'")
    assert audited == [(2,)]


def test_an_erased_user_leaves_a_tombstone(shop_world: Make) -> None:
    """D25: in legacy too; here the row stays, since payments point to it."""
    world = shop_world(2)
    world.services.users.erase("default", UUID(PAYER), "cli:test")
    assert world.store("users").get_many(["1"])["1"].deleted
    assert world.rows("SELECT status, email FROM users WHERE legacy_id = '1'") == [
        ("deleted", None)
    ]


def test_an_operator_of_ours_is_none_of_legacys(shop_world: Make) -> None:
    """Legacy has never had it: it is changed here, and nothing is sent."""
    world = shop_world(3)
    path = f"/v1/admin/users/{world.other_operator}/disable"
    body = {"reason": "left"}
    assert world.asked("POST", path, world.operator.token, body).status_code == 204
    assert [*world.rows_of("users")] == ["1"]
    assert world.rows("SELECT count(*) FROM migration_intents") == [(0,)]


def test_whom_the_legacy_program_disables_is_out_at_the_next_renewal(shop_world: Make) -> None:
    """D15: phase 1 has no mirror; a renewed session asks legacy first."""
    world = shop_world(1)
    world.token_of("1")
    opened: Any = world.log_in(PASSWORD).json
    world.program_writes("1", "users", status="disabled")
    body = {"refresh_token": opened["refresh_token"]}
    refused: Any = world.app.test_client().post("/v1/auth/refresh", json=body)
    assert (refused.status_code, refused.json["code"]) == (401, "session_revoked")


def test_whom_the_legacy_program_deletes_does_not_log_in(shop_world: Make) -> None:
    """D15: nor under an address that was given up."""
    world = shop_world(2)
    world.token_of("1")
    world.program_writes("1", "users", email="other@example.org")
    assert world.log_in(PASSWORD).status_code == 401
    assert world.log_in(PASSWORD, "other@example.org").status_code == 200


def test_a_lost_answer_is_rolled_forward(
    shop_world: Make, monkeypatch: pytest.MonkeyPatch, owner: Callable[..., None]
) -> None:
    """D10, D11: the client does not know; the mirror finishes it, and the user can log in."""
    world = shop_world(2)
    store = world.store("users")
    create = store.create

    def lost(*given: Any) -> Any:
        create(*given)
        raise LegacyUnavailable("lost")

    monkeypatch.setattr(store, "create", lost)
    unknown = register(world, "ada@example.org")
    assert (unknown.status_code, unknown.json["code"]) == (503, "outcome_unknown")
    owner("UPDATE migration_intents SET lease_until = now() - interval '1 s'")
    world.parts.mirror.run_once()
    assert world.rows("SELECT status FROM migration_intents") == [("applied",)]
    assert world.log_in(PASSWORD, "ada@example.org").status_code == 200
    assert register(world, "ada@example.org").json["code"] == "email_taken"


def test_legacy_down_is_said_and_changes_nothing(
    shop_world: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MF1."""
    world = shop_world(2)

    def down(*_: Any) -> Any:
        raise LegacyUnavailable("down")

    for name in ("get_many", "find"):
        monkeypatch.setattr(world.store("users"), name, down)
    for answer in (register(world, "ada@example.org"), world.log_in(PASSWORD)):
        assert (answer.status_code, answer.json["code"]) == (503, "legacy_unavailable")
    assert world.rows("SELECT count(*) FROM migration_intents") == [(0,)]


def test_users_that_the_legacy_program_writes_are_written_by_nobody_else(
    shop_world: Make,
) -> None:
    """D30: 409, and the session-only paths go on."""
    world = shop_world(2)
    world.token_of("1")
    links: Any = world.parts.links
    link = links.get("default", "users")
    object.__setattr__(link, "writers", "legacy")
    refused = register(world, "ada@example.org")
    assert (refused.status_code, refused.json["code"]) == (409, "domain_follows_legacy")
    assert world.log_in(PASSWORD).status_code == 200


# --- Links by mail ------------------------------------------------------------------------------


def test_an_address_is_changed_in_legacy(shop_world: Make) -> None:
    """A50: when the link is used; sessions end."""
    world = shop_world(1)
    token = world.token_of("1")
    body = {"new_email": "new@example.org", "password": PASSWORD}
    assert world.asked("POST", "/v1/auth/email/change", token, body).status_code == 202
    used = world.use_link("email_change", "/v1/auth/email/verify", {})
    assert used.status_code == 204, used.json
    row = world.rows_of("users")["1"].row
    assert (row["email"], row["email_verified"]) == ("new@example.org", True)
    assert world.log_in(PASSWORD, "new@example.org").status_code == 200


def test_a_password_is_reset_in_legacy(shop_world: Make) -> None:
    """A49: of somebody whom new has not met before (phase 1)."""
    world = shop_world(1)
    body = {"email": "user1@example.org"}
    asked = world.app.test_client().post("/v1/auth/password/forgot", json=body)
    assert asked.status_code == 202
    used = world.use_link("reset", "/v1/auth/password/reset", {"new_password": NEW})
    assert used.status_code == 204, used.json
    assert opens(world.rows_of("users")["1"].row["legacy_password_hash"], NEW)
    assert world.log_in(NEW).status_code == 200
