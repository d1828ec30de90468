"""Jobs: what runs by itself, on any number of workers, none of them a leader (OJ1 to OJ4).

The lease saves work, it is not the safety: every job is right when it runs twice at once, or is
stopped anywhere.
"""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from uuid_utils.compat import uuid7

from errors import NotFound
from observability import (
    Context,
    begin,
    current,
    job_duration_seconds,
    job_rows_total,
    job_runs_total,
    log,
)
from repos import jobs as rows
from repos import tenants

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from uuid import UUID

    from persistence.db import Database
    from repos.jobs import JobRow

BACKOFF_MAX_MS = 3_600_000
# A batch that took longer is followed by a pause as long: half of the database is for requests.
LONG_BATCH_S = 0.2
ERROR_MAX = 500
WAKE_S = 1.0


class Finding(Exception):
    """A job has found what a person must look at; the text says what."""


class LeaseLost(Exception):
    """Another worker has taken the job over."""


class Stopped(Exception):
    """The worker ends: the batch under way is given up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSettings:
    """`deadline_ms` bounds the database work of one batch."""

    batch: int = 1_000
    lease_s: int = 60
    poll_ms: int = 1_000
    threads: int = 2
    deadline_ms: int = 5_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What a run by hand may ask: one tenant, so many rows or seconds, only a count."""

    tenant_id: str | None = None
    batch: int | None = None
    limit: int | None = None
    max_s: float | None = None
    dry_run: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a run ended: ok, partial (stopped, rows may be left), failed, or lost (its lease)."""

    job: str
    outcome: str
    rows: int
    error: str | None = None
    is_finding: bool = False


@dataclass(slots=True, kw_only=True)
class Run:
    """One run, as the job sees it."""

    ask: Ask
    stop: threading.Event
    batch_max: int
    rows: int = 0
    began: float = field(default_factory=time.monotonic)
    # Renews the lease and the deadline, as each batch does at its end; LeaseLost.
    keep: Callable[[], None] = lambda: None

    @property
    def batch(self) -> int:
        """How many rows the next batch may have."""
        most = self.ask.batch or self.batch_max
        return most if self.ask.limit is None else min(most, self.ask.limit - self.rows)

    @property
    def is_over(self) -> bool:
        """Tell whether no further batch may begin."""
        late = self.ask.max_s is not None and time.monotonic() - self.began >= self.ask.max_s
        return late or self.batch <= 0 or self.stop.is_set()

    def go_on(self) -> None:
        """To be called now and then within a batch of many seconds; raises what ends it."""
        self.keep()
        if self.stop.is_set():
            raise Stopped


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """`work(run)` does one batch, a transaction, up to each `yield` of its number of rows.

    It holds no connection of the pool at a yield, and with `run.ask.dry_run` it only counts.
    """

    name: str
    every_ms: int
    work: Callable[[Run], Iterator[int]]
    is_long: bool = False


def tenants_of(db: Database, run: Run) -> list[str]:
    """Return the tenants that a run is about: the one that was asked for, or all."""
    if run.ask.tenant_id:
        return [run.ask.tenant_id]
    with db.read() as conn:
        return [row.tenant_id for row in tenants.list_all(conn)]


class Jobs:
    """The registry of jobs and the worker that runs them."""

    def __init__(
        self,
        db: Database,
        jobs: Iterable[Job],
        settings: JobSettings,
        holder: str,
        *,
        new_id: Callable[[], UUID] = uuid7,
    ) -> None:
        """`holder` names this process for people: host and process id."""
        self._db = db
        self._jobs = {job.name: job for job in jobs}
        self._settings = settings
        self._holder = holder
        self._new_id = new_id
        self._is_registered = False

    # --- By hand --------------------------------------------------------------------------------

    @property
    def names(self) -> list[str]:
        """The jobs of this release."""
        return sorted(self._jobs)

    def list_all(self) -> list[JobRow]:
        """Every job with its last run; a job that no worker has ever seen is not among them."""
        with self._db.read() as conn:
            return rows.list_all(conn)

    def set_paused(self, name: str, *, paused: bool) -> None:
        """Let no worker begin the job, or let them again; NotFound."""
        self._register()
        with self._db.write() as conn:
            if not rows.set_paused(conn, job=name, paused=paused):
                raise NotFound("There is no such job.")

    def run(self, name: str, ask: Ask, stop: threading.Event | None = None) -> Outcome | None:
        """Run a job now, due or not; None: somebody else runs it. Raises NotFound."""
        if name not in self._jobs:
            raise NotFound("There is no such job.")
        self._register()
        return self._claim_and_run(self._jobs[name], ask, stop or threading.Event(), forced=True)

    # --- The worker -----------------------------------------------------------------------------

    def serve(self, names: Iterable[str], stop: threading.Event) -> None:
        """Run what is due of `names` until `stop`; short and long jobs have threads each."""
        threads = [
            threading.Thread(target=self._lane, args=(lane, stop), name=f"jobs-{number}")
            for number, lane in enumerate(self._lanes(names))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            # A signal may have come to another thread; Python hears of it when this one wakes.
            while thread.is_alive():
                thread.join(WAKE_S)

    def run_due(self, names: Iterable[str], stop: threading.Event) -> list[Outcome]:
        """Run once each job that is due and free."""
        self._register()
        with self._db.read() as conn:
            due = rows.list_due(conn, jobs=sorted(names))
        ran = []
        for name in due:
            outcome = None if stop.is_set() else self._claim_and_run(self._jobs[name], Ask(), stop)
            ran += [outcome] if outcome else []
        return ran

    def _lanes(self, names: Iterable[str]) -> list[list[str]]:
        long = [name for name in names if self._jobs[name].is_long]
        short = [name for name in names if not self._jobs[name].is_long]
        if self._settings.threads == 1 or not (long and short):
            return [long + short]
        return [long] + [short] * (self._settings.threads - 1)

    def _lane(self, names: list[str], stop: threading.Event) -> None:
        was_well = True
        while not stop.is_set():
            try:
                begin(Context(actor="worker", deadline=self._deadline()))
                ran: list[Outcome] = self.run_due(names, stop)
                was_well = True
            except Exception as error:  # noqa: BLE001  # A worker outlives every fault.
                ran = []
                if was_well:  # One line a change, not one a second.
                    log.warning("worker.waits", error=_said(error))
                was_well = False
            if not ran:
                stop.wait(self._settings.poll_ms / 1000)

    # --- One run --------------------------------------------------------------------------------

    def _claim_and_run(
        self, job: Job, ask: Ask, stop: threading.Event, *, forced: bool = False
    ) -> Outcome | None:
        """Run the job if it can be had, in a context of its own."""
        token, caller = self._new_id(), current()
        begin(Context(request_id=str(token), actor=f"job:{job.name}", deadline=self._deadline()))
        run = Run(ask=ask, stop=stop, batch_max=self._settings.batch)
        try:
            return self._run_claimed(job, run, token, forced=forced)
        finally:
            begin(caller)

    def _run_claimed(self, job: Job, run: Run, token: UUID, *, forced: bool) -> Outcome | None:
        """Claim, run, finish; a run that only counts takes no lease."""
        if run.ask.dry_run:
            return self._attempt(job, run)
        failures = self._claim(job.name, token, forced=forced)
        if failures is None:
            return None
        run.keep = partial(self._renew, job.name, token)
        outcome = self._attempt(job, run)
        self._finish(job, token, outcome, failures)
        self._tell(outcome, run)
        return outcome

    def _attempt(self, job: Job, run: Run) -> Outcome:
        """Run the batches; whatever goes wrong is an outcome."""
        outcome, error, is_finding = "ok", None, False
        try:
            if not self._batches(job, run):
                outcome = "partial"
        except Stopped:
            outcome = "partial"
        except LeaseLost:
            outcome = "lost"
        except Exception as caught:  # noqa: BLE001  # Kept in the row, and tried again later.
            outcome, error, is_finding = "failed", _said(caught), isinstance(caught, Finding)
        return Outcome(
            job=job.name, outcome=outcome, rows=run.rows, error=error, is_finding=is_finding
        )

    def _batches(self, job: Job, run: Run) -> bool:
        """Tell whether the job came to its end."""
        began = time.monotonic()
        for changed in job.work(run):
            run.rows += changed
            run.keep()
            if run.is_over:
                return False
            took_s = time.monotonic() - began
            if took_s > LONG_BATCH_S:
                run.stop.wait(took_s)
            began = time.monotonic()
            current().deadline = self._deadline()
        return True

    def _tell(self, outcome: Outcome, run: Run) -> None:
        job_runs_total.labels(outcome.job, outcome.outcome).inc()
        job_rows_total.labels(outcome.job).inc(outcome.rows)
        took_s = time.monotonic() - run.began
        job_duration_seconds.labels(outcome.job, outcome.outcome).observe(took_s)
        level = {"failed": "error", "lost": "warning"}.get(outcome.outcome)
        getattr(log, level or ("info" if outcome.rows else "debug"))(
            "job",
            job=outcome.job,
            outcome=outcome.outcome,
            rows=outcome.rows,
            error=outcome.error,
            duration_ms=round(took_s * 1000),
            request_id=current().request_id,
        )

    # --- The row --------------------------------------------------------------------------------

    def _register(self) -> None:
        if not self._is_registered:
            names = self.names
            with self._db.write() as conn:
                rows.register(
                    conn, jobs=names, every_ms=[self._jobs[name].every_ms for name in names]
                )
            self._is_registered = True

    def _claim(self, name: str, token: UUID, *, forced: bool) -> int | None:
        with self._db.write() as conn:
            return rows.claim(
                conn,
                job=name,
                forced=forced,
                lease_token=token,
                lease_ms=self._settings.lease_s * 1000,
                holder=self._holder,
            )

    def _renew(self, name: str, token: UUID) -> None:
        current().deadline = self._deadline()
        with self._db.write() as conn:
            lease_ms = self._settings.lease_s * 1000
            if not rows.renew(conn, job=name, lease_token=token, lease_ms=lease_ms):
                raise LeaseLost

    def _finish(self, job: Job, token: UUID, outcome: Outcome, failures: int) -> None:
        """Record the run; if the lease is lost the row is another's, and stays as it is."""
        current().deadline = self._deadline()
        failures = failures + 1 if outcome.outcome == "failed" else 0
        with self._db.write() as conn:
            rows.finish(
                conn,
                job=job.name,
                lease_token=token,
                outcome=outcome.outcome,
                error=outcome.error,
                rows=outcome.rows,
                failures=failures,
                delay_ms=_delay_ms(job.every_ms, outcome.outcome, failures),
            )

    def _deadline(self) -> float:
        return time.monotonic() + self._settings.deadline_ms / 1000


def _delay_ms(every_ms: int, outcome: str, failures: int) -> int:
    """What is left goes on at once; failures double the time, up to an hour, and spread it."""
    if outcome == "failed":
        longest = min(every_ms * 2 ** min(failures, 30), BACKOFF_MAX_MS)
        return int(longest * random.uniform(0.8, 1.2))  # noqa: S311  # Spreads tries.
    return every_ms if outcome == "ok" else 0


def _said(error: Exception) -> str:
    """Return type and first line: the lines after it may hold values of rows."""
    return f"{type(error).__name__}: {error}".partition("\n")[0][:ERROR_MAX]
