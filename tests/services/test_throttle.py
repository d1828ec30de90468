"""Buckets: their names, and those that bound load, with Redis and without."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from errors import RateLimited
from persistence.db import Database, DbSettings
from persistence.kv import Kv, KvSettings
from services.device_tokens import Device
from services.throttle import SESSION_PER_MINUTE, Counted, Throttle, ThrottleSettings, network_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from repos.throttle import BucketKeys

SECRET = bytes(range(32))
USER = uuid.UUID("0198c5a0-7d1f-7c3a-9d2e-5b6f7a8c9d0e")
ADDRESS = "192.0.2.7"


@pytest.fixture
def db(database: str) -> Iterator[Database]:
    made = Database(database, DbSettings())
    yield made
    made.close()


@pytest.fixture(params=["off", "kv_url"])
def kv(request: pytest.FixtureRequest) -> Iterator[Kv]:
    """No Redis, or one that answers."""
    url = None if request.param == "off" else request.getfixturevalue(request.param)
    made = Kv(url, KvSettings(timeout_ms=5000))
    if url:
        made.open()
        assert made.wait_for("closed", 30)
    yield made
    made.close()


def counted_rows(database: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(database) as conn:
        return conn.execute(
            "SELECT tenant_id, bucket, attempts FROM login_throttle ORDER BY bucket"
        ).fetchall()


def make(db: Database, kv: Kv, limit: int = 3) -> Throttle:
    return Throttle(db, kv, ThrottleSettings(ip_per_minute=limit), SECRET)


# --- Names --------------------------------------------------------------------------------------


def test_buckets_tell_tenant_address_and_device_apart(db: Database) -> None:
    """The table of section 5: HMACs, each of what its bucket is about."""
    throttle = make(db, Kv(None))
    device = Device("default", USER, "phone")
    one = throttle.keys("default", "ada@x.de", ADDRESS, device)
    elsewhere = throttle.keys("default", "ada@x.de", "192.0.2.8", None)
    assert one.account_key == elsewhere.account_key
    assert one.pair_key != elsewhere.pair_key
    assert one.device_key != elsewhere.device_key
    others = throttle.keys("acme", "ada@x.de", ADDRESS, device)
    assert len({*vars_of(one), *vars_of(others)}) == 6
    assert all(len(key) == 32 for key in vars_of(one))


def vars_of(keys: BucketKeys) -> list[bytes]:
    return [keys.pair_key, keys.account_key, keys.device_key]


def test_no_two_lists_of_parts_give_one_key(db: Database) -> None:
    throttle = make(db, Kv(None))
    assert throttle.mail_key("a", "bc") != throttle.mail_key("ab", "c")


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        (None, ""),
        ("nonsense", ""),
    ],
)
def test_an_address_counts_by_what_one_customer_has(address: str | None, network: str) -> None:
    """A29, OR5: IPv6 by /64."""
    assert network_of(address) == network


# --- Counting -----------------------------------------------------------------------------------


def test_calls_beyond_the_limit_wait_for_the_minute(db: Database, kv: Kv) -> None:
    """Section 5: 30 calls of the public POSTs a minute, here 3."""
    throttle = make(db, kv)
    for _ in range(3):
        throttle.count_call(ADDRESS)
    with pytest.raises(RateLimited) as caught:
        throttle.count_call(ADDRESS)
    assert 1 <= int(caught.value.headers["Retry-After"]) <= 60
    throttle.count_call("192.0.2.8")
    throttle.count_login(ADDRESS)  # Log-ins are counted apart.


def test_what_is_given_back_is_free_again(db: Database, kv: Kv) -> None:
    """A24: who succeeded, or was sent away by a full queue, has not failed."""
    throttle = make(db, kv)
    for _ in range(10):
        throttle.give_back(throttle.count_login(ADDRESS))
    for _ in range(3):
        throttle.count_login(ADDRESS)
    with pytest.raises(RateLimited):
        throttle.count_login(ADDRESS)


def test_a_session_has_its_own_limit(db: Database, kv: Kv) -> None:
    """Section 5: 120 a minute, whatever the address."""
    throttle = make(db, kv)
    for _ in range(SESSION_PER_MINUTE):
        throttle.count_session("default", USER)
    with pytest.raises(RateLimited):
        throttle.count_session("default", USER)
    throttle.count_session("acme", USER)


def test_without_redis_the_database_counts(db: Database, database: str) -> None:
    """A27: the same limit, in login_throttle, under no tenant's name."""
    throttle = make(db, Kv(None))
    throttle.count_call(ADDRESS)
    throttle.count_call(ADDRESS)
    throttle.count_session("default", USER)
    assert counted_rows(database) == [("-", "ip", 2), ("default", "session", 1)]


def test_a_window_of_the_database_ends_with_its_minute(db: Database, database: str) -> None:
    throttle = make(db, Kv(None))
    for _ in range(3):
        throttle.count_call(ADDRESS)
    with psycopg.connect(database) as conn:
        conn.execute("UPDATE login_throttle SET window_start = now() - interval '61 seconds'")
    throttle.count_call(ADDRESS)
    assert counted_rows(database) == [("-", "ip", 1)]


def test_a_redis_that_goes_away_leaves_the_count_to_the_database(
    db: Database, kv_url: str, database: str
) -> None:
    """A27: dead in mid-run; what it had counted is given back to nobody."""
    kv = Kv(kv_url, KvSettings(timeout_ms=5000))
    kv.open()
    assert kv.wait_for("closed", 30)
    throttle = make(db, kv)
    counted = throttle.count_login(ADDRESS)
    assert counted.in_redis
    kv.close()
    throttle.give_back(counted)
    throttle.count_call(ADDRESS)
    assert counted_rows(database) == [("-", "ip", 1)]


def test_giving_back_opens_the_bucket_again(db: Database, database: str) -> None:
    """A24: the attempt that reached the limit was never verified."""
    throttle = make(db, Kv(None))
    keys = throttle.keys("default", "ada@x.de", ADDRESS, None)
    with psycopg.connect(database) as conn:
        conn.execute(
            "INSERT INTO login_throttle (tenant_id, bucket, key, attempts, blocked_until)"
            " VALUES ('default', 'pair', %s, 10, now() + interval '10 minutes')",
            (keys.pair_key,),
        )
    throttle.give_back(Counted("default", "pair", keys.pair_key))
    with psycopg.connect(database) as conn:
        found = conn.execute("SELECT attempts, blocked_until FROM login_throttle").fetchall()
    assert found == [(9, None)]


def test_clearing_forgets_an_account_and_nobody_else(db: Database, database: str) -> None:
    """A27: success clears pair, account and device."""
    throttle = make(db, Kv(None))
    device = Device("default", USER, "phone")
    keys = throttle.keys("default", "ada@x.de", ADDRESS, device)
    other = throttle.keys("default", "bob@x.de", ADDRESS, None)
    with psycopg.connect(database) as conn:
        for bucket, key in [
            ("pair", keys.pair_key),
            ("account", keys.account_key),
            ("device", keys.device_key),
            ("pair", other.pair_key),
        ]:
            conn.execute(
                "INSERT INTO login_throttle (tenant_id, bucket, key, attempts)"
                " VALUES ('default', %s, %s, 3)",
                (bucket, key),
            )
    throttle.clear("default", keys)
    assert counted_rows(database) == [("default", "pair", 3)]
