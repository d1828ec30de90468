"""Marks: keys that may differ, and the shards in which they are copied."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from legacy.rows import SQL
from persistence.sql_files import SqlFile
from persistence.statements import Statement, statement

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from persistence.db import Conn


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkRow:
    """A dirty key: the legacy id, or ours of a row that legacy has never had."""

    mark_id: UUID
    entity_id: str
    attempts: int


TRY_SHARD = statement("mirror_marks/try_shard", bool, root=SQL)
LIST_SHARDS = statement("mirror_marks/list_shards", int, root=SQL)
LIST_DUE = statement("mirror_marks/list_due", MarkRow, root=SQL)
LIST_ALL = statement("mirror_marks/list_all", MarkRow, root=SQL)
MARK = statement("mirror_marks/mark", root=SQL)
# Not in the catalogue, which asks the server by PREPARE, as SHOW cannot be. A session keeps
# the snapshot of its last query until it gets another, and this needs none (measured).
RELEASE_SNAPSHOT: Statement[str] = Statement(
    SqlFile(
        name="mirror_marks/release_snapshot",
        query="SHOW transaction_isolation",
        params=(),
        kind="read",
        returns="one",
        scan=None,
        claims=None,
        present=frozenset(),
    ),
    str,
)
DELETE = statement("mirror_marks/delete", root=SQL)
PUT_OFF = statement("mirror_marks/put_off", root=SQL)


def try_shard(conn: Conn, *, tenant_id: str, domain: str, shard: int) -> bool:
    """Take a shard until the transaction ends; False: somebody has it."""
    return TRY_SHARD.one(conn, tenant_id=tenant_id, domain=domain, shard=shard)


def list_shards(conn: Conn, *, tenant_id: str, domain: str) -> list[int]:
    """Return the shards that have something to do."""
    return LIST_SHARDS.all(conn, tenant_id=tenant_id, domain=domain)


def list_due(
    conn: Conn, *, tenant_id: str, domain: str, shard: int, row_limit: int
) -> list[MarkRow]:
    """Return marks of a shard whose time has come."""
    return LIST_DUE.all(conn, tenant_id=tenant_id, domain=domain, shard=shard, row_limit=row_limit)


def list_all(conn: Conn, *, tenant_id: str, domain: str, row_limit: int) -> list[MarkRow]:
    """Return marks of all shards, due or not."""
    return LIST_ALL.all(conn, tenant_id=tenant_id, domain=domain, row_limit=row_limit)


def mark(conn: Conn, *, tenant_id: str, domain: str, entity_ids: Sequence[str], origin: str) -> int:
    """Mark keys; `origin` says who found them dirty."""
    return MARK.count(
        conn, tenant_id=tenant_id, domain=domain, entity_ids=list(entity_ids), origin=origin
    )


def release_snapshot(conn: Conn) -> None:
    """Let go of the last query's snapshot, before a call that may take long (D22)."""
    RELEASE_SNAPSHOT.one(conn)


def delete(conn: Conn, *, tenant_id: str, domain: str, mark_ids: Sequence[UUID]) -> int:
    """Take exactly these marks away."""
    return DELETE.count(conn, tenant_id=tenant_id, domain=domain, mark_ids=list(mark_ids))


def put_off(
    conn: Conn,
    *,
    tenant_id: str,
    domain: str,
    mark_ids: Sequence[UUID],
    entity_id: str,
    attempts: int,
    last_error: str,
) -> int:
    """Try a key again later, and later each time; 0: its marks are gone."""
    return PUT_OFF.count(
        conn,
        tenant_id=tenant_id,
        domain=domain,
        mark_ids=list(mark_ids),
        entity_id=entity_id,
        attempts=attempts,
        last_error=last_error,
    )
