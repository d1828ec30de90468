"""`flask verify-drift`: whether both stores say the same, by hand."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

import click

from commands.arguments import MOMENT, json_option
from commands.subject import subject
from legacy import drift
from legacy.commands_opening import (
    FINDING,
    all_tenants_option,
    attached,
    opened_parts,
    tenant_option,
)
from legacy.drift_keys import busy
from legacy.links import DOMAINS
from legacy.rows import drift_runs
from legacy.status import NEWEST

if TYPE_CHECKING:
    from legacy.drift_report import Item
    from legacy.parts import Parts

SHOWN_MAX = 100
REPAIR_WAIT_S = 60
PAUSE_S = 0.1


@click.command("verify-drift")
@click.argument("domain", type=click.Choice((*DOMAINS, "all")), default="all")
@tenant_option
@all_tenants_option
@click.option(
    "--level",
    default=3,
    type=click.IntRange(0, 3),
    show_default=True,
    help="0 totals, 1 and 2 buckets, 3 rows.",
)
@click.option("--sample", type=click.IntRange(1, 100_000), help="So many rows of each side.")
@click.option("--since", type=MOMENT, help="Rows that changed on either side since then.")
@click.option("--grace-ms", type=click.IntRange(0, 60_000), help="Before a second look.")
@click.option("--repair", is_flag=True, help="Copy what differs, truth to follower; look again.")
@click.option("--max-rows", default=1_000, show_default=True, type=click.IntRange(min=1))
@click.option("--allow-delete", is_flag=True, help="Repair: users that only the follower has go.")
@click.option("--history", type=click.IntRange(1, 1_000), help="List so many runs only.")
@json_option
def verify_drift(
    domain: str,
    tenant_id: str,
    all_tenants: bool,
    history: int | None,
    as_json: bool,
    **given: Any,
) -> None:
    """Compare the two stores, down to the column (exit 3: they differ)."""
    if given["sample"] and given["since"]:
        raise click.UsageError("--sample or --since, not both.")
    if given["repair"] and given["level"] != drift.ROWS:
        raise click.UsageError("--repair needs level 3.")
    with opened_parts() as parts:
        if history is not None:
            _show_history(parts, tenant_id, domain, history, as_json=as_json)
            return
        states = attached(parts, tenant_id, all_tenants=all_tenants)
        wanted = [s for s in states if domain in {"all", s.domain}]
        asks = [
            drift.Ask(tenant_id=s.tenant_id, domain=s.domain, by=subject(), **given) for s in wanted
        ]
        if domain != "all" and not asks:
            asks = [drift.Ask(tenant_id=tenant_id, domain=domain, by=subject(), **given)]
        found = [_verified(parts, ask) for ask in asks]
    runs = [report.as_json() for reports in found for report in reports]
    texts = [json.dumps({"runs": runs})] if as_json else map(_drift_text, runs)
    for text in texts:
        click.echo(text)
    sys.exit(0 if all(reports[-1].clean for reports in found) else FINDING)


def _verified(parts: Parts, ask: drift.Ask) -> list[drift.Report]:
    """Return the run, and after a repair another one, which decides."""
    report = parts.verifier.run(ask)
    mended = [item for item in report.items if item.repaired]
    if not mended:
        return [report]
    _wait_for_mirror(parts, ask, mended)
    return [report, parts.verifier.run(ask.again(mended))]


def _wait_for_mirror(parts: Parts, ask: drift.Ask, mended: list[Item]) -> None:
    """Copy what is marked, here or by a mirror that has it; what cannot be is left to the run."""
    until = monotonic() + REPAIR_WAIT_S
    keys = [item.entity_id for item in mended]
    state = parts.phases.state(ask.tenant_id, ask.domain)
    while state is not None and monotonic() < until:
        copied = parts.mirror.run_once()
        if not busy(parts.db, parts.mirror.scope(state), keys):
            return
        sleep(0 if copied else PAUSE_S)


def _drift_text(found: dict[str, Any]) -> str:
    verdict = "clean" if found["clean"] else "drift"
    rows = f"{found['rows']['truth']} rows at the truth ({found['truth']})"
    rows += f", {found['rows']['follower']} at the follower"
    how = f"level {found['level']}, {found['duration_ms']} ms"
    lines = [f"{found['domain']}: {verdict}; {rows}; {how}"]
    names = (
        "missing_in_new", "missing_in_legacy", "different", "unsettled", "in_flight", "repaired",
    )  # fmt: skip
    counted = [f"{found[name]} {name}" for name in names if found[name]]
    lines += [f"  {', '.join(counted)}"] if counted else []
    lines += [
        f"  {item['entity_id']}: {item['kind']} {', '.join(item['columns'])}".rstrip()
        + (" (marked for repair)" if item["repaired"] else "")
        for item in found["items"][:SHOWN_MAX]
    ]
    return "\n".join(lines)


def _show_history(parts: Parts, tenant_id: str, domain: str, limit: int, *, as_json: bool) -> None:
    with parts.db.read() as conn:
        runs = drift_runs.list_runs(conn, tenant_id=tenant_id, before_id=NEWEST, row_limit=limit)
    shown = [run for run in runs if domain in {"all", run.domain}]
    if as_json:
        click.echo(json.dumps({"runs": [asdict(run) for run in shown]}, default=str))
        return
    for run in shown:
        found = run.missing_in_new + run.missing_in_legacy + run.different + run.unsettled
        click.echo(
            f"{run.started_at:%Y-%m-%d %H:%M:%S} {run.domain} {run.status}, {found} found,"
            f" phase {run.phase}, level {run.level}, {run.trigger} by {run.run_by}, {run.run_id}"
        )
