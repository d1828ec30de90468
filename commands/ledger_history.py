"""`flask ledger-history`: what a book held and when, as over HTTP.

Exit codes: 0 done; 2 what was asked cannot be (two ways to say when, a bad cursor); 3 not found;
4 the database cannot be reached.
"""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

import click

from commands.arguments import CURRENCY, MOMENT, json_option, tenant_option
from commands.database import opened_database
from commands.subject import subject
from services.actors import Actor
from services.currencies import Currencies
from services.cursors import Cursors
from services.ledger import EntryFilters, Ledger
from services.ledger_reports import DEPTH_MAX, LedgerReports, SumsAsk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

currency_option = click.option("--currency", type=CURRENCY, help="Needed where a code has several.")
limit_option = click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True)
after_option = click.option("--after", "cursor", help="`next_cursor` of the JSON before.")


def _moment_option(name: str, text: str) -> Callable[..., Any]:
    return click.option(name, type=MOMENT, metavar="TIME", help=text)


@click.group("ledger-history")
def ledger_history() -> None:
    """Balances at any moment, statements, the trial balance."""


@ledger_history.command("balance")
@click.argument("code")
@currency_option
@_moment_option("--as-of", "What the book said then.")
@_moment_option("--effective-at", "What counted then, whenever it was posted.")
@_moment_option("--known-at", "With --effective-at: by what was posted until then.")
@tenant_option
@json_option
def balance(
    code: str,
    currency: str | None,
    as_of: datetime | None,
    effective_at: datetime | None,
    known_at: datetime | None,
    tenant_id: str | None,
    as_json: bool,
) -> None:
    """Show what the account CODE holds, or held."""
    if (as_of and effective_at) or (known_at and not effective_at):
        raise click.UsageError("Give --as-of, or --effective-at with or without --known-at.")
    with _opened(tenant_id) as (actor, ledger, _):
        if effective_at:
            found = ledger.balance_effective(actor, code, currency, effective_at, known_at)
        else:
            found = ledger.balance(actor, code, currency, as_of)
    _show(found, f"{code}  {found['posted_decimal']} {found['currency']}{_end(found)}", as_json)


@ledger_history.command("statement")
@click.argument("code")
@currency_option
@_moment_option("--posted-gte", "Posted then, or later.")
@_moment_option("--posted-lt", "Posted before.")
@click.option("--side", type=click.Choice(["credit", "debit"]))
@click.option("--order", type=click.Choice(["asc", "desc"]), default="desc", show_default=True)
@limit_option
@after_option
@tenant_option
@json_option
def statement(
    code: str, limit: int, cursor: str | None, tenant_id: str | None, as_json: bool, **asked: Any
) -> None:
    """List the entries of the account CODE, with the balance after each."""
    with _opened(tenant_id) as (actor, ledger, _):
        page = ledger.statement(actor, code, EntryFilters(**asked), limit, cursor)
    _show(page, "\n".join([*map(_entry, page["data"]), _closing(page)]), as_json)


@ledger_history.command("trial-balance")
@click.option("--prefix", help="How codes begin, like shops:42:")
@click.option(
    "--depth", type=click.IntRange(1, DEPTH_MAX), default=DEPTH_MAX, help="Codes are cut there."
)
@click.option("--currency", type=CURRENCY)
@_moment_option("--as-of", "What the book said then.")
@limit_option
@after_option
@tenant_option
@json_option
def trial_balance(
    limit: int, cursor: str | None, tenant_id: str | None, as_json: bool, **asked: Any
) -> None:
    """List every account in the debit or the credit column, and their totals."""
    with _opened(tenant_id) as (actor, _, reports):
        page = reports.sums(actor, SumsAsk(**asked), limit, cursor)
    totals = [{"code": "total", **total} for total in page["totals"]]
    _show(page, "\n".join(map(_sum, [*page["data"], *totals])), as_json)


@contextlib.contextmanager
def _opened(tenant_id: str | None) -> Iterator[tuple[Actor, Ledger, LedgerReports]]:
    with opened_database() as (config, db):
        cursors = Cursors(*config.subkeys("cursor").values())
        currencies = Currencies(db)
        tenant = tenant_id or config.default_tenant
        yield (
            Actor(tenant, subject(), frozenset({"ledger:read"})),
            Ledger(db, cursors, currencies, config.list_scan_rows),
            LedgerReports(db, cursors, currencies),
        )


def _show(data: dict[str, Any], text: str, as_json: bool) -> None:
    click.echo(json.dumps(data, default=_json_value) if as_json else text)


def _json_value(value: Any) -> str:
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def _end(found: dict[str, Any]) -> str:
    return "  final" if found["final"] else ""


def _entry(entry: dict[str, Any]) -> str:
    amounts = f"{entry['side']:6}  {entry['posted_decimal']}  {entry['balance_after_decimal']}"
    return f"{entry['posted_at'].isoformat()}  {amounts}  {entry['counterparty']}"


def _closing(page: dict[str, Any]) -> str:
    more = "  more: --after" if page["next_cursor"] else ""
    if page["opening_minor"] is None:
        return f"{page['code']}  {page['currency']}{more}"
    ends = f"{page['opening_decimal']} to {page['closing_decimal']}"
    return f"{page['code']}  {ends} {page['currency']}{_end(page)}{more}"


def _sum(row: dict[str, Any]) -> str:
    return f"{row['code']}  {row['debit_decimal']}  {row['credit_decimal']}  {row['currency']}"
