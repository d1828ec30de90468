"""CREATE INDEX CONCURRENTLY can fail, die and run again; what is left is a valid index (M15)."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from persistence.migration_errors import GateRefused, MigrationError
from persistence.migrator import apply_all
from tests.persistence.conftest import table, wait_until

if TYPE_CHECKING:
    from tests.persistence.conftest import Migrations

NO_TX = "-- migrate: no-transaction"
UNIQUE = "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS a_n_key ON a (tenant_id, n);"
PLAIN = "CREATE INDEX CONCURRENTLY a_n_idx ON a USING btree (tenant_id, n) WHERE n > 0;"
TWICE = "INSERT INTO a (tenant_id, n) VALUES ('x', 1), ('x', 1)"
WAITING = "pg_stat_progress_create_index WHERE phase LIKE 'waiting for%'"

LOOKED_AT = """
SELECT max(query_start) FROM pg_stat_activity WHERE datname = current_database()
    AND application_name LIKE 'strongroom-migr%' AND query LIKE '%pg_stat_progress%'
"""


@pytest.fixture
def indexed(migrations: Migrations) -> Migrations:
    """A table without a unique key, so that a unique index may fail."""
    text = table("a").replace("PRIMARY KEY (tenant_id)", "CHECK (n > 0)")
    migrations.write("0001_a", '-- migrate: allow global-table "a test"', text)
    migrations.apply()
    return migrations


def valid(migrations: Migrations) -> dict[str, bool]:
    query = (
        "SELECT indexrelid::regclass::text, indisvalid FROM pg_index WHERE indrelid = 'a'::regclass"
    )
    return dict(migrations.query(query))


def test_an_index_is_built_once_and_found_valid(indexed: Migrations) -> None:
    """M14, M15: the statement's count is its own row's."""
    indexed.write("0002_i", NO_TX, UNIQUE, PLAIN)
    indexed.apply()
    assert valid(indexed) == {"a_n_key": True, "a_n_idx": True}
    assert indexed.done()["0002_i"] == "2/2"
    assert not indexed.events("migrate.index_rebuilt")


def test_a_broken_unique_index_is_rebuilt_once_the_data_is_mended(indexed: Migrations) -> None:
    """M15: IF NOT EXISTS alone would call it success."""
    indexed.run(TWICE)
    indexed.write("0002_i", NO_TX, UNIQUE)
    with pytest.raises(MigrationError, match="0002_i, line 2, statement 1 of 1: 23505"):
        indexed.apply()
    assert valid(indexed) == {"a_n_key": False}
    assert indexed.done()["0002_i"] == "0/1"
    with pytest.raises(MigrationError, match="23505"):
        indexed.apply()
    indexed.run("DELETE FROM a")
    indexed.apply()
    assert valid(indexed) == {"a_n_key": True}
    assert indexed.done()["0002_i"] == "1/1"
    assert indexed.events("migrate.index_rebuilt")[-1]["index"] == "a_n_key"


@pytest.mark.parametrize("statement", [UNIQUE, PLAIN, PLAIN.replace("ON a", "ON ONLY public.a")])
def test_a_valid_index_that_is_the_same_is_left_alone(indexed: Migrations, statement: str) -> None:
    """M15: built by hand before, or by a run that died before it could count."""
    indexed.run(statement.replace("USING btree ", ""))
    before = indexed.query("SELECT oid FROM pg_class WHERE relname LIKE 'a\\_n\\_%'")
    indexed.write("0002_i", NO_TX, statement)
    indexed.apply()
    assert indexed.query("SELECT oid FROM pg_class WHERE relname LIKE 'a\\_n\\_%'") == before
    assert indexed.done()["0002_i"] == "1/1"
    assert indexed.query("SELECT count(*) FROM pg_class WHERE relname = 'strongroom_copy'") == [0]


@pytest.mark.parametrize(
    "other",
    [
        "CREATE INDEX a_n_idx ON a (tenant_id, n)",
        "CREATE INDEX a_n_idx ON a (tenant_id, n) WHERE n > 1",
        "CREATE UNIQUE INDEX a_n_idx ON a (tenant_id, n) WHERE n > 0",
        "CREATE TABLE b (LIKE a); CREATE INDEX a_n_idx ON b (tenant_id, n) WHERE n > 0",
    ],
)
def test_a_valid_index_of_that_name_that_is_another_is_refused(
    indexed: Migrations, other: str
) -> None:
    """M15: exit 3 with its definition; it is somebody's."""
    indexed.run(other)
    indexed.write("0002_i", NO_TX, PLAIN)
    with pytest.raises(
        GateRefused, match="a_n_idx is there and is another index: CREATE"
    ) as raised:
        indexed.apply()
    assert raised.value.exit_code == 3
    assert indexed.done()["0002_i"] == "0/1"


def test_an_index_that_somebody_is_building_is_waited_for(indexed: Migrations) -> None:
    """M15: it looks as invalid as a broken one; the wait is told with the lockers."""
    indexed.write("0002_i", NO_TX, PLAIN)
    with ThreadPoolExecutor(2) as pool, indexed.connect() as old, indexed.connect() as builder:
        old.execute("BEGIN; INSERT INTO a (tenant_id, n) VALUES ('x', 1)")
        building = pool.submit(builder.execute, PLAIN)
        indexed.wait_for_lock()
        running = pool.submit(apply_all, indexed.settings())
        indexed.wait_for_event("migrate.index_being_built")
        first = indexed.query(LOOKED_AT)
        wait_until(lambda: indexed.query(LOOKED_AT) > first)
        old.execute("COMMIT")
        building.result()
        running.result()
        told = indexed.events("migrate.index_being_built")[0]
        assert told["builder"] == builder.info.backend_pid
        assert told["locker"] == old.info.backend_pid
    assert valid(indexed) == {"a_n_idx": True}
    assert len(indexed.events("migrate.index_being_built")) == 1
    assert not indexed.events("migrate.index_rebuilt")


def test_a_runner_killed_while_it_builds_leaves_an_index_that_is_rebuilt(
    indexed: Migrations,
) -> None:
    """M14, M15: its backend ends within a second, the next run drops what it left."""
    indexed.write("0002_i", NO_TX, "ALTER TABLE a ADD COLUMN m int;", PLAIN)
    with indexed.connect() as old:
        old.execute("BEGIN; INSERT INTO a (tenant_id, n) VALUES ('x', 1)")
        old.execute("COMMIT; BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM pg_class")
        runner = indexed.process()
        indexed.wait_for_rows(WAITING, 1)
        runner.kill()
        runner.wait()
        indexed.wait_for_end()
    assert valid(indexed) == {"a_n_idx": False}
    assert indexed.done()["0002_i"] == "1/2"
    (took,) = indexed.apply().applied
    assert took.resumed_at == 2
    assert valid(indexed) == {"a_n_idx": True}


def test_concurrently_waits_longer_than_any_lock_timeout(indexed: Migrations) -> None:
    """M14: a lock_timeout there would leave an invalid index."""
    indexed.write("0002_i", NO_TX, PLAIN)
    with ThreadPoolExecutor(1) as pool, indexed.connect() as old:
        old.execute("BEGIN; INSERT INTO a (tenant_id, n) VALUES ('x', 1)")
        running = pool.submit(
            apply_all, indexed.settings(lock_timeout_ms=50, lock_retries=0, notice_s=0)
        )
        indexed.wait_for_event("migrate.waiting")
        old.execute("COMMIT")
        running.result()
    assert valid(indexed) == {"a_n_idx": True}


def test_other_statements_that_run_alone_just_run(indexed: Migrations) -> None:
    """M14: VACUUM and REINDEX CONCURRENTLY are harmless twice."""
    indexed.write("0002_i", NO_TX, PLAIN, "REINDEX INDEX CONCURRENTLY a_n_idx;", "VACUUM a;")
    indexed.apply()
    assert indexed.done()["0002_i"] == "3/3"


def test_an_index_of_a_table_elsewhere_is_found_beside_it(indexed: Migrations) -> None:
    """M15: also with names that need quotes."""
    indexed.run('CREATE SCHEMA other; CREATE TABLE other."A" (tenant_id text, "N" int)')
    statement = 'CREATE INDEX CONCURRENTLY "A_n" ON other."A" (tenant_id, "N");'
    indexed.run(statement)
    indexed.write("0002_i", NO_TX, statement)
    indexed.apply()
    assert indexed.events("migrate.index_there")[0]["index"] == "A_n"


def test_a_statement_that_builds_nothing_is_no_success(
    indexed: Migrations, monkeypatch: pytest.MonkeyPatch
) -> None:
    """M15: afterwards indisvalid must hold."""
    indexed.write("0002_i", NO_TX, PLAIN)
    monkeypatch.setattr("persistence.migration_indexes.execute", lambda *_: None)
    with pytest.raises(MigrationError, match="0002_i, line 2: the index is not valid"):
        indexed.apply()
    assert indexed.done()["0002_i"] == "0/1"
