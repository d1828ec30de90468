"""`flask legacy attach`, `advance`, `rollback`, `finish`: one step each, if its gates are open."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from commands.arguments import json_option
from commands.subject import subject
from legacy.commands_opening import (
    domain_argument,
    dry_run_option,
    opened_parts,
    reason_option,
    tenant_option,
)
from legacy.phases import Ask

if TYPE_CHECKING:
    from legacy.phases import Moved

waive_option = click.option(
    "--waive-gate", "waive", multiple=True, type=click.Choice(("shadow", "soak", "rejects"))
)
wait_option = click.option("--wait-s", type=click.FloatRange(min=0.1), help="For writers to end.")


@click.command("attach")
@domain_argument
@tenant_option
@reason_option
@waive_option
@click.option("--resume", is_flag=True, help="New has rows already.")
@dry_run_option
@json_option
def attach(domain: str, tenant_id: str, reason: str, as_json: bool, **given: Any) -> None:
    """Begin in phase 1: the legacy store decides (as the owner of the tables)."""
    with opened_parts(as_owner=True) as parts:
        ask = _ask(domain, tenant_id, reason, given)
        _show(parts.phases.attach(ask, resume=given["resume"]), as_json)


@click.command("advance")
@domain_argument
@tenant_option
@reason_option
@waive_option
@wait_option
@click.option("--legacy-writers-stopped", "writers_stopped", is_flag=True)
@click.option("--no-way-back", is_flag=True, help="A read-only store goes from 3 to 5.")
@dry_run_option
@json_option
def advance(domain: str, tenant_id: str, reason: str, as_json: bool, **given: Any) -> None:
    """Take one step forward, if its gates are open (exit 3: which are not)."""
    with opened_parts() as parts:
        ask = _ask(domain, tenant_id, reason, given)
        _show(parts.phases.advance(ask, no_way_back=given["no_way_back"]), as_json)


@click.command("rollback")
@domain_argument
@tenant_option
@reason_option
@wait_option
@dry_run_option
@json_option
def rollback(domain: str, tenant_id: str, reason: str, as_json: bool, **given: Any) -> None:
    """Take one step back, whatever the flags say."""
    with opened_parts() as parts:
        _show(parts.phases.step_back(_ask(domain, tenant_id, reason, given)), as_json)


@click.command("finish")
@domain_argument
@tenant_option
@reason_option
@click.option("--confirm", required=True, help="The domain once more: there is no way back.")
@json_option
def finish(domain: str, tenant_id: str, reason: str, confirm: str, as_json: bool) -> None:
    """End the move: parked marks and old hashes go (as the owner of the tables)."""
    if confirm != domain:
        raise click.UsageError("--confirm must be the domain.")
    with opened_parts(as_owner=True) as parts:
        done = parts.phases.finish(_ask(domain, tenant_id, reason, {}))
    click.echo(json.dumps(asdict(done)) if as_json else f"{domain}: finished, {asdict(done)}")


def _ask(domain: str, tenant_id: str, reason: str, given: dict[str, Any]) -> Ask:
    wait_s = given.get("wait_s")
    return Ask(
        tenant_id=tenant_id,
        domain=domain,
        by=subject(),
        reason=reason,
        waive=frozenset(given.get("waive", ())),
        writers_stopped=given.get("writers_stopped", False),
        dry_run=given.get("dry_run", False),
        wait_ms=None if wait_s is None else int(wait_s * 1000),
    )


def _show(moved: Moved, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(asdict(moved)))
        return
    said = "would move" if not moved.done else "moved"
    click.echo(f"{moved.domain}: {said} from {moved.from_phase} to {moved.to_phase}")
    for gate in moved.gates:
        click.echo(f"  {'ok' if gate.ok else 'closed'} {gate.name}: {gate.detail}")
