"""`flask legacy status`, `check`, `prepare`: they look, and change nothing."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click

from commands.arguments import json_option
from legacy import status
from legacy.commands_opening import (
    FINDING,
    USAGE,
    all_tenants_option,
    attached,
    domain_argument,
    opened_parts,
    tenant_option,
)
from legacy.links import DOMAINS, NoLink
from legacy.store import LegacyError, LegacyStore, LegacyUnavailable, RowsRejected
from legacy.stores import prepare_sql, rejected_lines

if TYPE_CHECKING:
    from legacy.parts import Parts

SHOWN_MAX = 20


@click.command("status")
@tenant_option
@all_tenants_option
@json_option
def show_status(tenant_id: str, all_tenants: bool, as_json: bool) -> None:
    """Show phases, the gates of the next move, backlog, rejects and the last comparison."""
    with opened_parts() as parts:
        tenants = [tenant_id]
        if all_tenants:
            found = attached(parts, tenant_id, all_tenants=True)
            tenants = list(dict.fromkeys(state.tenant_id for state in found))
        shown = [{"tenant": each, "domains": status.domains(parts, each)} for each in tenants]
    if as_json:
        click.echo(json.dumps({"tenants": shown} if all_tenants else shown[0], default=str))
        return
    lines = [text for each in shown for text in _status_lines(each, all_tenants=all_tenants)]
    click.echo("\n".join(lines) or "nothing is attached")


def _status_lines(shown: dict[str, Any], *, all_tenants: bool) -> list[str]:
    head = [f"tenant {shown['tenant']}"] if all_tenants else []
    return head + [_status_text(domain) for domain in shown["domains"]]


def _status_text(domain: dict[str, Any]) -> str:
    lines = [
        f"{domain['domain']}: phase {domain['phase']}, {domain['name']}, since {domain['since']}",
        f"  {domain['truth']} decides",
        f"  {domain['backlog']} keys to copy, the oldest {domain['lag_s']} s",
        f"  {domain['intents_pending']} intents, {domain['rejects']} rejects",
    ]
    lines += [
        f"  {'ok    ' if gate['ok'] else 'CLOSED'} {gate['name']}: {gate['detail']}"
        for gate in (domain["next"] or {}).get("gates", [])
    ]
    return "\n".join(lines)


@click.command("check")
@domain_argument
@tenant_option
@click.option("--sample", default=1_000, show_default=True, type=click.IntRange(min=1))
@json_option
def check(domain: str, tenant_id: str, sample: int, as_json: bool) -> None:
    """Map sample rows, and say which break a rule (exit 3)."""
    with opened_parts() as parts:
        store = parts.links.get(tenant_id, domain).store
        store.ping()
        ids = store.scan_ids(None, sample)
        rejected = _rejected_of(store, ids)
    found = {"rows": len(ids), "rejected": rejected}
    click.echo(json.dumps(found) if as_json else f"{len(ids)} rows, {len(rejected)} break a rule")
    if not as_json:
        for each in rejected[:SHOWN_MAX]:
            click.echo(f"  {each['id']}: {each['code']} ({', '.join(each['columns'])})")
    sys.exit(FINDING if rejected else 0)


def _rejected_of(store: LegacyStore, ids: list[str]) -> list[dict[str, Any]]:
    rejected = rejected_lines(store)
    try:
        store.get_many(ids)
    except RowsRejected as error:
        rejected += error.rejected
    return [{"id": e.id, "code": e.code, "columns": list(e.columns)} for e in rejected]


@click.command("prepare")
@click.argument("domain", type=click.Choice((*DOMAINS, "all")), default="all")
@tenant_option
@click.option("--sql", "as_sql", is_flag=True, help="Print what the legacy side has to run.")
def prepare(domain: str, tenant_id: str, as_sql: bool) -> None:
    """Say whether the legacy side is prepared (exit 3: it is not), or print its statements.

    The owner of the legacy table runs them, as often as wanted; its columns are not altered.
    """
    faults = []
    with opened_parts() as parts:
        for name, store in _stores(parts, tenant_id, domain):
            if as_sql:
                click.echo(f"-- {name}\n{prepare_sql(store) or '-- Nothing is needed.'}")
            else:
                faults += _preparation_faults(name, store)
    sys.exit(FINDING if faults else 0)


def _stores(parts: Parts, tenant_id: str, domain: str) -> list[tuple[str, LegacyStore]]:
    found = []
    for name in DOMAINS if domain == "all" else (domain,):
        try:
            found.append((name, parts.links.get(tenant_id, name).store))
        except NoLink:
            if domain != "all":
                raise
    if not found:
        click.echo("LEGACY_CONFIG is not set", err=True)
        sys.exit(USAGE)
    return found


def _preparation_faults(name: str, store: LegacyStore) -> list[str]:
    try:
        store.ping()
    except LegacyUnavailable:
        raise
    except LegacyError as error:
        click.echo(f"{name}: {error}")
        return [name]
    click.echo(f"{name}: prepared")
    return []
