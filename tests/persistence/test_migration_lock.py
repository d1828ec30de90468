"""One runner at a time; who else is there is named."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from persistence.migration_connection import runner_name
from persistence.migration_errors import PoolerInBetween, Unfinished
from persistence.migration_lock import runner_lock
from persistence.migrator import apply_all
from tests.persistence.conftest import table, wait_until
from tests.persistence.migration_proxy import PoolerProxy

if TYPE_CHECKING:
    from tests.persistence.conftest import Migrations


def test_of_two_runners_one_applies_and_the_other_finds_nothing(migrations: Migrations) -> None:
    """M10: the second waits, plans again under the lock, and is content."""
    migrations.write("0001_a", table("a"))
    migrations.apply()
    migrations.write("0002_b", "-- migrate: lock-timeout 60s", "ALTER TABLE a ADD COLUMN b int;")
    with ThreadPoolExecutor(2) as pool, migrations.connect() as other:
        other.execute("BEGIN; SELECT FROM a")
        first = pool.submit(migrations.apply)
        migrations.wait_for_lock()
        second = pool.submit(migrations.apply)
        # The holder's own connection goes on to watch for blockers.
        tries = "pg_stat_activity WHERE application_name <> '' AND query LIKE '%pg_try_advisory%'"
        migrations.wait_for_rows(tries, 1)
        other.execute("ROLLBACK")
        assert [took.version for took in first.result().applied] == [2]
        assert second.result().applied == []
    assert migrations.done() == {"0001_a": "1/1", "0002_b": "1/1"}


def test_a_waiter_gives_up_and_names_the_holder(migrations: Migrations) -> None:
    """M10: exit 4 with pid, host and start."""
    migrations.write("0001_a", table("a"))
    with runner_lock(migrations.settings()):
        (pid,) = migrations.lock_holders()
        with pytest.raises(Unfinished, match=r"another runner held the lock for 0\.3 s") as raised:
            apply_all(migrations.settings(wait_s=0.3))
    (holder,) = raised.value.details["holders"]
    assert holder["pid"] == pid
    assert holder["runner"] == runner_name()
    assert holder["since"]
    assert f"pid {pid}" in str(raised.value)
    assert migrations.apply().applied


def test_runners_of_different_schemas_do_not_wait_for_each_other(migrations: Migrations) -> None:
    """M10: the key holds the schema."""
    migrations.run("CREATE SCHEMA other")
    migrations.write("0001_a", table("a"))
    with runner_lock(migrations.settings()):
        assert apply_all(migrations.settings(wait_s=0, schema="other")).applied


def test_a_lost_lock_ends_the_run_before_the_next_step(migrations: Migrations) -> None:
    """M10: without the lock nothing more is started."""
    migrations.write("0001_a", table("a"))
    with runner_lock(migrations.settings()) as lock:
        lock.check()
        migrations.end_lock_holder()
        with pytest.raises(Unfinished, match="the runner lock was lost"):
            lock.check()


def test_a_long_wait_is_told_while_it_lasts(migrations: Migrations) -> None:
    """M13: with the blockers; a lock connection that dies meanwhile ends only the watching."""
    with migrations.connect() as other, migrations.connect() as waiting:
        migrations.run(table("a"))
        other.execute("BEGIN; LOCK TABLE a")
        with (
            runner_lock(migrations.settings(notice_s=0)) as lock,
            ThreadPoolExecutor(1) as pool,
            lock.watching(waiting, 60) as watch,
        ):
            running = pool.submit(waiting.execute, "SELECT FROM a")
            migrations.wait_for_event("migrate.waiting")
            migrations.end_lock_holder()
            wait_until(lambda: not watch.is_alive())
            other.execute("ROLLBACK")
            running.result()
        assert watch.blockers[0]["pid"] == other.info.backend_pid


def test_a_pooler_is_refused_and_nothing_is_touched(migrations: Migrations) -> None:
    """M11: exit 8; a session lock would stay behind in the pooler."""
    migrations.write("0001_a", table("a"))
    proxy = PoolerProxy(migrations.url)
    with pytest.raises(PoolerInBetween, match="MIGRATE_DATABASE_URL") as raised:
        apply_all(migrations.settings(database_url=proxy.url))
    proxy.close()
    assert raised.value.exit_code == 8
    assert migrations.query("SELECT to_regclass('schema_migrations')") == [None]
    assert migrations.lock_holders() == []
