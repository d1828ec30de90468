"""The pool: who waits, who is refused, and how it gets well again."""

from __future__ import annotations

import os
import socket
from time import monotonic
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from errors import AppError, DatabaseBusy, DatabaseUnavailable, DeadlineExceeded
from persistence.embedded_process import wait_until
from tests.persistence.db_world import PATIENCE_S, World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from persistence.db import Conn, Database


@pytest.fixture
def world(empty_database: str, tmp_path: Path) -> Iterator[World]:
    with World(empty_database, tmp_path) as made:
        yield made


def every_way(database: Database) -> list[Callable[[], Conn]]:
    return [database.read, database.write, database.transaction]


def assert_refused(error: type[AppError], way: Callable[[], Conn]) -> None:
    with pytest.raises(error) as raised, way():
        raise AssertionError
    assert raised.value.headers == {"Retry-After": "1"}


def nowhere() -> str:
    """URL of a port where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    return f"postgresql://nobody@127.0.0.1:{port}/nothing"


def test_a_database_opens_no_socket_before_its_first_use(world: World) -> None:
    """AC6."""
    count = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    database = world.database()
    assert world.sql(count) == [(1,)]
    database.open()
    world.ready(database).open()
    assert world.sql(count) == [(2,)]


def test_a_pool_has_all_its_connections_and_no_more(world: World) -> None:
    """Section 5: min = max."""
    database = world.ready(world.database(pool_size=3))
    assert database.stats() == {"size": 3, "available": 3, "waiting": 0}


def test_the_connection_that_came_back_last_goes_out_first(world: World) -> None:
    """Its server process is the one that the processor's caches still hold."""
    database = world.ready(world.database(pool_size=3))
    seen = set()
    for _ in range(3):
        with database.read() as conn:
            seen.add(conn._raw)
    assert len(seen) == 1


def test_a_pool_opened_before_a_fork_is_a_bug(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AC6."""
    database = world.database()
    database.open()
    mine = os.getpid()
    with monkeypatch.context() as patch:
        patch.setattr(os, "getpid", lambda: mine + 1)
        with pytest.raises(RuntimeError, match=f"Bug: the pool was opened by process {mine}"):
            database.read().__enter__()


def test_who_waits_too_long_for_a_connection_is_told_busy(world: World) -> None:
    """Section 5: pool timeout."""
    database = world.ready(world.database(pool_timeout_ms=50))
    with database.read():
        for way in every_way(database):
            world.new_context()
            assert_refused(DatabaseBusy, way)
            assert world.context.db_wait_ms >= 50


def test_who_would_wait_behind_too_many_is_told_busy_at_once(world: World) -> None:
    """Section 5: too many waiting."""
    database = world.database(pool_timeout_ms=PATIENCE_S * 1000, pool_max_waiting=1)
    one = world.statement("SELECT 1;")

    def wait() -> Any:
        with database.read() as conn:
            return one.one(conn)

    with database.read():
        waiting = world.in_thread(wait)
        assert wait_until(lambda: database.stats()["waiting"] == 1, PATIENCE_S)
        world.new_context()
        assert_refused(DatabaseBusy, database.read)
    assert waiting.result(PATIENCE_S) == 1


def test_the_wait_for_a_connection_counts_for_the_deadline(world: World) -> None:
    """OS3."""
    database = world.database(pool_timeout_ms=PATIENCE_S * 1000)
    with database.read():
        world.new_context().deadline = monotonic() + 0.05
        assert_refused(DeadlineExceeded, database.read)
        assert_refused(DeadlineExceeded, database.read)


def test_a_refused_connection_is_unavailable(world: World) -> None:
    """Section 5: cannot connect; nothing was sent."""
    database = world.database(nowhere(), pool_timeout_ms=50)
    for way in [*every_way(database), database.snapshot]:
        assert_refused(DatabaseUnavailable, way)
    behind_bouncer = world.database(nowhere(), pooler="pgbouncer")
    told: list[str] = []
    behind_bouncer.when_lost(lambda: told.append("lost"))
    assert_refused(DatabaseUnavailable, behind_bouncer.read)
    assert told == ["lost"]


def test_a_server_that_takes_no_more_connections_is_unavailable(world: World) -> None:
    """Section 5: 53300."""
    name = world.sql("SELECT current_database()")[0][0]
    world.sql(f"ALTER DATABASE {name} CONNECTION LIMIT 1")
    database = world.database(pool_timeout_ms=50)
    assert_refused(DatabaseUnavailable, database.read)
    assert_refused(DatabaseUnavailable, database.snapshot)


def test_a_pool_is_well_again_soon_after_the_server(world: World) -> None:
    """F1: psycopg_pool alone would wait up to the reconnect time."""
    name = world.sql("SELECT current_database()")[0][0]
    world.sql(f"ALTER DATABASE {name} CONNECTION LIMIT 1")
    database = world.database(pool_timeout_ms=6000)
    read = world.in_thread(lambda: database.read().__enter__())
    stats = database.connections.open().get_stats
    assert wait_until(lambda: stats().get("connections_errors", 0) > 3, PATIENCE_S)
    world.sql(f"ALTER DATABASE {name} CONNECTION LIMIT -1")
    read.result(PATIENCE_S).__exit__()


def test_a_pool_that_has_given_up_begins_anew(world: World) -> None:
    """DB_RECONNECT_TIMEOUT_S; psycopg_pool's would refuse all who come, for ever."""
    name = world.sql("SELECT current_database()")[0][0]
    world.sql(f"ALTER DATABASE {name} CONNECTION LIMIT 1")
    database = world.database(pool_timeout_ms=50, pool_max_waiting=1, reconnect_timeout_s=1)
    pool = database.connections.open()
    assert_refused(DatabaseUnavailable, database.read)
    assert wait_until(lambda: database.stats()["size"] == 0, PATIENCE_S)
    world.sql(f"ALTER DATABASE {name} CONNECTION LIMIT -1")

    def served() -> bool:
        try:
            with database.read():
                return True
        except DatabaseUnavailable:
            return False

    assert wait_until(served, PATIENCE_S)
    assert pool.closed


def test_a_connection_that_takes_no_settings_is_closed(world: World) -> None:
    """What stays open would be a ResourceWarning, which fails the test."""
    database = world.database(client_check_interval_ms=-1)
    with pytest.raises(psycopg.errors.InvalidParameterValue):
        database.snapshot().__enter__()


def test_a_closed_database_is_unavailable(world: World) -> None:
    database = world.database()
    database.close()
    with database.read():
        pass
    database.close()
    assert_refused(DatabaseUnavailable, database.read)


def test_a_connection_that_comes_back_to_a_closed_pool_is_closed(world: World) -> None:
    """OS4: requests in flight get their answer."""
    database = world.database()
    one = world.statement("SELECT 1;")
    with database.read() as conn:
        database.close()
        assert one.one(conn) == 1
        raw = conn._raw
    assert raw is not None
    assert raw.closed


def test_a_connection_that_was_idle_is_checked_before_it_is_handed_out(world: World) -> None:
    """AC5: dead ones are replaced, without a failed statement."""
    database = world.database(pool_size=2)
    one = world.statement("SELECT 1;")
    idle: list[Conn] = [database.read().__enter__()]
    world.new_context()
    idle.append(database.read().__enter__())
    for conn in idle:
        assert conn._raw is not None
        pid, raw = conn._raw.info.backend_pid, conn._raw
        conn.__exit__(None, None, None)
        raw.returned_at -= 2
        world.terminate(pid)
    world.new_context()
    with database.read() as conn:
        assert one.one(conn) == 1
    assert world.context.db_retries == 0


def test_a_connection_that_broke_is_told(world: World) -> None:
    """OK7: idle or in use; not one that the deadline closed, since its server is the same."""
    told: list[str] = []
    database = world.database()
    database.when_lost(lambda: told.append("lost"))
    one = world.statement("SELECT 1;")
    for idle_s in (0, 2):
        with database.read() as conn:
            assert conn._raw is not None
            pid, raw = conn._raw.info.backend_pid, conn._raw
        raw.returned_at = monotonic() - idle_s
        world.terminate(pid)
        with database.read() as conn:
            assert one.one(conn) == 1
    assert told == ["lost"] * 2
    world.context.deadline = monotonic() + 0.05
    with pytest.raises(DeadlineExceeded), database.read() as conn:
        world.statement("SELECT 1 FROM pg_sleep(60);").one(conn)
    assert told == ["lost"] * 2


def test_a_connection_that_was_idle_and_lives_is_kept(world: World) -> None:
    """AC5."""
    database = world.database()
    with database.read() as conn:
        first = conn._raw
    assert first is not None
    first.returned_at -= 2
    with database.read() as conn:
        assert conn._raw is first


def test_a_server_that_hangs_at_the_check_ends_at_the_deadline(world: World) -> None:
    """AC5, OS3: nothing was sent, a write included."""
    proxy = world.proxy()
    database = world.database(proxy.url)
    with database.read() as conn:
        raw = conn._raw
    assert raw is not None
    raw.returned_at -= 2
    proxy.mute.set()
    world.context.deadline = monotonic() + 0.1
    assert_refused(DeadlineExceeded, database.write)
    proxy.mute.clear()
    world.new_context()
    with database.read() as conn:
        assert conn._raw is not raw


def test_behind_pgbouncer_every_checkout_is_a_connection(world: World) -> None:
    """DB_POOLER=pgbouncer: no own pool, nothing prepared, settings are the role's."""
    database = world.database(pooler="pgbouncer")
    facts = world.statement(
        "SELECT pg_backend_pid() || ' ' || (SELECT count(*) FROM pg_prepared_statements)"
        " || ' ' || current_setting('lock_timeout');",
        row=str,
    )
    seen = []
    for _ in range(2):
        with database.read() as conn:
            seen.append(facts.one(conn).split(" ", 1))
    assert seen[0][0] != seen[1][0]
    assert [rest for _, rest in seen] == ["0 0", "0 0"]


def test_behind_pgbouncer_no_pool_is_opened(world: World) -> None:
    """Its connections would keep PgBouncer's for nothing."""
    database = world.database(pooler="pgbouncer")
    database.open()
    database.connections.drain()
    assert database.stats() == {"size": 0, "available": 0, "waiting": 0}
    assert database.connections._pool is None


def test_behind_pgbouncer_the_deadline_holds_too(world: World) -> None:
    proxy = world.proxy()
    database = world.database(proxy.url, pooler="pgbouncer")
    one = world.statement("SELECT 1;")
    world.context.deadline = monotonic() + 0.2
    with database.read() as conn:
        proxy.mute.set()
        with pytest.raises(DeadlineExceeded):
            one.one(conn)
