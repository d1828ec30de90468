"""Opens the stores that LEGACY_CONFIG names, with the column map of a tenant (D42)."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from legacy.columns import ColumnMap
from legacy.config_file import ConfigFaults, load
from legacy.links import Link, NoLink
from legacy.stores import open_store
from repos import currencies

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from legacy.columns import DomainConfig
    from legacy.settings import LegacySettings
    from persistence.db import Database

READ_ONLY = ("jsonl", "csv")


def opener(
    settings: LegacySettings,
    db: Database,
    our_database_url: str,
    *,
    var_dir: Path | None = None,
    files: Mapping[str, Path] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Callable[[str, str], Link]:
    """Return what opens a domain's store. ConfigFaults; without LEGACY_CONFIG there is none.

    `var_dir`: where a store in memory leaves the mark that this process has it. `files`: by
    domain, exports to read in place of those that the configuration names.
    """
    configs: dict[str, DomainConfig] = {}
    if settings.config is not None:
        given = os.environ if environ is None else environ
        configs = load(settings.config.read_text("utf-8"), given)

    for domain, path in (files or {}).items():
        if domain in configs:
            configs[domain] = _of_file(configs[domain], path)

    def open_link(tenant_id: str, domain: str) -> Link:
        if domain not in configs:
            raise NoLink(f"LEGACY_CONFIG has no section [{domain}]")
        mapping = ColumnMap(configs[domain], tenant_id, _exponents(db))
        lock_path = None
        if var_dir is not None and mapping.config.adapter == "memory":
            lock_path = var_dir / f"legacy-{tenant_id}-{domain}.lock"
        return _link(mapping, settings, our_database_url, lock_path)

    return open_link


def _of_file(config: DomainConfig, path: Path) -> DomainConfig:
    if config.adapter not in READ_ONLY:
        raise ConfigFaults([f"{config.domain}.adapter: {' or '.join(READ_ONLY)}, for an import"])
    return replace(config, dsn=str(path))


def _link(
    mapping: ColumnMap, settings: LegacySettings, our_database_url: str, lock_path: Path | None
) -> Link:
    config = mapping.config
    store = open_store(
        mapping,
        our_database_url=our_database_url,
        timeout_ms=settings.timeout_ms,
        overlap_s=settings.poll_overlap_s,
        lock_path=lock_path,
    )
    return Link(
        adapter=config.adapter,
        store=store,
        columns=frozenset(mapping.by_name),
        compare=mapping,
        # What is only read is never written by us (D30).
        writers="legacy" if config.adapter in READ_ONLY else config.writers,
    )


def _exponents(db: Database) -> dict[str, int | None]:
    with db.read() as conn:
        return {row.code: row.exponent for row in currencies.list_all(conn)}
