"""The services, with those in front that a phase may lead another way (MF3)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from legacy.password_twins import PasswordTwins
from legacy.payment_reads import ExportReads, PaymentReads
from legacy.people import Brought, BroughtSessions, People, by_ask, by_email, by_id
from legacy.readiness import MoveHealth
from legacy.shadow import Shadow
from legacy.truth import Truth
from legacy.user_reads import ListReads, UserReads
from legacy.user_writes import UsersDb, UserWrites
from legacy.wrapper import Dual, Moving
from services.cursors import Cursors
from services.passwords import Passwords, PasswordSettings
from services.payment_commands import PaymentSettings
from services.refresh_tokens import RefreshTokens

if TYPE_CHECKING:
    from config import Config
    from legacy.intents import Intents
    from legacy.parts import Parts
    from services import Services


def wrapped(held: Services, parts: Parts) -> Services:
    """Return the services as they are during a move."""
    truth = Truth(held.db, parts.mirror)
    people = People(truth)
    _double_passwords(held, truth)
    _lead_user_writes(held, UserWrites(truth, people, parts.intents))
    settings = parts.settings
    shadow = Shadow(truth, percent=settings.shadow_percent, grace_ms=settings.grace_ms)
    return replace(
        held,
        **_payments(held, truth, parts.intents, shadow),
        **_people(held, truth, people, shadow),
    )


def ready(held: Services, *, is_configured: bool) -> MoveHealth:
    """Return health with what it means to be ready during a move (D3, D4)."""
    config, inner = held.config, held.health
    flags = {
        "users": config.feature_dual_write_users,
        "payments": config.feature_dual_write_payments,
    }
    return MoveHealth(
        inner,
        vars(inner)["_probe"],
        flags,
        is_configured=is_configured,
        ledger=config.feature_ledger_enabled,
    )


def _payments(held: Services, truth: Truth, intents: Intents, shadow: Shadow) -> dict[str, Any]:
    config = held.config
    moving = Moving(held.db, truth, intents, held, _payment_settings(config))
    queries = PaymentReads(held.payment_queries, truth, _cursors(config), shadow)
    payments = Dual(held.payments, moving)
    # It ends payments, and looks at them: both by the path of the phase.
    vars(held.key_cancellation).update(_payments=payments, _queries=queries)
    return {
        "payments": payments,
        "refunds": Dual(held.refunds, moving, resource_type="refund"),
        "payment_queries": queries,
        "payment_exports": ExportReads(held.payment_exports, queries),
    }


def _people(held: Services, truth: Truth, people: People, shadow: Shadow) -> dict[str, Any]:
    tokens = RefreshTokens(held.config.subkeys("refresh"))
    return {
        "sign_in": Brought(
            held.sign_in, people, log_in=by_ask, register=by_ask, reauthenticate=by_id
        ),
        "password_changes": Brought(held.password_changes, people, change=by_id),
        "emails": Brought(held.emails, people, request=by_email, request_change=by_id),
        "sessions": BroughtSessions(held.sessions, people, tokens),
        "users": UserReads(held.users, truth, shadow),
        "admin_queries": ListReads(held.admin_queries, truth, _cursors(held.config)),
    }


def _double_passwords(held: Services, truth: Truth) -> None:
    inner = held.passwords
    bcrypt = Passwords(held.db, PasswordSettings(argon2=False), vars(inner)["_gate"])
    PasswordTwins(inner, bcrypt, truth).stand_in(inner)


def _lead_user_writes(held: Services, writes: UserWrites) -> None:
    """Put a database before these services: they hold each other, so it is put into them."""
    db = UsersDb(held.db, writes)
    for service in (held.users, held.sign_in, held.password_changes, held.emails):
        vars(service).update(_db=db)


def _cursors(config: Config) -> Cursors:
    return Cursors(*config.subkeys("cursor").values())


def _payment_settings(config: Config) -> PaymentSettings:
    return PaymentSettings(
        ledger=config.feature_ledger_enabled,
        key_ttl_s=config.idempotency_ttl_s,
        authorization_ttl_s=config.authorization_ttl_s,
        duplicate_window_s=config.duplicate_window_s,
    )
