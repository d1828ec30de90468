"""Files on their way: locks that are not got, runners that die, answers that are lost."""

from __future__ import annotations

import signal
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from persistence.migration_apply import Step, _perform, apply_file
from persistence.migration_errors import HistoryDiffers, MigrationError, Unfinished
from persistence.migration_files import load
from persistence.migration_history import History
from persistence.migration_lock import runner_lock
from persistence.migrator import apply_all
from tests.persistence.conftest import table
from tests.persistence.migration_proxy import CuttingProxy

if TYPE_CHECKING:
    from tests.persistence.conftest import Migrations

NO_TX = "-- migrate: no-transaction"
PATIENT = "-- migrate: lock-timeout 60s"
ADD_B = "ALTER TABLE a ADD COLUMN b int;"


# --- Locks (M13) --------------------------------------------------------------------------------


def test_a_lock_that_is_not_got_ends_with_the_blockers_named(migrations: Migrations) -> None:
    """M13: short tries, then exit 4; the file has left nothing."""
    migrations.write("0001_a", table("a"))
    migrations.apply()
    migrations.write("0002_b", table("b"), ADD_B)
    with migrations.connect() as other:
        other.execute("SET application_name = 'a long report'")
        other.execute("BEGIN; SELECT FROM a")
        with pytest.raises(Unfinished, match="not got in 2 tries of 500 ms: blocked by") as raised:
            apply_all(migrations.settings(lock_timeout_ms=500))
        assert other.info.backend_pid == raised.value.details["blockers"][0]["pid"]
    assert "a long report: BEGIN; SELECT FROM a" in str(raised.value)
    assert raised.value.exit_code == 4
    (retry,) = migrations.events("migrate.lock_retry")
    assert retry["blockers"][0]["application"] == "a long report"
    assert migrations.query("SELECT to_regclass('b')") == [None]
    assert migrations.apply().applied[0].lock_retries == 0


def test_a_lock_that_comes_free_is_got_by_a_later_try(migrations: Migrations) -> None:
    """M13: the retries are counted in history."""
    migrations.write("0001_a", table("a"))
    migrations.apply()
    migrations.write("0002_b", ADD_B)
    with ThreadPoolExecutor(1) as pool, migrations.connect() as other:
        other.execute("BEGIN; SELECT FROM a")
        running = pool.submit(apply_all, migrations.settings(lock_timeout_ms=50, lock_retries=200))
        migrations.wait_for_event("migrate.lock_retry")
        other.execute("ROLLBACK")
        took = running.result().applied[0]
    assert took.lock_retries > 0
    assert migrations.query("SELECT lock_retries FROM schema_migrations WHERE version = 2") == [
        took.lock_retries
    ]


def test_a_file_may_ask_for_its_own_lock_timeout(migrations: Migrations) -> None:
    """M3, M13: `lock-timeout` outlasts what the setting would not."""
    migrations.write("0001_a", table("a"))
    migrations.apply()
    migrations.write("0002_b", PATIENT, ADD_B)
    with ThreadPoolExecutor(1) as pool, migrations.connect() as other:
        other.execute("BEGIN; SELECT FROM a")
        running = pool.submit(apply_all, migrations.settings(lock_timeout_ms=50, lock_retries=0))
        migrations.wait_for_lock()
        other.execute("ROLLBACK")
        assert running.result().applied[0].lock_retries == 0


# --- Failures within a file ---------------------------------------------------------------------


def test_a_cancelled_statement_is_not_finished(migrations: Migrations) -> None:
    """Exit 4: somebody cancelled it; nothing of the file is left."""
    migrations.write("0001_a", table("a"))
    migrations.apply()
    migrations.write("0002_b", PATIENT, ADD_B)
    with ThreadPoolExecutor(1) as pool, migrations.connect() as other:
        other.execute("BEGIN; SELECT FROM a")
        running = pool.submit(migrations.apply)
        migrations.wait_for_lock()
        _on_waiting(migrations, "pg_cancel_backend")
        with pytest.raises(Unfinished, match=r"0002_b, line 2, .* somebody cancelled it"):
            running.result()


def test_a_lost_connection_within_a_file_is_not_finished(migrations: Migrations) -> None:
    """Exit 4: the server has rolled it back."""
    migrations.write("0001_a", table("a"))
    migrations.apply()
    migrations.write("0002_b", PATIENT, ADD_B)
    with ThreadPoolExecutor(1) as pool, migrations.connect() as other:
        other.execute("BEGIN; SELECT FROM a")
        running = pool.submit(migrations.apply)
        migrations.wait_for_lock()
        _on_waiting(migrations, "pg_terminate_backend")
        with pytest.raises(Unfinished, match="the connection was lost"):
            running.result()
    assert migrations.done() == {"0001_a": "1/1"}


def _on_waiting(migrations: Migrations, function: str) -> None:
    migrations.query(
        f"SELECT {function}(pid) FROM pg_stat_activity"
        " WHERE wait_event_type = 'Lock' AND datname = current_database()"
    )


def test_a_file_that_ends_its_own_transaction_is_caught(migrations: Migrations) -> None:
    """M12: should the lint ever let one pass."""
    migrations.write("0001_a", table("a"), "COMMIT;")
    settings = migrations.settings()
    (file,) = load(migrations.folder)
    with migrations.connect() as conn, runner_lock(settings) as lock:
        History(conn, settings).make()
        with pytest.raises(MigrationError, match="0001_a ended the transaction"):
            apply_file(settings, lock, file, None)


# --- COMMIT without an answer (M12) -------------------------------------------------------------


@pytest.mark.parametrize("forward", [True, False])
@pytest.mark.parametrize("head", ["", NO_TX])
def test_a_commit_without_an_answer_is_looked_up(
    migrations: Migrations, head: str, *, forward: bool
) -> None:
    """M12: committed or not, each statement has run once at the end."""
    migrations.write("0001_a", head, table("a"), "INSERT INTO a VALUES ('x', 1);")
    with CuttingProxy(migrations.url, b"COMMIT", forward=forward) as proxy:
        report = apply_all(migrations.settings(database_url=proxy.url))
    assert [took.name for took in report.applied] == ["0001_a"]
    assert migrations.events("migrate.commit_looked_up")[0]["committed"] is forward
    assert migrations.query("SELECT n FROM a") == [1]
    assert migrations.done() == {"0001_a": "2/2"}


def test_a_server_that_stays_away_after_commit_leaves_it_open(migrations: Migrations) -> None:
    """M12: exit 4; the next run looks first."""
    migrations.write("0001_a", table("a"))
    with (
        CuttingProxy(migrations.url, b"COMMIT", forward=True, then_refuse=True) as proxy,
        pytest.raises(Unfinished, match="PostgreSQL cannot be reached"),
    ):
        apply_all(migrations.settings(database_url=proxy.url, retry_max_s=0.5))
    assert migrations.apply().applied == []
    assert migrations.done() == {"0001_a": "1/1"}


@pytest.mark.parametrize("head", ["", NO_TX])
def test_a_step_that_another_runner_has_committed_is_not_run_again(
    migrations: Migrations, head: str
) -> None:
    """M12, M14: the backend of a killed runner may commit late; the history row decides."""
    migrations.write("0001_a", head, table("a"))
    (file,) = load(migrations.folder)
    settings = migrations.settings()
    with (
        migrations.connect() as late,
        runner_lock(settings) as lock,
        ThreadPoolExecutor(1) as pool,
    ):
        history = History(late, settings)
        history.make()
        if head:
            history.insert(file, done=0)
        late.execute("BEGIN")
        late.execute(table("a"))
        if not head:
            history.insert(file, done=0)
        history.advance(1, 1, retries=0, ms=0)
        running = pool.submit(_perform, settings, lock, Step(file, 0, 1))
        migrations.wait_for_lock()
        late.execute("COMMIT")
        assert running.result() == 0
    assert migrations.done() == {"0001_a": "1/1"}


def test_a_resumed_file_whose_row_moves_on_is_left_for_the_next_run(
    migrations: Migrations,
) -> None:
    """M14: exit 4; what was edited must be compared with what is done now."""
    migrations.write("0001_a", NO_TX, table("a"))
    (file,) = load(migrations.folder)
    settings = migrations.settings()
    with migrations.connect() as late, runner_lock(settings) as lock:
        history = History(late, settings)
        history.make()
        history.insert(file, done=0)
        row = migrations.row(1)
        late.execute(table("a"))
        history.advance(1, 1, retries=0, ms=0)
        with pytest.raises(Unfinished, match="0001_a: a killed runner's backend was still at it"):
            apply_file(settings, lock, file, row)
    assert migrations.apply().applied == []


# --- Runners that die ---------------------------------------------------------------------------


def test_a_runner_killed_within_a_file_leaves_nothing_of_it(migrations: Migrations) -> None:
    """M10, M12: the lock is free, the file is pending, the next run applies it whole."""
    migrations.write("0001_a", table("a"))
    migrations.apply()
    migrations.write("0002_b", PATIENT, table("b"), ADD_B)
    with migrations.connect() as other:
        other.execute("BEGIN; SELECT FROM a")
        runner = migrations.process()
        migrations.wait_for_lock()
        runner.kill()
        runner.wait()
        migrations.wait_for_end()
    assert migrations.done() == {"0001_a": "1/1"}
    assert migrations.query("SELECT to_regclass('b')") == [None]
    assert [took.version for took in migrations.apply().applied] == [2]


def test_a_runner_killed_between_statements_is_resumed(migrations: Migrations) -> None:
    """M14: what was counted is not run again, and the rest may have been edited meanwhile."""
    migrations.write("0001_a", table("a"))
    migrations.apply()
    migrations.write("0002_b", NO_TX, PATIENT, "INSERT INTO a VALUES ('x', 1);", ADD_B)
    with migrations.connect() as other:
        other.execute("BEGIN; SELECT FROM a")
        runner = migrations.process()
        migrations.wait_for_lock()
        runner.kill()
        runner.wait()
        migrations.wait_for_end()
    assert migrations.done() == {"0001_a": "1/1", "0002_b": "1/2"}
    edited = "ALTER TABLE a ADD COLUMN c int; ANALYZE a;"
    migrations.write("0002_b", NO_TX, "INSERT INTO a VALUES ('x', 1);", edited)
    (took,) = migrations.apply().applied
    assert (took.version, took.resumed_at, took.statements) == (2, 2, 3)
    assert migrations.query("SELECT n, c FROM a") == [(1, None)]
    assert migrations.done() == {"0001_a": "1/1", "0002_b": "3/3"}


def test_the_failed_rest_may_be_cut_off(migrations: Migrations) -> None:
    """M14: what is done is then the whole file."""
    migrations.write("0001_a", NO_TX, table("a"), "ALTER TABLE nobody ADD COLUMN b int;")
    with pytest.raises(MigrationError, match="0001_a, line 4, statement 2 of 2: 42P01"):
        migrations.apply()
    migrations.write("0001_a", NO_TX, table("a"))
    assert migrations.apply().applied[0].resumed_at == 2
    assert migrations.done() == {"0001_a": "1/1"}
    assert migrations.query("SELECT finished_at IS NULL FROM schema_migrations") == [False]


@pytest.mark.parametrize("head", [NO_TX, "-- a transaction now"])
def test_a_change_to_what_is_done_is_refused(migrations: Migrations, head: str) -> None:
    """M14, M20: exit 6, also if the file becomes a transaction half way."""
    migrations.write("0001_a", NO_TX, table("a"), "ALTER TABLE nobody ADD COLUMN b int;")
    with pytest.raises(MigrationError):
        migrations.apply()
    migrations.write("0001_a", head, table("a" if head != NO_TX else "b"), ADD_B)
    with pytest.raises(HistoryDiffers, match="0001_a"):
        migrations.apply()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_cancels_rolls_back_and_releases(
    migrations: Migrations, number: signal.Signals
) -> None:
    """M16: exit 4, and at once no lock is left."""
    migrations.write("0001_a", table("a"))
    migrations.apply()
    migrations.write("0002_b", PATIENT, table("b"), ADD_B)
    with migrations.connect() as other:
        other.execute("BEGIN; SELECT FROM a")
        runner = migrations.command("apply")
        migrations.wait_for_lock()
        runner.send_signal(number)
        _, text = runner.communicate()
        assert runner.returncode == 4
        assert b"stopped by a signal" in text
    assert migrations.lock_holders() == []
    assert migrations.done() == {"0001_a": "1/1"}


def test_a_vacuum_in_a_transaction_fails_in_the_servers_words(migrations: Migrations) -> None:
    """M14: should the lint ever let one pass."""
    migrations.write("0001_a", table("a"), "VACUUM a;")
    settings = migrations.settings()
    (file,) = load(migrations.folder)
    with migrations.connect() as conn, runner_lock(settings) as lock:
        History(conn, settings).make()
        with pytest.raises(MigrationError, match="25001"):
            apply_file(settings, lock, file, None)
