"""Sessions: opened by a proven password, renewed by refresh tokens, ended by many things."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from persistence.statements import statement

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from persistence.db import Conn
    from repos.audit import Caller
    from repos.throttle import BucketKeys


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSession:
    """What a session is opened with: hashes of its first token, and how long it may live."""

    session_id: UUID
    secret_hash: bytes
    token_hash: bytes
    device_label: str | None
    idle_s: int
    absolute_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRow:
    """A session with its user. `outcome`: opened, renewed, reauthenticated, or as renew_again says.

    `expires_at` is when it ends unless it is used; `created_at` is the user's.
    """

    outcome: str
    session_id: UUID
    user_id: UUID
    auth_time: datetime
    amr: list[str]
    expires_at: datetime
    email: str
    email_verified: bool
    display_name: str | None
    role: str
    status: str
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedRow:
    """A live session as its owner sees it."""

    id: UUID
    device_label: str | None
    user_agent: str | None
    ip: str | None
    amr: list[str]
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime


OPEN = statement("sessions/open", SessionRow)
OPEN_REGISTERED = statement("sessions/open_registered", SessionRow)
OPEN_CHANGED = statement("sessions/open_changed", SessionRow)
REAUTHENTICATE = statement("sessions/reauthenticate", SessionRow)
RENEW = statement("sessions/renew", SessionRow)
RENEW_AGAIN = statement("sessions/renew_again", SessionRow)
END = statement("sessions/end")
REVOKE = statement("sessions/revoke", str)
REVOKE_OTHERS = statement("sessions/revoke_others")
REVOKE_ALL = statement("sessions/revoke_all")
REVOKE_SURPLUS = statement("sessions/revoke_surplus")
LIST_BY_USER = statement("sessions/list_by_user", ListedRow)
DELETE_OLD = statement("sessions/delete_old")
DELETE_OLD_TOKENS = statement("sessions/delete_old_tokens")
COUNT_LEFTOVERS = statement("sessions/count_leftovers", int)


def open_(
    conn: Conn,
    new: NewSession,
    buckets: BucketKeys,
    caller: Caller,
    *,
    tenant_id: str,
    user_id: UUID,
    epoch: int,
    hash_version: int,
    new_hash: str | None,
    new_algo: str | None,
    new_params: dict[str, int],
    audit_id: UUID,
    upgrade_audit_id: UUID,
) -> SessionRow | None:
    """Open a session after a log-in; None: epoch, user or tenant are not what they were."""
    return OPEN.one_or_none(
        conn,
        **asdict(new),
        **asdict(buckets),
        **asdict(caller),
        new_hash=new_hash,
        new_algo=new_algo,
        new_params=new_params,
        tenant_id=tenant_id,
        user_id=user_id,
        epoch=epoch,
        hash_version=hash_version,
        audit_id=audit_id,
        upgrade_audit_id=upgrade_audit_id,
    )


def open_registered(
    conn: Conn,
    new: NewSession,
    caller: Caller,
    *,
    tenant_id: str,
    user_id: UUID,
    email: str,
    email_norm: str,
    display_name: str | None,
    password_hash: str,
    password_algo: str,
    password_params: dict[str, int],
    audit_id: UUID,
) -> SessionRow | None:
    """Make a user and open a session; None: a closed tenant, or the address is taken."""
    return OPEN_REGISTERED.one_or_none(
        conn,
        **asdict(new),
        **asdict(caller),
        password_hash=password_hash,
        password_algo=password_algo,
        password_params=password_params,
        tenant_id=tenant_id,
        user_id=user_id,
        email=email,
        email_norm=email_norm,
        display_name=display_name,
        audit_id=audit_id,
    )


def open_changed(
    conn: Conn,
    new: NewSession,
    buckets: BucketKeys,
    caller: Caller,
    *,
    tenant_id: str,
    user_id: UUID,
    epoch: int,
    password_hash: str,
    password_algo: str,
    password_params: dict[str, int],
    mail_id: UUID,
    audit_id: UUID,
) -> SessionRow | None:
    """Change a password, end all sessions, open one; None: the epoch is another by now."""
    return OPEN_CHANGED.one_or_none(
        conn,
        **asdict(new),
        **asdict(buckets),
        **asdict(caller),
        password_hash=password_hash,
        password_algo=password_algo,
        password_params=password_params,
        tenant_id=tenant_id,
        user_id=user_id,
        epoch=epoch,
        mail_id=mail_id,
        audit_id=audit_id,
    )


def reauthenticate(
    conn: Conn,
    buckets: BucketKeys,
    caller: Caller,
    *,
    tenant_id: str,
    user_id: UUID,
    session_id: UUID,
    epoch: int,
    hash_version: int,
    new_hash: str | None,
    new_algo: str | None,
    new_params: dict[str, int],
    audit_id: UUID,
    upgrade_audit_id: UUID,
) -> SessionRow | None:
    """Note that the password was proven now; None: the session has ended."""
    return REAUTHENTICATE.one_or_none(
        conn,
        **asdict(buckets),
        **asdict(caller),
        new_hash=new_hash,
        new_algo=new_algo,
        new_params=new_params,
        tenant_id=tenant_id,
        user_id=user_id,
        session_id=session_id,
        epoch=epoch,
        hash_version=hash_version,
        audit_id=audit_id,
        upgrade_audit_id=upgrade_audit_id,
    )


def renew(
    conn: Conn,
    *,
    tenant_id: str,
    session_id: UUID,
    secret_hash: bytes,
    generation: int,
    token_hash: bytes,
    idle_s: int,
) -> SessionRow | None:
    """Move a live session from `generation` to the next; None: ask `renew_again`."""
    return RENEW.one_or_none(
        conn,
        tenant_id=tenant_id,
        session_id=session_id,
        secret_hash=secret_hash,
        generation=generation,
        token_hash=token_hash,
        idle_s=idle_s,
    )


def renew_again(
    conn: Conn,
    caller: Caller,
    *,
    tenant_id: str,
    session_id: UUID,
    secret_hash: bytes,
    generation: int,
    grace_s: int,
    audit_id: UUID,
    mail_id: UUID,
) -> SessionRow | None:
    """Decide on a token that is not the newest of a live session; None: no such session.

    `outcome`: invalid, revoked, expired, current (renew it), retried, or reused: revoked by this.
    """
    return RENEW_AGAIN.one_or_none(
        conn,
        **asdict(caller),
        tenant_id=tenant_id,
        session_id=session_id,
        secret_hash=secret_hash,
        generation=generation,
        grace_s=grace_s,
        audit_id=audit_id,
        mail_id=mail_id,
    )


def end(
    conn: Conn,
    caller: Caller,
    *,
    tenant_id: str,
    session_id: UUID,
    secret_hash: bytes,
    audit_id: UUID,
) -> int:
    """Log out by a token's secret; 0: ended before, or no such session."""
    return END.count(
        conn,
        **asdict(caller),
        tenant_id=tenant_id,
        session_id=session_id,
        secret_hash=secret_hash,
        audit_id=audit_id,
    )


def revoke(
    conn: Conn,
    caller: Caller,
    *,
    tenant_id: str,
    user_id: UUID,
    session_id: UUID,
    reason: str,
    audit_id: UUID,
) -> str | None:
    """End a session of the user, twice is harmless: why it ended; None: there is no such one."""
    return REVOKE.one_or_none(
        conn,
        **asdict(caller),
        tenant_id=tenant_id,
        user_id=user_id,
        session_id=session_id,
        reason=reason,
        audit_id=audit_id,
    )


def revoke_others(
    conn: Conn, caller: Caller, *, tenant_id: str, user_id: UUID, session_id: UUID, audit_id: UUID
) -> int:
    """End all sessions of the user but this one; always one audit row."""
    return REVOKE_OTHERS.count(
        conn,
        **asdict(caller),
        tenant_id=tenant_id,
        user_id=user_id,
        session_id=session_id,
        audit_id=audit_id,
    )


def revoke_all(
    conn: Conn,
    caller: Caller,
    *,
    tenant_id: str,
    user_id: UUID,
    subject: str,
    reason: str,
    audit_id: UUID,
) -> int:
    """End all sessions of the user, also those that open this moment; 0: no such user."""
    return REVOKE_ALL.count(
        conn,
        **asdict(caller),
        tenant_id=tenant_id,
        user_id=user_id,
        subject=subject,
        reason=reason,
        audit_id=audit_id,
    )


def revoke_surplus(
    conn: Conn,
    *,
    tenant_id: str,
    user_id: UUID,
    session_limit: int,
    audit_id: UUID,
    request_id: str,
) -> int:
    """End the least recently used sessions beyond `session_limit`; 1 if there were any."""
    return REVOKE_SURPLUS.count(
        conn,
        tenant_id=tenant_id,
        user_id=user_id,
        session_limit=session_limit,
        audit_id=audit_id,
        request_id=request_id,
    )


def list_by_user(
    conn: Conn, *, tenant_id: str, user_id: UUID, before_id: UUID, row_limit: int
) -> list[ListedRow]:
    """Up to `row_limit` live sessions opened before the session `before_id`, newest first."""
    return LIST_BY_USER.all(
        conn, tenant_id=tenant_id, user_id=user_id, before_id=before_id, row_limit=row_limit
    )


def delete_old(conn: Conn, *, tenant_id: str, batch: int) -> int:
    """Delete at most `batch` sessions that ended a week ago; how many went."""
    return DELETE_OLD.count(conn, tenant_id=tenant_id, batch=batch)


def delete_old_tokens(conn: Conn, *, tenant_id: str, batch: int) -> int:
    """Delete at most `batch` refresh tokens given out a week ago; how many went."""
    return DELETE_OLD_TOKENS.count(conn, tenant_id=tenant_id, batch=batch)


def count_leftovers(conn: Conn, *, tenant_id: str) -> int:
    """How many sessions, tokens, links and mails of the tenant a purge would delete."""
    return COUNT_LEFTOVERS.one(conn, tenant_id=tenant_id)
