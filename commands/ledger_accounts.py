"""`flask ledger-accounts`: accounts of the ledger by hand, as over HTTP.

Exit codes: 0 done; 2 what was asked cannot be (a bad code, an unknown currency); 3 a finding (not
found, there already and different, not empty); 4 the database cannot be reached.
"""

from __future__ import annotations

import contextlib
import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from commands.arguments import CURRENCY, LABEL, PAIR, json_option, tenant_option
from commands.database import opened_database
from commands.subject import subject
from services.actors import Actor
from services.currencies import Currencies
from services.cursors import Cursors
from services.ledger_accounts import STRIPES_MAX, AccountFilters, LedgerAccounts, Opening
from services.ledger_writes import LedgerWrites

if TYPE_CHECKING:
    from collections.abc import Iterator
    from uuid import UUID

STATUSES = click.Choice(["open", "frozen", "closed"])
MONEY = click.IntRange(-(10**15) + 1, 10**15 - 1)
STRIPES = click.IntRange(1, STRIPES_MAX)
currency_option = click.option("--currency", type=CURRENCY, help="Needed where a code has several.")
floor_option = click.option("--floor", "floor_minor", type=MONEY, help="In minor units.")
no_floor_option = click.option("--no-floor", is_flag=True, help="It may fall without end.")
ceiling_option = click.option("--ceiling", "ceiling_minor", type=MONEY, help="In minor units.")
name_option = click.option("--name", type=LABEL, help="For people.")
owner_option = click.option("--owner", "owner_user_id", type=click.UUID, help="A user's id.")
metadata_option = click.option(
    "--metadata", "pairs", type=PAIR, multiple=True, help="name=value; repeat it."
)


@click.group("ledger-accounts")
def ledger_accounts() -> None:
    """Accounts of the ledger: opened, listed, changed."""


@ledger_accounts.command("create")
@click.argument("code")
@click.option("--currency", required=True, type=CURRENCY)
@click.option("--side", "normal_side", required=True, type=click.Choice(["credit", "debit"]))
@name_option
@floor_option
@no_floor_option
@ceiling_option
@click.option("--stripes", type=STRIPES, help="Balance rows that writers spread over.")
@owner_option
@metadata_option
@tenant_option
@json_option
def create(tenant_id: str | None, as_json: bool, no_floor: bool, **asked: Any) -> None:
    """Open the account CODE; the same again is harmless."""
    opening = Opening(**_given(asked, no_floor=no_floor))
    with _opened(tenant_id) as (tenant, accounts):
        account, is_new = accounts.create(tenant, opening)
    _show(account, f"{'opened' if is_new else 'there already:'} {_line(account)}", as_json)


@ledger_accounts.command("list")
@click.option("--prefix", default="", help="How codes begin, like shops:42:")
@currency_option
@click.option("--status", type=STATUSES)
@owner_option
@metadata_option
@click.option("--after", "cursor", help="`next_cursor` of the JSON before.")
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True)
@tenant_option
@json_option
def list_accounts(
    tenant_id: str | None,
    as_json: bool,
    limit: int,
    cursor: str | None,
    pairs: tuple[tuple[str, str], ...],
    **asked: Any,
) -> None:
    """List accounts by code and currency, with their balances."""
    filters = AccountFilters(**asked, metadata=dict(pairs))
    with _opened(tenant_id) as (tenant, accounts):
        rows, next_cursor = accounts.page(_actor(tenant), filters, limit, cursor)
    data = {"data": rows, "next_cursor": next_cursor}
    _show(data, "\n".join(map(_line, rows)), as_json)


@ledger_accounts.command("show")
@click.argument("code")
@currency_option
@tenant_option
@json_option
def show(code: str, currency: str | None, tenant_id: str | None, as_json: bool) -> None:
    """Show the account CODE with its balance."""
    with _opened(tenant_id) as (tenant, accounts):
        account = accounts.get(_actor(tenant), code, currency)
    _show(account, _line(account), as_json)


@ledger_accounts.command("change")
@click.argument("code")
@currency_option
@name_option
@click.option("--status", type=STATUSES)
@floor_option
@no_floor_option
@ceiling_option
@click.option("--no-ceiling", is_flag=True, help="It may rise without end.")
@click.option("--stripes", type=STRIPES, help="It can only grow.")
@owner_option
@metadata_option
@tenant_option
@json_option
def change(
    code: str,
    currency: str | None,
    tenant_id: str | None,
    as_json: bool,
    no_floor: bool,
    no_ceiling: bool,
    **asked: Any,
) -> None:
    """Change the account CODE; what is not named stays."""
    changes = _given(asked, no_floor=no_floor)
    if no_ceiling:
        changes["ceiling_minor"] = None
    with _opened(tenant_id) as (tenant, accounts):
        account = accounts.change(tenant, code, currency, changes, subject())
    _show(account, _line(account), as_json)


@contextlib.contextmanager
def _opened(tenant_id: str | None) -> Iterator[tuple[str, LedgerAccounts]]:
    with opened_database() as (config, db):
        cursors = Cursors(*config.subkeys("cursor").values())
        accounts = LedgerAccounts(
            db, LedgerWrites(db), cursors, Currencies(db), config.list_scan_rows
        )
        yield tenant_id or config.default_tenant, accounts


def _actor(tenant_id: str) -> Actor:
    return Actor(tenant_id, subject(), frozenset({"ledger:read"}))


def _given(asked: dict[str, Any], *, no_floor: bool) -> dict[str, Any]:
    """Return what was named: an option that was left out is None."""
    pairs = asked.pop("pairs")
    given = {name: value for name, value in asked.items() if value is not None}
    if no_floor and "floor_minor" in given:
        raise click.UsageError("--floor and --no-floor exclude each other.")
    if no_floor:
        given["floor_minor"] = None
    if pairs:
        given["metadata"] = dict(pairs)
    return given


def _show(data: dict[str, Any], text: str, as_json: bool) -> None:
    click.echo(json.dumps(data, default=_json_value) if as_json else text)


def _json_value(value: datetime | UUID) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _line(account: dict[str, Any]) -> str:
    balance = account["balance"]
    money = f"{balance['posted_decimal']} {account['currency']}"
    return f"{account['code']}  {account['normal_side']}  {account['status']}  {money}"
