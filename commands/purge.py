"""`flask auth purge`: what log-ins leave behind, and old audit rows, by hand.

Exit codes: 0 done; 4 the database is away, another worker purges now, or rows are left.
"""

from __future__ import annotations

import json

import click

from commands.arguments import TENANT, json_option
from commands.database import opened_database
from commands.jobs import run_by_hand
from services.auth_purge import purge_audit
from services.jobs import Ask


@click.group("auth")
def auth_group() -> None:
    """What log-ins, links and mails leave behind."""


@auth_group.command("purge")
@click.option("--audit", is_flag=True, help="Audit rows instead, as the owner of the tables.")
@click.option("--tenant", "tenant_id", type=TENANT, help="Only this tenant's rows.")
@click.option("--dry-run", is_flag=True, help="Count, and change nothing.")
@json_option
def purge(audit: bool, tenant_id: str | None, dry_run: bool, as_json: bool) -> None:
    """Delete ended sessions, old tokens, links, windows and mails, and users never verified.

    With --audit: audit rows older than AUDIT_RETENTION_DAYS, by MIGRATE_DATABASE_URL.
    """
    if not audit:
        run_by_hand("auth-purge", Ask(tenant_id=tenant_id, dry_run=dry_run), as_json)
        return
    with opened_database(as_owner=True) as (config, db):
        days = config.audit_retention_days
        rows = purge_audit(db, tenant_id, days, config.job_batch, dry_run=dry_run)
    click.echo(json.dumps({"rows": rows}) if as_json else f"audit: {rows} rows")
