"""`flask legacy backfill`, `import`, `mirror`, `rejects`: rows come over, and stay the same."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from uuid_utils.compat import uuid7

from commands.arguments import LABEL, json_option
from commands.signals import stopped_by_signals
from commands.subject import subject
from legacy import backfill as backfills
from legacy.commands_opening import (
    FINDING,
    UNFINISHED,
    domain_argument,
    dry_run_option,
    opened_parts,
    tenant_option,
)
from legacy.rows import legacy_rejects, mirror_marks

if TYPE_CHECKING:
    from threading import Event

    from legacy.parts import Parts

MIRROR_PAUSE_S = 0.2
REJECTS_SHOWN = 100
BAR_WIDTH = 20

sleep_option = click.option("--sleep-ms", default=0, type=click.IntRange(min=0))


@click.command("backfill")
@domain_argument
@tenant_option
@click.option("--batch", type=click.IntRange(1, 1_000), help="Rows a batch; else it is steered.")
@sleep_option
@click.option("--max-rows", type=click.IntRange(min=1))
@click.option("--restart", "restarts", is_flag=True, help="From the first row again.")
@dry_run_option
@json_option
def backfill(domain: str, tenant_id: str, as_json: bool, **given: Any) -> None:
    """Bring over what legacy has had all along (exit 3: rows were set aside; 4: not finished)."""
    ask = backfills.Ask(domain=domain, tenant_id=tenant_id, **given)
    with opened_parts() as parts, stopped_by_signals() as stop:
        totals, _ = _backfilled(parts, ask, stop, shows=not as_json)
    _say_copied(domain, totals, as_json=as_json)


def _backfilled(
    parts: Parts, ask: backfills.Ask, stop: Event, *, shows: bool
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the counts of a backfill, and codes by the ids of what was set aside."""
    totals: dict[str, Any] = dict.fromkeys(("seen", "inserted", "marked", "rejected"), 0)
    totals["finished"] = False
    codes: dict[str, str] = {}
    rows = parts.links.get(ask.tenant_id, ask.domain).store.count().rows if shows else 0
    for batch in parts.backfill.run(ask, stop.is_set):
        for name in ("seen", "inserted", "marked"):
            totals[name] += getattr(batch, name)
        codes |= {key: error.code for key, error in batch.rejected.items()}
        totals |= {"rejected": len(codes), "finished": batch.is_last}
        if shows:
            click.echo(_progress(totals, rows), err=True)
    return totals, codes


def _progress(totals: dict[str, Any], rows: int) -> str:
    share = min(1.0, totals["seen"] / rows) if rows else 1.0
    bar = "#" * int(share * BAR_WIDTH)
    counts = f"{totals['seen']} of {rows} rows, {totals['rejected']} set aside"
    return f"[{bar:<{BAR_WIDTH}}] {share:4.0%} {counts}"


def _say_copied(domain: str, totals: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(totals))
    else:
        said = ", ".join(f"{totals[name]} {name}" for name in ("seen", "inserted", "marked"))
        end = "finished" if totals["finished"] else "not finished"
        click.echo(f"{domain}: {said}, {totals['rejected']} set aside; {end}")
    sys.exit(UNFINISHED if not totals["finished"] else FINDING if totals["rejected"] else 0)


@click.command("import")
@domain_argument
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@tenant_option
@dry_run_option
@json_option
def import_file(domain: str, file: Path, tenant_id: str, dry_run: bool, as_json: bool) -> None:
    """Bring over an export, JSONL or CSV; a newer one brings what has changed (exit 3, 4).

    The domain is in phase 2 or 3, and its adapter is jsonl or csv. Lines that are no row, ids that
    are there twice and rows that break a rule are set aside, each with its reason.
    """
    ask = backfills.Ask(domain=domain, tenant_id=tenant_id, restarts=True, dry_run=dry_run)
    with opened_parts(files={domain: file}) as parts, stopped_by_signals() as stop:
        totals, codes = _backfilled(parts, ask, stop, shows=False)
        while not dry_run and not stop.is_set() and parts.mirror.run_once():
            pass
    if not as_json:
        for key, code in [*codes.items()][:REJECTS_SHOWN]:
            click.echo(f"  {key}: {code}")
    _say_copied(domain, totals, as_json=as_json)


@click.command("mirror")
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


@click.command("rejects")
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
