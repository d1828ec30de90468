"""API keys: stored as a hash, proved on every request, ended at once (A9 to A12)."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from structlog.testing import capture_logs

from errors import (
    ApiKeyEnded,
    ApiKeyInvalid,
    IpNotAllowed,
    NotFound,
    ScopeNotGrantable,
    TenantSuspended,
    ValidationFailed,
)
from observability import Context, begin
from persistence.db import Database, DbSettings
from services import api_key_texts, api_keys
from services.actors import GRANTABLE, SCOPES, Actor
from services.api_key_texts import read_key, write_key
from services.api_keys import OVERLAP_MAX_S, ApiKeys
from services.tenants import Tenants

if TYPE_CHECKING:
    from collections.abc import Iterator

    from repos.api_keys import KeyRow

HERE = "192.0.2.1"
NOWHERE = "postgresql://127.0.0.1:1/nowhere"


@pytest.fixture
def db(database: str) -> Iterator[Database]:
    opened = Database(database, DbSettings(pool_size=2))
    yield opened
    opened.close()


@pytest.fixture
def keys(db: Database) -> ApiKeys:
    return ApiKeys(db)


def made(keys: ApiKeys, *scopes: str, tenant_id: str = "default", **more: Any) -> str:
    """Return the text of a new key."""
    _, bearer = keys.create(tenant_id, "test", scopes or ("payments:read",), "cli:ops", **more)
    return bearer


def rows(url: str, query: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url, autocommit=True) as conn:
        return conn.execute(query.encode()).fetchall()


def change(url: str, query: str) -> None:
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute(query.encode())


# --- Proof --------------------------------------------------------------------------------------


def test_one_wrong_character_anywhere_is_refused_without_a_query() -> None:
    """A12: a database that does not exist would answer database_unavailable."""
    key = write_key("default")
    keys = ApiKeys(Database(NOWHERE, DbSettings(pool_size=1)))
    for place, right in enumerate(key):
        for wrong in {"A", "a", "0", "_", "-", " ", "é", right.swapcase()} - {right}:
            altered = key[:place] + wrong + key[place + 1 :]
            with pytest.raises(ApiKeyInvalid):
                keys.authenticate(altered, HERE)


@pytest.mark.parametrize(
    "bearer",
    [
        "",
        "srk_",
        "x" * 100_000,
        "srk_default_000000000000_" + "0" * 43,
        "srk_default_000000000000_" + "0" * 43 + "000000",
        "srk__000000000000_" + "0" * 49,
        "srk_Default_000000000000_" + "0" * 49,
        "srk_default_000000000000_" + "0" * 50,
        "\ud800",
        "\0",
    ],
)
def test_what_is_no_key_is_refused_without_a_query(bearer: str) -> None:
    """A12."""
    with pytest.raises(ApiKeyInvalid):
        ApiKeys(Database(NOWHERE, DbSettings(pool_size=1))).authenticate(bearer, HERE)


def test_a_live_key_is_its_actor_by_one_statement(keys: ApiKeys) -> None:
    """A9, A11: the subject names the principal, not the key."""
    row, bearer = keys.create("default", "shop", ["payments:read", "ledger:read"], "cli:ops")
    context = begin(Context())
    actor = keys.authenticate(bearer, HERE)
    assert context.db_statements == 1
    assert actor == Actor(
        "default",
        f"key:{row.principal_id}",
        frozenset({"payments:read", "ledger:read"}),
        owner_id=None,
        key_id=row.id,
    )


def test_a_revoked_key_is_refused_by_the_very_next_request(keys: ApiKeys, database: str) -> None:
    """A12: by another process too, which remembers how the key reads."""
    bearer = made(keys)
    other_db = Database(database, DbSettings(pool_size=1))
    other = ApiKeys(other_db)
    row = keys.list_by_tenant("default")[0]
    assert keys.authenticate(bearer, HERE) == other.authenticate(bearer, HERE)
    keys.revoke("default", row.id, "cli:ops")
    for process in (keys, other):
        with pytest.raises(ApiKeyInvalid):
            process.authenticate(bearer, HERE)
    other_db.close()


def test_a_key_ends_when_the_database_says_so(keys: ApiKeys, database_owner: str) -> None:
    """A12: PostgreSQL's clock decides."""
    bearer = made(keys, expires_at=datetime.now(UTC) + timedelta(hours=1))
    keys.authenticate(bearer, HERE)
    change(database_owner, "UPDATE api_keys SET expires_at = now()")
    with pytest.raises(ApiKeyInvalid):
        keys.authenticate(bearer, HERE)


def test_a_well_written_key_that_nobody_made_is_refused(keys: ApiKeys) -> None:
    made(keys)
    with pytest.raises(ApiKeyInvalid):
        keys.authenticate(write_key("default"), HERE)


def test_a_forged_secret_or_tenant_with_a_right_check_is_refused(
    keys: ApiKeys, db: Database
) -> None:
    """A2: the id alone opens nothing, and opens nothing elsewhere."""
    Tenants(db).create("acme", "Acme", "cli:ops")
    bearer = made(keys)
    stranger = write_key("default")
    forged = [bearer[:25] + stranger[25:68], bearer[:-6].replace("_default_", "_acme_")]
    for text in forged:
        with pytest.raises(ApiKeyInvalid):
            keys.authenticate(text + api_key_texts._check(text), HERE)


def test_hashes_are_compared_in_constant_time(
    keys: ApiKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[tuple[bytes, bytes]] = []

    def watched(stored: bytes, presented: bytes) -> bool:
        compared.append((stored, presented))
        return False

    monkeypatch.setattr(api_keys, "compare_digest", watched)
    bearer = made(keys)
    with pytest.raises(ApiKeyInvalid):
        keys.authenticate(bearer, HERE)
    digest = sha256(bearer.encode()).digest()
    assert compared == [(digest, digest)]


def test_a_suspended_tenant_is_told_so_until_it_is_resumed(keys: ApiKeys, db: Database) -> None:
    """A3: but an ended key learns nothing about the tenant."""
    live, ended = made(keys), made(keys)
    keys.revoke("default", read_key(ended).key_id, "cli:ops")
    Tenants(db).suspend("default", "cli:ops")
    with pytest.raises(TenantSuspended):
        keys.authenticate(live, HERE)
    with pytest.raises(ApiKeyInvalid):
        keys.authenticate(ended, HERE)
    Tenants(db).resume("default", "cli:ops")
    keys.authenticate(live, HERE)


def test_a_key_works_from_its_networks_only(keys: ApiKeys) -> None:
    """A12: `ip_not_allowed`; an IPv4 client seen by an IPv6 socket is that IPv4 client."""
    networks = [ip_network("192.0.2.0/28"), ip_network("2001:db8::/32")]
    bearer = made(keys, allowed_cidrs=networks)
    for address in ("192.0.2.15", "::ffff:192.0.2.15", "2001:db8::1"):
        keys.authenticate(bearer, address)
    for address in ("192.0.2.16", "::ffff:192.0.2.16", "2001:db9::1", "", "unknown"):
        with pytest.raises(IpNotAllowed):
            keys.authenticate(bearer, address)


# --- Making and ending --------------------------------------------------------------------------


def test_no_table_holds_a_key_or_its_secret(keys: ApiKeys, database: str) -> None:
    """A9, A35: a dump lets nobody in."""
    bearer = made(keys)
    keys.revoke("default", read_key(bearer).key_id, "cli:ops", "leaked")
    tables = rows(database, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    with psycopg.connect(database, autocommit=True) as conn:
        readable = [
            row[0]
            for row in tables
            if conn.execute("SELECT has_table_privilege(%s, 'SELECT')", row).fetchone() == (True,)
        ]
        dump = str([conn.execute(f"SELECT * FROM {name}".encode()).fetchall() for name in readable])
    assert {"api_keys", "audit_log"} <= set(readable)
    assert sha256(bearer.encode()).digest() in [
        row[0] for row in rows(database, "SELECT key_hash FROM api_keys")
    ]
    for secret in (bearer, bearer[25:68], bearer[25:], bearer[-6:]):
        assert secret not in dump


def test_scopes_are_those_of_the_table(keys: ApiKeys) -> None:
    """A10, and section 2 of the auth page."""
    assert len(GRANTABLE) == 15
    assert {"users:manage", "keys:manage", "ops:write"} == SCOPES - GRANTABLE
    assert keys.authenticate(made(keys, *GRANTABLE), HERE).scopes == GRANTABLE


@pytest.mark.parametrize(
    "scopes",
    [["keys:manage"], ["payments:read", "users:manage"], ["ops:write"], ["*"], [""], []],
)
def test_a_key_cannot_hold_what_keys_may_not(keys: ApiKeys, scopes: list[str]) -> None:
    """A10: nothing is stored; each fault names its place, not the value (AE5)."""
    with pytest.raises(ScopeNotGrantable) as caught:
        keys.create("default", "test", scopes, "cli:ops")
    places = [f"/scopes/{i}" for i, scope in enumerate(scopes) if scope not in GRANTABLE]
    assert [fault["pointer"] for fault in caught.value.errors] == places
    assert keys.list_by_tenant("default") == []


def test_a_key_that_would_be_born_expired_is_not_made(keys: ApiKeys) -> None:
    with pytest.raises(ValidationFailed) as caught:
        made(keys, expires_at=datetime.now(UTC) - timedelta(seconds=1))
    assert caught.value.errors[0]["pointer"] == "/expires_at"
    assert keys.list_by_tenant("default") == []


def test_a_key_needs_a_tenant(keys: ApiKeys) -> None:
    with pytest.raises(NotFound):
        made(keys, tenant_id="nobody")


def test_a_list_shows_the_tenants_own_keys_ended_ones_too(keys: ApiKeys, db: Database) -> None:
    """A2."""
    Tenants(db).create("acme", "Acme", "cli:ops")
    made(keys, tenant_id="acme")
    first, _ = keys.create("default", "first", ["payments:read"], "cli:ops")
    second, _ = keys.create("default", "second", ["ledger:read"], "cli:ops")
    ended = keys.revoke("default", first.id, "cli:ops")
    assert ended.revoked_at is not None
    assert keys.list_by_tenant("default") == [ended, second]


def test_a_successor_lives_as_long_as_the_first_was_to(keys: ApiKeys, database_owner: str) -> None:
    """A11: the old key ends with the overlap, or earlier if it was to."""
    soon = datetime.now(UTC) + timedelta(hours=2)
    row, _ = keys.create("default", "a", ["payments:read"], "cli:ops", expires_at=soon)
    first, _ = keys.rotate("default", row.id, "cli:ops", overlap_s=OVERLAP_MAX_S)
    assert keys.get("default", row.id).expires_at == soon
    assert first.expires_at is not None
    assert row.expires_at is not None
    assert first.expires_at - first.created_at == row.expires_at - row.created_at
    keys.rotate("default", first.id, "cli:ops", overlap_s=60)
    ends = keys.get("default", first.id).expires_at
    assert ends is not None
    assert ends < first.expires_at


def test_of_two_rotations_one_has_a_successor(keys: ApiKeys) -> None:
    """A11: a key is replaced once, however many ask."""
    row, _ = keys.create("default", "a", ["payments:read"], "cli:ops")
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(keys.rotate, "default", row.id, "cli:ops") for _ in range(8)]
    failures = [each.exception() for each in asked]
    assert failures.count(None) == 1
    assert {type(each) for each in failures} == {type(None), ApiKeyEnded}
    assert len(keys.list_by_tenant("default")) == 2


def test_another_tenants_key_cannot_be_revoked(keys: ApiKeys, db: Database) -> None:
    """A2."""
    Tenants(db).create("acme", "Acme", "cli:ops")
    bearer = made(keys)
    for tenant_id, key_id in (
        ("acme", read_key(bearer).key_id),
        ("default", "000000000000"),
    ):
        with pytest.raises(NotFound):
            keys.revoke(tenant_id, key_id, "cli:ops")
    keys.authenticate(bearer, HERE)


def test_revocations_that_wait_for_one_another_are_one(
    keys: ApiKeys, database: str, database_admin: str
) -> None:
    """A52: all find the key alive, then wait for its row; one ends it, and is audited."""
    key_id = read_key(made(keys)).key_id
    db = Database(database, DbSettings(pool_size=4))

    def revoke(number: int) -> KeyRow:
        return ApiKeys(db).revoke("default", key_id, f"cli:{number}", f"r{number}")

    with psycopg.connect(database_admin) as holder, ThreadPoolExecutor(4) as pool:
        holder.execute("SELECT FROM api_keys FOR NO KEY UPDATE")
        started = [pool.submit(revoke, number) for number in range(4)]
        wait_for_blocked(database_admin, 4)
        holder.commit()
        ended = [each.result() for each in started]
    db.close()
    ((revoked_at, *why),) = rows(
        database, "SELECT revoked_at, revoked_by, revoked_reason FROM api_keys"
    )
    told = rows(database, "SELECT subject, reason FROM audit_log WHERE event = 'api_key_revoked'")
    assert {row.revoked_at for row in ended} == {revoked_at}
    assert told == [tuple(why)]


def wait_for_blocked(url: str, sessions: int) -> None:
    """Return once so many sessions of this database wait for a lock."""
    query = (
        "SELECT count(*) FROM pg_stat_activity, pg_sleep(0.005)"
        " WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    while rows(url, query) != [(sessions,)]:
        pass


def test_making_a_key_is_audited(keys: ApiKeys, database: str) -> None:
    """A52."""
    row, _ = keys.create("default", "shop", ["payments:read"], "cli:ops")
    told = rows(database, "SELECT subject, event, outcome, details FROM audit_log")
    details = {"key": row.id, "principal_id": str(row.principal_id), "scopes": ["payments:read"]}
    assert told == [("cli:ops", "api_key_created", "ok", details)]


# --- Last use -----------------------------------------------------------------------------------


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def last_use(url: str) -> tuple[Any, ...]:
    return rows(url, "SELECT last_used_at, host(last_used_ip) FROM api_keys")[0]


def test_last_use_is_written_once_a_minute(
    db: Database, database: str, database_owner: str
) -> None:
    """A12: by one process and by several."""
    clock = Clock()
    keys = ApiKeys(db, clock=clock)
    actor = keys.authenticate(made(keys), HERE)
    assert last_use(database) == (None, None)
    keys.touch(actor, HERE)
    first = last_use(database)
    assert first[0] is not None
    assert first[1] == HERE

    context = begin(Context())
    clock.now += 59.9
    keys.touch(actor, "192.0.2.2")
    assert context.db_statements == 0
    ApiKeys(db).touch(actor, "192.0.2.2")
    assert last_use(database) == first

    clock.now += 0.1
    change(database_owner, "UPDATE api_keys SET last_used_at = last_used_at - interval '1 minute'")
    keys.touch(actor, "192.0.2.2")
    assert last_use(database)[0] >= first[0]
    assert last_use(database)[1] == "192.0.2.2"


@pytest.mark.parametrize(
    ("address", "kept"),
    [("", None), ("unknown", None), ("::ffff:192.0.2.7", "192.0.2.7"), ("fe80::1%eth0", "fe80::1")],
)
def test_any_address_can_be_written(
    keys: ApiKeys, database: str, address: str, kept: str | None
) -> None:
    keys.touch(keys.authenticate(made(keys), HERE), address)
    used_at, used_ip = last_use(database)
    assert used_at is not None
    assert used_ip == kept


def test_an_actor_without_a_key_is_not_touched() -> None:
    nowhere = ApiKeys(Database(NOWHERE, DbSettings(pool_size=1)))
    nowhere.touch(Actor("default", "user:1", frozenset()), HERE)
    assert nowhere._touched == {}


def test_a_dead_database_does_not_fail_the_answered_request() -> None:
    """A12: written after the answer, so there is nobody left to tell."""
    db = Database(NOWHERE, DbSettings(pool_size=1, pool_timeout_ms=50))
    actor = Actor("default", "key:1", frozenset(), key_id="000000000000")
    with capture_logs() as lines:
        ApiKeys(db).touch(actor, HERE)
    db.close()
    assert [(line["event"], line["code"]) for line in lines] == [
        ("api_key.not_touched", "database_unavailable")
    ]


def test_keys_remembered_as_touched_are_bounded(
    keys: ApiKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_keys, "TOUCHED_MAX", 2)
    for number in range(5):
        keys.touch(Actor("default", "key:1", frozenset(), key_id=str(number)), HERE)
    assert len(keys._touched) <= 2
