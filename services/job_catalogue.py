"""What runs when: the jobs of this release."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from observability import log
from repos import jobs as rows
from repos import tenants
from services.jobs import Finding, Job

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from persistence.db import Database
    from services.jobs import Run

HOUR_MS = 3_600_000


def catalogue(
    db: Database, look: Callable[[], Iterator[tuple[str, int]]], *others: Job
) -> tuple[Job, ...]:
    """Return all jobs. `look()` yields each invariant with the number of rows that break it."""
    cleanup = Job(name="idempotency-cleanup", every_ms=HOUR_MS, work=partial(clean_up_keys, db))
    check = Job(
        name="check-invariants",
        every_ms=HOUR_MS,
        work=lambda _: check_invariants(look()),
        is_long=True,
    )
    return (cleanup, check, *others)


def clean_up_keys(db: Database, run: Run) -> Iterator[int]:
    """Delete expired idempotency keys, tenant by tenant, oldest first (K10)."""
    with db.read() as conn:
        named = [row.tenant_id for row in tenants.list_all(conn)]
    for tenant_id in [run.ask.tenant_id] if run.ask.tenant_id else named:
        if run.ask.dry_run:
            with db.read() as conn:
                yield rows.count_expired_keys(conn, tenant_id=tenant_id)
            continue
        deleted = batch = run.batch
        while deleted == batch:
            batch = run.batch
            with db.write() as conn:
                deleted = rows.delete_expired_keys(conn, tenant_id=tenant_id, batch=batch)
            yield deleted


def check_invariants(found: Iterator[tuple[str, int]]) -> Iterator[int]:
    """Ask every rule of sql/checks on live data; raises Finding if one is broken."""
    broken: list[str] = []
    for name, count in found:
        if count:
            broken.append(f"{name} ({count})")
            log.error("invariant.broken", check=name, rows=count)
        yield count
    if broken:
        raise Finding(", ".join(broken))
