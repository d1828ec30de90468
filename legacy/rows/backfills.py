"""How far the backfill of a domain is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from legacy.rows import SQL
from persistence.statements import statement

if TYPE_CHECKING:
    from datetime import datetime

    from persistence.db import Conn


@dataclass(frozen=True, slots=True, kw_only=True)
class CursorRow:
    """`after_id`: the last legacy id that is done; None: none yet."""

    after_id: str | None
    rows_done: int
    rows_rejected: int
    started_at: datetime
    finished_at: datetime | None


BEGIN = statement("backfills/begin", CursorRow, root=SQL)
GET = statement("backfills/get", CursorRow, root=SQL)
LOCK = statement("backfills/lock", CursorRow, root=SQL)
ADVANCE = statement("backfills/advance", root=SQL)


def begin(conn: Conn, *, tenant_id: str, domain: str, restarts: bool) -> CursorRow:
    """Return where to go on; `restarts`: from the first row again."""
    return BEGIN.one(conn, tenant_id=tenant_id, domain=domain, restarts=restarts)


def get(conn: Conn, *, tenant_id: str, domain: str) -> CursorRow | None:
    """Return how far it is; None: it was never begun."""
    return GET.one_or_none(conn, tenant_id=tenant_id, domain=domain)


def lock(conn: Conn, *, tenant_id: str, domain: str) -> CursorRow | None:
    """Return how far it is, and hold the cursor until the transaction ends."""
    return LOCK.one_or_none(conn, tenant_id=tenant_id, domain=domain)


def advance(
    conn: Conn,
    *,
    tenant_id: str,
    domain: str,
    after_id: str | None,
    done: int,
    rejected: int,
    is_last: bool,
) -> int:
    """Note that a batch is done, with the batch."""
    return ADVANCE.count(
        conn,
        tenant_id=tenant_id,
        domain=domain,
        after_id=after_id,
        done=done,
        rejected=rejected,
        is_last=is_last,
    )
