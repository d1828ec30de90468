"""Applying a user of legacy to new; one that is gone over there is erased here (D24, D25)."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any
from uuid import UUID

from errors import ValidationFailed
from legacy.merging import NotApplied, Target, as_json, merged, our_uuid, version_of
from legacy.rows import mirrored_users
from services.users import normalise_email

if TYPE_CHECKING:
    from legacy.store import StoreRow
    from persistence.db import Conn


def apply_user(conn: Conn, target: Target, legacy_id: str, found: StoreRow | None) -> bool:
    """As `apply`, of a user."""
    given = None if found is None or found.deleted else found.row
    our_id = UUID(given["id"]) if given else our_uuid(legacy_id)
    had = mirrored_users.lock(conn, tenant_id=target.tenant_id, legacy_id=legacy_id, user_id=our_id)
    if given is None:
        return had is not None and _erase(conn, target, had, found)
    if had is None:
        return _insert_user(conn, target, found)
    row = user_row(target, legacy_id, given, had)
    version = version_of(target, found, had, row)
    if version is None:
        return False
    changed = mirrored_users.update(
        conn,
        tenant_id=target.tenant_id,
        user_id=had.id,
        row=row,
        version=version,
        clears_password=_clears_password(row, had),
    )
    if not changed:
        raise NotApplied("email_taken", "email")
    return True


def _clears_password(row: dict[str, Any], had: mirrored_users.CopyRow) -> bool:
    """D40: a changed hash of legacy ends ours, or the old password would come back."""
    changed = row["legacy_password_hash"] != had.legacy_password_hash
    return bool(changed or row["status"] == "deleted")


def _insert_user(conn: Conn, target: Target, found: StoreRow | None) -> bool:
    assert found is not None  # noqa: S101 - the caller has looked.
    row = {**user_row(target, found.id, found.row, None), "version": found.version}
    if not mirrored_users.insert(conn, tenant_id=target.tenant_id, rows=[row]):
        raise NotApplied("email_taken", "email")
    return True


def user_row(
    target: Target, legacy_id: str, given: dict[str, Any], had: mirrored_users.CopyRow | None
) -> dict[str, Any]:
    """Return a user's row as JSON: what the map does not fill is as new has it."""
    row = merged(target, legacy_id, given, asdict(had) if had else {})
    try:
        row["email_norm"] = normalise_email(row["email"]) if row["email"] else None
    except ValidationFailed:
        raise NotApplied("email_invalid", "email") from None
    return row


def _erase(conn: Conn, target: Target, had: mirrored_users.CopyRow, found: StoreRow | None) -> bool:
    """A user gone at the truth is soft-deleted: payments point to it (D25)."""
    if had.status == "deleted":
        return False
    empty = dict.fromkeys(("email", "legacy_password_hash", "display_name", "email_verified_at"))
    gone = {**asdict(had), **empty, "email_verified": False, "status": "deleted"}
    mirrored_users.update(
        conn,
        tenant_id=target.tenant_id,
        user_id=had.id,
        row={**as_json(gone), "email_norm": None},
        version=max(had.version + 1, found.version if found else 0),
        clears_password=True,
    )
    return True
