"""Links by mail: asked for, looked at; what they do is a step of the statement that uses them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from persistence.statements import statement

if TYPE_CHECKING:
    from uuid import UUID

    from persistence.db import Conn
    from repos.audit import Caller


@dataclass(frozen=True, slots=True, kw_only=True)
class NewLink:
    """A link to be mailed: what its token is made of. `ttl_s`: how long it works."""

    token_hash: bytes
    nonce: bytes
    master_key_id: str
    ttl_s: int
    mail_key: bytes
    mail_limit: int
    mail_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkRow:
    """A link that works now, and its user. `sent_to` is the address that it proves."""

    sent_to: str
    email: str
    email_norm: str
    role: str
    stored_hash: str | None


REQUEST = statement("one_time_tokens/request", int)
GET = statement("one_time_tokens/get", LinkRow)
DELETE_OLD = statement("one_time_tokens/delete_old")


def request(
    conn: Conn,
    link: NewLink,
    caller: Caller,
    *,
    tenant_id: str,
    user_id: UUID,
    purpose: str,
    new_email: str | None,
    template: str,
    event: str,
    audit_id: UUID,
) -> int:
    """Count the mail, and write link and mail if it is anybody's; how many mails: 0 or 1."""
    return REQUEST.one(
        conn,
        **asdict(link),
        **asdict(caller),
        tenant_id=tenant_id,
        user_id=user_id,
        purpose=purpose,
        new_email=new_email,
        template=template,
        event=event,
        audit_id=audit_id,
    )


def get(
    conn: Conn, *, tenant_id: str, user_id: UUID, purpose: str, token_hash: bytes
) -> LinkRow | None:
    """Return what a link is good for now; None: nothing."""
    return GET.one_or_none(
        conn, tenant_id=tenant_id, user_id=user_id, purpose=purpose, token_hash=token_hash
    )


def delete_old(conn: Conn, *, tenant_id: str, batch: int) -> int:
    """Delete at most `batch` links that expired a day ago; how many went."""
    return DELETE_OLD.count(conn, tenant_id=tenant_id, batch=batch)
