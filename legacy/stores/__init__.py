"""Adapters: one module for each kind of legacy store; which one is what `adapter` says."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from legacy.stores.files import FileStore
from legacy.stores.memory import MemoryStore
from legacy.stores.postgres import PostgresStore
from legacy.stores.sqlite import SqliteStore

if TYPE_CHECKING:
    from legacy.columns import ColumnMap
    from legacy.store import LegacyStore, RowRejected


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
