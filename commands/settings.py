"""`flask settings`: what changes without a restart, for a tenant or the whole installation.

Every process follows within a minute. Exit codes: 0 done; 2 no such setting, or no value of it; 3
it is not set there, no such tenant; 4 the database cannot be reached.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime

import click

from commands.arguments import TENANT, json_option
from commands.database import opened_database
from commands.subject import subject
from services.settings import INSTALLATION, Settings

tenant_option = click.option(
    "--tenant",
    "tenant_id",
    type=TENANT,
    default=None,
    help="For this tenant; without it the whole installation.",
)


@click.group("settings")
def settings_group() -> None:
    """Settings that change without a restart: rate limits."""


@settings_group.command("list")
@tenant_option
@json_option
def list_settings(tenant_id: str | None, as_json: bool) -> None:
    """List what is set; what is not is as the environment says (`flask check-config`)."""
    with opened_database() as (_, db):
        rows = Settings(db).list_by_tenant(tenant_id or INSTALLATION)
    if as_json:
        click.echo(json.dumps({"data": [asdict(row) for row in rows]}, default=_json_value))
        return
    for row in rows:
        click.echo(f"{row.name} = {row.value}  ({row.updated_by}, {row.updated_at:%Y-%m-%d})")


@settings_group.command("set")
@click.argument("name")
@click.argument("value")
@tenant_option
@json_option
def set_value(name: str, value: str, tenant_id: str | None, as_json: bool) -> None:
    """Set NAME to VALUE, such as rate_limit_key_write to 600/minute."""
    with opened_database() as (_, db):
        changed = Settings(db).set_value(tenant_id or INSTALLATION, name, value, subject())
    said = f"{name} = {value}" + ("" if changed else ", as before")
    shown = {"name": name, "value": value, "changed": changed}
    click.echo(json.dumps(shown) if as_json else said)


@settings_group.command("unset")
@click.argument("name")
@tenant_option
@json_option
def unset_value(name: str, tenant_id: str | None, as_json: bool) -> None:
    """Take NAME's value away: what stands behind it counts again."""
    with opened_database() as (_, db):
        Settings(db).remove(tenant_id or INSTALLATION, name, subject())
    click.echo(json.dumps({"name": name}) if as_json else f"{name} is not set any more")


def _json_value(value: object) -> str:
    return value.isoformat().replace("+00:00", "Z") if isinstance(value, datetime) else str(value)
