"""Rate limits: how many requests an address, a user or a key may send (OR1 to OR5).

Counters are sliding windows in Redis, asked in the trip that the idempotency mark needs anyway;
without Redis they are in the process's memory, each process with its share of the limit. The
limits of log-ins are not here: those cannot be switched off.
"""

from __future__ import annotations

import contextlib
import functools
import math
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING, Any

from errors import RateLimited
from observability import current, rate_limit_total
from persistence.kv import KvDown, script

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from limits import RateLimitItem
    from limits.strategies import SlidingWindowCounterRateLimiter

    from persistence.kv import Kv
    from persistence.kv_connections import Command
    from services.actors import Actor

POLICIES = ("anonymous", "read", "write", "key_read", "key_write", "heavy")
# `limits` reads more (several at once, months): one limit of a clear window is enough here.
NOTATION = r"[1-9][0-9]{0,8}/([1-9][0-9]{0,3} ?)?(second|minute|hour|day)s?"
ITEMS_MAX = 1_000  # Different limits remembered: tenants share most of them.
NOBODY = "-"  # The tenant of addresses: no tenant can be called so.


@dataclass(slots=True, kw_only=True)
class Standing:
    """How a counter stands: what is left of `limit` in `window_s`, which ends in `reset_s`."""

    policy: str
    limit: int
    window_s: int
    left: int
    reset_s: int


@dataclass(slots=True, eq=False)
class Quota:
    """What one request is charged to: a subject's counters, and once charged, how they stand.

    `policies` is empty where nothing is limited; `standing` is then None for ever. `in_memory`: a
    trip has failed, so there it is counted.
    """

    tenant_id: str
    subject: str
    policies: tuple[str, ...]
    is_charged: bool = False
    in_memory: bool = False
    standing: Standing | None = None

    @property
    def headers(self) -> dict[str, str]:
        """What the answer says of it (draft-ietf-httpapi-ratelimit-headers-10), or nothing."""
        now = self.standing
        if now is None:
            return {}
        return {
            "RateLimit-Policy": f'"{now.policy}";q={now.limit};w={now.window_s}',
            "RateLimit": f'"{now.policy}";r={now.left};t={now.reset_s}',
        }


FREE = Quota(NOBODY, "", (), is_charged=True)


class RateLimits:
    """Charges requests to their senders."""

    def __init__(
        self,
        kv: Kv,
        limits: Mapping[str, str],
        *,
        enabled: bool,
        processes: int,
        of_tenant: Callable[[str, str], str | None],
    ) -> None:
        """`limits` by policy, in the notation of NOTATION.

        `processes` share what one host lets through while Redis is away. `of_tenant(tenant_id,
        name)` is what was set for a tenant without a restart, None if nothing was.
        """
        self._kv = kv
        self._limits = dict(limits)
        self._enabled = enabled
        self._processes = processes
        self._of_tenant = of_tenant

    def of_address(self, address: str) -> Quota:
        """Return the quota of who has not proved who it is."""
        if not self._enabled:
            return FREE
        return Quota(NOBODY, _network(address), ("anonymous",))

    def of_actor(self, actor: Actor, *, writes: bool, heavy: bool = False) -> Quota:
        """Return the quota of who has; `heavy` routes count twice, as what they are and as heavy.

        Before and after a rotation a key has the same counters: its subject names its principal.
        """
        kind = "key_" if actor.key_id is not None else ""
        policy = kind + ("write" if writes else "read")
        return self._of(actor.tenant_id, actor.subject, policy, heavy=heavy)

    def of_reader(self, tenant_id: str, subject: str, *, heavy: bool = False) -> Quota:
        """Return the quota of a user who reads."""
        return self._of(tenant_id, subject, "read", heavy=heavy)

    def _of(self, tenant_id: str, subject: str, policy: str, *, heavy: bool) -> Quota:
        if not self._enabled:
            return FREE
        return Quota(tenant_id, subject, (policy, "heavy") if heavy else (policy,))

    def ask(self, quota: Quota, key: str) -> object:
        """Charge the request and return what is at `key`, in one trip: before who asks is proved.

        If it is not proved then, the charge is to be given back. Raises RateLimited, and KvDown:
        nothing is charged yet, and `charge` will do it in memory.
        """
        if quota.is_charged:
            return self._kv.get(key)
        try:
            (found,) = self._charge_redis(quota, "session", (self._kv.get_command(key),))
        except KvDown:
            quota.in_memory = True
            raise
        return found

    def give_back(self, quota: Quota) -> None:
        """Take back what `ask` has charged to somebody who turned out to be another."""
        if not quota.is_charged or not quota.policies:
            return
        pairs = zip(quota.policies, self._items(quota), strict=True)
        keys = [_counter(quota, policy, item) for policy, item in pairs]
        with contextlib.suppress(KvDown):  # It ends with its window.
            self._kv.run("give_back", tuple(self._kv.give_back_command(key) for key in keys))

    def charge(self, quota: Quota, *more: Command) -> list[Any]:
        """Count the request, once; return the replies to `more`, which go along in one trip.

        Raises RateLimited, and KvDown if there is `more` and Redis cannot say it. Without Redis
        the request is counted in memory.
        """
        if quota.is_charged:
            return self._kv.run("claim", more) if more else []
        if quota.in_memory and not more:
            self._charge_memory(quota)
            return []
        try:
            return self._charge_redis(quota, "claim" if more else "limit", more)
        except KvDown:
            self._charge_memory(quota)
            if more:
                raise
            return []

    # --- In Redis -------------------------------------------------------------------------------

    def _charge_redis(self, quota: Quota, use: str, more: tuple[Command, ...]) -> list[Any]:
        commands: list[Command] = []
        take, look = _lua()
        items = self._items(quota)
        for policy, item in zip(quota.policies, items, strict=True):
            window_s = item.get_expiry()
            now = _counter(quota, policy, item)
            keys = (f"{now}/-1", now)
            commands.append(self._kv.script_command(take, keys, item.amount, window_s, 1))
            commands.append(self._kv.script_command(look, keys, window_s))
        replies = self._kv.run(use, (*commands, *more))
        counted = replies[: len(commands)]
        if any(isinstance(reply, Exception) for reply in counted):
            raise KvDown("rubbish")  # Somebody else writes here: memory counts instead.
        taken = [reply == 1 for reply in counted[::2]]
        try:
            windows = [tuple(max(int(n or 0), 0) for n in reply) for reply in counted[1::2]]
        except ValueError as error:  # A counter may hold any bytes.
            raise KvDown("rubbish") from error
        self._settle(quota, items, taken, windows, "redis")
        return replies[len(commands) :]

    # --- In memory ------------------------------------------------------------------------------

    @functools.cached_property
    def _memory(self) -> SlidingWindowCounterRateLimiter:
        """Made when Redis is first away: it brings a thread along."""
        from limits.storage import MemoryStorage  # noqa: PLC0415 - see _lua.
        from limits.strategies import SlidingWindowCounterRateLimiter  # noqa: PLC0415 - see _lua.

        return SlidingWindowCounterRateLimiter(MemoryStorage())

    def _charge_memory(self, quota: Quota) -> None:
        """Each process has its share, rounded up: never open, and nearly as many pass as before."""
        shares = [
            type(item)(math.ceil(item.amount / self._processes), item.multiples)
            for item in self._items(quota)
        ]
        names = [(quota.tenant_id, quota.subject, policy) for policy in quota.policies]
        pairs = list(zip(shares, names, strict=True))
        taken = [self._memory.hit(share, *name) for share, name in pairs]
        store: Any = self._memory.storage
        windows = [
            _in_ms(store.get_sliding_window(share.key_for(*name), share.get_expiry()))
            for share, name in pairs
        ]
        self._settle(quota, shares, taken, windows, "memory")

    # --- Either ---------------------------------------------------------------------------------

    def _settle(
        self,
        quota: Quota,
        items: list[RateLimitItem],
        taken: list[bool],
        windows: list[tuple[int, ...]],
        store: str,
    ) -> None:
        """Note how the counters stand, the tightest for the answer. Raises RateLimited."""
        quota.is_charged = True
        standings = [
            _standing(policy, item, window)
            for policy, item, window in zip(quota.policies, items, windows, strict=True)
        ]
        quota.standing = min(standings, key=lambda each: each.left / each.limit)
        wait_s = 0
        for standing, item, window, passed in zip(standings, items, windows, taken, strict=True):
            decision = "allowed" if passed else "refused"
            rate_limit_total.labels(standing.policy, decision, store).inc()
            if not passed:
                standing.left, quota.standing = 0, standing
                wait_s = max(wait_s, _until_one_s(item, window))
        current().rate_policy = quota.standing.policy
        if wait_s:
            raise RateLimited(headers={"Retry-After": str(wait_s)})

    def _items(self, quota: Quota) -> list[RateLimitItem]:
        names = [(policy, f"rate_limit_{policy}") for policy in quota.policies]
        own = self._of_tenant
        return [_parsed(own(quota.tenant_id, n) or self._limits[policy]) for policy, n in names]


def _counter(quota: Quota, policy: str, item: RateLimitItem) -> str:
    """Return the key of the window that runs."""
    return f"rl:{{{quota.tenant_id}/{quota.subject}}}:{policy}:{item.get_expiry()}"


def _standing(policy: str, item: RateLimitItem, window: tuple[int, ...]) -> Standing:
    previous, previous_ms, count, ends_ms = window
    window_ms = item.get_expiry() * 1000
    used = previous * previous_ms // window_ms + count
    return Standing(
        policy=policy,
        limit=item.amount,
        window_s=item.get_expiry(),
        left=max(item.amount - used, 0),
        # A counter lives for two windows: in its own, and as the one before.
        reset_s=math.ceil(max(ends_ms - window_ms, 0) / 1000),
    )


def _until_one_s(item: RateLimitItem, window: tuple[int, ...]) -> int:
    """Return whole seconds, at least 1, until the next request can pass, if none comes before.

    The window before counts by how much of it is still within reach; it must sink below `room`.
    """
    previous, previous_ms, count, ends_ms = window
    window_ms = item.get_expiry() * 1000
    room = item.amount - count
    if room <= 0:  # Not in this window; in the next one its count begins to sink.
        return max(1, math.ceil((ends_ms - window_ms) / 1000) + 1)
    fits_ms = room * window_ms // max(previous, 1)
    return max(1, (previous_ms - fits_ms) // 1000 + 1)


def _in_ms(window: tuple[int, float, int, float]) -> tuple[int, ...]:
    previous, previous_s, count, ends_s = window
    return (previous, int(previous_s * 1000), count, int(ends_s * 1000))


@functools.cache
def _lua() -> tuple[bytes, bytes]:
    """Return the scripts of `limits`: one that takes, one that looks."""
    from limits.storage import RedisStorage  # noqa: PLC0415 - 0.1 s that no command needs.

    return script(RedisStorage.SCRIPT_ACQUIRE_SLIDING_WINDOW), script(
        RedisStorage.SCRIPT_SLIDING_WINDOW
    )


@functools.lru_cache(maxsize=ITEMS_MAX)
def _parsed(text: str) -> RateLimitItem:
    from limits import parse  # noqa: PLC0415 - see _lua.

    return parse(text)


@functools.lru_cache(maxsize=4096)
def _network(address: str) -> str:
    """Return what counts as one sender: an IPv4 address, or the /64 that a household has (OR5)."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:  # A Unix socket's client has none; a boot with such clients is refused.
        return "unknown"
    if not isinstance(parsed, IPv6Address):
        return str(parsed)
    if parsed.ipv4_mapped:
        return str(parsed.ipv4_mapped)
    return f"{IPv6Address(int(parsed) >> 64 << 64)}/64"
