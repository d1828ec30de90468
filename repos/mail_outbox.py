"""Mails that wait to be sent: due, taken, finished, forgotten."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from persistence.statements import statement

if TYPE_CHECKING:
    from uuid import UUID

    from persistence.db import Conn


@dataclass(frozen=True, slots=True, kw_only=True)
class DueRow:
    """A mail that is due."""

    tenant_id: str
    id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class MailRow:
    """A mail that was taken for a minute; with a purpose, what its link is made of.

    `is_void`: its link no longer works, or a notice has become too old.
    """

    tenant_id: str
    id: UUID
    user_id: UUID
    template: str
    purpose: str | None
    to_address: str
    attempts: int
    nonce: bytes | None
    master_key_id: str | None
    is_void: bool


LIST_DUE = statement("mail_outbox/list_due", DueRow)
CLAIM = statement("mail_outbox/claim", MailRow)
FINISH = statement("mail_outbox/finish")
DELETE_OLD = statement("mail_outbox/delete_old")


def list_due(conn: Conn, *, row_limit: int) -> list[DueRow]:
    """Up to `row_limit` mails that are due, of all tenants, the longest due first."""
    return LIST_DUE.all(conn, row_limit=row_limit)


def claim(conn: Conn, *, tenant_id: str, mail_id: UUID) -> MailRow | None:
    """Take a mail; None: another sender has it."""
    return CLAIM.one_or_none(conn, tenant_id=tenant_id, mail_id=mail_id)


def finish(
    conn: Conn,
    *,
    tenant_id: str,
    mail_id: UUID,
    is_sent: bool,
    retry_s: int | None,
    error: str | None,
) -> int:
    """Record how sending ended; `retry_s` None: nothing is left to do."""
    return FINISH.count(
        conn, tenant_id=tenant_id, mail_id=mail_id, is_sent=is_sent, retry_s=retry_s, error=error
    )


def delete_old(conn: Conn, *, tenant_id: str, batch: int) -> int:
    """Delete at most `batch` mails that were sent or given up a week ago; how many went."""
    return DELETE_OLD.count(conn, tenant_id=tenant_id, batch=batch)
