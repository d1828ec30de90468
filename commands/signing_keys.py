"""`flask signing-keys`: the keys of access tokens, rotated and revoked without an outage.

Exit codes: 0 done; 3 no such key or tenant; 4 the database cannot be reached.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from commands.arguments import KID, LABEL, TENANT, json_option, tenant_option
from commands.database import opened_database
from commands.show import show
from commands.subject import subject
from services.signing_keys import signing_keys_of
from services.tenants import Tenants

if TYPE_CHECKING:
    from repos.signing_keys import SigningKeyRow

DAY_S = 86_400


@click.group("signing-keys")
def signing_keys() -> None:
    """Signing keys: what a tenant's access tokens are signed with."""


@signing_keys.command("list")
@tenant_option
@json_option
def list_keys(tenant_id: str | None, as_json: bool) -> None:
    """List the keys of a tenant with their states, newest first."""
    with opened_database() as (config, db):
        rows = signing_keys_of(config, db).list_by_tenant(tenant_id or config.default_tenant)
    text = "\n".join(f"{row.kid}  {row.alg}  {row.state}{_since(row)}" for row in rows)
    show({"data": [asdict(row) for row in rows]}, text, as_json)


@signing_keys.command("rotate")
@tenant_option
@click.option(
    "--if-older-than-days",
    "days",
    type=click.IntRange(1, 36_500),
    help="Do nothing while the newest key is younger, or if there is none.",
)
@json_option
def rotate_key(tenant_id: str | None, days: int | None, as_json: bool) -> None:
    """Make the next key: it is published now and signs after JWKS_MAX_AGE_S."""
    with opened_database() as (config, db):
        keys, tenant_id = signing_keys_of(config, db), tenant_id or config.default_tenant
        if days is None:
            kid = keys.rotate(tenant_id, subject())
        else:
            kid = keys.rotate_if_older(tenant_id, subject(), days * DAY_S)
    show({"kid": kid}, f"made key {kid}" if kid else "no key is that old", as_json)


@signing_keys.command("revoke")
@click.argument("kid", type=KID)
@tenant_option
@click.option("--reason", type=LABEL, help="Why, for the audit log.")
@json_option
def revoke_key(kid: str, tenant_id: str | None, reason: str | None, as_json: bool) -> None:
    """End KID and every token that it has signed; if it was in charge, a new key is.

    Sessions live on: their next refresh brings a token of the new key. Write -- before a KID that
    begins with a hyphen.
    """
    with opened_database() as (config, db):
        keys = signing_keys_of(config, db)
        row = keys.revoke(tenant_id or config.default_tenant, kid, subject(), reason)
    text = f"revoked {row.kid}" + (f", {row.successor} signs" if row.successor else "")
    show(asdict(row), text, as_json)


@signing_keys.command("rewrap")
@click.option("--tenant", "tenant_id", type=TENANT, help="Only this tenant's; without it all.")
@json_option
def rewrap_keys(tenant_id: str | None, as_json: bool) -> None:
    """Seal every private key under the first of AUTH_MASTER_KEYS: the others may go then."""
    with opened_database() as (config, db):
        keys = signing_keys_of(config, db)
        named = [row.tenant_id for row in Tenants(db).list_all()]
        wanted = [each for each in named if tenant_id in {None, each}]
        changed = sum(keys.rewrap(each) for each in wanted)
    show({"rewrapped": changed}, f"sealed {changed} keys again", as_json)


def _since(row: SigningKeyRow) -> str:
    """Say when the state began, or when a key on standby takes over."""
    at = row.revoked_at or (row.active_from if row.state != "retired" else row.retired_at)
    word = "from" if row.state == "standby" else "since"
    return f" {word} {at:%Y-%m-%dT%H:%M:%SZ}" if at and row.state != "ended" else ""
