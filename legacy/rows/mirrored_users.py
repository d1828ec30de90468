"""Users as they are copied from legacy to new, and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

from legacy.rows import SQL
from persistence.statements import statement

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from persistence.db import Conn


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyRow:
    """A user, with what a legacy store may hold of it."""

    id: UUID
    legacy_id: str | None
    version: int
    email: str | None
    legacy_password_hash: str | None
    status: str
    display_name: str | None
    role: str
    email_verified: bool
    email_verified_at: datetime | None
    created_at: datetime
    updated_at: datetime


LOCK = statement("mirrored_users/lock", CopyRow, root=SQL)
READ = statement("mirrored_users/read", CopyRow, root=SQL)
INSERT = statement("mirrored_users/insert", str | None, root=SQL)
UPDATE = statement("mirrored_users/update", root=SQL)
SET_LEGACY_ID = statement("mirrored_users/set_legacy_id", root=SQL)
TOUCH = statement("mirrored_users/touch", root=SQL)
KEEP_HASH = statement("mirrored_users/keep_hash", root=SQL)
GET_OF_SESSION = statement("mirrored_users/get_of_session", UUID, root=SQL)
LIST_PRESENT = statement("mirrored_users/list_present", str | None, root=SQL)


def lock(conn: Conn, *, tenant_id: str, legacy_id: str, user_id: UUID) -> CopyRow | None:
    """Return a user as new has it, and hold it; None: new does not have it."""
    return LOCK.one_or_none(conn, tenant_id=tenant_id, legacy_id=legacy_id, user_id=user_id)


def read(
    conn: Conn, *, tenant_id: str, legacy_ids: Sequence[str], user_ids: Sequence[UUID]
) -> list[CopyRow]:
    """Return users by legacy id, and by ours those that legacy has never had."""
    return READ.all(conn, tenant_id=tenant_id, legacy_ids=list(legacy_ids), user_ids=list(user_ids))


def insert(conn: Conn, *, tenant_id: str, rows: Sequence[dict[str, Any]]) -> list[str | None]:
    """Insert what is missing; return the legacy ids of those."""
    return INSERT.all(conn, tenant_id=tenant_id, rows=list(rows))


def update(
    conn: Conn,
    *,
    tenant_id: str,
    user_id: UUID,
    row: dict[str, Any],
    version: int,
    clears_password: bool,
) -> int:
    """Write a user as legacy has it; 0: it has that version, or somebody else the address."""
    return UPDATE.count(
        conn,
        tenant_id=tenant_id,
        user_id=user_id,
        row=row,
        version=version,
        clears_password=clears_password,
    )


def set_legacy_id(conn: Conn, *, tenant_id: str, user_id: UUID, legacy_id: str) -> int:
    """Note under which id legacy has it; 0: it has one."""
    return SET_LEGACY_ID.count(conn, tenant_id=tenant_id, user_id=user_id, legacy_id=legacy_id)


def list_present(conn: Conn, *, tenant_id: str, legacy_ids: Sequence[str]) -> list[str | None]:
    """Return which of these new has."""
    return LIST_PRESENT.all(conn, tenant_id=tenant_id, legacy_ids=list(legacy_ids))


def touch(conn: Conn, *, tenant_id: str, legacy_ids: Sequence[str]) -> int:
    """Raise the version of users, so that their copies are written anew."""
    return TOUCH.count(conn, tenant_id=tenant_id, legacy_ids=list(legacy_ids))


def keep_hash(
    conn: Conn,
    *,
    tenant_id: str,
    user_id: UUID,
    password_hash: str,
    legacy_hash: str,
    raises: bool,
) -> int:
    """Keep the bcrypt hash of a password beside ours; 0: that password was not stored."""
    return KEEP_HASH.count(
        conn,
        tenant_id=tenant_id,
        user_id=user_id,
        password_hash=password_hash,
        legacy_hash=legacy_hash,
        raises=raises,
    )


def get_of_session(conn: Conn, *, tenant_id: str, session_id: UUID) -> UUID | None:
    """Return whose session it is; None: there is none."""
    return GET_OF_SESSION.one_or_none(conn, tenant_id=tenant_id, session_id=session_id)
