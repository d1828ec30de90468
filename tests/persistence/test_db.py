"""The database as services see it: pools that open and close, use cases that run again."""

from __future__ import annotations

import os
import signal
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

import observability
from errors import Contention, DatabaseUnavailable, DeadlineExceeded, NotFound, OutcomeUnknown
from persistence.embedded_process import wait_until
from tests.persistence.db_world import PATIENCE_S, World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from persistence.embedded import EmbeddedServers


@pytest.fixture
def world(empty_database: str, tmp_path: Path) -> Iterator[World]:
    with World(empty_database, tmp_path) as made:
        yield made


def failing(times: int, sqlstate: str) -> tuple[Callable[[], int], list[int]]:
    """Make a use case that meets contention so many times, and the list of its runs."""
    runs: list[int] = []

    def use_case() -> int:
        runs.append(len(runs))
        if len(runs) <= times:
            raise Contention from psycopg.errors.lookup(sqlstate)()
        return len(runs)

    return use_case, runs


@pytest.mark.parametrize("sqlstate", ["40001", "40P01"])
def test_a_use_case_that_met_a_conflict_runs_again(world: World, sqlstate: str) -> None:
    """Section 5: three more tries of the whole use case."""
    use_case, _ = failing(3, sqlstate)
    assert world.database().rerun(use_case) == 4
    assert world.context.db_retries == 3


def test_a_use_case_that_always_meets_conflicts_is_contention(world: World) -> None:
    """Section 5."""
    use_case, runs = failing(9, "40001")
    with pytest.raises(Contention):
        world.database().rerun(use_case)
    assert len(runs) == 4


def test_a_use_case_that_waited_for_a_lock_in_vain_does_not_run_again(world: World) -> None:
    """Section 5: 55P03 at once."""
    use_case, runs = failing(1, "55P03")
    with pytest.raises(Contention):
        world.database().rerun(use_case)
    assert len(runs) == 1


def test_a_use_case_does_not_run_again_after_its_deadline(world: World) -> None:
    """Section 5: inside the deadline."""
    use_case, runs = failing(1, "40001")
    world.context.deadline = monotonic()
    with pytest.raises(Contention):
        world.database().rerun(use_case)
    assert len(runs) == 1


def test_contention_of_the_services_own_is_not_the_databases(world: World) -> None:
    runs = []

    def use_case() -> None:
        runs.append(1)
        raise Contention

    with pytest.raises(Contention):
        world.database().rerun(use_case)
    assert len(runs) == 1


def test_other_errors_of_a_use_case_pass(world: World) -> None:
    def use_case() -> None:
        raise NotFound

    with pytest.raises(NotFound):
        world.database().rerun(use_case)


def test_a_real_deadlock_of_two_use_cases_ends_well_for_both(
    world: World, admin: psycopg.Connection[Any]
) -> None:
    """Section 5: crossing locks in two transactions."""
    name = world.sql("SELECT current_database()")[0][0]
    admin.execute(f"ALTER DATABASE {name} SET deadlock_timeout = '20ms'".encode())
    world.sql("CREATE TABLE t (id bigint, n bigint)")
    world.sql("INSERT INTO t VALUES (1, 0), (2, 0)")
    add = world.statement(
        "UPDATE t SET n = n + 1 WHERE id = :'id'::bigint;",
        params="id bigint",
        kind="write",
        returns="count",
    )
    meet = world.statement("SELECT 1 FROM (SELECT pg_advisory_xact_lock_shared(1)) AS met;")
    database = world.database(pool_size=2)

    def work(first: int, second: int) -> int:
        def use_case() -> None:
            with database.transaction() as conn:
                add.count(conn, id=first)
                meet.one(conn)
                add.count(conn, id=second)

        database.rerun(use_case)
        return observability.current().db_retries

    world.sql("SELECT pg_advisory_lock(1)")
    works = [world.in_thread(partial(work, *rows)) for rows in ((1, 2), (2, 1))]
    world.blocked(2)
    world.sql("SELECT pg_advisory_unlock(1)")
    assert sum(each.result() for each in works) == 1
    assert world.sql("SELECT sum(n) FROM t") == [(4,)]


def test_a_stopped_backend_costs_its_deadline_and_no_more(
    own_servers: EmbeddedServers, tmp_path: Path
) -> None:
    """F3, OS3: SIGSTOP; statement_timeout does not help, others are served, the pool is whole."""
    with World(own_servers.database_url or "", tmp_path) as world:
        pid = world.statement("SELECT pg_backend_pid();")
        insert = world.statement("SELECT pg_backend_pid();", kind="write")
        database = world.database()
        for way, sent, error in (
            (database.read, pid, DeadlineExceeded),
            (database.write, insert, OutcomeUnknown),
        ):
            with database.read() as conn:
                stopped = pid.one(conn)
            os.kill(stopped, signal.SIGSTOP)
            try:
                world.new_context().deadline = monotonic() + 0.3
                with pytest.raises(error), way() as conn:
                    sent.one(conn)
                world.new_context()
                with database.read() as conn:
                    assert pid.one(conn) != stopped
            finally:
                os.kill(stopped, signal.SIGCONT)


def test_a_server_that_comes_back_is_found_again(
    own_servers: EmbeddedServers, tmp_path: Path
) -> None:
    """F1: unavailable while it is away, then served by the same pool."""
    with World(own_servers.database_url or "", tmp_path) as world:
        one = world.statement("SELECT 1;")
        database = world.database(pool_size=2, pool_timeout_ms=500)

        def served() -> bool:
            try:
                with database.read() as conn:
                    return bool(one.one(conn))
            except DatabaseUnavailable:
                return False

        assert served()
        server = own_servers.postgres
        assert server is not None
        server.stop()
        assert not served()
        own_servers.ensure()
        assert wait_until(served, PATIENCE_S)
