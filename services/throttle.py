"""Who may try how often: buckets by address, session, account, device and mail (A27 to A29).

What bounds guessing is counted in PostgreSQL, by the statement that lets the attempt begin. What
bounds load only, the `ip` and `session` buckets, is counted in Redis, or there when Redis is away.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING

from uuid_utils.compat import uuid7

from errors import NotFound, RateLimited
from observability import current
from persistence.kv import KvDown
from repos import audit, throttle, users
from repos.throttle import BucketKeys
from services.users import NO_SUCH_USER, normalise_email

if TYPE_CHECKING:
    from uuid import UUID

    from persistence.db import Database
    from persistence.kv import Kv
    from services.device_tokens import Device

WINDOW_S = 60
SESSION_PER_MINUTE = 120
MAILS_PER_HOUR = 5
EVERYBODY = "-"  # The tenant of buckets that are about an address alone.


@dataclass(frozen=True, slots=True, kw_only=True)
class ThrottleSettings:
    """Calls a minute of an address; attempts on an account from one address, and from all."""

    ip_per_minute: int = 30
    pair_limit: int = 10
    account_limit: int = 100


@dataclass(frozen=True, slots=True)
class Counted:
    """One counted attempt, to be given back if it turns out to be none."""

    tenant_id: str
    bucket: str
    key: bytes
    in_redis: bool = False


class Throttle:
    """Names the buckets, and counts in those that bound load."""

    def __init__(self, db: Database, kv: Kv, settings: ThrottleSettings, secret: bytes) -> None:
        """`secret`: the subkey `throttle`; rows hold HMACs and neither address nor e-mail."""
        self._db = db
        self._kv = kv
        self.settings = settings
        self._secret = secret

    # --- Names of buckets -----------------------------------------------------------------------

    def keys(
        self, tenant_id: str, email_norm: str, address: str | None, device: Device | None
    ) -> BucketKeys:
        """Return the keys of an attempt; without a device, one that no row has."""
        named = [tenant_id, device.device_id] if device else [tenant_id, ""]
        return BucketKeys(
            pair_key=self._key("pair", tenant_id, email_norm, network_of(address)),
            account_key=self._key("account", tenant_id, email_norm),
            device_key=self._key("device", *named),
        )

    def mail_key(self, tenant_id: str, email_norm: str) -> bytes:
        """Return the key of the bucket that bounds mails to an address."""
        return self._key("mail", tenant_id, email_norm)

    def _key(self, *parts: str) -> bytes:
        # Lengths first: no two lists of parts may give one text.
        named = "".join(f"{len(part)}:{part}" for part in parts)
        return hmac.digest(self._secret, named.encode("utf-8", "surrogatepass"), "sha256")

    # --- Buckets that bound load ----------------------------------------------------------------

    def count_login(self, address: str | None) -> Counted:
        """Count a log-in of an address; who succeeds gives it back. RateLimited: 429."""
        key = self._key("ip", "login", network_of(address))
        return self._count(EVERYBODY, "ip", key, self.settings.ip_per_minute)

    def count_call(self, address: str | None) -> None:
        """Count a call of a public route that is no log-in. RateLimited: 429."""
        key = self._key("ip", "call", network_of(address))
        self._count(EVERYBODY, "ip", key, self.settings.ip_per_minute)

    def count_session(self, tenant_id: str, session_id: UUID) -> None:
        """Count a refresh or a log-out of a session. RateLimited: 429."""
        key = self._key("session", tenant_id, str(session_id))
        self._count(tenant_id, "session", key, SESSION_PER_MINUTE)

    def _count(self, tenant_id: str, bucket: str, key: bytes, limit: int) -> Counted:
        counted = Counted(tenant_id, bucket, key, in_redis=True)
        try:
            attempts, left_ms = self._kv.count(_hint(counted), WINDOW_S * 1000)
            left_s = -(-left_ms // 1000)
        except KvDown:
            counted = Counted(tenant_id, bucket, key)
            with self._db.write() as conn:
                row = throttle.count(
                    conn, tenant_id=tenant_id, bucket=bucket, key=key, window_s=WINDOW_S
                )
            attempts, left_s = row.attempts, row.left_s
        if attempts > limit:
            raise too_many(left_s)
        return counted

    def give_back(self, *counted: Counted) -> None:
        """Take attempts back that were not verified, or that succeeded (A24)."""
        for each in counted:
            if not each.in_redis:
                with self._db.write() as conn:
                    throttle.give_back(
                        conn, tenant_id=each.tenant_id, bucket=each.bucket, key=each.key
                    )
                continue
            try:
                self._kv.give_back(_hint(each))
            except KvDown:
                continue  # It ends with its minute.

    def clear(self, tenant_id: str, keys: BucketKeys) -> None:
        """Forget what was counted against an account."""
        with self._db.write() as conn:
            throttle.clear(conn, keys, tenant_id=tenant_id)

    def unlock(
        self,
        tenant_id: str,
        user_id: UUID,
        subject: str,
        *,
        reason: str | None = None,
        address: str | None = None,
    ) -> None:
        """Let a user try again at once, from every address. NotFound, also once erased.

        `address`: of who unlocks. A known device waits for the end of its own window.
        """
        with self._db.read() as conn:
            user = users.get(conn, tenant_id=tenant_id, user_id=user_id)
            tried_from = audit.list_addresses(conn, tenant_id=tenant_id, user_id=user_id)
        if user is None or user.email is None:
            raise NotFound(NO_SUCH_USER)
        email_norm = normalise_email(user.email)
        keys = [self.keys(tenant_id, email_norm, each, None) for each in (*tried_from, None)]
        with self._db.write() as conn:
            throttle.clear_all(
                conn,
                tenant_id=tenant_id,
                user_id=user_id,
                pair_keys=[each.pair_key for each in keys],
                account_key=keys[0].account_key,
                subject=subject,
                reason=reason,
                audit_id=uuid7(),
                address=address,
                request_id=current().request_id,
            )


def too_many(wait_s: int) -> RateLimited:
    """Return the refusal of a full bucket: 429, to be tried again in so many seconds."""
    return RateLimited(headers={"Retry-After": str(max(1, wait_s))})


def network_of(address: str | None) -> str:
    """Return what counts as one address: IPv4 itself, of IPv6 the /64 that one customer has."""
    try:
        parsed = ip_address(address or "")
    except ValueError:
        return ""  # A Unix socket's client has none; with a proxy before it, each has one (OR5).
    if isinstance(parsed, IPv6Address):
        mapped = parsed.ipv4_mapped
        return str(mapped or ip_network((parsed.packed, 64), strict=False))
    return str(parsed)


def _hint(counted: Counted) -> str:
    return f"rl:{{{counted.tenant_id}/{counted.key.hex()}}}:{counted.bucket}"
