"""Signing keys: states by time, rotation, revocation, master keys (A40, A43 to A46)."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from errors import NotFound
from observability import current
from persistence.db import Database, DbSettings
from services.sealed_keys import SealedKeys
from services.signing_keys import SigningKeys, SigningSettings
from services.tenants import Tenants

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

OLD, NEW = bytes(32), bytes([1]) * 32
TTL_S, MAX_AGE_S = 600, 300
KEPT_S = TTL_S + 5 + MAX_AGE_S
DAY_S = 86_400


class Clock:
    """Seconds that pass when the test says so."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Desk:
    """Keys of one database, and its times moved by hand."""

    def __init__(self, url: str, db: Database) -> None:
        self.url, self.db, self.clock = url, db, Clock()
        self.keys = self.process({"old": OLD})

    def process(self, keks: dict[str, bytes]) -> SigningKeys:
        """Return the keys as another process sees them."""
        settings = SigningSettings(alg="EdDSA", ttl_s=TTL_S, max_age_s=MAX_AGE_S)
        return SigningKeys(self.db, SealedKeys(keks), settings, clock=self.clock)

    def signer(self, tenant_id: str = "default") -> str:
        return self.keys.signer(tenant_id, "user:1").kid

    def rotated(self) -> str:
        kid = self.keys.rotate("default", "cli:ops")
        assert kid is not None
        return kid

    def states(self, tenant_id: str = "default") -> dict[str, str]:
        return {row.kid: row.state for row in self.keys.list_by_tenant(tenant_id)}

    def published(self, tenant_id: str = "default") -> set[str]:
        return {jwk["kid"] for jwk in self.keys.published(tenant_id)}

    def rows(self, query: str, *params: Any) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url, autocommit=True) as conn:
            return conn.execute(query.encode(), params).fetchall()

    def wait(self, seconds: int) -> None:
        """Let time pass: the rows become older."""
        self.rows(
            "UPDATE signing_keys SET active_from = active_from - make_interval(secs => %s),"
            " created_at = created_at - make_interval(secs => %s) RETURNING 1",
            *(seconds, seconds),
        )

    def events(self) -> list[tuple[Any, ...]]:
        return self.rows("SELECT subject, event, reason FROM audit_log ORDER BY id")


@pytest.fixture
def desk(database: str) -> Iterator[Desk]:
    db = Database(database, DbSettings(pool_size=8))
    yield Desk(database, db)
    db.close()


def together(actions: list[Callable[[], Any]]) -> list[Any]:
    """Run each in a thread of its own, all from one moment on; what they returned."""
    barrier = threading.Barrier(len(actions))

    def act(action: Callable[[], Any]) -> Any:
        barrier.wait()
        return action()

    with ThreadPoolExecutor(len(actions)) as threads:
        return list(threads.map(act, actions))


# --- States -------------------------------------------------------------------------------------


def test_the_first_key_is_made_at_first_need_and_signs_at_once(desk: Desk) -> None:
    """A44."""
    assert desk.states() == {}
    kid = desk.signer()
    assert desk.signer() == kid
    assert desk.states() == {kid: "active"}
    assert desk.published() == {kid}
    assert desk.events() == [("user:1", "signing_key_created", None)]


def test_eight_first_needs_at_once_make_one_key(desk: Desk) -> None:
    """A44: ten rounds, a tenant each."""
    for number in range(10):
        tenant_id = f"tenant-{number}"
        Tenants(desk.db).create(tenant_id, tenant_id, "cli:ops")
        kids = together([partial(desk.signer, tenant_id)] * 8)
        assert set(kids) == set(desk.states(tenant_id))
        assert len(set(kids)) == 1


def test_the_next_key_is_published_before_it_signs(desk: Desk) -> None:
    """A44: standby, active, retired, ended, by times alone."""
    first = desk.signer()
    second = desk.rotated()
    assert desk.states() == {first: "active", second: "standby"}
    assert desk.published() == {first, second}
    desk.wait(MAX_AGE_S - 1)
    assert desk.signer() == first
    desk.wait(2)
    assert desk.signer() == second
    assert desk.states() == {first: "retired", second: "active"}
    desk.wait(KEPT_S - 3)
    assert desk.published() == {first, second}
    desk.wait(4)
    assert desk.states() == {first: "ended", second: "active"}
    assert desk.published() == {second}


def test_all_processes_sign_with_the_same_key(desk: Desk) -> None:
    """A44."""
    desk.signer()
    second = desk.rotated()
    other = desk.process({"old": OLD})
    for _ in range(2):
        assert other.signer("default", "user:1").kid == desk.signer()
        desk.wait(MAX_AGE_S + 1)
    assert desk.signer() == second


def test_a_key_belongs_to_one_tenant(desk: Desk) -> None:
    """A2."""
    Tenants(desk.db).create("acme", "Acme", "cli:ops")
    mine, theirs = desk.signer(), desk.signer("acme")
    assert mine != theirs
    assert desk.published("acme") == {theirs}
    assert desk.keys.verifier("default", theirs) is None
    with pytest.raises(NotFound):
        desk.keys.revoke("default", theirs, "cli:ops")


def test_an_unknown_tenant_has_no_keys(desk: Desk) -> None:
    with pytest.raises(NotFound):
        desk.signer("nobody")
    with pytest.raises(NotFound):
        desk.keys.revoke("nobody", "x", "cli:ops")
    assert desk.published("nobody") == set()


def test_a_key_is_rotated_when_it_is_old_enough(desk: Desk) -> None:
    """Job rotate-signing-keys: 90 days; what nobody has needed is not made."""
    old_s = 90 * DAY_S
    assert desk.keys.rotate_if_older("default", "job:x", old_s) is None
    assert desk.states() == {}
    first = desk.signer()
    desk.wait(old_s - 100)
    assert desk.keys.rotate_if_older("default", "job:x", old_s) is None
    desk.wait(101)
    second = desk.keys.rotate_if_older("default", "job:x", old_s)
    assert desk.states() == {first: "active", second: "standby"}
    assert desk.keys.rotate_if_older("default", "job:x", old_s) is None


def test_four_rotations_of_old_keys_at_once_make_one_key(desk: Desk) -> None:
    desk.signer()
    desk.wait(91 * DAY_S)
    together([lambda: desk.keys.rotate_if_older("default", "job:x", 90 * DAY_S)] * 4)
    assert sorted(desk.states().values()) == ["active", "standby"]


# --- Revocation ---------------------------------------------------------------------------------


def test_a_revoked_key_is_replaced_in_the_same_transaction(desk: Desk) -> None:
    """A45."""
    first = desk.signer()
    row = desk.keys.revoke("default", first, "cli:ops", "stolen")
    assert row.kid == first
    assert desk.states() == {first: "revoked", row.successor: "active"}
    assert desk.signer() == row.successor
    assert desk.published() == {row.successor}
    times = "SELECT count(DISTINCT xmin::text) FROM signing_keys"
    assert desk.rows(times) == [(1,)]
    assert desk.events()[1:] == [
        ("cli:ops", "signing_key_revoked", "stolen"),
        ("cli:ops", "signing_key_created", None),
    ]


def test_a_revoked_key_loses_its_private_part(desk: Desk) -> None:
    """A46: nothing is left that could sign."""
    first = desk.signer()
    desk.keys.revoke("default", first, "cli:ops")
    query = "SELECT private_enc FROM signing_keys WHERE kid = %s"
    assert desk.rows(query, first) == [(None,)]


def test_a_key_that_is_not_in_charge_needs_no_successor(desk: Desk) -> None:
    """A45: verifiers elsewhere keep their key set; a new key would surprise them."""
    first, second = desk.signer(), desk.rotated()
    desk.wait(MAX_AGE_S + 1)
    third = desk.rotated()
    assert desk.keys.revoke("default", first, "cli:ops").successor is None
    assert desk.keys.revoke("default", third, "cli:ops").successor is None
    assert desk.states() == {first: "revoked", second: "active", third: "revoked"}


def test_a_key_on_standby_takes_over_from_a_revoked_one_at_its_time(desk: Desk) -> None:
    """A44, A45."""
    first, second = desk.signer(), desk.rotated()
    third = desk.keys.revoke("default", first, "cli:ops").successor
    assert desk.signer() == third
    desk.wait(MAX_AGE_S + 1)
    assert desk.signer() == second


def test_revoking_twice_changes_nothing(desk: Desk) -> None:
    first = desk.signer()
    desk.keys.revoke("default", first, "cli:ops")
    before = desk.states()
    assert desk.keys.revoke("default", first, "cli:ops").successor is None
    assert desk.states() == before


def test_changes_at_once_leave_one_key_in_charge(desk: Desk) -> None:
    """A45: twenty rounds of two revocations and a rotation."""
    for _ in range(20):
        first = desk.signer()
        together(
            [
                partial(desk.keys.revoke, "default", first, "cli:a"),
                partial(desk.keys.revoke, "default", first, "cli:b"),
                desk.rotated,
            ]
        )
        assert list(desk.states().values()).count("active") == 1
        assert desk.signer() != first


# --- Look-ups -----------------------------------------------------------------------------------


def statements(action: Callable[[], object]) -> int:
    """Return how many statements were sent."""
    before = current().db_statements
    action()
    return current().db_statements - before


def test_a_known_key_is_read_once(desk: Desk) -> None:
    """A41: its liveness is read with the session."""
    kid = desk.signer()
    assert statements(lambda: desk.keys.verifier("default", kid)) == 1
    assert statements(lambda: desk.keys.verifier("default", kid)) == 0


def test_unknown_kids_cost_one_look_up_in_5_seconds(desk: Desk) -> None:
    """A40."""
    desk.signer()

    def flood() -> None:
        for number in range(100):
            assert desk.keys.verifier("default", f"kid-{number}") is None

    assert statements(flood) == 1
    desk.clock.now += 4.9
    assert statements(flood) == 0
    desk.clock.now += 0.2
    assert statements(flood) == 1


def test_made_up_kids_do_not_keep_a_new_key_unknown(desk: Desk) -> None:
    """A40: the look-up that a made-up kid causes finds the new key as well."""
    desk.signer()
    other = desk.process({"old": OLD})
    second = desk.rotated()
    assert other.verifier("default", "made-up") is None
    assert statements(lambda: other.verifier("default", second)) == 0
    assert other.verifier("default", second) is not None


def test_who_waits_for_a_look_up_finds_what_it_read(desk: Desk) -> None:
    kid = desk.signer()
    other = desk.process({"old": OLD})
    assert None not in together([partial(other.verifier, "default", kid)] * 8)


# --- Master keys --------------------------------------------------------------------------------


def test_keys_are_sealed_again_under_the_first_master_key(desk: Desk) -> None:
    """A46: after it the old master key may go."""
    first, second = desk.signer(), desk.rotated()
    both = desk.process({"new": NEW, "old": OLD})
    assert both.missing_master_keys() == []
    assert both.rewrap("default") == 2
    assert both.rewrap("default") == 0
    new = desk.process({"new": NEW})
    assert new.missing_master_keys() == []
    assert new.signer("default", "user:1").kid == first
    assert desk.keys.missing_master_keys() == ["new"]
    desk.wait(MAX_AGE_S + 1)
    assert new.signer("default", "user:1").kid == second


def test_a_stored_key_names_the_master_key_that_is_missing(desk: Desk) -> None:
    """Section 7; a revoked key needs none."""
    first = desk.signer()
    new = desk.process({"new": NEW})
    assert new.missing_master_keys() == ["old"]
    with pytest.raises(RuntimeError, match="lacks old"):
        new.signer("default", "user:1")
    new.revoke("default", first, "cli:ops", "its master key is lost")
    assert new.missing_master_keys() == []
    assert new.signer("default", "user:1").kid != first


def test_a_start_is_refused_only_if_the_database_says_so(desk: Desk, empty_database: str) -> None:
    """Section 7: an unreachable or empty database is for readiness to tell."""
    assert desk.keys.fault() is None
    desk.signer()
    assert desk.keys.fault() is None
    assert desk.process({"new": NEW}).fault() == (
        "AUTH_MASTER_KEYS lacks old: stored signing keys need it"
    )
    for url in (empty_database, "postgresql://nobody@127.0.0.1:1/x"):
        desk.db = Database(url, DbSettings(pool_size=1, pool_timeout_ms=100))
        assert desk.process({"new": NEW}).fault() is None
        desk.db.close()
