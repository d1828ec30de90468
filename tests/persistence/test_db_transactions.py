"""Transactions and snapshots: whole or not at all, and honest about a COMMIT without an answer."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from errors import (
    Contention,
    DatabaseUnavailable,
    DeadlineExceeded,
    DuplicateReference,
    OutcomeUnknown,
)
from tests.persistence.db_world import World, assert_raises

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from persistence.statements import Statement


@pytest.fixture
def world(empty_database: str, tmp_path: Path) -> Iterator[World]:
    with World(empty_database, tmp_path) as made:
        made.sql("CREATE TABLE t (id bigint CONSTRAINT t_pkey PRIMARY KEY)")
        yield made


def writing(world: World, text: str, **more: Any) -> Statement[Any]:
    return world.statement(text, kind="write", returns="count", **more)


def insert_into(world: World) -> Statement[Any]:
    return writing(world, "INSERT INTO t VALUES (:'id'::bigint);", params="id bigint")


def test_a_transaction_is_committed_whole(world: World) -> None:
    """Section 5: READ COMMITTED."""
    insert = insert_into(world)
    isolation = world.statement("SELECT current_setting('transaction_isolation');", row=str)
    with world.database().transaction() as conn:
        assert isolation.one(conn) == "read committed"
        insert.count(conn, id=1)
        insert.count(conn, id=2)
        assert world.sql("SELECT * FROM t") == []
    assert world.sql("SELECT * FROM t") == [(1,), (2,)]


def test_a_transaction_that_raises_is_rolled_back_whole(world: World) -> None:
    insert = insert_into(world)
    database = world.database()

    def work(error: Exception) -> None:
        with database.transaction() as conn:
            insert.count(conn, id=1)
            raise error

    with pytest.raises(KeyError):
        work(KeyError())
    assert world.sql("SELECT * FROM t") == []
    with database.transaction() as conn:
        insert.count(conn, id=1)
    assert world.sql("SELECT * FROM t") == [(1,)]


def test_an_error_swallowed_in_a_transaction_is_a_bug(world: World) -> None:
    """COMMIT would answer ROLLBACK, and nobody would know."""
    insert = insert_into(world)
    database = world.database()

    def work() -> None:
        with database.transaction() as conn:
            insert.count(conn, id=1)
            with pytest.raises(psycopg.errors.UniqueViolation):
                insert.count(conn, id=1)

    with pytest.raises(RuntimeError, match="Bug: a database error was swallowed"):
        work()
    assert world.sql("SELECT * FROM t") == []
    with database.read():
        pass


def test_a_conflict_in_a_transaction_is_the_use_cases_matter(world: World) -> None:
    """Section 5: the whole use case; a statement alone is not sent again."""
    world.sql(
        "CREATE FUNCTION conflict() RETURNS bigint LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE serialization_failure; END $$"
    )
    failing = world.statement("SELECT conflict();")

    def work() -> None:
        with world.database().transaction() as conn:
            failing.one(conn)

    assert_raises(Contention, work)
    assert world.context.db_statements == 1


def test_a_transaction_lost_before_its_commit_had_no_effect(world: World) -> None:
    """Section 5: COMMIT was not sent."""
    insert = insert_into(world)

    def work() -> None:
        with world.database().transaction() as conn:
            insert.count(conn, id=1)
            world.terminate_all()
            insert.count(conn, id=2)

    assert_raises(DatabaseUnavailable, work)
    assert world.sql("SELECT * FROM t") == []


def test_a_transaction_whose_first_connection_is_dead_takes_another(world: World) -> None:
    """Section 5: nothing was sent yet."""
    insert = insert_into(world)
    database = world.database()
    with database.read():
        pass
    world.terminate_all()
    with database.transaction() as conn:
        insert.count(conn, id=1)
    assert world.sql("SELECT * FROM t") == [(1,)]
    assert world.context.db_retries == 1


def test_a_transaction_that_cannot_begin_holds_nothing(world: World) -> None:
    database = world.database()
    with database.read():
        pass
    world.context.deadline = monotonic() + 30
    conn = database.transaction()
    original = database.connections.check_out

    def late(*args: Any, **more: Any) -> Any:
        raw = original(*args, **more)
        raw.deadline = monotonic()
        return raw

    database.connections.check_out = late  # type: ignore[method-assign]
    assert_raises(DeadlineExceeded, conn.__enter__)
    assert not world.context.holds_connection
    assert database.stats()["available"] == 1


def test_a_commit_whose_answer_is_lost_is_unknown(world: World) -> None:
    """Section 5: an error at COMMIT is not "not committed"."""
    insert = insert_into(world)
    proxy = world.proxy()

    def work() -> None:
        with world.database(proxy.url).transaction() as conn:
            insert.count(conn, id=1)
            proxy.mute.set()
            world.in_thread(proxy.cut_when_muted)

    assert_raises(OutcomeUnknown, work)
    assert world.sql("SELECT * FROM t") == [(1,)]


def test_a_commit_that_hangs_is_unknown(world: World) -> None:
    """Section 5: deadline."""
    insert = insert_into(world)
    proxy = world.proxy()

    def work() -> None:
        with world.database(proxy.url).transaction() as conn:
            insert.count(conn, id=1)
            proxy.mute.set()
            assert conn._raw is not None
            conn._raw.deadline = monotonic() + 0.1

    assert_raises(OutcomeUnknown, work)
    assert proxy.muted.is_set()


def test_a_transaction_that_is_late_is_not_committed(world: World) -> None:
    """Section 5: COMMIT was not sent, so nothing was changed; nor is ROLLBACK waited for."""
    insert = insert_into(world)
    used = []

    def work() -> None:
        with world.database().transaction() as conn:
            insert.count(conn, id=1)
            assert conn._raw is not None
            conn._raw.deadline = monotonic()
            used.append(conn._raw)

    assert_raises(DeadlineExceeded, work)
    assert used[0].closed
    assert world.sql("SELECT * FROM t") == []


def test_a_transaction_that_fails_late_is_not_waited_for(world: World) -> None:
    """OS3: a connection without time for ROLLBACK is closed, which does the same."""
    insert = insert_into(world)

    def work() -> None:
        with world.database().transaction() as conn:
            insert.count(conn, id=1)
            assert conn._raw is not None
            conn._raw.deadline = monotonic()
            raise KeyError

    with pytest.raises(KeyError):
        work()
    assert world.sql("SELECT * FROM t") == []


def test_a_constraint_checked_at_commit_is_its_code(world: World) -> None:
    """AF2."""
    world.sql(
        "CREATE TABLE p (id bigint CONSTRAINT payments_reference_key"
        " UNIQUE DEFERRABLE INITIALLY DEFERRED)"
    )
    insert = writing(world, "INSERT INTO p VALUES (1);")
    database = world.database()

    def work() -> None:
        with database.transaction() as conn:
            insert.count(conn)
            insert.count(conn)

    assert_raises(DuplicateReference, work)
    with database.read():
        pass


@pytest.mark.parametrize("limit", ["idle_transaction_timeout_ms", "transaction_timeout_ms"])
def test_a_transaction_open_for_too_long_had_no_effect(world: World, limit: str) -> None:
    """Section 5: 25P03 and, from PostgreSQL 17 on, 25P04: the server rolled it back.

    Now and then its last word is lost with the connection (measured: 2 of 300).
    """
    insert = insert_into(world)
    settings: dict[str, Any] = {"lock_timeout_ms": 10, "statement_timeout_ms": 20, limit: 30}
    if world.other.info.server_version < 170000:
        settings["idle_transaction_timeout_ms"] = 30

    def work() -> None:
        with world.database(**settings).transaction() as conn:
            insert.count(conn, id=1)
            assert conn._raw is not None
            pid = conn._raw.info.backend_pid
            while world.sql("SELECT 1 FROM pg_stat_activity WHERE pid = %s", pid):
                pass
            insert.count(conn, id=2)

    with pytest.raises((DeadlineExceeded, DatabaseUnavailable)):
        work()
    assert world.sql("SELECT * FROM t") == []


# --- Snapshots ----------------------------------------------------------------------------------


def test_a_snapshot_sees_one_moment(world: World) -> None:
    """Section 5: REPEATABLE READ, READ ONLY."""
    count = world.statement("SELECT count(*) FROM t;")
    with world.database().snapshot() as conn:
        assert count.one(conn) == 0
        world.sql("INSERT INTO t VALUES (1)")
        assert count.one(conn) == 0


def test_a_snapshot_streams_in_batches(world: World) -> None:
    """Section 5: a server-side cursor; two at once are apart."""
    world.sql("INSERT INTO t SELECT g FROM generate_series(1, 25) AS g")
    rows = world.statement(
        "SELECT id FROM t WHERE id > :'after'::bigint ORDER BY id;",
        params="after bigint",
        returns="many",
    )
    with world.database().snapshot() as conn:
        twice = zip(rows.stream(conn, 10, after=0), rows.stream(conn, 7, after=0), strict=True)
        assert [a for a, b in twice if a == b] == list(range(1, 26))


def test_a_snapshot_has_no_limits_and_holds_no_connection_of_the_pool(world: World) -> None:
    """Section 5: replay and exports take as long as they need, and may write in between."""
    limits = world.statement(
        "SELECT current_setting('statement_timeout') || current_setting('lock_timeout')"
        " || current_setting('idle_in_transaction_session_timeout')"
        " || coalesce(current_setting('transaction_timeout', true), '0');",
        row=str,
    )
    insert = insert_into(world)
    database = world.database()
    world.context.deadline = monotonic() + 1000
    with database.snapshot() as conn:
        assert limits.one(conn) == "020s00"
        assert conn._raw is not None
        assert conn._raw.deadline is None
        with database.write() as other:
            insert.count(other, id=1)
        raw = conn._raw
    assert raw.closed


def test_a_snapshot_that_is_lost_is_unavailable(world: World) -> None:
    many = world.statement("SELECT g FROM generate_series(1, 1000) AS g;", returns="many")
    one = world.statement("SELECT 1;")
    database = world.database()

    def stream() -> None:
        with database.snapshot() as conn:
            for _ in many.stream(conn, 10):
                world.terminate_all()

    def read() -> None:
        with database.snapshot() as conn:
            world.terminate_all()
            one.one(conn)

    for work in (stream, read):
        assert_raises(DatabaseUnavailable, work)


def test_a_snapshot_that_cannot_begin_leaves_nothing_open(world: World) -> None:
    database = world.database()
    original = database.connections.connect

    def broken() -> Any:
        raw = original()
        world.terminate(raw.info.backend_pid)
        return raw

    database.connections.connect = broken  # type: ignore[method-assign]
    assert_raises(DatabaseUnavailable, lambda: database.snapshot().__enter__())
