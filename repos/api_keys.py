"""API keys: rows that know a key by its hash."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from persistence.statements import statement

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from persistence.db import Conn


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRow:
    """A key as it may be shown. `allowed_cidrs` None: from anywhere; `expires_at` None: never."""

    tenant_id: str
    id: str
    principal_id: UUID
    name: str
    scopes: list[str]
    allowed_cidrs: list[str] | None
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveKeyRow:
    """What a request needs of a key that is neither revoked nor expired; `subject` acts."""

    key_hash: bytes
    subject: str
    scopes: list[str]
    allowed_cidrs: list[str] | None
    tenant_active: bool


AUTHENTICATE = statement("api_keys/authenticate", LiveKeyRow)
CREATE = statement("api_keys/create", KeyRow)
GET = statement("api_keys/get", KeyRow)
LIST_BY_TENANT = statement("api_keys/list_by_tenant", KeyRow)
LIST_PAGE = statement("api_keys/list_page", KeyRow)
REVOKE = statement("api_keys/revoke", KeyRow)
ROTATE = statement("api_keys/rotate", KeyRow)
TOUCH = statement("api_keys/touch")


def authenticate(conn: Conn, *, tenant_id: str, key_id: str) -> LiveKeyRow | None:
    """Read a live key by its primary key; None: unknown, revoked or expired."""
    return AUTHENTICATE.one_or_none(conn, tenant_id=tenant_id, key_id=key_id)


def create(
    conn: Conn,
    *,
    tenant_id: str,
    key_id: str,
    principal_id: UUID,
    name: str,
    key_hash: bytes,
    scopes: list[str],
    allowed_cidrs: list[str] | None,
    expires_at: datetime | None,
    audit_id: UUID,
    subject: str,
    address: str | None,
    request_id: str,
) -> KeyRow | None:
    """Store a new key and its audit row; None: no such tenant, or the expiry has passed."""
    return CREATE.one_or_none(
        conn,
        tenant_id=tenant_id,
        key_id=key_id,
        principal_id=principal_id,
        name=name,
        key_hash=key_hash,
        scopes=scopes,
        allowed_cidrs=allowed_cidrs,
        expires_at=expires_at,
        audit_id=audit_id,
        subject=subject,
        address=address,
        request_id=request_id,
    )


def get(conn: Conn, *, tenant_id: str, key_id: str) -> KeyRow | None:
    """Read one key; None: the tenant has none such."""
    return GET.one_or_none(conn, tenant_id=tenant_id, key_id=key_id)


def list_by_tenant(conn: Conn, *, tenant_id: str) -> list[KeyRow]:
    """All keys of a tenant, ended ones too, oldest first."""
    return LIST_BY_TENANT.all(conn, tenant_id=tenant_id)


def list_page(
    conn: Conn, *, tenant_id: str, before_at: str, before_id: str, row_limit: int
) -> list[KeyRow]:
    """Up to `row_limit` keys made before the key `before_id`, newest first."""
    return LIST_PAGE.all(
        conn, tenant_id=tenant_id, before_at=before_at, before_id=before_id, row_limit=row_limit
    )


def revoke(
    conn: Conn,
    *,
    tenant_id: str,
    key_id: str,
    reason: str | None,
    audit_id: UUID,
    subject: str,
    address: str | None,
    request_id: str,
) -> KeyRow | None:
    """End a key, audited if it was alive; None: the tenant has no such key."""
    return REVOKE.one_or_none(
        conn,
        tenant_id=tenant_id,
        key_id=key_id,
        reason=reason,
        audit_id=audit_id,
        subject=subject,
        address=address,
        request_id=request_id,
    )


def rotate(
    conn: Conn,
    *,
    tenant_id: str,
    key_id: str,
    new_key_id: str,
    new_key_hash: bytes,
    overlap_s: int,
    audit_id: UUID,
    subject: str,
    address: str | None,
    request_id: str,
) -> KeyRow | None:
    """Store a successor and let the old key end; None: it has ended, was replaced, or is not."""
    return ROTATE.one_or_none(
        conn,
        tenant_id=tenant_id,
        key_id=key_id,
        new_key_id=new_key_id,
        new_key_hash=new_key_hash,
        overlap_s=overlap_s,
        audit_id=audit_id,
        subject=subject,
        address=address,
        request_id=request_id,
    )


def touch(conn: Conn, *, tenant_id: str, key_id: str, address: str | None) -> int:
    """Write last_used_at and last_used_ip; 0 rows: it was done within the last minute."""
    return TOUCH.count(conn, tenant_id=tenant_id, key_id=key_id, address=address)
