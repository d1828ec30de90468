"""Every command of the service, on one screen: `flask --help` shows the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from commands.audit import audit
from commands.auth import api_keys, tenants
from commands.config import check_config
from commands.currencies import currencies
from commands.demo import demo_command
from commands.drain import drain
from commands.epochs import new_epoch
from commands.errors import errors_page
from commands.jobs import idempotency_cleanup, jobs_group, ledger_catch_up, worker
from commands.jws_verify import jws_verify
from commands.ledger_accounts import ledger_accounts
from commands.ledger_data import ledger_export, ledger_import
from commands.ledger_history import ledger_history
from commands.migrate import migrate
from commands.openapi import openapi
from commands.proofs import verify_proof
from commands.purge import auth_group
from commands.replay import replay_ledger
from commands.seals import ledger_redact, ledger_seal
from commands.serve import serve_command
from commands.servers import servers_group
from commands.settings import settings_group
from commands.signing_keys import signing_keys
from commands.sql import check_sql
from commands.users import users
from commands.webhooks import webhooks

if TYPE_CHECKING:
    from flask import Flask

ALL = (
    api_keys,
    audit,
    auth_group,
    check_config,
    check_sql,
    currencies,
    demo_command,
    drain,
    errors_page,
    idempotency_cleanup,
    jobs_group,
    jws_verify,
    ledger_accounts,
    ledger_catch_up,
    ledger_export,
    ledger_history,
    ledger_import,
    ledger_redact,
    ledger_seal,
    migrate,
    new_epoch,
    openapi,
    replay_ledger,
    serve_command,
    servers_group,
    settings_group,
    signing_keys,
    tenants,
    users,
    webhooks,
    verify_proof,
    worker,
)


def register_all(app: Flask) -> None:
    """Add every command to `flask`."""
    for command in ALL:
        app.cli.add_command(command)
