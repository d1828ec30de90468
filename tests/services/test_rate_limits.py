"""Rate limits: who is charged, where it is counted, and what stays closed when Redis is away."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from config import RATE, Config
from errors import RateLimited
from persistence.kv import Kv, KvDown, KvSettings
from services import rate_limits
from services.actors import Actor
from services.rate_limits import NOTATION, POLICIES, Quota, RateLimits, _network, _parsed
from tests.persistence import kv_world

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.persistence.kv_world import OwnValkey

KEY = Actor("default", "key:1", frozenset(), key_id="abc")
USER = Actor("default", "user:1", frozenset(), user_id=UUID(int=1))
LIMITS = dict.fromkeys(POLICIES, "3/day")  # No test ends in the next window.
PATIENT = KvSettings(timeout_ms=5000, connect_timeout_ms=5000)


def limits_on(kv: Kv, processes: int = 1, set_for: dict[str, str] | None = None) -> RateLimits:
    """Every policy is 3/day; `set_for`: what a tenant has instead."""
    return RateLimits(
        kv,
        LIMITS,
        enabled=True,
        processes=processes,
        of_tenant=lambda tenant_id, _: (set_for or {}).get(tenant_id),
    )


@pytest.fixture
def valkey(kv_url: str) -> Iterator[OwnValkey]:
    """Left out where there is no Redis, as every test that asks for `kv_url`."""
    yield from kv_world.running()


@pytest.fixture
def kv(valkey: OwnValkey) -> Iterator[Kv]:
    made = Kv(valkey.url, PATIENT)
    made.open()
    assert made.wait_for("closed", 30)
    yield made
    made.close()


@pytest.fixture(params=["redis", "memory"])
def limits(request: pytest.FixtureRequest) -> RateLimits:
    """Both stores: the same answers."""
    redis = request.param == "redis"
    return limits_on(request.getfixturevalue("kv") if redis else Kv("off"))


def charge(limits: RateLimits, quota: Quota) -> Quota:
    limits.charge(quota)
    return quota


def refusal(limits: RateLimits, quota: Quota) -> int:
    """Return after how many seconds the refused one may come again."""
    with pytest.raises(RateLimited) as caught:
        limits.charge(quota)
    return int(caught.value.headers["Retry-After"])


# --- Counting -----------------------------------------------------------------------------------


def test_so_many_pass_and_the_next_is_refused(limits: RateLimits) -> None:
    """OR3: what is left is told each time; Retry-After is whole seconds, at least 1."""
    left = [charge(limits, limits.of_actor(KEY, writes=True)).headers for _ in range(3)]
    assert [each["RateLimit"].partition(";t=")[0] for each in left] == [
        '"key_write";r=2',
        '"key_write";r=1',
        '"key_write";r=0',
    ]
    assert {each["RateLimit-Policy"] for each in left} == {'"key_write";q=3;w=86400'}
    refused = limits.of_actor(KEY, writes=True)
    assert 1 <= refusal(limits, refused) <= 86_402
    assert refused.headers["RateLimit"].startswith('"key_write";r=0;t=')
    ends_s = int(refused.headers["RateLimit"].rpartition("=")[2])
    assert 0 < ends_s <= 86_400


def test_a_request_is_counted_once_however_often_it_is_charged(limits: RateLimits) -> None:
    quota = limits.of_actor(KEY, writes=True)
    for _ in range(10):
        charge(limits, quota)
    assert quota.headers["RateLimit"].startswith('"key_write";r=2;')


def test_senders_and_policies_do_not_share(limits: RateLimits) -> None:
    """OR1: by user, by key's principal, by address, reads and writes apart."""
    other = Actor("acme", "key:1", frozenset(), key_id="abc")
    senders = [
        limits.of_actor(KEY, writes=True),
        limits.of_actor(KEY, writes=False),
        limits.of_actor(USER, writes=True),
        limits.of_actor(USER, writes=False),
        limits.of_actor(other, writes=True),
        limits.of_address("192.0.2.1"),
        limits.of_address("192.0.2.2"),
    ]
    for quota in senders:
        charge(limits, quota)
    assert {quota.headers["RateLimit"].split(";")[1] for quota in senders} == {"r=2"}
    assert [quota.policies[0] for quota in senders] == [
        "key_write",
        "key_read",
        "write",
        "read",
        "key_write",
        "anonymous",
        "anonymous",
    ]


def test_a_rotated_key_has_the_counters_of_its_principal(limits: RateLimits) -> None:
    rotated = Actor("default", "key:1", frozenset(), key_id="xyz")
    charge(limits, limits.of_actor(KEY, writes=True))
    quota = charge(limits, limits.of_actor(rotated, writes=True))
    assert quota.headers["RateLimit"].startswith('"key_write";r=1;')


def test_a_heavy_route_counts_as_both_and_tells_the_tightest(limits: RateLimits) -> None:
    """OR3: the policy with the least left."""
    charge(limits, limits.of_actor(KEY, writes=True))
    quota = charge(limits, limits.of_actor(KEY, writes=True, heavy=True))
    assert quota.headers["RateLimit"].startswith('"key_write";r=1;')
    for _ in range(2):
        charge(limits, limits.of_actor(KEY, writes=False, heavy=True))
    refused = limits.of_actor(KEY, writes=False, heavy=True)
    assert refusal(limits, refused) >= 1
    assert refused.headers["RateLimit"].startswith('"heavy";r=0;')


def test_of_many_at_once_exactly_so_many_pass(kv: Kv) -> None:
    """OR1: Redis counts; there is no moment between looking and counting."""
    limits = limits_on(kv, set_for={"default": "20/day"})

    def one(_: int) -> bool:
        try:
            limits.charge(limits.of_actor(KEY, writes=True))
        except RateLimited:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(one, range(60))) == 20


@pytest.mark.parametrize(
    ("window", "wait_s"),
    [
        ((0, 0, 3, 100_000), 41),  # Full now: the window ends in 40 s, then the first falls out.
        ((3, 30_000, 2, 100_000), 11),  # Two, and three of which a third counts in 10 s.
        ((600, 59_999, 0, 119_999), 60),
    ],
)
def test_who_waits_as_told_passes(window: tuple[int, ...], wait_s: int) -> None:
    """OR3: by the sum that the script makes, with nothing else coming in between."""
    item = _parsed("3/minute")
    assert rate_limits._until_one_s(item, window) == wait_s
    previous, previous_ms, count, ends_ms = window
    if ends_ms - wait_s * 1000 < 60_000:  # The next window has begun.
        previous, previous_ms, count = count, ends_ms, 0
    left_ms = max(previous_ms - wait_s * 1000, 0)
    assert previous * left_ms // 60_000 + count + 1 <= item.amount


# --- Stores -------------------------------------------------------------------------------------


def test_limits_and_mark_go_in_one_trip(kv: Kv, valkey: OwnValkey) -> None:
    """OU1."""
    limits = limits_on(kv)
    limits.charge(limits.of_actor(KEY, writes=True))  # The scripts are known from here on.
    before = valkey.ask("INFO", "stats")["total_reads_processed"]
    replies = limits.charge(
        limits.of_actor(KEY, writes=True), kv.claim_command("idem:{x}:y", b"mark", 1000)
    )
    after = valkey.ask("INFO", "stats")["total_reads_processed"]
    own = valkey.ask("INFO", "stats")["total_reads_processed"] - after
    assert replies == [None]
    assert kv.get("idem:{x}:y") == b"mark"
    assert after - before <= own + 1 + 2  # A ping of the monitor may fall in between.


def test_lost_scripts_are_learnt_again_and_nothing_is_forgotten(kv: Kv, valkey: OwnValkey) -> None:
    """F8: SCRIPT FLUSH costs a trip, no count."""
    limits = limits_on(kv)
    for left in (2, 1, 0):
        valkey.ask("SCRIPT", "FLUSH")
        quota = charge(limits, limits.of_actor(KEY, writes=True))
        assert quota.headers["RateLimit"].startswith(f'"key_write";r={left};')


def test_every_counter_has_a_ttl_of_two_windows_at_most(kv: Kv, valkey: OwnValkey) -> None:
    """OK8; OK7: under the name of the database's history, one slot for a sender."""
    limits = limits_on(kv)
    charge(limits, limits.of_actor(KEY, writes=True))
    (name,) = valkey.ask("KEYS", "*rl:*")
    assert name == b"sr1:0:rl:{default/key:1}:key_write:86400"
    assert 0 < valkey.ask("PTTL", name) <= 172_800_000


@pytest.mark.parametrize(
    ("command", "which"), [("LPUSH", ""), ("SET", ""), ("LPUSH", "/-1"), ("SET", "/-1")]
)
def test_rubbish_in_a_counter_is_counted_in_memory_instead(
    kv: Kv, valkey: OwnValkey, command: str, which: str
) -> None:
    """F8: never a 5xx, never open."""
    limits = limits_on(kv)
    valkey.ask(command, f"sr1:0:rl:{{default/key:1}}:key_write:86400{which}", "x")
    for _ in range(3):
        charge(limits, limits.of_actor(KEY, writes=True))
    assert refusal(limits, limits.of_actor(KEY, writes=True)) >= 1


def test_without_redis_each_process_has_its_share_rounded_up() -> None:
    """OR4: never open; of 3 a minute each of two processes lets 2 through."""
    limits = limits_on(Kv("off"), processes=2)
    for _ in range(2):
        quota = charge(limits, limits.of_actor(KEY, writes=True))
    assert quota.headers["RateLimit"].startswith('"key_write";r=0;')
    assert refusal(limits, limits.of_actor(KEY, writes=True)) >= 1


def test_a_mark_that_redis_cannot_set_is_said_and_the_request_counted() -> None:
    """OU2: the caller goes on without a mark; the count is in memory."""
    kv = Kv("off")
    limits = limits_on(kv)
    quota = limits.of_actor(KEY, writes=True)
    with pytest.raises(KvDown):
        limits.charge(quota, kv.claim_command("idem:{x}:y", b"mark", 1000))
    assert quota.headers["RateLimit"].startswith('"key_write";r=2;')


# --- Settings -----------------------------------------------------------------------------------


def test_switched_off_nothing_is_counted_or_said() -> None:
    """OR1: RATE_LIMIT_ENABLED."""
    limits = RateLimits(Kv("off"), LIMITS, enabled=False, processes=1, of_tenant=lambda *_: None)
    for quota in (limits.of_address("192.0.2.1"), limits.of_actor(KEY, writes=True)):
        for _ in range(10):
            limits.charge(quota)
        assert quota.headers == {}


def test_a_tenant_may_have_its_own_limit(limits: RateLimits) -> None:
    """OR1: from `settings`, else the installation's."""
    own = limits_on(limits._kv, set_for={"default": "7/10 seconds"})
    quota = charge(own, own.of_actor(KEY, writes=True))
    assert quota.headers["RateLimit-Policy"] == '"key_write";q=7;w=10'


def test_the_notation_is_the_same_in_both_places() -> None:
    """OR1: config.py reads no service; what it lets in, `limits` reads."""
    assert f"^{NOTATION}$" == RATE
    fields = Config.model_fields
    names = {f"rate_limit_{policy}" for policy in POLICIES}
    assert {name for name in fields if name.startswith("rate_limit_")} == {
        *names,
        "rate_limit_enabled",
    }
    for name in names:
        assert _parsed(fields[name].default).get_expiry() == 60


@pytest.mark.parametrize("text", ["1/second", "600/minute", "5/15 minutes", "10/2hour", "9/days"])
def test_what_is_allowed_is_understood(text: str) -> None:
    assert re.fullmatch(NOTATION, text)
    assert _parsed(text).amount == int(text.partition("/")[0])


@pytest.mark.parametrize("text", ["", "0/minute", "600", "600/fortnight", "1/minute;2/day", "-1/s"])
def test_a_bad_limit_stops_the_boot(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """OR1, AG2: with the name, and without the value."""
    if not text:
        return
    with pytest.raises(SystemExit) as caught:
        Config.load({"RATE_LIMIT_WRITE": text})
    assert caught.value.code == 2
    assert "RATE_LIMIT_WRITE" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", "unknown"),
    ],
)
def test_a_household_is_one_sender(address: str, network: str) -> None:
    """OR5: IPv6 by /64."""
    assert _network(address) == network


def test_counters_in_redis_follow_the_sliding_window(kv: Kv, valkey: OwnValkey) -> None:
    """Half a window later, half of the window before still counts."""
    limits = limits_on(kv, set_for={"default": "10/day"})
    name = "sr1:0:rl:{default/key:1}:key_write:86400"
    valkey.ask("SET", f"{name}/-1", 8, "PX", 43_200_000)
    quota: Any = charge(limits, limits.of_actor(KEY, writes=True))
    assert quota.standing.left in {5, 6}  # 10, less 8 x 1/2, less this one.
