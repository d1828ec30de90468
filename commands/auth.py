"""`flask tenants`, `flask api-keys`: who may come in, by hand.

Exit codes: 0 done; 2 what was asked cannot be (an ungrantable scope); 3 a finding
(not found, taken); 4 the database cannot be reached.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from commands.arguments import (
    KEY_ID,
    LABEL,
    MOMENT,
    NETWORK,
    TENANT,
    json_option,
    tenant_option,
)
from commands.database import opened_database
from commands.show import show
from commands.subject import subject
from services.api_keys import OVERLAP_MAX_S, OVERLAP_S, ApiKeys
from services.tenants import Tenants

if TYPE_CHECKING:
    from datetime import datetime
    from ipaddress import IPv4Network, IPv6Network

    from repos.api_keys import KeyRow


# --- flask tenants ------------------------------------------------------------------------------


@click.group("tenants")
def tenants() -> None:
    """Tenants: whose users, keys and money these are."""


@tenants.command("create")
@click.argument("tenant_id", type=TENANT)
@click.option("--name", type=LABEL, help="Name for people; without it the id.")
@json_option
def create_tenant(tenant_id: str, name: str | None, as_json: bool) -> None:
    """Make an active tenant TENANT_ID, closed for registration."""
    with opened_database() as (_, db):
        row = Tenants(db).create(tenant_id, name or tenant_id, subject())
    show(asdict(row), f"made tenant {row.tenant_id}", as_json)


@tenants.command("list")
@json_option
def list_tenants(as_json: bool) -> None:
    """List every tenant."""
    with opened_database() as (_, db):
        rows = Tenants(db).list_all()
    text = "\n".join(f"{row.tenant_id}  {row.status}  {row.name}" for row in rows)
    show({"data": [asdict(row) for row in rows]}, text, as_json)


@tenants.command("suspend")
@click.argument("tenant_id", type=TENANT)
@json_option
def suspend_tenant(tenant_id: str, as_json: bool) -> None:
    """Refuse all credentials of TENANT_ID, from the next request on."""
    with opened_database() as (_, db):
        row = Tenants(db).suspend(tenant_id, subject())
    show(asdict(row), f"{row.tenant_id} is {row.status}", as_json)


@tenants.command("resume")
@click.argument("tenant_id", type=TENANT)
@json_option
def resume_tenant(tenant_id: str, as_json: bool) -> None:
    """Let the credentials of TENANT_ID in again."""
    with opened_database() as (_, db):
        row = Tenants(db).resume(tenant_id, subject())
    show(asdict(row), f"{row.tenant_id} is {row.status}", as_json)


# --- flask api-keys -----------------------------------------------------------------------------


@click.group("api-keys")
def api_keys() -> None:
    """API keys: machines of a tenant."""


@api_keys.command("create")
@tenant_option
@click.option("--name", required=True, type=LABEL, help="Name for people.")
@click.option("--scope", "scopes", required=True, multiple=True, help="Repeat it for several.")
@click.option("--expires-at", type=MOMENT, help="Without it the key lives until it is revoked.")
@click.option(
    "--allow-cidr", "cidrs", type=NETWORK, multiple=True, help="Repeat it; none: from anywhere."
)
@json_option
def create_key(
    tenant_id: str | None,
    name: str,
    scopes: tuple[str, ...],
    expires_at: datetime | None,
    cidrs: tuple[IPv4Network | IPv6Network, ...],
    as_json: bool,
) -> None:
    """Make a key and show it, this once."""
    with opened_database() as (config, db):
        row, bearer = ApiKeys(db).create(
            tenant_id or config.default_tenant,
            name,
            scopes,
            subject(),
            allowed_cidrs=cidrs,
            expires_at=expires_at,
        )
    click.echo("Keep the key now: only its hash is stored.", err=True)
    show({**_key_shown(row), "api_key": bearer}, bearer, as_json)


@api_keys.command("list")
@tenant_option
@json_option
def list_keys(tenant_id: str | None, as_json: bool) -> None:
    """List the keys of a tenant, ended ones too."""
    with opened_database() as (config, db):
        rows = ApiKeys(db).list_by_tenant(tenant_id or config.default_tenant)
    text = "\n".join(f"{row.id}  {_state(row)}  {row.name}  {','.join(row.scopes)}" for row in rows)
    show({"data": [_key_shown(row) for row in rows]}, text, as_json)


@api_keys.command("rotate")
@click.argument("key_id", type=KEY_ID)
@tenant_option
@click.option(
    "--overlap-s",
    type=click.IntRange(0, OVERLAP_MAX_S),
    default=OVERLAP_S,
    show_default=True,
    help="For so many seconds the old key works too.",
)
@json_option
def rotate_key(key_id: str, tenant_id: str | None, overlap_s: int, as_json: bool) -> None:
    """Make a successor of the key KEY_ID and show it, this once."""
    with opened_database() as (config, db):
        row, bearer = ApiKeys(db).rotate(
            tenant_id or config.default_tenant, key_id, subject(), overlap_s=overlap_s
        )
    click.echo("Keep the key now: only its hash is stored.", err=True)
    show({**_key_shown(row), "api_key": bearer}, bearer, as_json)


@api_keys.command("revoke")
@click.argument("key_id", type=KEY_ID)
@tenant_option
@click.option("--reason", type=LABEL, help="Why, for the audit log.")
@json_option
def revoke_key(key_id: str, tenant_id: str | None, reason: str | None, as_json: bool) -> None:
    """End the key KEY_ID: no request that starts afterwards is served."""
    with opened_database() as (config, db):
        row = ApiKeys(db).revoke(tenant_id or config.default_tenant, key_id, subject(), reason)
    show(_key_shown(row), f"revoked {row.id}", as_json)


def _key_shown(row: KeyRow) -> dict[str, Any]:
    return {"prefix": f"srk_{row.tenant_id}_{row.id}", **asdict(row)}


def _state(row: KeyRow) -> str:
    if row.revoked_at:
        return f"revoked {row.revoked_at:%Y-%m-%d}"
    return f"until {row.expires_at:%Y-%m-%d}" if row.expires_at else "live"
