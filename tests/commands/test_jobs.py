"""`flask worker`, `flask jobs`, `flask idempotency-cleanup`."""

from __future__ import annotations

import json
import os
import signal
import threading
from typing import TYPE_CHECKING, Any
from urllib.request import urlopen

import psycopg
import pytest
from click.testing import CliRunner, Result
from structlog.testing import capture_logs

from commands.jobs import idempotency_cleanup, jobs_group, ledger_catch_up, worker
from persistence.embedded_process import wait_until
from services.job_catalogue import catalogue
from tests.clients import auth_jobs
from tests.faults.service import free_port

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from click import Command

# Those of this release, by name.
NONE: Any = None
JOBS = sorted(
    job.name for job in catalogue(NONE, lambda: iter(()), NONE, NONE, NONE, auth_jobs(NONE))
)
EXPIRED = """
    INSERT INTO idempotency_keys (tenant_id, scope, key, operation, fingerprint,
        fingerprint_version, kind, request_id, created_at, expires_at)
    SELECT 'default', 'key:1', 'k' || n, 'POST /', '', 1, 'cancelled', 'r', now(), now()
    FROM generate_series(1, 5) AS n
"""


@pytest.fixture
def run(database: str) -> Callable[..., Result]:
    environ = {"DATABASE_URL": database, "REDIS_URL": "off", "WORKER_POLL_MS": "10"}

    def invoke(command: Command, *arguments: str) -> Result:
        with capture_logs():
            return CliRunner().invoke(command, arguments, env=environ)

    return invoke


def sql(url: str, query: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url, autocommit=True) as conn:
        cursor = conn.execute(query.encode())
        return cursor.fetchall() if cursor.description else []


def test_jobs_are_listed_with_their_last_run(run: Callable[..., Result]) -> None:
    """OJ1."""
    assert run(worker, "--once").exit_code == 0
    lines = run(jobs_group, "list").stdout.splitlines()
    assert [line.split()[:2] for line in lines] == [[name, "waits"] for name in JOBS]
    assert all("last ok, 0 rows" in line for line in lines)
    found = json.loads(run(jobs_group, "list", "--json").stdout)["jobs"]
    assert {row["job"]: row["outcome"] for row in found} == dict.fromkeys(JOBS, "ok")
    assert found[0]["next_run_at"].endswith("Z")


def test_a_pause_is_seen_and_lifted(run: Callable[..., Result]) -> None:
    """OJ1."""
    assert run(jobs_group, "pause", "idempotency-cleanup").stdout.endswith(": paused\n")
    assert "idempotency-cleanup  paused" in run(jobs_group, "list").stdout
    assert run(jobs_group, "resume", "idempotency-cleanup").stdout.endswith(": resumed\n")
    assert "idempotency-cleanup  waits" in run(jobs_group, "list").stdout
    assert "never ran" in run(jobs_group, "list").stdout


@pytest.mark.parametrize("arguments", [("run", "x"), ("pause", "x"), ("resume", "x")])
def test_an_unknown_job_is_exit_2_and_the_known_ones_are_named(
    run: Callable[..., Result], arguments: tuple[str, ...]
) -> None:
    done = run(jobs_group, *arguments)
    assert done.exit_code == 2
    assert f"There are: {', '.join(JOBS)}." in done.stderr
    assert run(worker, "--jobs", "check-invariants,x").exit_code == 2


def test_a_clean_up_that_came_to_its_end_is_exit_0(
    run: Callable[..., Result], database: str
) -> None:
    """K10."""
    sql(database, EXPIRED)
    done = run(idempotency_cleanup, "--batch", "2", "--json")
    assert done.exit_code == 0
    assert json.loads(done.stdout) == {
        "job": "idempotency-cleanup",
        "outcome": "ok",
        "rows": 5,
        "error": None,
        "is_finding": False,
    }
    assert sql(database, "SELECT count(*) FROM idempotency_keys") == [(0,)]


def test_a_clean_up_that_was_stopped_is_exit_4(run: Callable[..., Result], database: str) -> None:
    """Payments page, section 11: stopped, rows left."""
    sql(database, EXPIRED)
    done = run(idempotency_cleanup, "--batch", "2", "--max-s", "0.000001")
    assert (done.exit_code, done.stdout) == (4, "idempotency-cleanup: partial, 2 rows\n")


def test_a_dry_run_deletes_nothing(run: Callable[..., Result], database: str) -> None:
    sql(database, EXPIRED)
    done = run(idempotency_cleanup, "--dry-run", "--tenant", "default")
    assert (done.exit_code, done.stdout) == (0, "idempotency-cleanup: ok, 5 rows\n")
    assert sql(database, "SELECT count(*) FROM idempotency_keys") == [(5,)]


def test_a_job_that_somebody_else_runs_is_exit_4(run: Callable[..., Result], database: str) -> None:
    """OJ1: lease held elsewhere."""
    run(jobs_group, "resume", "idempotency-cleanup")
    sql(
        database,
        "UPDATE jobs SET lease_token = gen_random_uuid(), holder = 'there:1',"
        " lease_until = now() + interval '1 h'",
    )
    done = run(jobs_group, "run", "idempotency-cleanup")
    assert done.exit_code == 4
    assert done.stderr == "idempotency-cleanup: another worker runs it now\n"
    assert "runs: there:1" in run(jobs_group, "list").stdout


def test_a_job_that_fails_is_exit_3_and_says_why(
    run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    """OJ1."""
    monkeypatch.setattr("commands.jobs.broken_rows", lambda _: iter([("books_balance", 2)]))
    done = run(jobs_group, "run", "check-invariants", "--limit", "5")
    assert (done.exit_code, done.stdout) == (3, "")
    assert done.stderr.splitlines()[-1] == (
        "check-invariants: failed, 2 rows: Finding: books_balance (2)"
    )
    assert "Finding: books_balance (2)" in run(jobs_group, "list").stdout
    assert run(worker, "--once").exit_code == 0  # Not due again yet.


def test_no_database_is_exit_4(tmp_path: Path) -> None:
    environ = {"DATABASE_URL": f"postgresql://u@/db?host={tmp_path}", "REDIS_URL": "off"}
    assert CliRunner().invoke(jobs_group, ["list"], env=environ).exit_code == 4


def test_a_worker_runs_what_is_due_and_ends_by_a_signal(
    run: Callable[..., Result], database: str
) -> None:
    """OS4: its batch ends, then it does, with 0; the old handler is back.

    The kernel may hand a signal to any thread, as it does right after SIGCONT.
    """
    before = signal.getsignal(signal.SIGTERM)

    def stop_when_some_ran() -> None:
        query = "SELECT count(*) >= 3 FROM jobs WHERE outcome = 'ok'"
        wait_until(lambda: sql(database, query) == [(True,)], 60)
        signal.pthread_kill(threading.get_ident(), signal.SIGTERM)

    thread = threading.Thread(target=stop_when_some_ran)
    thread.start()
    assert run(worker).exit_code == 0
    thread.join()
    assert sql(database, "SELECT count(*) >= 3 FROM jobs WHERE outcome = 'ok'") == [(True,)]
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_ledger_that_is_off_cannot_catch_up(
    run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    """P34: exit 2 says which setting; nothing is opened."""
    monkeypatch.setenv("FEATURE_LEDGER_ENABLED", "false")
    done = run(ledger_catch_up)
    assert done.exit_code == 2
    assert "FEATURE_LEDGER_ENABLED" in done.stderr


def test_catching_up_says_how_many_events_it_posted(run: Callable[..., Result]) -> None:
    """P34: exit 0 and a count; tests/services/test_payment_jobs.py has the rest."""
    done = run(ledger_catch_up, "--json")
    assert done.exit_code == 0
    assert json.loads(done.stdout)["rows"] == 0
    assert run(ledger_catch_up, "--batch", "10", "--dry-run").exit_code == 0


def test_a_worker_serves_its_own_metrics(run: Callable[..., Result]) -> None:
    """OM1: to this machine, on WORKER_METRICS_PORT."""
    port = free_port()
    os.environ["WORKER_METRICS_PORT"] = str(port)
    try:
        assert run(worker, "--once").exit_code == 0
    finally:
        del os.environ["WORKER_METRICS_PORT"]
    with urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        assert b'strongroom_job_runs_total{job="idempotency-cleanup",outcome="ok"}' in answer.read()
