"""All that dies after the move from a legacy store; one line of app.py knows it (MF3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from config import ConfigError, Fault
from legacy import refusals
from legacy.commands import legacy_group, verify_drift
from legacy.settings import LegacySettings
from persistence import db_errors

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
    app.cli.add_command(legacy_group)
    app.cli.add_command(verify_drift)
