"""Everything of the move, made from configuration and a database: for commands, views and jobs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from legacy.backfill import Backfill
from legacy.drift import Verifier
from legacy.intents import Intents
from legacy.links import Links
from legacy.mirror import Mirror
from legacy.opening import opener
from legacy.phases import Phases
from persistence.migration_check import MigrationCheck

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from config import Config
    from legacy.settings import LegacySettings
    from persistence.db import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The use cases of the move."""

    db: Database
    settings: LegacySettings
    links: Links
    mirror: Mirror
    phases: Phases
    backfill: Backfill
    intents: Intents
    verifier: Verifier
    flags: dict[str, bool]


def make(
    config: Config,
    db: Database,
    settings: LegacySettings,
    files: Mapping[str, Path] | None = None,
) -> Parts:
    """Make the parts. ConfigFaults; stores are opened at first use. `files`: see `opener`."""
    url = config.database_url.get_secret_value() if config.database_url else ""
    links = Links(opener(settings, db, url, var_dir=config.var_dir, files=files))
    mirror = Mirror(db, links, ledger=config.feature_ledger_enabled, id_pool=settings.id_pool)
    intents = Intents(db, mirror, settings)
    mirror.recover = intents.recover
    flags = {
        "users": config.feature_dual_write_users,
        "payments": config.feature_dual_write_payments,
    }
    return Parts(
        db=db,
        settings=settings,
        links=links,
        mirror=mirror,
        phases=Phases(
            db,
            links,
            mirror,
            settings,
            schema=MigrationCheck(schema=config.migrate_schema),
            flags=flags,
            ledger=config.feature_ledger_enabled,
        ),
        intents=intents,
        backfill=Backfill(db, mirror, target_ms=settings.batch_target_ms),
        verifier=Verifier(db, mirror, grace_ms=settings.grace_ms),
        flags=flags,
    )
