"""create_app: the only wiring, to be read as a table of contents. It opens no socket."""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import click
from flask import Flask
from uuid_utils.compat import uuid7
from werkzeug.utils import import_string  # legacy

import blueprints
import cli
from blueprints import hooks, problems, wire
from blueprints.openapi import described
from commands.database import db_settings
from observability import set_up_logging
from persistence.db import Database
from persistence.kv import Kv, KvSettings
from persistence.migration_check import MigrationCheck
from services import Services
from services.access_tokens import AccessTokens, AccessTokenSettings
from services.admin_queries import AdminQueries
from services.api_keys import ApiKeys
from services.checkpoints import SealKeys
from services.credentials import Credentials
from services.currencies import Currencies
from services.cursors import Cursors
from services.device_tokens import DeviceTokens
from services.disputes import Disputes
from services.emails import Emails
from services.events import Events
from services.health import Health, history
from services.holds import Holds
from services.idempotency import Idempotency, IdempotencySettings
from services.key_cancellation import KeyCancellation
from services.ledger import Ledger
from services.ledger_accounts import LedgerAccounts
from services.ledger_exports import LedgerExports
from services.ledger_reports import LedgerReports
from services.ledger_writes import LedgerWrites
from services.one_time_tokens import OneTimeTokens
from services.password_changes import PasswordChanges
from services.password_proofs import PasswordProofs
from services.passwords import Passwords, passwords_of
from services.payment_commands import PaymentCommands, PaymentSettings
from services.payment_exports import PaymentExports
from services.payment_queries import PaymentQueries
from services.payments import Payments
from services.posting_batches import BATCH_LEGS_MAX, BatchSettings, PostingBatches
from services.posting_queries import PostingQueries
from services.postings import Postings, PostingSettings
from services.proofs import Proofs
from services.rate_limits import POLICIES, RateLimits
from services.refresh_tokens import RefreshTokens
from services.refunds import Refunds
from services.server_fit import boot_faults
from services.session_copies import SessionCopies
from services.sessions import Sessions, SessionSettings
from services.settings import Settings
from services.sign_in import SignIn
from services.signing_keys import SigningKeys, signing_keys_of
from services.stripes import thread_stripe
from services.tenants import Tenants
from services.throttle import Throttle, ThrottleSettings
from services.users import Users
from services.webhook_calls import WebhookCalls
from services.webhook_secrets import WebhookSecrets
from services.webhooks import Webhooks
from version import VERSION, checked_out

if TYPE_CHECKING:
    from config import Config


def create_app(config: Config) -> Flask:
    """Build the application; stores are connected at first use, or by gunicorn's post_fork."""
    # A command's stdout is its answer; a server logs there.
    is_command = click.get_current_context(silent=True) is not None
    set_up_logging(
        config.log_level,
        json_lines=config.log_format == "json",
        file=sys.stderr if is_command else None,
    )
    app = Flask("strongroom", static_folder=None)
    services = _services(config)
    hooks.install(app, services, _tracing(config))
    problems.install(app)
    import_string("legacy:install")(app)  # legacy
    # For gunicorn.conf.py both, and for `flask openapi`, which needs no request and so no store.
    app.extensions["strongroom.description"] = partial(described, app)
    app.extensions["strongroom.refusal"] = partial(wire.refusal, app)
    app.extensions["strongroom.boot_faults"] = partial(boot_faults, config, services.db)
    blueprints.register_all(app)
    cli.register_all(app)
    return app


def _tracing(config: Config) -> hooks.Tracing | None:
    """An extra: its library is not loaded, and need not be there, unless it is asked for."""
    if not config.otel_enabled:
        return None
    import tracing  # noqa: PLC0415

    endpoint = config.otel_exporter_otlp_endpoint or ""
    return tracing.to_collector(endpoint, float(config.otel_sample_ratio), VERSION)


def _services(config: Config) -> Services:
    db = _database(config, config.db_pool_size)
    # Of one connection, for health and its monitor alone: a full pool must not take us out (AC7).
    probe = _database(config, 1)
    kv = _kv(config, probe)
    db.when_lost(kv.look_again)
    cursors = Cursors(*config.subkeys("cursor").values())
    currencies = Currencies(db)
    settings = Settings(db)
    rate_limits = _rate_limits(config, kv, settings)
    idempotency = _idempotency(config, db, kv, rate_limits)
    payment_queries = PaymentQueries(db, cursors, config.list_scan_rows)
    api_keys = ApiKeys(db)
    signing_keys = signing_keys_of(config, db)
    access_tokens = _access_tokens(config, db, kv, signing_keys)
    commands = _payment_commands(config, db, idempotency)
    payments = Payments(commands)
    people = _people(config, db, kv, cursors, access_tokens)
    writes = LedgerWrites(db, backdate_max_days=config.ledger_backdate_max_days)
    return Services(
        config=config,
        db=db,
        kv=kv,
        access_tokens=access_tokens,
        admin_queries=AdminQueries(db, cursors, config.list_scan_rows),
        api_keys=api_keys,
        credentials=Credentials(db, api_keys, access_tokens),
        currencies=currencies,
        emails=people.emails,
        events=Events(db, cursors),
        disputes=Disputes(commands),
        health=_health(config, probe, db, kv),
        holds=Holds(db, cursors, config.list_scan_rows),
        idempotency=idempotency,
        key_cancellation=_key_cancellation(config, db, idempotency, payments, payment_queries),
        ledger=Ledger(db, cursors, currencies, config.list_scan_rows),
        ledger_exports=LedgerExports(
            db, config.ledger_export_fetch_rows, config.ledger_export_concurrency
        ),
        ledger_reports=LedgerReports(db, cursors, currencies),
        ledger_accounts=LedgerAccounts(db, writes, cursors, currencies, config.list_scan_rows),
        password_changes=people.password_changes,
        passwords=people.passwords,
        payment_exports=PaymentExports(db),
        payment_queries=payment_queries,
        proofs=_proofs(config, db, cursors),
        sessions=people.sessions,
        sign_in=people.sign_in,
        signing_keys=signing_keys,
        payments=payments,
        posting_batches=_posting_batches(config, writes),
        posting_queries=PostingQueries(db, cursors, config.list_scan_rows),
        postings=_postings(config, db, writes, idempotency),
        refunds=Refunds(commands),
        rate_limits=rate_limits,
        settings=settings,
        tenants=Tenants(db),
        throttle=people.throttle,
        users=Users(db),
        webhooks=_webhooks(config, db, cursors),
    )


class _People(NamedTuple):
    """What signs people in; its parts need one another."""

    emails: Emails
    password_changes: PasswordChanges
    passwords: Passwords
    sessions: Sessions
    sign_in: SignIn
    throttle: Throttle


def _people(
    config: Config, db: Database, kv: Kv, cursors: Cursors, access_tokens: AccessTokens
) -> _People:
    passwords = passwords_of(config, db)
    throttle = _throttle(config, db, kv)
    devices = DeviceTokens(config.subkeys("device").values())
    refresh_tokens = RefreshTokens(config.subkeys("refresh"))
    sessions = Sessions(
        db, access_tokens, refresh_tokens, throttle, cursors, _session_settings(config)
    )
    proofs = PasswordProofs(db, passwords, throttle)
    emails = Emails(db, proofs, throttle, OneTimeTokens(config.subkeys("one-time")))
    parts = (db, passwords, proofs, sessions, emails, throttle, devices)
    must_verify = config.feature_email_verification_required
    return _People(
        emails=emails,
        password_changes=PasswordChanges(*parts),
        passwords=passwords,
        sessions=sessions,
        sign_in=SignIn(*parts, must_verify=must_verify),
        throttle=throttle,
    )


def _key_cancellation(
    config: Config,
    db: Database,
    idempotency: Idempotency,
    payments: Payments,
    queries: PaymentQueries,
) -> KeyCancellation:
    key_ttl_s = config.idempotency_ttl_s if config.feature_idempotency_enabled else None
    return KeyCancellation(db, idempotency, payments, queries, key_ttl_s=key_ttl_s, new_id=uuid7)


def _database(config: Config, connections: int) -> Database:
    url = config.database_url.get_secret_value() if config.database_url else ""
    return Database(url, db_settings(config, connections))


def _proofs(config: Config, db: Database, cursors: Cursors) -> Proofs:
    keys = SealKeys(
        origin=config.ledger_origin, seeds=config.seal_seeds, former=config.seal_former_keys
    )
    return Proofs(db, cursors, keys)


def _health(config: Config, probe: Database, db: Database, kv: Kv) -> Health:
    drain_mark = config.var_dir / "run" / "drain"
    return Health(
        probe=probe,
        db=db,
        kv=kv,
        schema=MigrationCheck(schema=config.migrate_schema),
        is_draining=drain_mark.exists,
        about={
            "version": VERSION,
            "commit": config.release_commit or checked_out(),
            "environment": config.environment,
            "flags": config.features,
        },
    )


def _kv(config: Config, probe: Database) -> Kv:
    url = config.redis_url.get_secret_value() if config.redis_url else None
    settings = KvSettings(
        timeout_ms=config.redis_timeout_ms,
        ca_file=str(config.redis_ca_file) if config.redis_ca_file else None,
        connect_timeout_ms=config.redis_connect_timeout_ms,
        breaker_failures=config.redis_breaker_failures,
        breaker_open_ms=config.redis_breaker_open_ms,
        breaker_open_max_ms=config.redis_breaker_open_max_ms,
    )
    return Kv(url, settings, epoch=partial(history, probe))


def _rate_limits(config: Config, kv: Kv, settings: Settings) -> RateLimits:
    return RateLimits(
        kv,
        {policy: getattr(config, f"rate_limit_{policy}") for policy in POLICIES},
        enabled=config.rate_limit_enabled,
        processes=config.web_concurrency,
        of_tenant=settings.value,
    )


def _idempotency(config: Config, db: Database, kv: Kv, limits: RateLimits) -> Idempotency:
    settings = IdempotencySettings(
        mark_ttl_ms=config.idempotency_mark_ttl_ms,
        wait_ms=config.idempotency_wait_ms,
        redis_ttl_s=config.idempotency_redis_ttl_s,
    )
    secret = next(iter(config.subkeys("idempotency").values()))
    return Idempotency(db, kv, limits, settings, secret)


def _access_tokens(config: Config, db: Database, kv: Kv, keys: SigningKeys) -> AccessTokens:
    secret = next(iter(config.subkeys("session-cache").values()))
    copies = SessionCopies(kv, secret, config.session_cache_s)
    settings = AccessTokenSettings(
        issuer=config.public_url,
        default_tenant=config.default_tenant,
        audience=config.jwt_audience,
        ttl_s=config.access_token_ttl_s,
        fresh_s=config.fresh_auth_s,
    )
    return AccessTokens(db, keys, copies, settings)


def _throttle(config: Config, db: Database, kv: Kv) -> Throttle:
    settings = ThrottleSettings(
        ip_per_minute=config.login_ip_per_minute,
        pair_limit=config.login_pair_limit,
        account_limit=config.login_account_limit,
    )
    return Throttle(db, kv, settings, next(iter(config.subkeys("throttle").values())))


def _session_settings(config: Config) -> SessionSettings:
    return SessionSettings(
        refresh=config.feature_refresh_tokens_enabled,
        grace_s=config.refresh_grace_s,
        idle_s=config.refresh_idle_s,
        absolute_s=config.refresh_absolute_s,
        per_user=config.max_sessions_per_user,
        access_ttl_s=config.access_token_ttl_s,
    )


def _payment_commands(config: Config, db: Database, idempotency: Idempotency) -> PaymentCommands:
    settings = PaymentSettings(
        ledger=config.feature_ledger_enabled,
        key_ttl_s=config.idempotency_ttl_s,
        authorization_ttl_s=config.authorization_ttl_s,
        duplicate_window_s=config.duplicate_window_s,
    )
    return PaymentCommands(db, idempotency, settings, new_id=uuid7, stripe=thread_stripe)


def _webhooks(config: Config, db: Database, cursors: Cursors) -> Webhooks:
    secrets = WebhookSecrets(config.subkeys("webhook"))
    # A test call ends within its request.
    answer_s = 0.8 * config.request_deadline_ms / 1000
    calls = WebhookCalls(allow_private=config.webhook_allow_private, answer_s=answer_s)
    return Webhooks(db, cursors, secrets, calls)


def _postings(
    config: Config, db: Database, writes: LedgerWrites, idempotency: Idempotency
) -> Postings:
    settings = PostingSettings(
        legs_max=config.ledger_legs_max,
        hold_default_s=config.ledger_hold_default_s,
        hold_max_s=config.ledger_hold_max_s,
        key_ttl_s=config.idempotency_ttl_s,
    )
    return Postings(db, writes, idempotency, settings)


def _posting_batches(config: Config, writes: LedgerWrites) -> PostingBatches:
    settings = BatchSettings(
        transactions_max=config.ledger_batch_max,
        legs_max=BATCH_LEGS_MAX,
        transaction_legs_max=config.ledger_legs_max,
    )
    return PostingBatches(writes, settings)
