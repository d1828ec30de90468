"""Signing keys: which of them signs, which are published, and what they are sealed under."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from persistence.statements import statement

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from persistence.db import Conn


@dataclass(frozen=True, slots=True, kw_only=True)
class ActiveRow:
    """The key that signs; `now_s` is the database's time in whole seconds since 1970."""

    kid: str
    alg: str
    private_enc: bytes | None
    master_key_id: str
    now_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKeyRow:
    """A key as it may be shown; `state` is standby, active, retired, ended or revoked.

    `retired_at` is when the next key takes over, None for the newest.
    """

    tenant_id: str
    kid: str
    alg: str
    public_jwk: dict[str, Any]
    master_key_id: str
    created_at: datetime
    active_from: datetime
    retired_at: datetime | None
    revoked_at: datetime | None
    age_s: int
    state: str
    tenant_active: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RevokedRow:
    """A revoked key, and the new one that took its place; None: it was not in charge."""

    kid: str
    successor: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedRow:
    """A private key as it is stored."""

    kid: str
    private_enc: bytes | None
    master_key_id: str


BEGIN = statement("signing_keys/begin", str)
CREATE = statement("signing_keys/create", str)
GET_ACTIVE = statement("signing_keys/get_active", ActiveRow)
LIST_BY_TENANT = statement("signing_keys/list_by_tenant", SigningKeyRow)
LIST_MASTER_KEYS = statement("signing_keys/list_master_keys", str)
LIST_SEALED = statement("signing_keys/list_sealed", SealedRow)
REVOKE = statement("signing_keys/revoke", RevokedRow)
SET_PRIVATE = statement("signing_keys/set_private")


def begin(conn: Conn, *, tenant_id: str) -> str | None:
    """Lock the tenant for changes of its keys; None: there is no such tenant."""
    return BEGIN.one_or_none(conn, tenant_id=tenant_id)


def create(
    conn: Conn,
    *,
    tenant_id: str,
    kid: str,
    alg: str,
    public_jwk: dict[str, Any],
    private_enc: bytes,
    master_key_id: str,
    older_than_s: int,
    lead_s: int,
    audit_id: UUID,
    subject: str,
) -> str | None:
    """Store a key and return its `kid`; None: a live one is younger than `older_than_s`."""
    return CREATE.one_or_none(
        conn,
        tenant_id=tenant_id,
        kid=kid,
        alg=alg,
        public_jwk=public_jwk,
        private_enc=private_enc,
        master_key_id=master_key_id,
        older_than_s=older_than_s,
        lead_s=lead_s,
        audit_id=audit_id,
        subject=subject,
    )


def get_active(conn: Conn, *, tenant_id: str) -> ActiveRow | None:
    """Read the key that signs now; None: the tenant has none yet."""
    return GET_ACTIVE.one_or_none(conn, tenant_id=tenant_id)


def list_by_tenant(conn: Conn, *, tenant_id: str, keep_s: int) -> list[SigningKeyRow]:
    """All keys of a tenant, newest first; `keep_s`: how long a retired one stays published."""
    return LIST_BY_TENANT.all(conn, tenant_id=tenant_id, keep_s=keep_s)


def list_master_keys(conn: Conn) -> list[str]:
    """The ids of all master keys under which a private key is sealed."""
    return LIST_MASTER_KEYS.all(conn)


def list_sealed(conn: Conn, *, tenant_id: str, master_key_id: str) -> list[SealedRow]:
    """The private keys of a tenant that are sealed under another master key than this."""
    return LIST_SEALED.all(conn, tenant_id=tenant_id, master_key_id=master_key_id)


def revoke(
    conn: Conn,
    *,
    tenant_id: str,
    kid: str,
    reason: str | None,
    audit_id: UUID,
    new_kid: str,
    new_alg: str,
    new_public_jwk: dict[str, Any],
    new_private_enc: bytes,
    new_master_key_id: str,
    new_audit_id: UUID,
    subject: str,
) -> RevokedRow | None:
    """End a key; if it was in charge, the new one is stored in its place. None: no such key."""
    return REVOKE.one_or_none(
        conn,
        tenant_id=tenant_id,
        kid=kid,
        reason=reason,
        audit_id=audit_id,
        new_kid=new_kid,
        new_alg=new_alg,
        new_public_jwk=new_public_jwk,
        new_private_enc=new_private_enc,
        new_master_key_id=new_master_key_id,
        new_audit_id=new_audit_id,
        subject=subject,
    )


def set_private(
    conn: Conn,
    *,
    tenant_id: str,
    kid: str,
    old_master_key_id: str,
    private_enc: bytes,
    master_key_id: str,
) -> int:
    """Store the private key under another seal; 0 rows: somebody else has, or it was revoked."""
    return SET_PRIVATE.count(
        conn,
        tenant_id=tenant_id,
        kid=kid,
        old_master_key_id=old_master_key_id,
        private_enc=private_enc,
        master_key_id=master_key_id,
    )
