"""Ids that the legacy side has handed out in advance (D26)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from legacy.rows import SQL
from persistence.statements import statement

if TYPE_CHECKING:
    from collections.abc import Sequence

    from persistence.db import Conn

COUNT_FREE = statement("legacy_id_pool/count_free", int, root=SQL)
QUEUE = statement("legacy_id_pool/queue", root=SQL)
GIVE = statement("legacy_id_pool/give", str, root=SQL)


def count_free(conn: Conn, *, tenant_id: str, domain: str) -> int:
    """Return how many ids are at hand."""
    return COUNT_FREE.one(conn, tenant_id=tenant_id, domain=domain)


def queue(conn: Conn, *, tenant_id: str, domain: str, legacy_ids: Sequence[str]) -> int:
    """Keep ids for later; return how many are new here."""
    return QUEUE.count(conn, tenant_id=tenant_id, domain=domain, legacy_ids=list(legacy_ids))


def give(conn: Conn, *, tenant_id: str, domain: str, wanted: int) -> list[str]:
    """Return up to so many ids, which nobody else gets."""
    return GIVE.all(conn, tenant_id=tenant_id, domain=domain, wanted=wanted)
