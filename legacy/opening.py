"""Opens the stores that LEGACY_CONFIG names, with the column map of a tenant (D42)."""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from legacy.columns import ColumnMap
from legacy.config_file import load
from legacy.links import Link, NoLink
from repos import currencies

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from legacy.columns import DomainConfig
    from legacy.settings import LegacySettings
    from persistence.db import Database

ADAPTERS = {
    "memory": ("legacy.stores.memory", "MemoryStore"),
    "sqlite": ("legacy.stores.sqlite", "SqliteStore"),
    "postgres": ("legacy.stores.postgres", "PostgresStore"),
    "jsonl": ("legacy.stores.files", "FileStore"),
    "csv": ("legacy.stores.files", "FileStore"),
}


def opener(
    settings: LegacySettings, db: Database, environ: Mapping[str, str] | None = None
) -> Callable[[str, str], Link]:
    """Return what opens a domain's store. ConfigFaults; without LEGACY_CONFIG there is none."""
    configs: dict[str, DomainConfig] = {}
    if settings.config is not None:
        given = os.environ if environ is None else environ
        configs = load(settings.config.read_text("utf-8"), given)

    def open_link(tenant_id: str, domain: str) -> Link:
        if domain not in configs:
            raise NoLink(f"LEGACY_CONFIG has no section [{domain}]")
        mapping = ColumnMap(configs[domain], tenant_id, _exponents(db))
        return _link(mapping, settings)

    return open_link


def _link(mapping: ColumnMap, settings: LegacySettings) -> Link:
    config = mapping.config
    module, name = ADAPTERS[config.adapter]
    make: Callable[..., Any] = getattr(import_module(module), name)
    more: dict[str, Any] = {}
    if config.adapter in {"jsonl", "csv"}:
        more["path"] = Path(config.dsn)
    elif config.adapter in {"sqlite", "postgres"}:
        more = {"timeout_ms": settings.timeout_ms, "overlap_s": settings.poll_overlap_s}
    return Link(
        adapter=config.adapter,
        store=make(mapping, **more),
        columns=frozenset(mapping.by_name),
        compare=mapping,
        writers=config.writers,
    )


def _exponents(db: Database) -> dict[str, int | None]:
    with db.read() as conn:
        return {row.code: row.exponent for row in currencies.list_all(conn)}
