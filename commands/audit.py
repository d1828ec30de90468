"""`flask audit`: what was done in a tenant, or tried, and by whom, newest first.

Exit codes: 0 done; 2 what was asked cannot be; 4 the database cannot be reached.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from commands.arguments import EVENT, MOMENT, json_option, tenant_option
from commands.database import opened_database
from commands.show import show
from services.admin_queries import AdminQueries, AuditFilters
from services.cursors import Cursors

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from repos.audit import AuditRow

PAGE = 200
OF_THE_PAGE = {"is_edge", "is_shown"}


@click.command("audit")
@tenant_option
@click.option("--user", "user_id", type=click.UUID, help="Only what is about this user.")
@click.option("--event", type=EVENT, help="Only this kind of event, like api_key_created.")
@click.option("--from", "from_at", type=MOMENT, help="Not older than this.")
@click.option("--to", "to_at", type=MOMENT, help="Older than this.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=100, show_default=True)
@json_option
def audit(
    tenant_id: str | None,
    user_id: UUID | None,
    event: str | None,
    from_at: datetime | None,
    to_at: datetime | None,
    limit: int,
    as_json: bool,
) -> None:
    """Show the audit log of a tenant, newest first."""
    filters = AuditFilters(user_id=user_id, event=event, from_at=from_at, to_at=to_at)
    rows: list[AuditRow] = []
    cursor = None
    with opened_database() as (config, db):
        cursors = Cursors(*config.subkeys("cursor").values())
        queries = AdminQueries(db, cursors, config.list_scan_rows)
        while len(rows) < limit:
            asked = min(PAGE, limit - len(rows))
            page, cursor = queries.audit(tenant_id or config.default_tenant, filters, asked, cursor)
            rows += page
            if cursor is None:
                break
    show({"data": [*map(_shown, rows)]}, "\n".join(map(_line, rows)), as_json)


def _shown(row: AuditRow) -> dict[str, Any]:
    return {name: value for name, value in asdict(row).items() if name not in OF_THE_PAGE}


def _line(row: AuditRow) -> str:
    parts = [f"{row.at:%Y-%m-%dT%H:%M:%SZ}", row.event, row.outcome, row.subject or "(nobody)"]
    if row.user_id is not None and row.subject != f"user:{row.user_id}":
        parts.append(f"about user:{row.user_id}")
    return "  ".join([*parts, *filter(None, (row.ip, row.reason))])
