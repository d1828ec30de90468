"""The error table of architecture.md section 5, every row provoked on a real server."""

from __future__ import annotations

from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

import observability
from errors import (
    AmountOverflow,
    Contention,
    DatabaseUnavailable,
    DeadlineExceeded,
    DuplicateReference,
    OutcomeUnknown,
)
from tests.persistence.db_world import PATIENCE_S, World, assert_raises

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future
    from pathlib import Path

    from observability import Context
    from persistence.db import Conn
    from persistence.statements import Statement

# Waits for whoever holds advisory lock 1, so that a test can disturb a statement in its middle.
WAIT = "SELECT 1 FROM (SELECT pg_advisory_xact_lock(1)) AS waited;"
INSERT_AFTER_WAIT = f"INSERT INTO t (id) {WAIT}"
# Raises the next of `states` at each call; a sequence does not go back when a statement fails.
FAIL = """
CREATE FUNCTION fail(states text[]) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    state text := states[nextval('tries')];
BEGIN
    IF state IS NOT NULL THEN
        RAISE EXCEPTION 'as asked' USING ERRCODE = state;
    END IF;
    RETURN currval('tries');
END $$
"""


@pytest.fixture
def world(empty_database: str, tmp_path: Path) -> Iterator[World]:
    with World(empty_database, tmp_path) as made:
        made.sql("CREATE TABLE t (id bigint CONSTRAINT t_pkey PRIMARY KEY)")
        yield made


def write(world: World, text: str, **more: Any) -> Statement[Any]:
    return world.statement(text, kind="write", returns="count", **more)


def failing_statement(world: World, kind: str, *, claims: bool = False) -> Statement[Any]:
    """Make a statement that fails with each of its states and then returns the number of tries."""
    world.sql("CREATE SEQUENCE tries")
    world.sql(FAIL)
    return world.statement(
        "SELECT fail(:'states'::text[]);", params="states text[]", kind=kind, claims=claims
    )


def retries(reason: str) -> float:
    return float(observability.db_retries_total.labels(reason)._value.get())


class Held:
    """Advisory lock 1 held by the other session; statements that wait for it can be disturbed."""

    def __init__(self, world: World) -> None:
        self._world = world
        world.sql("SELECT pg_advisory_lock(1)")

    def release(self) -> None:
        self._world.sql("SELECT pg_advisory_unlock(1)")


def start(world: World, way: Callable[[], Conn], sent: Statement[Any]) -> Future[Context]:
    """Send `sent` in a thread; the future gives its context, or raises."""

    def work() -> Context:
        with way() as conn:
            sent.count(conn) if sent.returns == "count" else sent.one(conn)
        return observability.current()

    return world.in_thread(work)


# --- What handles are for -----------------------------------------------------------------------


def test_a_nested_checkout_is_a_bug(world: World) -> None:
    """AW2: a request holds one connection at most."""
    database = world.database(pool_size=2)
    for way in (database.read, database.write, database.transaction):
        with (
            database.read(),
            pytest.raises(RuntimeError, match="Bug: nested checkout"),
        ):
            way().__enter__()
    with database.read():
        pass


def test_a_read_handle_refuses_a_write(world: World) -> None:
    """Section 4."""
    insert = write(world, "INSERT INTO t VALUES (1);")
    database = world.database()
    for way in (database.read, database.snapshot):
        with way() as conn, pytest.raises(RuntimeError, match="Bug: t/s0 writes"):
            insert.count(conn)
    assert world.sql("SELECT * FROM t") == []


def test_a_write_handle_takes_exactly_one_write(world: World) -> None:
    """Section 5, AW1."""
    insert = write(world, "INSERT INTO t VALUES (:'id'::bigint);", params="id bigint")
    read = world.statement("SELECT 1;")
    database = world.database()
    with database.write() as conn:
        with pytest.raises(RuntimeError, match="exactly one write"):
            read.one(conn)
        assert insert.count(conn, id=1) == 1
        with pytest.raises(RuntimeError, match="exactly one write"):
            insert.count(conn, id=2)
    assert world.sql("SELECT id FROM t") == [(1,)]


def test_a_handle_is_of_no_use_outside_of_its_block(world: World) -> None:
    read = world.statement("SELECT 1;")
    with world.database().read() as conn:
        pass
    with pytest.raises(RuntimeError, match="outside of its with block"):
        read.one(conn)


def test_only_a_snapshot_streams(world: World) -> None:
    many = world.statement("SELECT 1;", returns="many")
    with (
        world.database().read() as conn,
        pytest.raises(RuntimeError, match="Bug: t/s0 is streamed outside of a snapshot"),
    ):
        many.stream(conn, 10)


def test_statements_and_their_time_are_counted(world: World) -> None:
    """OL1: db_statements, db_ms, db_wait_ms."""
    read = world.statement("SELECT 1;")
    with world.database().read() as conn:
        assert (read.one(conn), read.one(conn)) == (1, 1)
    context = world.context
    assert (context.db_statements, context.db_retries) == (2, 0)
    assert context.db_ms > 0
    assert context.db_wait_ms > 0


def test_read_and_write_are_one_round_trip(world: World) -> None:
    """Section 5: autocommit, no BEGIN; each statement is a transaction of its own."""
    xid = "SELECT pg_current_xact_id()::text::bigint"
    read = world.statement(f"{xid};")
    with world.database().read() as conn:
        assert read.one(conn) < read.one(conn)
        assert conn._raw is not None
        assert conn._raw.info.transaction_status == psycopg.pq.TransactionStatus.IDLE


# --- Connection lost ----------------------------------------------------------------------------


def test_a_read_whose_backend_was_ended_is_sent_once_more(world: World) -> None:
    """Section 5: 57P01 in mid-statement."""
    held = Held(world)
    before = retries("lost")
    work = start(world, world.database().read, world.statement(WAIT))
    (pid,) = world.blocked()
    world.terminate(pid)
    assert world.blocked() != [pid]
    held.release()
    context = work.result(PATIENCE_S)
    assert (context.db_statements, context.db_retries) == (2, 1)
    assert retries("lost") == before + 1


def test_a_read_that_is_lost_twice_is_unavailable(world: World) -> None:
    """Section 5."""
    held = Held(world)
    work = start(world, world.database().read, world.statement(WAIT))
    for _ in range(2):
        world.terminate(*world.blocked())
    assert_raises(DatabaseUnavailable, lambda: work.result(PATIENCE_S))
    held.release()


def test_a_write_whose_backend_was_ended_is_unknown(world: World) -> None:
    """Section 5: it claims no key, so sending it again might do it twice."""
    held = Held(world)
    before = observability.db_outcome_unknown_total._value.get()
    work = start(world, world.database().write, write(world, INSERT_AFTER_WAIT))
    world.terminate(*world.blocked())
    assert_raises(OutcomeUnknown, lambda: work.result(PATIENCE_S))
    held.release()
    assert observability.db_outcome_unknown_total._value.get() == before + 1
    assert world.sql("SELECT * FROM t") == []


def test_a_keyed_write_whose_backend_was_ended_is_sent_once_more(world: World) -> None:
    """Section 5: the key decides."""
    held = Held(world)
    claiming = write(world, INSERT_AFTER_WAIT, claims=True)
    work = start(world, world.database().write, claiming)
    world.terminate(*world.blocked())
    world.blocked()
    held.release()
    assert work.result(PATIENCE_S).db_retries == 1
    assert world.sql("SELECT * FROM t") == [(1,)]


def test_a_keyed_write_that_is_lost_twice_is_unknown(world: World) -> None:
    """Section 5."""
    held = Held(world)
    claiming = write(world, INSERT_AFTER_WAIT, claims=True)
    work = start(world, world.database().write, claiming)
    for _ in range(2):
        world.terminate(*world.blocked())
    assert_raises(OutcomeUnknown, lambda: work.result(PATIENCE_S))
    held.release()


def test_a_keyed_write_whose_answer_was_lost_is_done_once(world: World) -> None:
    """F15: committed, the answer cut; sent again, its key gives no row."""
    claiming = world.statement(
        "INSERT INTO t VALUES (1) ON CONFLICT (id) DO NOTHING RETURNING id;",
        kind="write",
        returns="0..1",
        claims=True,
    )
    proxy = world.proxy()
    database = world.database(proxy.url)
    with database.read() as conn:
        world.statement("SELECT 1;").one(conn)
    world.sql("TRUNCATE t")

    def claim() -> Any:
        with database.write() as conn:
            return claiming.one_or_none(conn)

    prepared = claim()
    world.sql("TRUNCATE t")
    proxy.mute.set()
    cutter = world.in_thread(proxy.cut_when_muted)
    assert (prepared, claim()) == (1, None)
    cutter.result(PATIENCE_S)
    assert world.sql("SELECT * FROM t") == [(1,)]


def test_a_keyed_write_that_can_no_longer_be_sent_is_unknown(world: World) -> None:
    """Section 5: that there is no connection now does not say that nothing was changed."""
    name = world.sql("SELECT current_database()")[0][0]
    held = Held(world)
    claiming = write(world, INSERT_AFTER_WAIT, claims=True)
    work = start(world, world.database(pool_timeout_ms=50).write, claiming)
    (pid,) = world.blocked()
    world.sql(f"ALTER DATABASE {name} CONNECTION LIMIT 1")
    world.terminate(pid)
    assert_raises(OutcomeUnknown, lambda: work.result(PATIENCE_S))
    held.release()


@pytest.mark.parametrize("later", ["55P03", "57014", "53100", "08006"])
def test_a_keyed_write_refused_the_second_time_is_unknown(world: World, later: str) -> None:
    """Section 5: the first try may be committed, or still be at work and hold the key."""
    failing = failing_statement(world, "write", claims=True)
    write = world.database().write
    assert_raises(OutcomeUnknown, lambda: run(write, failing, states=["08006", later]))


def test_a_keyed_write_that_meets_a_conflict_the_second_time_is_sent_again(world: World) -> None:
    """Section 5: each trouble has its own number of tries."""
    failing = failing_statement(world, "write", claims=True)
    assert run(world.database().write, failing, states=["08006", *["40001"] * 3]) == 5


@pytest.mark.parametrize("state", ["58030", "XX000", "08006"])
def test_what_the_server_calls_broken_is_left_and_tried_elsewhere(world: World, state: str) -> None:
    """Section 5: 08, 58, XX."""
    failing = failing_statement(world, "read")
    database = world.database()
    with database.read() as conn:
        first = conn._raw
        assert failing.one(conn, states=[state]) == 2
        assert conn._raw is not first
    assert_raises(DatabaseUnavailable, lambda: run(database.read, failing, states=[state] * 9))


def run(way: Callable[[], Conn], sent: Statement[Any], **params: Any) -> Any:
    with way() as conn:
        return sent.one(conn, **params)


@pytest.mark.parametrize("state", ["58030", "XX000", "08006"])
def test_a_write_that_the_server_broke_is_unknown(world: World, state: str) -> None:
    """Section 5."""
    failing = failing_statement(world, "write")
    write = world.database().write
    assert_raises(OutcomeUnknown, lambda: run(write, failing, states=[state]))


def test_all_backends_may_be_ended_without_an_error_for_reads(world: World) -> None:
    """F2: the connection that takes over is a live one, not the next dead one."""
    database = world.database(pool_size=4)
    read = world.statement("SELECT 1;")
    database.open()
    assert world.in_thread(lambda: run(database.read, read)).result(PATIENCE_S) == 1
    for _ in range(3):
        world.terminate_all()
        assert run(database.read, read) == 1


# --- Refused ------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["53100", "53200", "53300"])
def test_a_read_that_lacks_resources_is_sent_once_more(world: World, state: str) -> None:
    """Section 5: 53xxx."""
    failing = failing_statement(world, "read")
    database = world.database()
    assert run(database.read, failing, states=[state]) == 2
    assert_raises(DatabaseUnavailable, lambda: run(database.read, failing, states=[state] * 9))


@pytest.mark.parametrize("state", ["53100", "53200", "53300"])
def test_a_write_that_lacks_resources_had_no_effect(world: World, state: str) -> None:
    """Section 5: 53xxx; not sent again."""
    failing = failing_statement(world, "write")
    write = world.database().write
    assert_raises(DatabaseUnavailable, lambda: run(write, failing, states=[state]))
    assert world.sql("SELECT last_value FROM tries") == [(1,)]


def test_a_server_that_only_reads_is_left_with_all_connections(world: World) -> None:
    """AC5: 25006 after a failover; the connections that were not in use go too."""
    name = world.sql("SELECT current_database()")[0][0]
    insert = world.statement("INSERT INTO t VALUES (1) RETURNING id;", kind="write")
    world.sql(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    database = world.database(pool_size=2)
    with database.read() as conn:
        used = conn._raw
        world.new_context()
        with database.read() as other:
            idle = other._raw
    assert_raises(DatabaseUnavailable, lambda: run(database.write, insert))
    assert used is not None
    assert idle is not None
    assert (used.closed, idle.closed) == (True, True)


# --- Timeouts -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["read", "write"])
def test_a_statement_that_takes_too_long_had_no_effect(world: World, kind: str) -> None:
    """Section 5: 57014."""
    sleep = world.statement("SELECT 1 FROM (SELECT pg_sleep(60)) AS slept;", kind=kind)
    database = world.database(lock_timeout_ms=50, statement_timeout_ms=60)
    assert_raises(DeadlineExceeded, lambda: run(getattr(database, kind), sleep))
    assert world.context.db_statements == 1


@pytest.mark.parametrize("kind", ["read", "write"])
def test_a_lock_that_does_not_come_is_contention_at_once(world: World, kind: str) -> None:
    """Section 5: 55P03."""
    world.sql("SELECT pg_advisory_lock(1)")
    wait = world.statement(WAIT, kind=kind)
    database = world.database(lock_timeout_ms=50)
    assert_raises(Contention, lambda: run(getattr(database, kind), wait))
    assert world.context.db_statements == 1
    world.sql("SELECT pg_advisory_unlock(1)")


# --- Conflicts ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["read", "write"])
@pytest.mark.parametrize("state", ["40001", "40P01"])
def test_a_conflict_is_tried_three_times_more(world: World, kind: str, state: str) -> None:
    """Section 5: nothing was committed."""
    failing = failing_statement(world, kind)
    before = retries("conflict")
    assert run(getattr(world.database(), kind), failing, states=[state] * 3) == 4
    assert world.context.db_retries == 3
    assert retries("conflict") == before + 3


def test_a_conflict_that_stays_is_contention(world: World) -> None:
    """Section 5."""
    failing = failing_statement(world, "write")
    write = world.database().write
    assert_raises(Contention, lambda: run(write, failing, states=["40001"] * 9))
    assert world.sql("SELECT last_value FROM tries") == [(4,)]


def test_a_conflict_at_the_deadline_is_not_tried_again(world: World) -> None:
    """Section 5: inside the deadline."""
    failing = failing_statement(world, "write")
    with world.database().write() as conn:
        world.context.deadline = monotonic()
        assert_raises(Contention, lambda: failing.one(conn, states=["40001"]))


def test_a_deadlock_ends_well_for_both(world: World, admin: psycopg.Connection[Any]) -> None:
    """Section 5: a real 40P01; the victim is sent again."""
    name = world.sql("SELECT current_database()")[0][0]
    admin.execute(f"ALTER DATABASE {name} SET deadlock_timeout = '20ms'".encode())
    world.sql("INSERT INTO t VALUES (1), (2)")
    # A row each first, then, when both have one, the row of the other.
    update = write(
        world,
        "WITH own AS MATERIALIZED (SELECT id FROM t WHERE id = :'own'::bigint FOR UPDATE),"
        " met AS MATERIALIZED (SELECT pg_advisory_xact_lock_shared(1) FROM own)"
        " UPDATE t SET id = t.id FROM met WHERE t.id = :'other'::bigint;",
        params="own bigint, other bigint",
    )
    held = Held(world)
    database = world.database(pool_size=2)

    def work(own: int, other: int) -> int:
        with database.write() as conn:
            update.count(conn, own=own, other=other)
        return observability.current().db_retries

    works = [world.in_thread(partial(work, *rows)) for rows in ((1, 2), (2, 1))]
    world.blocked(2)
    held.release()
    assert sum(each.result(PATIENCE_S) for each in works) >= 1


# --- Plans, constraints, bugs -------------------------------------------------------------------


def test_a_stale_plan_is_made_anew_on_another_connection(world: World) -> None:
    """Section 5: 0A000 after ADD COLUMN; named columns never meet it (AQ6)."""
    star = world.statement("SELECT * FROM t;", returns="many")
    world.sql("INSERT INTO t VALUES (1)")
    before = retries("stale_plan")
    with world.database().read() as conn:
        assert star.all(conn) == [1]
        first = conn._raw
        world.sql("ALTER TABLE t ADD COLUMN more text")
        assert star.all(conn) == [1]
        assert conn._raw is not first
    assert first is not None
    assert first.closed
    assert retries("stale_plan") == before + 1


def test_what_is_not_supported_at_all_is_a_bug(world: World) -> None:
    """Section 5: 0A000 twice."""
    failing = failing_statement(world, "read")
    with pytest.raises(psycopg.errors.FeatureNotSupported):
        run(world.database().read, failing, states=["0A000"] * 9)


def test_a_mapped_constraint_is_its_code(world: World) -> None:
    """AF2: by its name; not by its message."""
    world.sql("CREATE TABLE p (id bigint CONSTRAINT payments_reference_key UNIQUE)")
    insert = write(world, "INSERT INTO p VALUES (1);")
    database = world.database()
    with database.write() as conn:
        insert.count(conn)
    with database.write() as conn:
        assert_raises(DuplicateReference, lambda: insert.count(conn))


def test_an_unmapped_constraint_is_a_bug(world: World) -> None:
    """Section 5: anything else."""
    world.sql("INSERT INTO t VALUES (1)")
    insert = write(world, "INSERT INTO t VALUES (1);")
    with world.database().write() as conn, pytest.raises(psycopg.errors.UniqueViolation):
        insert.count(conn)


def test_a_sum_too_large_is_an_overflow(world: World) -> None:
    """Section 5: 22003."""
    add = world.statement("SELECT :'a'::bigint + 1;", params="a bigint")
    assert_raises(AmountOverflow, lambda: run(world.database().read, add, a=2**63 - 1))


def test_what_never_reached_the_server_is_a_bug(world: World) -> None:
    echo = world.statement("SELECT :'a'::text;", params="a text", row=str)
    with pytest.raises(psycopg.DataError, match="NUL"):
        run(world.database().read, echo, a="\x00")
