"""The event feed: what happened to all payments of a tenant, and the epochs it goes by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from persistence.statements import statement

if TYPE_CHECKING:
    from uuid import UUID

    from persistence.db import Conn


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedRow:
    """A place in the feed. `event` is None if its type was not asked for."""

    epoch: int
    xid: str
    payment_id: UUID
    seq: int
    event: dict[str, Any] | None


BEGIN_EPOCH = statement("events/begin_epoch", int)
CHECK_EPOCH = statement("events/check_epoch", bool)
GET_LAG = statement("events/get_lag", int)
LIST = statement("events/list", FeedRow)


def begin_epoch(conn: Conn, *, audit_id: UUID, subject: str, reason: str) -> int:
    """Begin the next epoch; its number."""
    return BEGIN_EPOCH.one(conn, audit_id=audit_id, subject=subject, reason=reason)


def check_epoch(conn: Conn) -> bool:
    """Whether events of this epoch lie ahead of the server: a restore that no epoch followed."""
    return CHECK_EPOCH.one(conn)


def get_lag(conn: Conn) -> int:
    """Milliseconds for which the oldest committed event waits to be served; 0: none does."""
    return GET_LAG.one(conn)


def list_(
    conn: Conn,
    *,
    tenant_id: str,
    after_epoch: int,
    after_xid: str,
    after_payment_id: UUID,
    after_seq: int,
    types: str,
    row_limit: int,
) -> list[FeedRow]:
    """Places of the feed after a position; `types` with commas between, "" is all."""
    return LIST.all(
        conn,
        tenant_id=tenant_id,
        after_epoch=after_epoch,
        after_xid=after_xid,
        after_payment_id=after_payment_id,
        after_seq=after_seq,
        types=types,
        row_limit=row_limit,
    )
