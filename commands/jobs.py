"""`flask worker`, `flask jobs`, `flask idempotency-cleanup`: what runs by itself, and by hand.

Exit codes: 0 done; 2 no such job; 3 a job failed or found something; 4 the database is away,
another worker has the job, or it was stopped and rows are left.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from commands.database import opened_database
from commands.mail import make_outbox
from commands.replay import make_trust
from commands.seals import make_seals
from commands.signals import stopped_by_signals
from config import Config
from observability import serve_metrics, set_up_logging
from persistence.checks import broken_rows
from services.auth_purge import AuthPurge
from services.job_catalogue import AuthJobs, catalogue
from services.jobs import Ask, Jobs, JobSettings, Outcome
from services.payment_jobs import PaymentJobSettings
from services.replay import RunBy
from services.seal_job import SealJob
from services.signing_keys import signing_keys_of
from services.webhook_calls import WebhookCalls
from services.webhook_delivery import WebhookDelivery
from services.webhook_secrets import WebhookSecrets
from version import VERSION

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from persistence.db import Database

USAGE, FINDING, UNFINISHED = 2, 3, 4
EXIT_CODES = {"ok": 0, "failed": FINDING, "partial": UNFINISHED, "lost": UNFINISHED}

json_option = click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
tenant_option = click.option("--tenant", "tenant_id", help="Only this tenant's rows.")
dry_run_option = click.option("--dry-run", is_flag=True, help="Count, and change nothing.")
seconds_option = partial(click.option, "--max-s", type=click.FloatRange(min=0, min_open=True))
rows_type = click.IntRange(min=1)


@contextlib.contextmanager
def opened_jobs(config: Config, db: Database) -> Iterator[Jobs]:
    """Yield the jobs of this release on `db`; at the end, wait for what their threads do."""
    with contextlib.closing(_webhook_delivery(config, db)) as delivery:
        yield _jobs(config, db, delivery)


def _webhook_delivery(config: Config, db: Database) -> WebhookDelivery:
    secrets = WebhookSecrets(config.subkeys("webhook"))
    calls = WebhookCalls(allow_private=config.webhook_allow_private)
    return WebhookDelivery(db, secrets, calls, config.webhook_concurrency)


def _connections(config: Config) -> int:
    """One for each thread of the worker and of its webhooks."""
    return config.worker_threads + config.webhook_concurrency


def _jobs(config: Config, db: Database, delivery: WebhookDelivery) -> Jobs:
    settings = JobSettings(
        batch=config.job_batch,
        lease_s=config.job_lease_s,
        poll_ms=config.worker_poll_ms,
        threads=config.worker_threads,
        deadline_ms=config.request_deadline_ms,
    )
    host = socket.gethostname()
    by = RunBy(actor="job:verify-ledger", host=host, app_version=VERSION)
    payments = PaymentJobSettings(
        expiry_warning_s=config.expiry_warning_s, ledger=config.feature_ledger_enabled
    )
    seal = SealJob(db, make_seals(config, db)).work
    auth = AuthJobs(
        outbox=make_outbox(config, db),
        purge=AuthPurge(db, config.unverified_user_days),
        signing_keys=signing_keys_of(config, db),
    )
    trust = make_trust(config)
    look = partial(broken_rows, db)
    jobs = catalogue(db, look, by, seal, delivery.work, auth, payments, trust)
    return Jobs(db, jobs, settings, f"{host}:{os.getpid()}")


@contextlib.contextmanager
def _opened() -> Iterator[Jobs]:
    with opened_database(_connections) as (config, db), opened_jobs(config, db) as jobs:
        yield jobs


# --- flask worker -------------------------------------------------------------------------------


@click.command("worker")
@click.option("--jobs", "wanted", help="Only these, with commas between.")
@click.option("--once", is_flag=True, help="Run what is due, then end.")
def worker(wanted: str | None, once: bool) -> None:
    """Run jobs when they are due, until a signal."""
    with contextlib.ExitStack() as stack:
        config, db = stack.enter_context(opened_database(_connections))
        set_up_logging(config.log_level, json_lines=config.log_format == "json")
        jobs = stack.enter_context(opened_jobs(config, db))
        names = _named(jobs, wanted)
        if config.worker_metrics_port:
            serve_metrics(config.worker_metrics_port)
        stop = stack.enter_context(stopped_by_signals())
        if once:
            _exit_with(jobs.run_due(names, stop))
        jobs.serve(names, stop)


def _named(jobs: Jobs, wanted: str | None) -> list[str]:
    names = wanted.split(",") if wanted else jobs.names
    unknown = set(names).difference(jobs.names)
    if unknown:
        known = ", ".join(jobs.names)
        raise click.UsageError(f"No such job: {', '.join(sorted(unknown))}. There are: {known}.")
    return names


# --- flask jobs ---------------------------------------------------------------------------------


@click.group("jobs")
def jobs_group() -> None:
    """Jobs: what runs by itself, when, and how it last ended."""


@jobs_group.command("list")
@json_option
def list_jobs(as_json: bool) -> None:
    """Show every job with its last run."""
    with _opened() as jobs:
        found = jobs.list_all()
    if as_json:
        click.echo(json.dumps({"jobs": [asdict(row) for row in found]}, default=_iso))
        return
    for row in found:
        state = "paused" if row.paused else f"runs: {row.holder}" if row.holder else "waits"
        last = f"{row.outcome}, {row.rows} rows" if row.outcome else "never ran"
        late = ", late" if row.late else ""
        error = f": {row.error}" if row.error else ""
        click.echo(f"{row.job}  {state}  next {_iso(row.next_run_at)}  last {last}{error}{late}")


@jobs_group.command("run")
@click.argument("name")
@tenant_option
@click.option("--limit", type=rows_type, help="Stop after so many rows.")
@seconds_option(help="Stop after so many seconds.")
@dry_run_option
@json_option
def run_job(name: str, as_json: bool, **asked: Any) -> None:
    """Run a job now, due or not, paused or not."""
    run_by_hand(name, Ask(**asked), as_json)


@jobs_group.command("pause")
@click.argument("name")
def pause(name: str) -> None:
    """Let no worker begin the job; a run under way goes on."""
    _set_paused(name, paused=True)


@jobs_group.command("resume")
@click.argument("name")
def resume(name: str) -> None:
    """Let workers run the job again when it is due."""
    _set_paused(name, paused=False)


@click.command("idempotency-cleanup")
@click.option("--batch", type=rows_type, default=1_000, show_default=True)
@seconds_option(default=60, show_default=True, help="Stop after so many seconds.")
@tenant_option
@dry_run_option
@json_option
def idempotency_cleanup(as_json: bool, **asked: Any) -> None:
    """Delete idempotency keys that have expired (exit 4: stopped, rows are left)."""
    run_by_hand("idempotency-cleanup", Ask(**asked), as_json)


@click.command("ledger-catch-up")
@click.option("--batch", type=rows_type, default=500, show_default=True)
@tenant_option
@dry_run_option
@json_option
def ledger_catch_up(as_json: bool, **asked: Any) -> None:
    """Post what payments did while the ledger was off (exit 3: some refused, listed)."""
    if not Config.load().feature_ledger_enabled:
        raise click.UsageError("FEATURE_LEDGER_ENABLED is false: switch the ledger on first.")
    run_by_hand("ledger-catch-up", Ask(**asked), as_json)


def run_by_hand(name: str, ask: Ask, as_json: bool) -> None:
    """Run a job now, say how it ended, and exit with its code."""
    with _opened() as jobs, stopped_by_signals() as stop:
        _named(jobs, name)
        outcome = jobs.run(name, ask, stop)
    if outcome is None:
        click.echo(f"{name}: another worker runs it now", err=True)
        sys.exit(UNFINISHED)
    if as_json:
        click.echo(json.dumps(asdict(outcome)))
    else:
        click.echo(_sentence(outcome), err=outcome.outcome == "failed")
    _exit_with([outcome])


def _set_paused(name: str, *, paused: bool) -> None:
    with _opened() as jobs:
        _named(jobs, name)
        jobs.set_paused(name, paused=paused)
    click.echo(f"{name}: {'paused' if paused else 'resumed'}")


def _sentence(outcome: Outcome) -> str:
    error = f": {outcome.error}" if outcome.error else ""
    return f"{outcome.job}: {outcome.outcome}, {outcome.rows} rows{error}"


def _exit_with(outcomes: list[Outcome]) -> None:
    sys.exit(max((EXIT_CODES[outcome.outcome] for outcome in outcomes), default=0))


def _iso(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")
