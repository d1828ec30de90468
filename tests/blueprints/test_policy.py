"""The guard: every kind of caller against every kind of policy (A1, A3, A5 to A7)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from blueprints.policy import ANY, PUBLIC, USERS, admit, fresh, scope
from errors import AppError
from services.actors import SCOPES
from services.api_key_texts import read_key

if TYPE_CHECKING:
    from blueprints.policy import Policy
    from services.actors import Actor
    from tests.world import World

HERE = "192.0.2.1"
READ, CAPTURE = scope("payments:read"), scope("payments:capture")
KEYS = fresh("keys:manage")
POLICIES = (ANY, USERS, READ, CAPTURE, KEYS)


class Door:
    """A guard with callers of every kind; each caller is its two headers."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.keys = world.services.api_keys
        world.services.tenants.create("acme", "Acme", "cli:ops")
        reader, capturer = self._key("payments:read"), self._key("payments:capture")
        revoked, foreign = self._key("payments:capture"), self._key("payments:read", "acme")
        self.keys.revoke("default", read_key(revoked).key_id, "cli:ops")
        user, operator = world.new_session(), world.new_session("operator")
        stale, theirs = (
            world.new_session("operator", auth_age_s=301),
            world.new_session("user", "acme"),
        )
        ended = world.new_session()
        world.rows(
            "UPDATE auth_sessions SET revoked_at = now(), revoked_reason = 'x' WHERE id = %s"
            " RETURNING 1",
            ended.session_id,
        )
        self.callers: dict[str, tuple[str | None, str | None]] = {
            "nobody": (None, None),
            "an empty header": ("", None),
            "a bare scheme": ("Bearer ", None),
            "a password": ("Basic dTpw", None),
            "a key without scheme": (reader, None),
            "rubbish": ("Bearer rubbish", None),
            "a rubbish key": ("Bearer srk_rubbish", None),
            "two keys": (f"Bearer {reader}, Bearer {capturer}", None),
            "a revoked key": (f"Bearer {revoked}", None),
            "a reader": (f"Bearer {reader}", None),
            "a capturer": (f"bearer  {capturer}", None),
            "a reader of its tenant": (f"Bearer {reader}", "default"),
            "a reader of another tenant": (f"Bearer {reader}", "acme"),
            "a capturer of no tenant": (f"Bearer {capturer}", ""),
            "a foreign reader": (f"Bearer {foreign}", None),
            "a user": (f"Bearer {user.token}", None),
            "a user of its tenant": (f"Bearer {user.token}", "default"),
            "a user of another tenant": (f"Bearer {user.token}", "acme"),
            "a foreign user": (f"Bearer {theirs.token}", None),
            "a user who logged out": (f"Bearer {ended.token}", None),
            "a token without scheme": (user.token, None),
            "an operator": (f"Bearer {operator.token}", None),
            "an operator of long ago": (f"Bearer {stale.token}", None),
        }

    def _key(self, scope_name: str, tenant_id: str = "default") -> str:
        return self.keys.create(tenant_id, "test", [scope_name], "cli:ops")[1]

    def knock(self, policy: Policy | None, caller: str) -> Actor | None:
        """Ask the guard for `caller`."""
        authorization, tenant = self.callers[caller]
        return admit(policy, authorization, tenant, HERE, self.world.services.credentials)

    def outcome(self, policy: Policy | None, caller: str) -> tuple[int, str]:
        """Return the status and code that `caller` gets; 200 and the tenant of the actor."""
        try:
            actor = self.knock(policy, caller)
        except AppError as error:
            return error.status, error.code
        return 200, actor.tenant_id if actor else "anybody"


@pytest.fixture
def door(world: World) -> Door:
    return Door(world)


NO_KEY, BAD_KEY = (401, "unauthenticated"), (401, "api_key_invalid")
BAD_TOKEN, ENDED = (401, "access_token_invalid"), (401, "session_revoked")
NO_SCOPE, OTHER_TENANT = (403, "scope_missing"), (403, "tenant_mismatch")
STALE = (403, "reauthentication_required")
IN, IN_ACME = (200, "default"), (200, "acme")
# What each caller gets from: any, users, payments:read, payments:capture, fresh keys:manage.
EXPECTED = {
    "nobody": (NO_KEY,) * 5,
    "an empty header": (NO_KEY,) * 5,
    "a bare scheme": (NO_KEY,) * 5,
    "a password": (NO_KEY,) * 5,
    "a key without scheme": (NO_KEY,) * 5,
    "rubbish": (BAD_TOKEN,) * 5,
    "a rubbish key": (BAD_KEY,) * 5,
    "two keys": (BAD_KEY,) * 5,
    "a revoked key": (BAD_KEY,) * 5,
    "a reader": (IN, NO_SCOPE, IN, NO_SCOPE, NO_SCOPE),
    "a capturer": (IN, NO_SCOPE, NO_SCOPE, IN, NO_SCOPE),
    "a reader of its tenant": (IN, NO_SCOPE, IN, NO_SCOPE, NO_SCOPE),
    "a reader of another tenant": (OTHER_TENANT,) * 5,
    "a capturer of no tenant": (OTHER_TENANT,) * 5,
    "a foreign reader": (IN_ACME, NO_SCOPE, IN_ACME, NO_SCOPE, NO_SCOPE),
    "a user": (IN, IN, IN, NO_SCOPE, NO_SCOPE),
    "a user of its tenant": (IN, IN, IN, NO_SCOPE, NO_SCOPE),
    "a user of another tenant": (OTHER_TENANT,) * 5,
    "a foreign user": (IN_ACME, IN_ACME, IN_ACME, NO_SCOPE, NO_SCOPE),
    "a user who logged out": (ENDED,) * 5,
    "a token without scheme": (NO_KEY,) * 5,
    "an operator": (IN,) * 5,
    "an operator of long ago": (IN, IN, IN, IN, STALE),
}


def test_every_kind_of_caller_gets_what_the_policy_says(door: Door) -> None:
    """A1, A2, A6, A7."""
    assert door.callers.keys() == EXPECTED.keys()
    given = {
        caller: tuple(door.outcome(policy, caller) for policy in POLICIES)
        for caller in door.callers
    }
    assert given == EXPECTED


def test_a_public_route_looks_at_no_credential(door: Door) -> None:
    """A probe must not fail because of a header that something else has set."""
    assert {door.outcome(PUBLIC, caller) for caller in door.callers} == {(200, "anybody")}


def test_a_route_without_policy_is_closed_to_everybody(door: Door) -> None:
    """A5: the third of the three gates."""
    assert {door.outcome(None, caller) for caller in door.callers} == {NO_SCOPE}


def test_a_suspended_tenant_comes_in_nowhere(door: Door) -> None:
    """A3."""
    door.world.services.tenants.suspend("default", "cli:ops")
    for caller in ("a reader", "a user", "an operator"):
        assert door.outcome(ANY, caller) == (403, "tenant_suspended")
    assert door.outcome(ANY, "a foreign reader") == IN_ACME
    assert door.outcome(ANY, "a foreign user") == IN_ACME


def test_the_missing_scope_is_named(door: Door) -> None:
    """A6."""
    for caller in ("a reader", "a user"):
        with pytest.raises(AppError) as caught:
            door.knock(CAPTURE, caller)
        assert caught.value.members == {"required_scope": "payments:capture"}


def refusals(world: World) -> list[tuple[Any, ...]]:
    return world.rows("SELECT reason, host(ip) FROM audit_log WHERE event = 'scope_denied'")


def test_only_refused_money_is_audited(door: Door) -> None:
    """A52."""
    door.outcome(READ, "a capturer")
    assert refusals(door.world) == []
    door.outcome(CAPTURE, "a reader")
    door.outcome(CAPTURE, "a user")
    assert refusals(door.world) == [("payments:capture", HERE)] * 2


def test_a_policy_with_an_unknown_scope_stops_the_boot() -> None:
    """A5."""
    for policy in (scope, fresh):
        with pytest.raises(ValueError, match="payments:captrue"):
            policy("payments:captrue")
        assert {policy(name).required_scope for name in SCOPES} == SCOPES
