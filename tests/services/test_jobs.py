"""Jobs: due times and leases in the database, any number of workers, nothing lost, nothing kept."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import psycopg
import pytest
from structlog.testing import capture_logs

from errors import DatabaseUnavailable, NotFound
from observability import Context, begin, current
from persistence.db import Database, DbSettings
from persistence.embedded_process import wait_until
from services.jobs import BACKOFF_MAX_MS, Ask, Job, Jobs, JobSettings, Run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

HOUR = 3_600_000
NOW = threading.Event()


@pytest.fixture
def db(database: str) -> Iterator[Database]:
    made = Database(database, DbSettings(pool_size=4))
    yield made
    made.close()


@pytest.fixture
def sql(database: str) -> Iterator[Callable[..., list[tuple[Any, ...]]]]:
    with psycopg.connect(database, autocommit=True) as conn:

        def execute(query: str, *values: Any) -> list[tuple[Any, ...]]:
            cursor = conn.execute(query.encode(), values)
            return cursor.fetchall() if cursor.description else []

        yield execute


def steps(*numbers: int) -> Callable[[Run], Iterator[int]]:
    return lambda _: iter(numbers)


def job(name: str, work: Callable[[Run], Iterator[int]], every_ms: int = HOUR) -> Job:
    return Job(name=name, every_ms=every_ms, work=work)


def made(db: Database, *jobs: Job, holder: str = "here:1", **settings: Any) -> Jobs:
    return Jobs(db, jobs, JobSettings(**{"poll_ms": 10, **settings}), holder)


def only(jobs: Jobs) -> Any:
    (row,) = jobs.list_all()
    return row


# --- Due, claimed, finished ---------------------------------------------------------------------


def test_a_new_job_is_due_at_once_and_then_after_its_interval(db: Database) -> None:
    """OJ2: due times live in the database."""
    jobs = made(db, job("count", steps(2, 3)))
    (outcome,) = jobs.run_due(["count"], NOW)
    assert (outcome.outcome, outcome.rows) == ("ok", 5)
    assert jobs.run_due(["count"], NOW) == []
    row = only(jobs)
    assert (row.outcome, row.rows, row.failures, row.holder) == ("ok", 5, 0, None)
    assert row.succeeded_at == row.finished_at
    assert (row.next_run_at - row.finished_at).total_seconds() * 1000 == HOUR


def test_only_the_jobs_asked_for_are_run(db: Database) -> None:
    """OJ1: `flask worker --jobs A,B`."""
    jobs = made(db, job("one", steps(1)), job("two", steps(1)))
    assert [outcome.job for outcome in jobs.run_due(["two"], NOW)] == ["two"]


def test_the_longest_due_runs_first(db: Database, sql: Callable[..., Any]) -> None:
    jobs = made(db, job("one", steps(1)), job("two", steps(1)))
    jobs.set_paused("one", paused=False)
    sql("UPDATE jobs SET next_run_at = now() - interval '1 h' WHERE job = 'two'")
    assert [outcome.job for outcome in jobs.run_due(["one", "two"], NOW)] == ["two", "one"]


def test_a_new_interval_is_taken_over_and_the_rest_is_kept(
    db: Database, sql: Callable[..., Any]
) -> None:
    """A release may change how often a job runs, not whether it is paused."""
    made(db, job("count", steps(1))).set_paused("count", paused=True)
    before = only(made(db))
    later = made(db, job("count", steps(1), every_ms=5))
    assert later.run_due(["count"], NOW) == []
    after = only(later)
    assert (after.every_ms, after.paused, after.next_run_at) == (5, True, before.next_run_at)


def test_a_paused_job_runs_by_hand_only(db: Database) -> None:
    """OJ1."""
    jobs = made(db, job("count", steps(1)))
    jobs.set_paused("count", paused=True)
    assert jobs.run_due(["count"], NOW) == []
    assert jobs.run("count", Ask()) is not None
    jobs.set_paused("count", paused=False)
    assert only(jobs).paused is False


def test_an_unknown_job_is_not_found(db: Database) -> None:
    jobs = made(db, job("count", steps(1)))
    with pytest.raises(NotFound):
        jobs.run("other", Ask())
    with pytest.raises(NotFound):
        jobs.set_paused("other", paused=True)


def test_a_worker_that_stops_begins_no_further_job(db: Database) -> None:
    """OS4."""
    stop = threading.Event()

    def work(_: Run) -> Iterator[int]:
        stop.set()
        yield 1

    jobs = made(db, job("one", work), job("two", work))
    assert len(jobs.run_due(["one", "two"], stop)) == 1


# --- Leases -------------------------------------------------------------------------------------


def test_of_ten_workers_one_runs_a_job(db: Database) -> None:
    """OJ2, F16: the claim decides, not the look."""
    running, ends = threading.Event(), threading.Event()

    def work(_: Run) -> Iterator[int]:
        running.set()
        assert ends.wait(10)
        yield 1

    first = made(db, job("count", work), holder="first:1")
    thread = threading.Thread(target=first.run, args=("count", Ask()))
    thread.start()
    assert running.wait(10)
    others = [made(db, job("count", steps(1)), holder=f"other:{i}") for i in range(9)]
    assert [other.run("count", Ask()) for other in others] == [None] * 9
    assert only(first).holder == "first:1"
    ends.set()
    thread.join()
    assert only(first).holder is None


def test_a_dead_workers_job_is_taken_when_its_lease_has_run_out(
    db: Database, sql: Callable[..., Any]
) -> None:
    """OJ4: after kill -9, elsewhere within lease + 2 s."""
    jobs = made(db, job("count", steps(1)))
    jobs.set_paused("count", paused=False)
    sql("UPDATE jobs SET lease_token = gen_random_uuid(), lease_until = now() + interval '1 h'")
    assert jobs.run_due(["count"], NOW) == []
    sql("UPDATE jobs SET lease_until = now()")
    assert len(jobs.run_due(["count"], NOW)) == 1


def test_a_worker_that_lost_its_lease_stops_and_writes_nothing(
    db: Database, sql: Callable[..., Any]
) -> None:
    """OJ2, F16: stopped past its lease, it does not go on beside its successor."""
    done: list[int] = []

    def work(_: Run) -> Iterator[int]:
        for number in range(3):
            done.append(number)
            if number == 1:
                sql("UPDATE jobs SET lease_token = gen_random_uuid(), holder = 'successor'")
            yield 1

    jobs = made(db, job("count", work))
    outcome = jobs.run("count", Ask())
    assert outcome is not None
    assert (outcome.outcome, outcome.rows, done) == ("lost", 2, [0, 1])
    assert (only(jobs).holder, only(jobs).outcome) == ("successor", None)


def test_a_lease_lost_after_the_last_batch_leaves_the_successors_row(
    db: Database, sql: Callable[..., Any]
) -> None:
    """OJ2."""

    def work(_: Run) -> Iterator[int]:
        yield 1
        sql("UPDATE jobs SET lease_token = gen_random_uuid(), holder = 'successor'")

    jobs = made(db, job("count", work))
    jobs.run("count", Ask())
    assert (only(jobs).holder, only(jobs).finished_at) == ("successor", None)


def test_a_job_paused_after_the_look_is_not_begun(db: Database) -> None:
    """OJ2: the claim looks once more."""
    jobs = made(db, job("count", steps(1)))
    jobs.set_paused("count", paused=True)
    assert jobs._claim("count", uuid4(), forced=False) is None
    assert jobs._claim("count", uuid4(), forced=True) == 0


def test_each_batch_renews_the_lease(db: Database, sql: Callable[..., Any]) -> None:
    """OJ2."""
    until: list[Any] = []

    def work(_: Run) -> Iterator[int]:
        for _number in range(3):
            until.append(sql("SELECT lease_until FROM jobs")[0][0])
            yield 1

    made(db, job("count", work)).run("count", Ask())
    assert until == sorted(set(until))


def test_a_run_has_a_context_of_its_own(db: Database) -> None:
    """The caller's deadline neither ends the job nor is ended by it."""
    mine = begin(Context(request_id="mine"))
    actors: list[str | None] = []

    def work(_: Run) -> Iterator[int]:
        actors.append(current().actor)
        yield 1

    made(db, job("count", work)).run("count", Ask())
    assert actors == ["job:count"]
    assert current() is mine


def test_a_batch_has_a_deadline_of_its_own(db: Database) -> None:
    """A hung database ends a batch, not the worker."""
    deadlines: list[float | None] = []

    def work(_: Run) -> Iterator[int]:
        for _number in range(2):
            deadlines.append(current().deadline)
            yield 1

    made(db, job("count", work)).run("count", Ask())
    assert deadlines[0] is not None
    assert deadlines[1] is not None
    assert deadlines[0] < deadlines[1]


# --- How a run ends -----------------------------------------------------------------------------


def failing(_: Run) -> Iterator[int]:
    yield 1
    raise ValueError("no luck\nDETAIL: Key (email)=(a@b.example)")


def test_a_failure_is_kept_and_backs_off(db: Database, sql: Callable[..., Any]) -> None:
    """OJ4: twice as long each time, with jitter, up to an hour; never the lines with values."""
    jobs = made(db, job("count", failing, every_ms=1000))
    for failures in (1, 2, 3):
        outcome = jobs.run("count", Ask())
        assert outcome is not None
        assert (outcome.outcome, outcome.is_finding) == ("failed", False)
        row = only(jobs)
        delay_s = (row.next_run_at - row.finished_at).total_seconds()
        assert 0.8 * 2**failures <= delay_s <= 1.2 * 2**failures
        assert (row.failures, row.error, row.succeeded_at) == (
            failures,
            "ValueError: no luck",
            None,
        )
    sql("UPDATE jobs SET failures = 40")
    jobs.run("count", Ask())
    delay_ms = (only(jobs).next_run_at - only(jobs).finished_at).total_seconds() * 1000
    assert 0.8 * BACKOFF_MAX_MS <= delay_ms <= 1.2 * BACKOFF_MAX_MS


def test_success_clears_failures_and_keeps_its_time_over_later_ones(db: Database) -> None:
    """OJ4, OH2."""
    made(db, job("count", failing)).run("count", Ask())
    made(db, job("count", steps(1))).run("count", Ask())
    row = only(made(db))
    assert (row.outcome, row.failures, row.error) == ("ok", 0, None)
    made(db, job("count", failing)).run("count", Ask())
    assert only(made(db)).succeeded_at == row.succeeded_at


def test_a_long_error_is_cut(db: Database) -> None:
    def work(_: Run) -> Iterator[int]:
        raise ValueError("x" * 5000)
        yield 0

    jobs = made(db, job("count", work))
    jobs.run("count", Ask())
    assert len(only(jobs).error) == 500


@pytest.mark.parametrize("ask", [Ask(limit=3), Ask(max_s=1e-9)])
def test_a_stopped_run_is_partial_and_due_at_once(db: Database, ask: Ask) -> None:
    """OJ1: what is left goes on with the next worker."""
    jobs = made(db, job("count", lambda run: (run.batch for _ in range(9))), batch=2)
    outcome = jobs.run("count", ask)
    assert outcome is not None
    assert outcome.outcome == "partial"
    assert outcome.rows == (3 if ask.limit else 2)
    assert only(jobs).next_run_at == only(jobs).finished_at
    assert only(jobs).succeeded_at is None


def test_a_signal_ends_the_run_after_its_batch(db: Database) -> None:
    """OS4."""
    stop = threading.Event()

    def work(_: Run) -> Iterator[int]:
        yield 1
        stop.set()
        yield 1
        raise AssertionError

    outcome = made(db, job("count", work)).run("count", Ask(), stop)
    assert outcome is not None
    assert (outcome.outcome, outcome.rows) == ("partial", 2)


def test_a_signal_ends_a_batch_of_many_seconds_where_it_allows(db: Database) -> None:
    """OS4: a verification of all books takes longer than a stop may."""
    stop = threading.Event()
    got: list[str] = []

    def work(run: Run) -> Iterator[int]:
        run.go_on()
        got.append("on")
        stop.set()
        run.go_on()
        got.append("too far")
        yield 1

    outcome = made(db, job("count", work)).run("count", Ask(), stop)
    assert outcome is not None
    assert (outcome.outcome, got) == ("partial", ["on"])


def test_a_batch_of_many_seconds_keeps_its_lease(db: Database, sql: Callable[..., Any]) -> None:
    """OJ2."""
    until: list[Any] = []

    def work(run: Run) -> Iterator[int]:
        for _number in range(2):
            until.append(sql("SELECT lease_until FROM jobs")[0][0])
            run.go_on()
        sql("UPDATE jobs SET lease_token = gen_random_uuid()")
        run.go_on()
        yield 1

    outcome = made(db, job("count", work)).run("count", Ask())
    assert outcome is not None
    assert (outcome.outcome, until) == ("lost", sorted(set(until)))


def test_a_long_batch_is_followed_by_a_pause_as_long(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OJ4: half of the database is for requests; a signal ends the pause."""
    monkeypatch.setattr("services.jobs.LONG_BATCH_S", 0)
    stop = threading.Event()
    pauses: list[float] = []
    monkeypatch.setattr(stop, "wait", pauses.append)
    made(db, job("count", steps(1, 1))).run("count", Ask(), stop)
    assert len(pauses) == 2
    assert min(pauses) > 0


def test_a_dry_run_takes_no_lease_and_leaves_no_trace(db: Database) -> None:
    """OJ1."""
    jobs = made(db, job("count", lambda run: iter([7 if run.ask.dry_run else 0])))
    outcome = jobs.run("count", Ask(dry_run=True))
    assert outcome is not None
    assert outcome.rows == 7
    assert only(jobs).started_at is None


def test_a_run_is_one_line_and_an_idle_one_none(db: Database) -> None:
    """OL1: jobs of one second would fill the log."""
    jobs = made(db, job("busy", steps(1)), job("idle", steps(0)), job("wrong", failing))
    with capture_logs() as lines:
        for name in jobs.names:
            jobs.run(name, Ask())
    assert [(line["log_level"], line["job"], line["rows"]) for line in lines] == [
        ("info", "busy", 1),
        ("debug", "idle", 0),
        ("error", "wrong", 1),
    ]


# --- Late ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "late"),
    [
        ("next_run_at = now() - interval '2 h 59 min'", False),
        ("next_run_at = now() - interval '3 h 1 min'", True),
        ("succeeded_at = now() - interval '3 h 59 min'", False),
        ("succeeded_at = now() - interval '4 h 1 min'", True),
        ("succeeded_at = now() - interval '9 h', paused = true", False),
        ("failures = 2", False),
        ("failures = 3", True),
    ],
)
def test_late_is_three_intervals_without_a_success(
    db: Database, sql: Callable[..., Any], change: str, late: bool
) -> None:
    """OH1: a warning, and who pauses a job knows why."""
    jobs = made(db, job("count", steps(1)))
    jobs.set_paused("count", paused=False)
    sql(f"UPDATE jobs SET {change}")
    assert only(jobs).late is late


# --- The worker ---------------------------------------------------------------------------------


def serving(jobs: Jobs) -> tuple[threading.Event, threading.Thread]:
    stop = threading.Event()
    thread = threading.Thread(target=jobs.serve, args=(jobs.names, stop))
    thread.start()
    return stop, thread


def test_a_long_job_does_not_hold_up_the_short_ones(db: Database) -> None:
    """OJ4: a thread each."""
    ran, ends = threading.Event(), threading.Event()

    def long(_: Run) -> Iterator[int]:
        assert ends.wait(10)
        yield 1

    def short(_: Run) -> Iterator[int]:
        ran.set()
        yield 1

    jobs = made(db, Job(name="long", every_ms=HOUR, work=long, is_long=True), job("short", short))
    stop, thread = serving(jobs)
    assert ran.wait(10)
    ends.set()
    stop.set()
    thread.join()


@pytest.mark.parametrize(("threads", "lanes"), [(1, 1), (2, 2), (4, 4)])
def test_threads_are_shared_out(db: Database, threads: int, lanes: int) -> None:
    """WORKER_THREADS: one alone does all; of more, one is for the long jobs."""
    long = Job(name="long", every_ms=HOUR, work=steps(), is_long=True)
    jobs = made(db, long, job("short", steps()), threads=threads)
    found = jobs._lanes(jobs.names)
    assert len(found) == lanes
    assert {name for lane in found for name in lane} == {"long", "short"}
    assert jobs._lanes(["short"]) == [["short"]]


def test_a_worker_runs_what_becomes_due(db: Database) -> None:
    """OJ2: it looks each WORKER_POLL_MS."""
    often, enough = iter(range(100)), threading.Event()

    def work(_: Run) -> Iterator[int]:
        if next(often) == 2:
            enough.set()
        yield 1

    stop, thread = serving(made(db, job("often", work, every_ms=1)))
    assert enough.wait(10)
    stop.set()
    thread.join()


def test_a_worker_outlives_its_database(tmp_path: Path) -> None:
    """No database: it waits, says so once, and goes on."""
    away = Database(f"postgresql://u@/db?host={tmp_path}", DbSettings(pool_timeout_ms=1))
    jobs = made(away, job("count", steps(1)))
    tries = 0
    register = jobs._register

    def counted() -> None:
        nonlocal tries
        tries += 1
        register()

    jobs._register = counted  # type: ignore[method-assign]
    with capture_logs() as lines:
        stop, thread = serving(jobs)
        assert wait_until(lambda: tries >= 3, 10)
        stop.set()
        thread.join()
    away.close()
    assert [line["event"] for line in lines] == ["worker.waits"]
    with pytest.raises(DatabaseUnavailable):
        made(away, job("count", steps(1))).run("count", Ask())
