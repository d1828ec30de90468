"""Buckets that count attempts: made, given back, cleared, forgotten."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from persistence.statements import statement

if TYPE_CHECKING:
    from uuid import UUID

    from persistence.db import Conn


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketKeys:
    """Which throttle rows a proven password clears; a device that is none has a key of no row."""

    pair_key: bytes
    device_key: bytes
    account_key: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class CountRow:
    """How many calls stand in the window, and for how many seconds it still lasts."""

    attempts: int
    left_s: int


COUNT = statement("throttle/count", CountRow)
GIVE_BACK = statement("throttle/give_back")
CLEAR = statement("throttle/clear")
CLEAR_ALL = statement("throttle/clear_all")
DELETE_OLD = statement("throttle/delete_old")


def count(conn: Conn, *, tenant_id: str, bucket: str, key: bytes, window_s: int) -> CountRow:
    """Count one call in a fixed window."""
    return COUNT.one(conn, tenant_id=tenant_id, bucket=bucket, key=key, window_s=window_s)


def give_back(conn: Conn, *, tenant_id: str, bucket: str, key: bytes) -> int:
    """Take one counted attempt back."""
    return GIVE_BACK.count(conn, tenant_id=tenant_id, bucket=bucket, key=key)


def clear(conn: Conn, buckets: BucketKeys, *, tenant_id: str) -> int:
    """Forget the attempts on an account."""
    return CLEAR.count(conn, **asdict(buckets), tenant_id=tenant_id)


def clear_all(
    conn: Conn,
    *,
    tenant_id: str,
    user_id: UUID,
    pair_keys: list[bytes],
    account_key: bytes,
    subject: str,
    reason: str | None,
    audit_id: UUID,
    address: str | None,
    request_id: str,
) -> int:
    """Forget the attempts on an account from all of these addresses, audited."""
    return CLEAR_ALL.count(
        conn,
        tenant_id=tenant_id,
        user_id=user_id,
        pair_keys=pair_keys,
        account_key=account_key,
        subject=subject,
        reason=reason,
        audit_id=audit_id,
        address=address,
        request_id=request_id,
    )


def delete_old(conn: Conn, *, tenant_id: str | None, batch: int) -> int:
    """Delete at most `batch` windows that have passed, of all tenants if None; how many went."""
    return DELETE_OLD.count(conn, tenant_id=tenant_id, batch=batch)
