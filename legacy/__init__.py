"""All that dies after the move from a legacy store; one line of app.py knows it (MF3)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from config import ConfigError, Fault
from legacy import refusals
from legacy.commands import legacy_group
from legacy.commands_comparing import verify_drift
from legacy.parts import Parts, make
from legacy.settings import LegacySettings
from legacy.wrapper import Dual, DualSignIn, Moving, without_upgrade
from persistence import db_errors
from services.payment_commands import PaymentSettings

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
    if configured:
        parts = app.extensions["legacy"] = make(held.config, held.db, settings)
        app.extensions["strongroom"] = _wrapped(held, parts)
    app.cli.add_command(legacy_group)
    app.cli.add_command(verify_drift)


def _wrapped(held: Services, parts: Parts) -> Services:
    """Return the services, with those in front that a phase may lead another way."""
    config = held.config
    payments = PaymentSettings(
        ledger=config.feature_ledger_enabled,
        key_ttl_s=config.idempotency_ttl_s,
        authorization_ttl_s=config.authorization_ttl_s,
        duplicate_window_s=config.duplicate_window_s,
    )
    moving = Moving(held.db, parts.mirror, parts.intents, held, payments)
    passwords: Any = held.passwords
    passwords.verify = without_upgrade(passwords.verify)
    return replace(
        held,
        payments=cast("Any", Dual(held.payments, moving)),
        refunds=cast("Any", Dual(held.refunds, moving, resource_type="refund")),
        sign_in=cast("Any", DualSignIn(held.sign_in, held.db, parts.mirror)),
    )
