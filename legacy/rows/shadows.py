"""Shadow reads: how many there were, and which rows differed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from legacy.rows import SQL
from persistence.statements import statement

if TYPE_CHECKING:
    from collections.abc import Sequence

    from persistence.db import Conn

COUNT = statement("shadows/count", root=SQL)
NOTE = statement("shadows/note", root=SQL)


def count(conn: Conn, *, tenant_id: str, domain: str, **results: int) -> int:
    """Add to the day's numbers."""
    return COUNT.count(conn, tenant_id=tenant_id, domain=domain, **results)


def note(
    conn: Conn,
    *,
    tenant_id: str,
    domain: str,
    entity_id: str,
    columns: Sequence[str],
    truth_hash: bytes,
    follower_hash: bytes | None,
) -> int:
    """Note a row that differed, in place of what was noted of it before."""
    return NOTE.count(
        conn,
        tenant_id=tenant_id,
        domain=domain,
        entity_id=entity_id,
        columns=list(columns),
        truth_hash=truth_hash,
        follower_hash=follower_hash,
    )
