"""`flask verify-drift`: whether both stores say the same, by hand."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from commands.arguments import json_option
from commands.subject import subject
from legacy import drift
from legacy.commands_opening import FINDING, opened_parts, tenant_option
from legacy.links import DOMAINS
from legacy.rows import phases


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
