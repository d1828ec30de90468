"""Connections: session settings, prepared statements, the deadline that the client keeps."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from errors import DeadlineExceeded, OutcomeUnknown
from persistence.db import DbSettings
from persistence.db_connection import PREPARED_MAX, DeadlineConnection
from persistence.db_errors import DeadlinePassed
from tests.persistence.db_world import World

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PREPARED = "SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE '-- t/s0:%';"


@pytest.fixture
def world(empty_database: str, tmp_path: Path) -> Iterator[World]:
    with World(empty_database, tmp_path) as made:
        yield made


@pytest.mark.parametrize(
    "wrong",
    [
        {"lock_timeout_ms": 3000},
        {"statement_timeout_ms": 4001},
        {"transaction_timeout_ms": 5000},
        {"request_deadline_ms": 100},
    ],
)
def test_an_outer_limit_is_longer_than_the_inner_one(wrong: dict[str, Any]) -> None:
    """AC2: lock < statement < transaction < deadline."""
    with pytest.raises(ValueError, match="lock < statement < transaction < deadline"):
        DbSettings(**wrong)


def test_a_session_starts_with_its_settings(world: World) -> None:
    """K12, AC1; transaction_timeout is there from PostgreSQL 17 on."""
    show = world.statement(
        "SELECT coalesce(current_setting(n, true), '-') FROM unnest(:'n'::text[]) AS n;",
        params="n text[]",
        returns="many",
        row=str,
    )
    expected = {
        "lock_timeout": "1001ms",
        "statement_timeout": "2s",
        "idle_in_transaction_session_timeout": "4s",
        "client_connection_check_interval": "500ms",
        "TimeZone": "UTC",
        "search_path": "public",
        "plan_cache_mode": "force_generic_plan",
        "enable_seqscan": "off",
        "default_transaction_isolation": "read committed",
        "transaction_timeout": "3500ms" if world.other.info.server_version >= 170000 else "-",
    }
    settings: dict[str, Any] = {
        "lock_timeout_ms": 1001,
        "statement_timeout_ms": 2000,
        "transaction_timeout_ms": 3500,
        "idle_transaction_timeout_ms": 4000,
    }
    with world.database(**settings).read() as conn:
        assert show.all(conn, n=list(expected)) == list(expected.values())


def test_a_snapshot_is_planned_and_timed_for_a_whole_book(world: World) -> None:
    """Section 5: no deadline, and any plan, unlike a request's."""
    show = world.statement(
        "SELECT current_setting(n) FROM unnest(:'n'::text[]) AS n;",
        params="n text[]",
        returns="many",
        row=str,
    )
    names = ["statement_timeout", "plan_cache_mode", "enable_seqscan", "enable_hashjoin"]
    with world.database().snapshot() as conn:
        assert show.all(conn, n=names) == ["0", "auto", "on", "on"]


@pytest.mark.parametrize(
    ("given", "used"), [("off", "on"), ("local", "on"), ("on", "on"), ("remote_apply",) * 2]
)
def test_synchronous_commit_is_raised_to_on_and_never_lowered(
    world: World, given: str, used: str
) -> None:
    """K12, AC1, OS6."""
    name = world.sql("SELECT current_database()")[0][0]
    world.sql(f"ALTER DATABASE {name} SET synchronous_commit = {given}")
    show = world.statement("SELECT current_setting('synchronous_commit');", row=str)
    with world.database().read() as conn:
        assert show.one(conn) == used


@pytest.mark.parametrize("type_", ["smallint", "integer", "bigint"])
def test_an_int_of_any_size_is_one_prepared_statement(world: World, type_: str) -> None:
    """AC3: psycopg by itself has three or four variants."""
    echo = world.statement(f"SELECT :'a'::{type_};", params=f"a {type_}")
    count = world.statement(PREPARED)
    with world.database().read() as conn:
        assert [echo.one(conn, a=a) for a in (1, -1, 300, 32767)] == [1, -1, 300, 32767]
        if type_ == "bigint":
            assert [echo.one(conn, a=a) for a in (2**31, -(2**63))] == [2**31, -(2**63)]
        assert count.one(conn) == 1


def test_a_null_is_one_more_variant_but_not_of_a_text(world: World) -> None:
    """AQ10."""
    count = world.statement(PREPARED.replace("s0", "s1"))
    text = world.statement("SELECT :'a'::text;", params="a text?", row=str)
    with world.database().read() as conn:
        assert [text.one(conn, a=a) for a in ("x", None, "")] == ["x", None, ""]
        assert count.one(conn) == 1


def test_a_statement_that_fails_leaves_prepared_statements_alone(world: World) -> None:
    """Decision 4: in autocommit nothing is rolled back, so nothing is prepared again."""
    echo = world.statement("SELECT 1 / :'a'::bigint;", params="a bigint")
    names = world.statement(
        "SELECT array_agg(name ORDER BY name) FROM pg_prepared_statements;", row=list
    )
    with world.database().read() as conn:
        echo.one(conn, a=1)
        before = names.one(conn)
        for _ in range(3):
            with pytest.raises(psycopg.errors.DivisionByZero):
                echo.one(conn, a=0)
        assert names.one(conn) == before
        assert len(before) == 2


def test_as_many_statements_stay_prepared_as_the_catalogue_needs(world: World) -> None:
    """AC4: psycopg's default evicts at 100."""
    made = [world.statement(f"SELECT {i};") for i in range(120)]
    count = world.statement("SELECT count(*) FROM pg_prepared_statements;")
    with world.database().read() as conn:
        assert [each.one(conn) for each in made] == list(range(120))
        assert count.one(conn) == 121 < PREPARED_MAX


def test_a_read_that_hangs_ends_at_the_deadline(world: World) -> None:
    """OS3, AC8: the socket is closed and the pool has another connection."""
    proxy = world.proxy()
    database = world.database(proxy.url)
    pid = world.statement("SELECT pg_backend_pid();")
    with database.read() as conn:
        first = pid.one(conn)
    proxy.mute.set()
    world.context.deadline = monotonic() + 0.2
    with database.read() as conn:
        with pytest.raises(DeadlineExceeded) as raised:
            pid.one(conn)
        assert conn._raw is not None
        assert conn._raw.closed
    assert monotonic() >= world.context.deadline
    assert raised.value.headers == {"Retry-After": "1"}
    proxy.mute.clear()
    world.new_context()
    with database.read() as conn:
        assert pid.one(conn) != first


def test_a_write_that_hangs_is_unknown_and_a_late_one_is_not_sent(world: World) -> None:
    """Section 5: deadline passed, of a write that was sent and of one that was not."""
    world.sql("CREATE TABLE t (id bigint)")
    insert = world.statement("INSERT INTO t VALUES (1);", kind="write", returns="count")
    proxy = world.proxy()
    database = world.database(proxy.url)
    with database.read() as conn:
        world.statement("SELECT 1;").one(conn)
    with database.write() as conn:
        assert conn._raw is not None
        conn._raw.deadline = monotonic()
        with pytest.raises(DeadlineExceeded):
            insert.count(conn)
    assert world.sql("SELECT * FROM t") == []
    world.context.deadline = monotonic() + 0.3
    proxy.mute.set()
    with pytest.raises(OutcomeUnknown), database.write() as conn:
        insert.count(conn)
    assert proxy.muted.is_set()


def test_the_deadline_is_forgotten_at_return(world: World) -> None:
    """OS3: what the pool does with the connection has no deadline."""
    world.context.deadline = monotonic() + 1000
    with world.database().read() as conn:
        raw = conn._raw
        assert raw is not None
        assert raw.deadline == world.context.deadline
    assert raw.deadline is None


def test_psycopg_still_has_the_private_wait_timeout() -> None:
    """AC8: pinned, because a new psycopg may name it otherwise."""
    assert issubclass(psycopg.errors._WaitTimeout, psycopg.OperationalError)


def test_alive_is_who_answers(world: World) -> None:
    """AC5."""
    with DeadlineConnection.connect(world.url, autocommit=True, prepare_threshold=0) as raw:
        assert raw.is_alive()
        world.terminate(raw.info.backend_pid)
        assert not raw.is_alive()
        assert raw.closed


def test_who_has_no_time_to_ask_is_late(world: World) -> None:
    raw = DeadlineConnection.connect(world.url, autocommit=True)
    raw.deadline = monotonic()
    with pytest.raises(DeadlinePassed) as raised:
        raw.is_alive()
    assert not raised.value.sent
    raw.close()
