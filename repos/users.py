"""Users: people of a tenant, with what they prove themselves by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from persistence.statements import statement

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    from persistence.db import Conn


@dataclass(frozen=True, slots=True, kw_only=True)
class UserRow:
    """A user; `email` is None once erased, `status` is active, disabled or deleted."""

    tenant_id: str
    id: UUID
    email: str | None
    email_verified: bool
    display_name: str | None
    role: str
    status: str
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedUserRow(UserRow):
    """A user as it is now; nothing was changed if it is the tenant's last operator."""

    is_last_operator: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class HashCountRow:
    """How many users have hashes of one beginning, None: of none that we know."""

    beginning: str | None
    has_hash: bool
    user_count: int


COUNT_HASHES = statement("users/count_hashes", HashCountRow)
CREATE = statement("users/create", UserRow)
ERASE = statement("users/erase", bool)
GET = statement("users/get", UserRow)
GET_BY_EMAIL = statement("users/get_by_email", UserRow)
GET_HASH = statement("users/get_hash", str | None)
IMPORT_BATCH = statement("users/import_batch")
LIST_PAGE = statement("users/list_page", UserRow)
LIST_PASSWORD_CLASSES = statement("users/list_password_classes", str)
SET_ROLE = statement("users/set_role", ChangedUserRow)
SET_STATUS = statement("users/set_status", ChangedUserRow)
UPGRADE_PASSWORD = statement("users/upgrade_password")


def create(
    conn: Conn,
    *,
    tenant_id: str,
    user_id: UUID,
    email: str,
    email_norm: str,
    display_name: str | None,
    role: str,
    password_hash: str | None,
    password_algo: str | None,
    password_params: dict[str, int] | None,
    audit_id: UUID,
    subject: str,
) -> UserRow | None:
    """Make a user and its audit row; None: no such tenant, or the address is taken."""
    return CREATE.one_or_none(
        conn,
        tenant_id=tenant_id,
        user_id=user_id,
        email=email,
        email_norm=email_norm,
        display_name=display_name,
        role=role,
        password_hash=password_hash,
        password_algo=password_algo,
        password_params=password_params,
        audit_id=audit_id,
        subject=subject,
    )


def get_by_email(conn: Conn, *, tenant_id: str, email_norm: str) -> UserRow | None:
    """Return the user with this address, as addresses are compared."""
    return GET_BY_EMAIL.one_or_none(conn, tenant_id=tenant_id, email_norm=email_norm)


def get(conn: Conn, *, tenant_id: str, user_id: UUID) -> UserRow | None:
    """Return the user, an erased one too; None: the tenant has none such."""
    return GET.one_or_none(conn, tenant_id=tenant_id, user_id=user_id)


def get_hash(conn: Conn, *, tenant_id: str, user_id: UUID) -> str | None:
    """Return the stored password hash; None: there is no such user, or no hash."""
    found: str | None = GET_HASH.one_or_none(conn, tenant_id=tenant_id, user_id=user_id)
    return found


def list_page(
    conn: Conn,
    *,
    tenant_id: str,
    after_id: UUID,
    email_norm: str | None,
    status: str | None,
    row_limit: int,
) -> list[UserRow]:
    """Up to `row_limit` users made after the user `after_id`, oldest first."""
    return LIST_PAGE.all(
        conn,
        tenant_id=tenant_id,
        after_id=after_id,
        email_norm=email_norm,
        status=status,
        row_limit=row_limit,
    )


def set_status(
    conn: Conn,
    *,
    tenant_id: str,
    user_id: UUID,
    status: str,
    reason: str | None,
    audit_id: UUID,
    subject: str,
    address: str | None,
    request_id: str,
) -> ChangedUserRow | None:
    """Disable or enable a user and end its sessions; None: no such user, or erased."""
    return SET_STATUS.one_or_none(
        conn,
        tenant_id=tenant_id,
        user_id=user_id,
        status=status,
        reason=reason,
        audit_id=audit_id,
        subject=subject,
        address=address,
        request_id=request_id,
    )


def set_role(
    conn: Conn,
    *,
    tenant_id: str,
    user_id: UUID,
    role: str,
    password_hash: str | None,
    password_algo: str | None,
    password_params: dict[str, int] | None,
    audit_id: UUID,
    subject: str,
) -> ChangedUserRow | None:
    """Set role and, if given, password, and end the sessions; None: no such user, or erased."""
    return SET_ROLE.one_or_none(
        conn,
        tenant_id=tenant_id,
        user_id=user_id,
        role=role,
        password_hash=password_hash,
        password_algo=password_algo,
        password_params=password_params,
        audit_id=audit_id,
        subject=subject,
    )


def erase(
    conn: Conn,
    *,
    tenant_id: str,
    user_id: UUID,
    reason: str | None,
    audit_id: UUID,
    subject: str,
) -> bool | None:
    """Empty a user; True: refused, it is the last operator; None: there is no such user."""
    return ERASE.one_or_none(
        conn,
        tenant_id=tenant_id,
        user_id=user_id,
        reason=reason,
        audit_id=audit_id,
        subject=subject,
    )


def upgrade_password(
    conn: Conn,
    *,
    tenant_id: str,
    user_id: UUID,
    read_version: int,
    password_hash: str,
    password_algo: str,
    password_params: dict[str, int],
    audit_id: UUID,
    request_id: str,
) -> int:
    """Replace the hash that was read; 0: somebody stored one since."""
    return UPGRADE_PASSWORD.count(
        conn,
        tenant_id=tenant_id,
        user_id=user_id,
        read_version=read_version,
        password_hash=password_hash,
        password_algo=password_algo,
        password_params=password_params,
        audit_id=audit_id,
        request_id=request_id,
    )


def import_batch(
    conn: Conn, *, tenant_id: str, rows: Sequence[dict[str, Any]], subject: str
) -> int:
    """Make users of another system; return of how many the address was free."""
    return IMPORT_BATCH.count(conn, tenant_id=tenant_id, rows=rows, subject=subject)


def count_hashes(conn: Conn, *, tenant_id: str) -> list[HashCountRow]:
    """How many users have which kind of hash, the most frequent first."""
    return COUNT_HASHES.all(conn, tenant_id=tenant_id)


def list_password_classes(conn: Conn) -> list[str]:
    """How the hashes of all tenants begin, each kind once."""
    return LIST_PASSWORD_CLASSES.all(conn)
