"""Adapters: one module for each kind of legacy store; which one is what `adapter` says."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from legacy.store import RowsRejected
from legacy.stores.files import FileStore
from legacy.stores.memory import MemoryStore
from legacy.stores.postgres import PostgresStore
from legacy.stores.sqlite import SqliteStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from legacy.columns import ColumnMap
    from legacy.store import LegacyStore, RowRejected

PAGE_ROWS = 1_000
ALL_ROWS = 2**62


def open_store(
    mapping: ColumnMap,
    *,
    our_database_url: str,
    timeout_ms: int = 500,
    overlap_s: int = 300,
    lock_path: Path | None = None,
) -> LegacyStore:
    """Return the store of a map; it connects at first use, but files are read at once.

    `timeout_ms` and `overlap_s` are LEGACY_TIMEOUT_MS and LEGACY_POLL_OVERLAP_S; `lock_path`: the
    file by which the store in memory knows a second process. Raises what the store raises.
    """
    adapter = mapping.config.adapter
    if adapter == "postgres":
        return PostgresStore(
            mapping,
            our_database_url=our_database_url,
            timeout_ms=timeout_ms,
            overlap_s=overlap_s,
        )
    if adapter == "sqlite":
        return SqliteStore(mapping, timeout_ms=timeout_ms, overlap_s=overlap_s)
    if adapter == "memory":
        return MemoryStore(mapping, lock_path)
    return FileStore(mapping, Path(mapping.config.dsn))


def prepare_sql(store: LegacyStore) -> str | None:
    """Return what the legacy side runs before the move; None: nothing. LegacyUnavailable."""
    return store.prepare_sql() if isinstance(store, (PostgresStore, SqliteStore)) else None


def rejected_lines(store: LegacyStore) -> list[RowRejected]:
    """Return the lines of a file that are no row, or one of several rows of an id."""
    return list(store.rejected) if isinstance(store, FileStore) else []


def changed_ids(store: LegacyStore, since: datetime) -> Iterator[str]:
    """Yield the ids of rows that changed since then; of those that break our rules too.

    By `updated_at` where the map has it, else by `created_at` of a map without, that is, of new
    rows only.
    """
    if isinstance(store, (PostgresStore, SqliteStore)) and store.tells_changes:
        yield from (legacy_id for legacy_id, _ in store.changed(since, ALL_ROWS))
        return
    after = None
    while ids := store.scan_ids(after, PAGE_ROWS):
        try:
            rows = store.get_many(ids)
        except RowsRejected as error:
            rows = error.rows
            yield from (each.id for each in error.rejected)
        yield from (key for key, row in rows.items() if row.row["updated_at"] >= since)
        after = ids[-1]
