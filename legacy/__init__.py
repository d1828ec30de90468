"""All that dies after the move from a legacy store; one line of app.py knows it (MF3)."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from config import ConfigError, Fault
from legacy import refusals
from legacy.blueprint import routes
from legacy.commands import legacy_group
from legacy.commands_comparing import verify_drift
from legacy.jobs import with_jobs
from legacy.parts import make
from legacy.settings import LegacySettings
from legacy.wiring import ready, wrapped
from persistence import db_errors
from services import job_catalogue

if TYPE_CHECKING:
    from flask import Flask

    from services import Services


def install(app: Flask) -> None:
    """Add commands and endpoints, and what the gate's refusal means here."""
    held: Services = app.extensions["strongroom"]
    settings = LegacySettings.load()
    flags = {
        "FEATURE_DUAL_WRITE_USERS": held.config.feature_dual_write_users,
        "FEATURE_DUAL_WRITE_PAYMENTS": held.config.feature_dual_write_payments,
    }
    if settings.config is None and any(flags.values()):
        said = "needs LEGACY_CONFIG, which says where the legacy store is"  # D4.
        raise ConfigError([Fault(name, said) for name, on in flags.items() if on])
    configured = settings.config is not None
    db_errors.REFUSALS["LG001"] = (
        refusals.DomainFollowsLegacy if configured else refusals.TruthIsLegacy
    )
    db_errors.WAITS["legacy_gate"] = refusals.MigrationSwitching  # D7.
    job_catalogue.EXTENSIONS.pop("legacy", None)
    if configured:
        parts = app.extensions["legacy"] = make(held.config, held.db, settings)
        held = wrapped(held, parts)
        app.register_blueprint(routes)
        job_catalogue.EXTENSIONS["legacy"] = partial(with_jobs, held.config, settings)
    health = ready(held, is_configured=configured)
    app.extensions["strongroom"] = replace(held, health=cast("Any", health))
    app.cli.add_command(legacy_group)
    app.cli.add_command(verify_drift)
