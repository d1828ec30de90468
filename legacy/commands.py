"""`flask legacy` and `flask verify-drift`: the move, by hand.

Exit codes: 0 done or clean; 2 usage or configuration; 3 a finding: drift, a closed gate, rejects;
4 could not look or finish: a store is away, or writers did not make way in time.
"""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click
from uuid_utils.compat import uuid7

from commands.arguments import LABEL, TENANT, json_option
from commands.database import opened_database
from commands.signals import stopped_by_signals
from commands.subject import subject
from legacy import backfill as backfills
from legacy import drift, status
from legacy.config_file import ConfigFaults
from legacy.links import DOMAINS, NoLink
from legacy.parts import make
from legacy.phases import Ask
from legacy.rows import legacy_rejects, mirror_marks, phases
from legacy.settings import LegacySettings
from legacy.store import LegacyError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from legacy.parts import Parts
    from legacy.phases import Moved

USAGE, FINDING, UNFINISHED = 2, 3, 4
MIRROR_PAUSE_S = 0.2

tenant_option = click.option(
    "--tenant", "tenant_id", type=TENANT, default="default", show_default=True
)
reason_option = click.option("--reason", type=LABEL, required=True, help="Kept in the audit log.")
domain_argument = click.argument("domain", type=click.Choice(DOMAINS))
waive_option = click.option(
    "--waive-gate", "waive", multiple=True, type=click.Choice(("shadow", "soak", "rejects"))
)
wait_option = click.option("--wait-s", type=click.FloatRange(min=0.1), help="For writers to end.")
dry_run_option = click.option("--dry-run", is_flag=True, help="Look, and change nothing.")


@contextmanager
def opened_parts(*, as_owner: bool = False, threads: int = 1) -> Iterator[Parts]:
    """Yield the parts of the move; what is wrong with the configuration is exit 2."""
    settings = LegacySettings.load()
    with opened_database(lambda _: threads, as_owner=as_owner) as (config, db):
        try:
            parts = make(config, db, settings)
            try:
                yield parts
            finally:
                parts.links.close()
        except ConfigFaults as error:
            for fault in error.faults:
                click.echo(f"LEGACY_CONFIG: {fault}", err=True)
            sys.exit(USAGE)
        except NoLink as error:
            click.echo(f"{error.args[0]}", err=True)
            sys.exit(USAGE)
        except LegacyError as error:
            click.echo(f"legacy_unavailable: {error}", err=True)
            sys.exit(UNFINISHED)


@click.group("legacy")
def legacy_group() -> None:
    """Move users and payments over from a store that is in use, step by step."""


# --- Looking ------------------------------------------------------------------------------------


@legacy_group.command("status")
@tenant_option
@json_option
def show_status(tenant_id: str, as_json: bool) -> None:
    """Show phases, the gates of the next move, backlog, rejects and the last comparison."""
    with opened_parts() as parts:
        found = status.domains(parts, tenant_id)
    if as_json:
        click.echo(json.dumps({"tenant": tenant_id, "domains": found}, default=str))
        return
    click.echo("\n".join(map(_status_text, found)) or "nothing is attached")


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


@legacy_group.command("check")
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
        for each in rejected[:20]:
            click.echo(f"  {each['id']}: {each['code']} ({', '.join(each['columns'])})")
    sys.exit(FINDING if rejected else 0)


def _rejected_of(store: Any, ids: list[str]) -> list[dict[str, Any]]:
    from legacy.store import RowsRejected  # noqa: PLC0415

    try:
        store.get_many(ids)
    except RowsRejected as error:
        return [{"id": e.id, "code": e.code, "columns": list(e.columns)} for e in error.rejected]
    return []


# --- Moving -------------------------------------------------------------------------------------


@legacy_group.command("attach")
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


@legacy_group.command("advance")
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


@legacy_group.command("rollback")
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


@legacy_group.command("finish")
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


# --- Copying ------------------------------------------------------------------------------------


@legacy_group.command("backfill")
@domain_argument
@tenant_option
@click.option("--batch", type=click.IntRange(1, 1_000), help="Rows a batch; else it is steered.")
@click.option("--sleep-ms", default=0, type=click.IntRange(min=0))
@click.option("--max-rows", type=click.IntRange(min=1))
@click.option("--restart", "restarts", is_flag=True, help="From the first row again.")
@dry_run_option
@json_option
def backfill(domain: str, tenant_id: str, as_json: bool, **given: Any) -> None:
    """Bring over what legacy has had all along (exit 3: rows were set aside; 4: not finished)."""
    totals = dict.fromkeys(("seen", "inserted", "marked", "rejected"), 0)
    is_last = False
    with opened_parts() as parts, stopped_by_signals() as stop:
        ask = backfills.Ask(domain=domain, tenant_id=tenant_id, **given)
        for batch in parts.backfill.run(ask, stop.is_set):
            for name in ("seen", "inserted", "marked"):
                totals[name] += getattr(batch, name)
            totals["rejected"] += len(batch.rejected)
            is_last = batch.is_last
            if not as_json:
                click.echo(f"{totals['seen']} rows, {totals['rejected']} set aside", err=True)
    click.echo(json.dumps({**totals, "finished": is_last}) if as_json else f"{domain}: {totals}")
    sys.exit(UNFINISHED if not is_last else FINDING if totals["rejected"] else 0)


@legacy_group.command("mirror")
@click.option("--once", is_flag=True, help="Until nothing is due, then end.")
def mirror(once: bool) -> None:
    """Copy what changes between the stores, until a signal."""
    with opened_parts() as parts, stopped_by_signals() as stop:
        while not stop.is_set():
            if parts.mirror.run_once():
                continue
            if once:
                return
            stop.wait(MIRROR_PAUSE_S)


@legacy_group.command("rejects")
@domain_argument
@tenant_option
@click.option("--retry", is_flag=True, help="Try them all again now.")
@click.option("--waive", "waived", help="Let the row with this id stay behind.")
@click.option("--reason", type=LABEL, help="For --waive.")
@json_option
def rejects(
    domain: str,
    tenant_id: str,
    retry: bool,
    waived: str | None,
    reason: str | None,
    as_json: bool,
) -> None:
    """List rows that were set aside (exit 3 if any is open), retry or waive them."""
    if waived is not None and reason is None:
        raise click.UsageError("--waive needs --reason.")
    named = {"tenant_id": tenant_id, "domain": domain}
    with opened_parts() as parts:
        if waived is not None:
            with parts.db.write() as conn:
                by = {"waived_by": subject(), "reason": str(reason), "audit_id": uuid7()}
                legacy_rejects.waive(conn, **named, entity_id=waived, **by)  # type: ignore[arg-type]
        with parts.db.read() as conn:
            found = legacy_rejects.list_open(conn, **named, after_id="", row_limit=1_000)
        if retry and found:
            ids = [row.entity_id for row in found]
            with parts.db.write() as conn:
                mirror_marks.mark(conn, **named, entity_ids=ids, origin="retry")
    if as_json:
        click.echo(json.dumps({"rejects": [asdict(row) for row in found]}, default=str))
    else:
        for row in found:
            by_whom = f", waived by {row.waived_by}" if row.waived_by else ""
            click.echo(f"{row.entity_id}: {row.code} ({', '.join(row.columns)}){by_whom}")
    sys.exit(FINDING if any(row.waived_by is None for row in found) else 0)


# --- Comparing ----------------------------------------------------------------------------------


@click.command("verify-drift")
@click.argument("domain", type=click.Choice((*DOMAINS, "all")), default="all")
@tenant_option
@click.option("--level", default=3, type=click.IntRange(0, 3), show_default=True)
@click.option("--repair", is_flag=True, help="Copy what differs, truth to follower.")
@click.option("--max-rows", default=1_000, show_default=True, type=click.IntRange(min=1))
@json_option
def verify_drift(
    domain: str, tenant_id: str, level: int, repair: bool, max_rows: int, as_json: bool
) -> None:
    """Compare the two stores, down to the column (exit 3: they differ)."""
    reports = []
    with opened_parts() as parts:
        wanted = DOMAINS if domain == "all" else (domain,)
        with parts.db.read() as conn:
            attached = {s.domain for s in phases.list_attached(conn) if s.tenant_id == tenant_id}
        for each in (name for name in wanted if domain != "all" or name in attached):
            ask = drift.Ask(
                tenant_id=tenant_id,
                domain=each,
                by=subject(),
                level=level,
                repair=repair,
                max_rows=max_rows,
            )
            report = parts.verifier.run(ask)
            if report.counts["repaired"]:
                parts.mirror.run_once()
                report = parts.verifier.run(drift.Ask(tenant_id=tenant_id, domain=each, by=ask.by))
            reports.append(report.as_json())
    if as_json:
        click.echo(json.dumps({"runs": reports}))
    else:
        for found in reports:
            click.echo(_drift_text(found))
    sys.exit(0 if all(found["clean"] for found in reports) else FINDING)


def _drift_text(found: dict[str, Any]) -> str:
    verdict = "clean" if found["clean"] else "drift"
    lines = [f"{found['domain']}: {verdict}, {found['rows']}, {found['duration_ms']} ms"]
    lines += [
        f"  {item['entity_id']}: {item['kind']} {', '.join(item['columns'])}"
        for item in found["items"][:100]
    ]
    return "\n".join(lines)


legacy_group.add_command(verify_drift, "verify")
