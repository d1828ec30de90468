"""Copies of sessions: what a read may believe, for how long, and that nothing else does (A42)."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

import pytest
import redis
from prometheus_client import REGISTRY

from blueprints.policy import admit, fresh
from errors import ReauthenticationRequired
from persistence.kv import Kv, KvDown
from repos.access_tokens import TokenRow
from services.session_copies import Named, SessionCopies
from tests.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.world import Reply, Session

SECRET = b"s" * 32
TRUSTED_S = 10
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
ANN = Named("default", "user:ann", "session-1:kid-1")
FOR_EVER_S = 1_000_000  # No busy machine makes a copy too old.


# --- What a copy is worth -----------------------------------------------------------------------


@dataclass
class Told:
    """A trip that finds this in Redis."""

    found: object
    later: list[Any] = field(default_factory=list)

    def ask(self, tenant_id: str, subject: str, key: str) -> object:
        del tenant_id, subject, key
        if isinstance(self.found, KvDown | AssertionError):
            raise self.found
        return self.found

    def after_answer(self, action: Any) -> None:
        self.later.append(action)


@dataclass
class Desk:
    """Copies of a process whose own clock is set by hand; PostgreSQL's showed noon at 100."""

    own_s: float = 100.0

    def __post_init__(self) -> None:
        self.copies = self.signed_by(SECRET)

    def signed_by(self, secret: bytes) -> SessionCopies:
        made = SessionCopies(Kv("off"), secret, TRUSTED_S, lambda: self.own_s)
        made.learn_the_time(100.0, NOON)
        return made

    def copy(self, age_s: float = 0, role: str = "user", named: Named = ANN) -> bytes:
        return self.copies.written(named, live(NOON - timedelta(seconds=age_s), role))

    def believes(self, found: object) -> bool:
        return self.copies.find(ANN, Told(found)) is not None


def live(checked_at: datetime, role: str) -> TokenRow:
    return TokenRow(
        tenant_active=True,
        key_live=True,
        session_live=True,
        is_fresh=True,
        role=role,
        checked_at=checked_at,
    )


def test_a_copy_says_what_the_session_may_and_never_that_it_is_fresh() -> None:
    desk = Desk()
    row = desk.copies.find(ANN, Told(desk.copy(role="operator")))
    assert row is not None
    assert (row.role, row.is_fresh, row.checked_at) == ("operator", False, NOON)


def test_a_copy_is_believed_for_so_long_by_the_databases_clock() -> None:
    """The age counts from PostgreSQL's look, not from when it was kept."""
    desk = Desk()
    assert desk.believes(desk.copy(age_s=9.9))
    assert not desk.believes(desk.copy(age_s=10))
    desk.own_s += 5
    assert desk.believes(desk.copy(age_s=4.9))
    assert not desk.believes(desk.copy(age_s=5))


def test_a_copy_of_a_later_time_is_not_believed() -> None:
    """F9: the database has gone back, or its clock has."""
    assert not Desk().believes(Desk().copy(age_s=-0.001))


def test_who_has_not_asked_the_database_for_so_long_believes_nothing() -> None:
    """Its own clock may have stood still meanwhile."""
    desk = Desk()
    desk.own_s += TRUSTED_S
    assert not desk.believes(desk.copy(age_s=-TRUSTED_S))
    desk.copies.learn_the_time(desk.own_s, NOON + timedelta(seconds=TRUSTED_S))
    assert desk.believes(desk.copy(age_s=-TRUSTED_S))
    assert SessionCopies(Kv("off"), SECRET, TRUSTED_S).find(ANN, Told(desk.copy())) is None


@pytest.mark.parametrize(
    "named",
    [
        Named("acme", "user:ann", "session-1:kid-1"),
        Named("default", "user:bob", "session-1:kid-1"),
        Named("default", "user:ann", "session-2:kid-1"),
        Named("default", "user:ann", "session-1:kid-2"),
    ],
)
def test_a_copy_of_another_session_is_not_believed(named: Named) -> None:
    """Nor one of another tenant, user or signing key."""
    assert not Desk().believes(Desk().copy(named=named))


def test_what_somebody_else_wrote_is_not_believed() -> None:
    """Without the subkey there is no copy; one of an earlier master key is none any more."""
    desk = Desk()
    good = desk.copy()
    assert desk.believes(good)
    other = desk.signed_by(b"t" * 32)
    assert not desk.believes(other.written(ANN, live(NOON, "operator")))
    flipped = [good[:n] + bytes([good[n] ^ 1]) + good[n + 1 :] for n in range(len(good))]
    rubbish = [b"", b"x", good[:-1], good[32:], good + b" ", None, 7, redis.ResponseError("x")]
    assert [each for each in [*flipped, *rubbish] if desk.believes(each)] == []


def test_looks_are_counted() -> None:
    """`cache_total`: hit, miss, and bypass where Redis cannot say."""
    desk, before = Desk(), looks()
    for found in (desk.copy(), desk.copy(), None, b"x", KvDown("open")):
        desk.believes(found)
    assert looks() - before == {"hit": 2, "miss": 2, "bypass": 1}


def looks() -> Counter[str]:
    return labelled("strongroom_cache_total", "result", use="sessions")


def labelled(name: str, label: str, **labels: str) -> Counter[str]:
    """Return what a counter stands at, by one of its labels."""
    found: Counter[str] = Counter()
    for metric in REGISTRY.collect():
        for sample in metric.samples:
            if sample.name == name and labels.items() <= sample.labels.items():
                found[sample.labels[label]] += int(sample.value)
    return found


# --- Over HTTP ----------------------------------------------------------------------------------


CACHING = {
    "SESSION_CACHE_S": "30",
    "RATE_LIMIT_ENABLED": "true",
    "RATE_LIMIT_READ": "1200/day",
    "RATE_LIMIT_ANONYMOUS": "60/day",
    "REDIS_TIMEOUT_MS": "5000",
    # What a test has opened stays open.
    "REDIS_BREAKER_OPEN_MS": "600000",
    "REDIS_BREAKER_OPEN_MAX_MS": "600000",
}


@pytest.fixture
def caching(database: str, kv_url: str, tmp_path: Path) -> Iterator[World]:
    """The service with copies that are believed until a test says otherwise."""
    made = World(database, tmp_path, kv_url, **CACHING)
    copies(made)._trusted_s = FOR_EVER_S
    made.services.kv.open()
    assert made.services.kv.wait_for("closed", 30)
    yield made
    made.close()


def copies(world: World) -> SessionCopies:
    return world.services.access_tokens._copies


def read(world: World, session: Session) -> Reply:
    client = world.app.test_client()
    return cast("Reply", client.get("/v1/auth/me", headers=session.headers, buffered=True))


def write(world: World, session: Session) -> Reply:
    """End all other sessions, of which there are none."""
    client = world.app.test_client()
    body = {"scope": "others"}
    answer = client.post("/v1/auth/logout-all", json=body, headers=session.headers, buffered=True)
    return cast("Reply", answer)


def calls() -> Counter[str]:
    return labelled("strongroom_kv_calls_total", "use")


def outdated(world: World) -> None:
    """Let all copies be too old, as if time had passed."""
    copies(world)._monotonic = lambda: time.monotonic() + FOR_EVER_S


def test_a_read_makes_one_trip_and_so_does_a_write(caching: World) -> None:
    """OU1: session and quota, quota and mark; what follows the answer is not on its way."""
    session = caching.new_session()
    read(caching, session)
    before, hits = calls(), looks()
    assert read(caching, session).headers["RateLimit"].startswith('"read";r=1198;')
    assert (calls() - before, looks() - hits) == ({"session": 1}, {"hit": 1})
    before = calls()
    caching.payment()
    assert calls() - before == {"claim": 1, "put": 1}
    before = calls()
    assert write(caching, session).status_code == 204
    assert calls() - before == {"limit": 1}


REVOKED = "auth_sessions SET revoked_at = now(), revoked_reason = 'logout'"
ENDINGS = [
    REVOKED,
    "auth_sessions SET idle_expires_at = now()",
    "users SET session_epoch = session_epoch + 1, version = version + 1",  # A new password.
    "users SET status = 'disabled'",
]


def end(world: World, session: Session, update: str) -> None:
    target = session.session_id if update.startswith("auth") else session.user_id
    assert world.rows(f"UPDATE {update} WHERE id = %s RETURNING 1", target)


def test_what_ends_a_session_ends_its_writes_at_once(caching: World) -> None:
    """A41 and its only exception: a read may be told so later, for SESSION_CACHE_S at most."""
    ended = [caching.new_session() for _ in ENDINGS]
    for session, update in zip(ended, ENDINGS, strict=True):
        assert read(caching, session).status_code == 200
        end(caching, session, update)
        assert write(caching, session).json["code"] == "session_revoked"
        assert read(caching, session).status_code == 200
    outdated(caching)
    for session in ended:
        assert read(caching, session).json["code"] == "session_revoked"


def test_a_revoked_key_ends_writes_at_once(caching: World) -> None:
    """A45."""
    session = caching.new_session()
    assert read(caching, session).status_code == 200
    for jwk in caching.services.signing_keys.published("default"):
        caching.services.signing_keys.revoke("default", jwk["kid"], "cli:test")
    assert write(caching, session).json["code"] == "access_token_invalid"
    outdated(caching)
    assert read(caching, session).json["code"] == "access_token_invalid"


def test_a_changed_role_counts_with_the_next_write(caching: World) -> None:
    """Section 2."""
    session = caching.new_session("operator")
    assert read(caching, session).json["reach"] == "tenant"
    change = "users SET role = 'user', version = version + 1"
    end(caching, session, change)
    client = caching.app.test_client()
    answer = client.post("/v1/api-keys", json={}, headers=session.headers, buffered=True)
    assert cast("Reply", answer).json["code"] == "scope_missing"
    outdated(caching)
    assert read(caching, session).json["reach"] == "own"


def test_no_copy_makes_a_password_fresh(caching: World) -> None:
    """What operators change needs PostgreSQL, whatever the method."""
    session = caching.new_session("operator", auth_age_s=FOR_EVER_S)
    with pytest.raises(ReauthenticationRequired):
        admit(
            fresh("keys:manage"),
            f"Bearer {session.token}",
            None,
            "192.0.2.1",
            caching.services.credentials,
            Told(AssertionError("nobody may ask")),
        )


def stored(client: redis.Redis) -> bytes:
    """Return the name of the only copy."""
    (name,) = cast("list[bytes]", client.keys("sr1:*:sess:*"))
    return name


def test_who_writes_to_redis_lets_nobody_in(caching: World, kv_url: str) -> None:
    """F8, FI5: rubbish and forgeries are no copies."""
    session = caching.new_session()
    read(caching, session)
    end(caching, session, REVOKED)
    with redis.Redis.from_url(kv_url) as client:
        name = stored(client)
        copy = cast("bytes", client.get(name))
        planted = [b"x" * 60, copy.replace(b"user", b"operator"), copy[:32] + b"9" + copy[32:]]
        for forged in planted:
            client.set(name, forged)
            assert read(caching, session).json["code"] == "session_revoked"
        client.delete(name)
        client.lpush(name, "x")
        assert read(caching, session).json["code"] == "session_revoked"


def test_a_copy_from_an_old_dump_lets_nobody_in(caching: World, kv_url: str) -> None:
    """F9, OK7: Redis comes back with what it held, whose time to live begins anew."""
    session = caching.new_session()
    read(caching, session)
    with redis.Redis.from_url(kv_url) as client:
        name = stored(client)
        copy = cast("bytes", client.get(name))
        assert 0 < cast("int", client.ttl(name)) <= FOR_EVER_S
        end(caching, session, REVOKED)
        outdated(caching)
        copies(caching)._clock = None  # The process is new, too.
        client.flushdb()
        client.set(name, copy)
    assert read(caching, session).json["code"] == "session_revoked"


def test_without_redis_postgresql_is_asked(caching: World) -> None:
    """F6: the same answers; nothing is believed, the quota is kept in memory."""
    session = caching.new_session()
    read(caching, session)
    caching.services.kv._connections.close()
    caching.services.kv._breaker.trip("test")
    answer = read(caching, session)
    assert answer.status_code == 200
    assert answer.headers["RateLimit"].startswith('"read";r=')
    end(caching, session, REVOKED)
    refused = read(caching, session)
    assert refused.json["code"] == "session_revoked"
    assert refused.headers["RateLimit"].startswith('"anonymous";r=')


def test_a_refused_token_is_charged_to_its_address(caching: World) -> None:
    """OR2: nobody uses up a user's quota with a token that is worth nothing."""
    user, gone = caching.new_session(), caching.new_session()
    caching.rows(
        "UPDATE auth_sessions SET user_id = %s, revoked_at = now(), revoked_reason = 'logout'"
        " WHERE id = %s RETURNING 1",
        *(gone.user_id, gone.session_id),
    )
    assert read(caching, user).headers["RateLimit"].startswith('"read";r=1199;')
    for left in (59, 58, 57):
        refused = read(caching, gone)
        assert refused.json["code"] == "session_revoked"
        assert refused.headers["RateLimit"].startswith(f'"anonymous";r={left};')
    end(caching, gone, "auth_sessions SET revoked_at = NULL, revoked_reason = NULL")
    assert read(caching, gone).headers["RateLimit"].startswith('"read";r=1199;')


def test_a_full_quota_refuses_before_any_work(caching: World) -> None:
    """OR2, OR3: what Redis says is enough."""
    session = caching.new_session()
    caching.services.rate_limits._limits["read"] = "1/day"
    assert read(caching, session).status_code == 200
    refused = read(caching, session)
    assert (refused.status_code, refused.json["code"]) == (429, "rate_limited")
    assert refused.headers["RateLimit"].startswith('"read";r=0;')


def test_copies_are_off_unless_they_are_asked_for(cached_world: World, kv_url: str) -> None:
    """A42: SESSION_CACHE_S is 0."""
    session = cached_world.new_session()
    before = looks()
    assert read(cached_world, session).status_code == 200
    end(cached_world, session, REVOKED)
    assert read(cached_world, session).json["code"] == "session_revoked"
    with redis.Redis.from_url(kv_url) as client:
        assert client.keys("*sess*") == []
    assert looks() == before
