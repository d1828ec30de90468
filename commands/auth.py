"""`flask tenants`, `flask users`, `flask api-keys`: who may come in, by hand.

Exit codes: 0 done; 2 what was asked cannot be (a bad address, an ungrantable scope); 3 a finding
(not found, taken); 4 the database cannot be reached.
"""

from __future__ import annotations

import getpass
import json
import os
import re
import sys
from contextlib import contextmanager
from dataclasses import asdict, fields
from datetime import datetime
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import TYPE_CHECKING, Any, cast

import click

from commands.servers import running_stores
from config import Config
from errors import AppError
from persistence.db import Database, DbSettings
from services.api_keys import ApiKeys
from services.tenants import Tenants
from services.users import FIRST_PAGE, Users

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from uuid import UUID

    from pydantic import SecretStr

    from repos.api_keys import KeyRow

EXIT_CODES = {404: 3, 409: 3, 422: 2, 503: 4}
CRASHED = 1
NAME_MAX = 200


# --- Arguments ----------------------------------------------------------------------------------


class Parsed(click.ParamType[Any]):
    """An argument that `parse` turns into a value; its ValueError is a usage error (exit 2)."""

    def __init__(self, name: str, parse: Callable[[str], object]) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the value; the message names what is wanted, not what was given."""
        try:
            return self._parse(value)
        except ValueError:
            self.fail(f"not {self.name}", param, ctx)


def _matching(pattern: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if re.fullmatch(pattern, text) is None:
            raise ValueError
        return text

    return parse


def _label(text: str) -> str:
    if not (0 < len(text) <= NAME_MAX and text.isprintable()):
        raise ValueError
    return text


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError
    return moment


LABEL = Parsed(f"a printable text of at most {NAME_MAX} characters", _label)
TENANT = Parsed(
    "a tenant id (a letter, then letters, digits, hyphens, 32 at most, all lower-case)",
    _matching("[a-z][a-z0-9-]{0,31}"),
)
KEY_ID = Parsed("the 12 characters after the tenant in the key", _matching("[0-9A-Za-z]{12}"))
MOMENT = Parsed("a time with its zone, like 2030-01-31T12:00:00Z", _moment)
NETWORK = Parsed("a network, like 192.0.2.0/24", ip_network)

tenant_option = click.option(
    "--tenant", "tenant_id", type=TENANT, help="Tenant; without it DEFAULT_TENANT."
)
json_option = click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")


# --- The way to the services --------------------------------------------------------------------


@contextmanager
def _opened() -> Iterator[tuple[Config, Database]]:
    """Yield configuration and database; an expected error is its sentence and its exit code."""
    with running_stores(Config.load()) as config:
        url = cast("SecretStr", config.database_url)  # Stores that run have one.
        db = Database(url.get_secret_value(), _db_settings(config))
        try:
            yield config, db
        except AppError as error:
            details = [str(fault.get("detail")) for fault in error.errors]
            click.echo(" ".join([f"{error.code}: {error.detail}", *details]), err=True)
            sys.exit(EXIT_CODES.get(error.status, CRASHED))
        finally:
            db.close()


def _db_settings(config: Config) -> DbSettings:
    """Return DB_* for a command, which has one thread."""
    names = [field.name for field in fields(DbSettings) if hasattr(config, f"db_{field.name}")]
    given = {name: getattr(config, f"db_{name}") for name in names}
    return DbSettings(**{**given, "pool_size": 1}, request_deadline_ms=config.request_deadline_ms)


def _subject() -> str:
    """Say for the audit log who runs the command: the login name, else the number."""
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):  # A container's user without a name: 3.11 or 3.13.
        return f"cli:{os.getuid()}"


def _show(data: dict[str, Any], text: str, as_json: bool) -> None:
    click.echo(json.dumps(data, default=_json_value) if as_json else text)


def _json_value(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return str(value)


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
    with _opened() as (_, db):
        row = Tenants(db).create(tenant_id, name or tenant_id, _subject())
    _show(asdict(row), f"made tenant {row.tenant_id}", as_json)


@tenants.command("list")
@json_option
def list_tenants(as_json: bool) -> None:
    """List every tenant."""
    with _opened() as (_, db):
        rows = Tenants(db).list_all()
    text = "\n".join(f"{row.tenant_id}  {row.status}  {row.name}" for row in rows)
    _show({"data": [asdict(row) for row in rows]}, text, as_json)


@tenants.command("suspend")
@click.argument("tenant_id", type=TENANT)
@json_option
def suspend_tenant(tenant_id: str, as_json: bool) -> None:
    """Refuse all credentials of TENANT_ID, from the next request on."""
    with _opened() as (_, db):
        row = Tenants(db).suspend(tenant_id, _subject())
    _show(asdict(row), f"{row.tenant_id} is {row.status}", as_json)


@tenants.command("resume")
@click.argument("tenant_id", type=TENANT)
@json_option
def resume_tenant(tenant_id: str, as_json: bool) -> None:
    """Let the credentials of TENANT_ID in again."""
    with _opened() as (_, db):
        row = Tenants(db).resume(tenant_id, _subject())
    _show(asdict(row), f"{row.tenant_id} is {row.status}", as_json)


# --- flask users --------------------------------------------------------------------------------


@click.group("users")
def users() -> None:
    """Users: people of a tenant."""


@users.command("create")
@click.argument("email")
@tenant_option
@json_option
def create_user(email: str, tenant_id: str | None, as_json: bool) -> None:
    """Make an active user with address EMAIL, without a password."""
    with _opened() as (config, db):
        row = Users(db).create(tenant_id or config.default_tenant, email, _subject())
    _show(asdict(row), f"made user {row.id}", as_json)


@users.command("list")
@tenant_option
@click.option(
    "--after",
    "after_id",
    type=click.UUID,
    default=FIRST_PAGE,
    help="Go on after this user: the last one's id, or `next_after` of the JSON.",
)
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True)
@json_option
def list_users(tenant_id: str | None, after_id: UUID, limit: int, as_json: bool) -> None:
    """List users of a tenant, oldest first."""
    with _opened() as (config, db):
        tenant_id = tenant_id or config.default_tenant
        rows = Users(db).list_page(tenant_id, after_id=after_id, limit=limit)
    text = "\n".join(f"{row.id}  {row.status}  {row.email or '(erased)'}" for row in rows)
    next_after = rows[-1].id if len(rows) == limit else None
    _show({"data": [asdict(row) for row in rows], "next_after": next_after}, text, as_json)


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
    with _opened() as (config, db):
        row, bearer = ApiKeys(db).create(
            tenant_id or config.default_tenant,
            name,
            scopes,
            _subject(),
            allowed_cidrs=cidrs,
            expires_at=expires_at,
        )
    click.echo("Keep the key now: only its hash is stored.", err=True)
    _show({**_key_shown(row), "api_key": bearer}, bearer, as_json)


@api_keys.command("list")
@tenant_option
@json_option
def list_keys(tenant_id: str | None, as_json: bool) -> None:
    """List the keys of a tenant, ended ones too."""
    with _opened() as (config, db):
        rows = ApiKeys(db).list_by_tenant(tenant_id or config.default_tenant)
    text = "\n".join(f"{row.id}  {_state(row)}  {row.name}  {','.join(row.scopes)}" for row in rows)
    _show({"data": [_key_shown(row) for row in rows]}, text, as_json)


@api_keys.command("revoke")
@click.argument("key_id", type=KEY_ID)
@tenant_option
@click.option("--reason", type=LABEL, help="Why, for the audit log.")
@json_option
def revoke_key(key_id: str, tenant_id: str | None, reason: str | None, as_json: bool) -> None:
    """End the key KEY_ID: no request that starts afterwards is served."""
    with _opened() as (config, db):
        row = ApiKeys(db).revoke(tenant_id or config.default_tenant, key_id, _subject(), reason)
    _show(_key_shown(row), f"revoked {row.id}", as_json)


def _key_shown(row: KeyRow) -> dict[str, Any]:
    return {"prefix": f"srk_{row.tenant_id}_{row.id}", **asdict(row)}


def _state(row: KeyRow) -> str:
    if row.revoked_at:
        return f"revoked {row.revoked_at:%Y-%m-%d}"
    return f"until {row.expires_at:%Y-%m-%d}" if row.expires_at else "live"
