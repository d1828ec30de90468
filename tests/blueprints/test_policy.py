"""The guard: every kind of caller against every kind of policy (A1, A5, A6)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from blueprints.policy import ANY, PUBLIC, admit, scope
from errors import AppError
from persistence.db import Database, DbSettings
from services.actors import SCOPES
from services.api_key_texts import read_key
from services.api_keys import ApiKeys
from services.tenants import Tenants

if TYPE_CHECKING:
    from collections.abc import Iterator

    from blueprints.policy import Policy
    from services.actors import Actor

HERE = "192.0.2.1"
READ, CAPTURE = scope("payments:read"), scope("payments:capture")


class Door:
    """A guard with callers of every kind; each caller is its two headers."""

    def __init__(self, db: Database) -> None:
        self.keys = ApiKeys(db)
        Tenants(db).create("acme", "Acme", "cli:ops")
        reader, capturer = self._key("payments:read"), self._key("payments:capture")
        revoked, foreign = self._key("payments:capture"), self._key("payments:read", "acme")
        self.keys.revoke("default", read_key(revoked).key_id, "cli:ops")
        self.callers: dict[str, tuple[str | None, str | None]] = {
            "nobody": (None, None),
            "an empty header": ("", None),
            "a bare scheme": ("Bearer ", None),
            "a password": ("Basic dTpw", None),
            "a key without scheme": (reader, None),
            "rubbish": ("Bearer rubbish", None),
            "two keys": (f"Bearer {reader}, Bearer {capturer}", None),
            "a revoked key": (f"Bearer {revoked}", None),
            "a reader": (f"Bearer {reader}", None),
            "a capturer": (f"bearer  {capturer}", None),
            "a reader of its tenant": (f"Bearer {reader}", "default"),
            "a reader of another tenant": (f"Bearer {reader}", "acme"),
            "a capturer of no tenant": (f"Bearer {capturer}", ""),
            "a foreign reader": (f"Bearer {foreign}", None),
        }

    def _key(self, scope_name: str, tenant_id: str = "default") -> str:
        return self.keys.create(tenant_id, "test", [scope_name], "cli:ops")[1]

    def knock(self, policy: Policy | None, caller: str) -> Actor | None:
        """Ask the guard for `caller`."""
        authorization, tenant = self.callers[caller]
        return admit(policy, authorization, tenant, HERE, self.keys)

    def outcome(self, policy: Policy | None, caller: str) -> tuple[int, str]:
        """Return the status and code that `caller` gets; 200 and the tenant of the actor."""
        try:
            actor = self.knock(policy, caller)
        except AppError as error:
            return error.status, error.code
        return 200, actor.tenant_id if actor else "anybody"


@pytest.fixture
def door(database: str) -> Iterator[Door]:
    db = Database(database, DbSettings(pool_size=1))
    yield Door(db)
    db.close()


NO_KEY, BAD_KEY = (401, "unauthenticated"), (401, "api_key_invalid")
NO_SCOPE, OTHER_TENANT = (403, "scope_missing"), (403, "tenant_mismatch")
IN, IN_ACME = (200, "default"), (200, "acme")
# What each caller gets from: any, scope(payments:read), scope(payments:capture).
EXPECTED = {
    "nobody": (NO_KEY, NO_KEY, NO_KEY),
    "an empty header": (NO_KEY, NO_KEY, NO_KEY),
    "a bare scheme": (NO_KEY, NO_KEY, NO_KEY),
    "a password": (NO_KEY, NO_KEY, NO_KEY),
    "a key without scheme": (NO_KEY, NO_KEY, NO_KEY),
    "rubbish": (BAD_KEY, BAD_KEY, BAD_KEY),
    "two keys": (BAD_KEY, BAD_KEY, BAD_KEY),
    "a revoked key": (BAD_KEY, BAD_KEY, BAD_KEY),
    "a reader": (IN, IN, NO_SCOPE),
    "a capturer": (IN, NO_SCOPE, IN),
    "a reader of its tenant": (IN, IN, NO_SCOPE),
    "a reader of another tenant": (OTHER_TENANT, OTHER_TENANT, OTHER_TENANT),
    "a capturer of no tenant": (OTHER_TENANT, OTHER_TENANT, OTHER_TENANT),
    "a foreign reader": (IN_ACME, IN_ACME, NO_SCOPE),
}


def test_every_kind_of_caller_gets_what_the_policy_says(door: Door) -> None:
    """A1, A2, A6."""
    assert door.callers.keys() == EXPECTED.keys()
    given = {
        caller: tuple(door.outcome(policy, caller) for policy in (ANY, READ, CAPTURE))
        for caller in door.callers
    }
    assert given == EXPECTED


def test_a_public_route_looks_at_no_credential(door: Door) -> None:
    """A probe must not fail because of a header that something else has set."""
    assert {door.outcome(PUBLIC, caller) for caller in door.callers} == {(200, "anybody")}


def test_a_route_without_policy_is_closed_to_everybody(door: Door) -> None:
    """A5: the third of the three gates."""
    assert {door.outcome(None, caller) for caller in door.callers} == {NO_SCOPE}


def test_a_suspended_tenant_comes_in_nowhere(door: Door, database: str) -> None:
    """A3."""
    db = Database(database, DbSettings(pool_size=1))
    Tenants(db).suspend("default", "cli:ops")
    db.close()
    assert door.outcome(ANY, "a reader") == (403, "tenant_suspended")
    assert door.outcome(ANY, "a foreign reader") == IN_ACME


def test_the_missing_scope_is_named(door: Door) -> None:
    """A6."""
    with pytest.raises(AppError) as caught:
        door.knock(CAPTURE, "a reader")
    assert caught.value.members == {"required_scope": "payments:capture"}


def refusals(database: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(database) as conn:
        query = b"SELECT reason, host(ip) FROM audit_log WHERE event = 'scope_denied'"
        return conn.execute(query).fetchall()


def test_only_refused_money_is_audited(door: Door, database: str) -> None:
    """A52."""
    door.outcome(READ, "a capturer")
    assert refusals(database) == []
    door.outcome(CAPTURE, "a reader")
    assert refusals(database) == [("payments:capture", HERE)]


def test_a_policy_with_an_unknown_scope_stops_the_boot() -> None:
    """A5."""
    with pytest.raises(ValueError, match="payments:captrue"):
        scope("payments:captrue")
    assert {scope(name).required_scope for name in SCOPES} == SCOPES
