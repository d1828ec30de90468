"""Addresses: registered, proven by links, changed; and who never proved one."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from persistence.statements import statement

if TYPE_CHECKING:
    from uuid import UUID

    from persistence.db import Conn
    from repos.audit import Caller
    from repos.one_time_tokens import NewLink


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnerRow:
    """Who has an address. `is_unproven`: never let in, never verified."""

    id: UUID
    is_unproven: bool


GET_OWNER = statement("emails/get_owner", OwnerRow)
REGISTER = statement("emails/register")
REGISTER_AGAIN = statement("emails/register_again")
VERIFY = statement("emails/verify")
CHANGE = statement("emails/change")
DELETE_UNVERIFIED = statement("emails/delete_unverified")


def get_owner(conn: Conn, *, tenant_id: str, email_norm: str) -> OwnerRow | None:
    """Return whose an address is; None: nobody's."""
    return GET_OWNER.one_or_none(conn, tenant_id=tenant_id, email_norm=email_norm)


def register(
    conn: Conn,
    link: NewLink,
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
) -> int:
    """Make a user who has to prove the address; 0: a closed tenant, or it is taken."""
    return REGISTER.count(
        conn,
        **asdict(link),
        **asdict(caller),
        tenant_id=tenant_id,
        user_id=user_id,
        email=email,
        email_norm=email_norm,
        display_name=display_name,
        password_hash=password_hash,
        password_algo=password_algo,
        password_params=password_params,
        audit_id=audit_id,
    )


def register_again(
    conn: Conn,
    link: NewLink,
    caller: Caller,
    *,
    tenant_id: str,
    user_id: UUID,
    display_name: str | None,
    password_hash: str,
    password_algo: str,
    password_params: dict[str, int],
    audit_id: UUID,
) -> int:
    """Answer a registration of the user's address by mail; 0: a closed tenant, or no user."""
    return REGISTER_AGAIN.count(
        conn,
        **asdict(link),
        **asdict(caller),
        tenant_id=tenant_id,
        user_id=user_id,
        display_name=display_name,
        password_hash=password_hash,
        password_algo=password_algo,
        password_params=password_params,
        audit_id=audit_id,
    )


def verify(
    conn: Conn, caller: Caller, *, tenant_id: str, user_id: UUID, token_hash: bytes, audit_id: UUID
) -> int:
    """Use a link that proves the user's address; 0: it is good for nothing."""
    return VERIFY.count(
        conn,
        **asdict(caller),
        tenant_id=tenant_id,
        user_id=user_id,
        token_hash=token_hash,
        audit_id=audit_id,
    )


def change(
    conn: Conn,
    caller: Caller,
    *,
    tenant_id: str,
    user_id: UUID,
    token_hash: bytes,
    email: str,
    email_norm: str,
    mail_id: UUID,
    audit_id: UUID,
) -> int:
    """Use a link that proves a new address; 0: good for nothing. Raises EmailTaken."""
    return CHANGE.count(
        conn,
        **asdict(caller),
        tenant_id=tenant_id,
        user_id=user_id,
        token_hash=token_hash,
        email=email,
        email_norm=email_norm,
        mail_id=mail_id,
        audit_id=audit_id,
    )


def delete_unverified(
    conn: Conn, *, tenant_id: str, days: int, batch: int, audit_ids: list[UUID]
) -> int:
    """Erase at most `batch` users who never proved their address; as many audit ids."""
    return DELETE_UNVERIFIED.count(
        conn, tenant_id=tenant_id, days=days, batch=batch, audit_ids=audit_ids
    )
