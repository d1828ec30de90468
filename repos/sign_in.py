"""Attempts to prove a password: begun, and told where they failed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from persistence.statements import statement

if TYPE_CHECKING:
    from uuid import UUID

    from persistence.db import Conn
    from repos.audit import Caller
    from repos.throttle import BucketKeys


@dataclass(frozen=True, slots=True, kw_only=True)
class BegunRow:
    """An attempt, and whose password it is about: all of the user is None if nobody's.

    `bucket` (pair or device) has counted it, unless `refused_by` names the one that is full; then
    `retry_after_s` is at least 1.
    """

    user_id: UUID | None
    email: str | None
    role: str | None
    status: str | None
    stored_hash: str | None
    password_hash_version: int | None
    session_epoch: int | None
    email_verified: bool | None
    bucket: str
    refused_by: str | None
    retry_after_s: int


BEGIN = statement("sign_in/begin", BegunRow)
RECORD_FAILURE = statement("sign_in/record_failure")
GET_EMAIL = statement("sign_in/get_email", str)


def begin(
    conn: Conn,
    buckets: BucketKeys,
    caller: Caller,
    *,
    tenant_id: str,
    email_norm: str,
    device_user_id: UUID,
    pair_limit: int,
    account_limit: int,
    event: str,
    audit_id: UUID,
) -> BegunRow:
    """Count an attempt and read the user; `device_user_id`: whose the device is."""
    return BEGIN.one(
        conn,
        **asdict(buckets),
        **asdict(caller),
        tenant_id=tenant_id,
        email_norm=email_norm,
        device_user_id=device_user_id,
        pair_limit=pair_limit,
        account_limit=account_limit,
        event=event,
        audit_id=audit_id,
    )


def record_failure(
    conn: Conn,
    caller: Caller,
    *,
    tenant_id: str,
    audit_id: UUID,
    user_id: UUID | None,
    event: str,
    reason: str,
    account_key: bytes,
) -> int:
    """Append the audit row of a password that was not proven."""
    return RECORD_FAILURE.count(
        conn,
        **asdict(caller),
        tenant_id=tenant_id,
        audit_id=audit_id,
        user_id=user_id,
        event=event,
        reason=reason,
        account_key=account_key,
    )


def get_email(conn: Conn, *, tenant_id: str, user_id: UUID) -> str | None:
    """Return the normalised address of a user; None: there is none."""
    return GET_EMAIL.one_or_none(conn, tenant_id=tenant_id, user_id=user_id)
