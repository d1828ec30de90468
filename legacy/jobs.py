"""Jobs of the move in `flask worker`: mirror, backfill, comparison (2.4, 2.5).

Each is right when it runs twice at once, or is stopped anywhere: marks, cursor and runs are rows.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from errors import AppError
from legacy import backfill as backfills
from legacy import drift
from legacy.links import DUAL_WRITE, NEW_READS, NoLink
from legacy.parts import make
from legacy.rows import backfills as cursors
from legacy.rows import phases
from observability import current, log
from services.jobs import Finding, Job, tenants_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from config import Config
    from legacy.parts import Parts
    from legacy.rows.phases import StateRow
    from legacy.settings import LegacySettings
    from persistence.db import Database
    from services.jobs import Run

MIRROR_MS = 200
BACKFILL_MS = 10_000
BY = "job:legacy-verify"
# Jobs that write rows of a domain: where legacy decides about it they have nothing to do.
WRITES = {
    "expire-payments": "payments",
    "ledger-catch-up": "payments",
    "auth-purge": "users",
}


def with_jobs(
    config: Config, settings: LegacySettings, db: Database, jobs: tuple[Job, ...]
) -> tuple[Job, ...]:
    """Return all jobs with those of the move, on the worker's own database."""
    parts = make(config, db, settings)
    ours = [
        Job(name="legacy-backfill", every_ms=BACKFILL_MS, work=partial(fill, parts), is_long=True),
        Job(
            name="legacy-verify",
            every_ms=settings.verify_every_s * 1_000,
            work=partial(verify, parts),
            is_long=True,
        ),
    ]
    if settings.mirror_in_worker:
        ours.append(Job(name="legacy-mirror", every_ms=MIRROR_MS, work=partial(mirror, parts)))
    return (*(_leaving_out(parts, job) for job in jobs), *ours)


def mirror(parts: Parts, run: Run) -> Iterator[int]:
    """Copy what is marked, until nothing is."""
    if run.ask.dry_run:
        yield sum(parts.phases.facts(s.tenant_id, s.domain).backlog for s in _states(parts, run))
        return
    while done := parts.mirror.run_once():
        yield done


def fill(parts: Parts, run: Run) -> Iterator[int]:
    """Go on with every backfill of phase 2 that has not finished; users first."""
    for state in _states(parts, run):
        if state.phase != DUAL_WRITE or _is_filled(parts, state):
            continue
        ask = backfills.Ask(tenant_id=state.tenant_id, domain=state.domain, dry_run=run.ask.dry_run)
        try:
            for batch in parts.backfill.run(ask, run.stop.is_set):
                yield batch.seen
        except NoLink as error:
            log.warning("legacy.backfill_waits", domain=state.domain, error=str(error))


def verify(parts: Parts, run: Run) -> Iterator[int]:
    """Compare what both sides hold in phases 2 to 4; raises Finding if they differ."""
    found: list[str] = []
    for state in _states(parts, run):
        if not DUAL_WRITE <= state.phase <= NEW_READS or not _is_filled(parts, state):
            continue
        ask = drift.Ask(tenant_id=state.tenant_id, domain=state.domain, by=BY, trigger="job")
        current().deadline = None  # That of one batch; all rows take as long as they take.
        try:
            report = parts.verifier.run(ask)
        except (AppError, NoLink) as error:  # A store is away, or somebody compares it by hand.
            log.warning("legacy.verify_waits", domain=state.domain, error=str(error))
            continue
        if not report.clean:
            found.append(f"{state.tenant_id}/{state.domain}: {len(report.items)} rows")
        yield len(report.items)
    if found:
        raise Finding(", ".join(found))


def _states(parts: Parts, run: Run) -> list[StateRow]:
    with parts.db.read() as conn:
        states = phases.list_attached(conn)
    return [s for s in states if run.ask.tenant_id in {None, s.tenant_id}]


def _is_filled(parts: Parts, state: StateRow) -> bool:
    with parts.db.read() as conn:
        cursor = cursors.get(conn, tenant_id=state.tenant_id, domain=state.domain)
    return cursor is not None and cursor.finished_at is not None


def _leaving_out(parts: Parts, job: Job) -> Job:
    """Return a job that leaves out tenants whose rows legacy decides about."""
    domain = WRITES.get(job.name)
    return job if domain is None else replace(job, work=partial(_others, parts, job, domain))


def _others(parts: Parts, job: Job, domain: str, run: Run) -> Iterator[int]:
    asked = run.ask
    led = {s.tenant_id for s in _states(parts, run) if s.domain == domain and s.phase < NEW_READS}
    if not led:
        yield from job.work(run)
        return
    for tenant_id in tenants_of(parts.db, run):
        if tenant_id not in led:
            run.ask = replace(asked, tenant_id=tenant_id)
            yield from job.work(run)
    run.ask = asked
