"""Opens the stores that LEGACY_CONFIG names, with the column map of a tenant (D42)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from legacy.columns import ColumnMap
from legacy.config_file import load
from legacy.links import Link, NoLink
from legacy.stores import open_store
from repos import currencies

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from legacy.columns import DomainConfig
    from legacy.settings import LegacySettings
    from persistence.db import Database


def opener(
    settings: LegacySettings,
    db: Database,
    our_database_url: str,
    environ: Mapping[str, str] | None = None,
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
        return _link(mapping, settings, our_database_url)

    return open_link


def _link(mapping: ColumnMap, settings: LegacySettings, our_database_url: str) -> Link:
    config = mapping.config
    store = open_store(
        mapping,
        our_database_url=our_database_url,
        timeout_ms=settings.timeout_ms,
        overlap_s=settings.poll_overlap_s,
    )
    return Link(
        adapter=config.adapter,
        store=store,
        columns=frozenset(mapping.by_name),
        compare=mapping,
        writers=config.writers,
    )


def _exponents(db: Database) -> dict[str, int | None]:
    with db.read() as conn:
        return {row.code: row.exponent for row in currencies.list_all(conn)}
