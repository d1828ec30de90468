"""Health: what decides, what only warns, and that asking costs little and never hangs."""

from __future__ import annotations

import math
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

import services.health
from observability import Context, begin, current
from persistence.db import Database, DbSettings
from persistence.kv import Kv
from persistence.migration_check import MigrationCheck, SchemaState
from services.health import Health, history
from services.jobs import Ask, Job, Jobs, JobSettings
from version import checked_out

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from persistence.db import Conn
    from persistence.embedded import EmbeddedServers

GOOD = SchemaState(problem=None, head=13, required=13)
ONE = DbSettings(pool_size=1)


class World:
    """A Health on a real database, with what it can be told in the test's hands."""

    def __init__(self, url: str) -> None:
        self.db, self.probe, self.kv = Database(url, ONE), Database(url, ONE), Kv("off")
        self.schema: Any = lambda _: GOOD
        self.drains, self.now = False, time.time

    def health(self) -> Health:
        return Health(
            probe=self.probe,
            db=self.db,
            kv=self.kv,
            schema=self.schema,
            is_draining=lambda: self.drains,
            about={"version": "1.2.3", "commit": None, "flags": {"FEATURE_LEDGER_ENABLED": True}},
            wall=self.now,
        )

    def close(self) -> None:
        for store in (self.db, self.probe, self.kv):
            store.close()


@pytest.fixture
def world(database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    # What is true of a database is asked here, not how soon a busy machine answers.
    monkeypatch.setattr(services.health, "DATABASE_ANSWERS_MS", 60_000)
    monkeypatch.setattr(services.health, "SHARED_S", 60)
    made = World(database)
    yield made
    made.close()


ALL_PASS = {
    "database": "pass",
    "schema": "pass",
    "epoch": "pass",
    "draining": "pass",
    "redis": "pass",
    "jobs": "pass",
    "clock": "pass",
}


def test_a_quiet_day_passes(world: World) -> None:
    """OH1."""
    ready = world.health().readyz()
    assert (ready.status, ready.is_ready, ready.checks, ready.reasons) == (
        "pass",
        True,
        ALL_PASS,
        {},
    )


def test_redis_away_is_a_warning(world: World) -> None:
    """OH1: readiness does not hang on a hint."""
    world.kv = Kv("unix:///nowhere.sock")
    ready = world.health().readyz()
    assert (ready.status, ready.is_ready) == ("warn", True)
    assert ready.reasons == {"redis": "half-open"}


def test_a_late_job_is_a_warning(world: World, database: str) -> None:
    """OH1: three intervals."""
    job = Job(name="count", every_ms=1000, work=lambda _: iter([]))
    Jobs(world.db, [job], JobSettings(), "here:1").run("count", Ask())
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute("UPDATE jobs SET succeeded_at = now() - interval '5 s'")
    ready = world.health().readyz()
    assert (ready.status, ready.reasons) == ("warn", {"jobs": "late"})


@pytest.mark.parametrize("off_s", [-3, 3])
def test_a_clock_that_is_off_is_a_warning(world: World, off_s: int) -> None:
    """OH1: two seconds off the database's."""
    world.now = lambda: time.time() + off_s
    health = world.health()
    assert health.readyz().reasons == {"clock": "skewed"}
    assert abs(health.healthz()["database"]["clock_skew_ms"] + off_s * 1000) < 1000


def test_draining_decides_and_is_seen_at_once(world: World) -> None:
    """OS5: within a second, so nothing of it is cached."""
    health = world.health()
    assert health.readyz().is_ready
    world.drains = True
    ready = health.readyz()
    assert (ready.status, ready.is_ready, ready.reasons) == (
        "fail",
        False,
        {"draining": "draining"},
    )


@pytest.mark.parametrize("problem", ["schema_missing", "schema_pending", "schema_changed"])
def test_a_schema_that_is_not_this_releases_decides(world: World, problem: str) -> None:
    """M22; what needs tables is not asked then."""
    world.schema = lambda _: SchemaState(problem=problem, head=1, required=13)
    ready = world.health().readyz()
    assert (ready.is_ready, ready.reasons) == (False, {"schema": problem, "jobs": "unknown"})


def test_an_empty_database_lacks_its_schema_and_is_no_crash(empty_database: str) -> None:
    """M22: the first question is asked before there is a table."""
    world = World(empty_database)
    world.schema = MigrationCheck()
    ready = world.health().readyz()
    assert (ready.checks["database"], ready.reasons["schema"]) == ("pass", "schema_missing")
    world.close()


def test_a_database_that_only_reads_is_not_ready(database_owner: str, database_admin: str) -> None:
    """OH1: writable."""
    with psycopg.connect(database_admin, autocommit=True) as conn:
        name = conn.info.dbname
        conn.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on'.encode())
    world = World(database_owner)
    assert world.health().readyz().reasons == {"database": "read_only"}
    world.close()


def test_a_database_that_is_away_is_named(tmp_path: Any) -> None:
    """OH1: what could not be asked is not said to be well."""
    world = World(f"postgresql://u@/db?host={tmp_path}")
    health = world.health()
    ready = health.readyz()
    assert not ready.is_ready
    assert ready.checks["database"] == ready.checks["schema"] == "fail"
    assert ready.reasons["jobs"] == "unknown"
    found = health.healthz()
    assert (found["schema"], found["jobs"], found["database"]["version"]) == (None, [], None)
    world.close()


def test_a_hung_database_is_given_up_and_the_requests_deadline_stays(
    own_servers: EmbeddedServers,
) -> None:
    """OH1: 250 ms, kept by the client."""
    world = World(own_servers.database_url or "")
    world.schema = lambda _: SchemaState(problem="schema_missing", head=0, required=13)
    with world.probe.read() as conn:
        assert conn._raw is not None
        backend = conn._raw.info.backend_pid
    kept = begin(Context(deadline=time.monotonic() + 60)).deadline
    os.kill(backend, signal.SIGSTOP)
    try:
        assert world.health().readyz().reasons["database"] == "deadline_exceeded"
        assert current().deadline == kept
    finally:
        os.kill(backend, signal.SIGCONT)
        begin(Context())
    world.close()


def test_it_is_asked_once_a_second_however_many_ask(world: World) -> None:
    """OH1: shared for 1 s; probes of ten balancers are one question."""
    asked: list[int] = []
    together = threading.Barrier(8)

    def schema(_: Conn) -> SchemaState:
        asked.append(1)
        return GOOD

    world.schema = schema
    health = world.health()

    def ask(_: int) -> bool:
        together.wait(10)
        return health.readyz().is_ready

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(ask, range(8)))
    assert len(asked) == 1
    health._seen_until = 0.0
    health.readyz()
    assert len(asked) == 2


def test_a_full_pool_does_not_take_the_instance_out(world: World) -> None:
    """AC7: readiness has a connection of its own."""
    taken, ends = threading.Event(), threading.Event()

    def hold() -> None:
        with world.db.read():
            taken.set()
            ends.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    assert taken.wait(10)
    assert world.health().readyz().is_ready
    ends.set()
    thread.join()


def test_healthz_tells_what_an_operator_asks_first(world: World) -> None:
    """OH2: and no host, DSN or secret."""
    world.schema = lambda _: SchemaState(
        problem=None, head=14, required=13, pending=("0014_x",), changed=()
    )
    job = Job(name="count", every_ms=3_600_000, work=lambda _: iter([1]))
    Jobs(world.db, [job], JobSettings(), "here:1").run("count", Ask())
    found = world.health().healthz()
    assert found["status"] == "pass"
    assert (found["version"], found["commit"]) == ("1.2.3", None)
    assert found["flags"] == {"FEATURE_LEDGER_ENABLED": True}
    assert found["started_at"].endswith("Z")
    assert found["checks"] == ALL_PASS
    assert found["schema"] == {"head": 14, "required": 13, "pending": ["0014_x"], "changed": []}
    assert found["redis"] == {
        "mode": "off",
        "state": "off",
        "failures": 0,
        "retry_in_ms": 0,
        "latency_ms": None,
    }
    (job_found,) = found["jobs"]
    assert job_found.pop("last_success_at").endswith("Z")
    assert job_found == {"job": "count", "outcome": "ok", "late": False}
    database = found["database"]
    assert (database["epoch"], database["in_recovery"]) == (1, False)
    assert database["pool"].keys() == {"size", "available", "waiting"}
    assert database["latency_ms"] > 0


def test_a_commit_is_found_in_the_files_of_git(tmp_path: Path) -> None:
    """OH2: a branch, packed or not, no branch, a work tree of another folder, no git at all."""
    main, tree = tmp_path / "main", tmp_path / "tree"
    (main / ".git/worktrees/tree").mkdir(parents=True)
    tree.mkdir()
    assert checked_out(main) is None
    (main / ".git/HEAD").write_text("ref: refs/heads/main\n")
    assert checked_out(main) is None
    (main / ".git/packed-refs").write_text(
        "# pack-refs with: peeled\naa11 refs/heads/main\n^bb22\n"
    )
    assert checked_out(main) == "aa11"
    (main / ".git/refs/heads").mkdir(parents=True)
    (main / ".git/refs/heads/main").write_text("cc33\n")
    assert checked_out(main) == "cc33"
    (tree / ".git").write_text(f"gitdir: {main}/.git/worktrees/tree\n")
    (main / ".git/worktrees/tree/HEAD").write_text("ref: refs/heads/main\n")
    (main / ".git/worktrees/tree/commondir").write_text("../..\n")
    assert checked_out(tree) == "cc33"
    (main / ".git/worktrees/tree/HEAD").write_text("dd44\n")
    assert checked_out(tree) == "dd44"


def test_a_job_that_never_ran_has_no_success(world: World) -> None:
    job = Job(name="count", every_ms=3_600_000, work=lambda _: iter([1]))
    Jobs(world.db, [job], JobSettings(), "here:1").set_paused("count", paused=True)
    (found,) = world.health().healthz()["jobs"]
    assert found == {"job": "count", "outcome": None, "last_success_at": None, "late": False}


def test_a_history_is_named_alike_until_it_changes(world: World, database: str) -> None:
    """OK7: server, timeline and epoch; `flask new-epoch` changes the last."""
    first = history(world.db)
    assert (history(world.db), len(first)) == (first, 12)
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute(
            "INSERT INTO settings (tenant_id, name, value, updated_by)"
            " VALUES ('-', 'event_epoch', '2', 'cli:test')"
        )
    assert history(world.db) != first
    assert world.health().healthz()["database"]["epoch"] == 2


def test_a_restored_history_is_not_ready(world: World, database_owner: str) -> None:
    """E4: not before `flask new-epoch`: new events would be ordered before old ones."""
    insert = (
        "INSERT INTO payment_events (tenant_id, payment_id, seq, type, status_to, after, actor,"
        " request_id, key, created_at, xid) SELECT 'default', gen_random_uuid(), 1,"
        " 'payment.mirrored', 'created', '{}', 'cli:test', '-', '-', now(), '4611686018427387904'"
    )
    with psycopg.connect(database_owner, autocommit=True) as conn:
        conn.execute(insert)
        ready = world.health().readyz()
        conn.execute("DELETE FROM payment_events")
    assert (ready.checks["epoch"], ready.reasons) == ("fail", {"epoch": "event_epoch_stale"})
    assert not ready.is_ready


def test_a_feed_whose_lag_nobody_can_tell_is_not_a_number(world: World) -> None:
    """E3: 0 would say that all is well."""
    assert world.health().event_feed_lag_s() == 0
    world.probe = Database("postgresql://127.0.0.1:1/nowhere", ONE)
    assert math.isnan(world.health().event_feed_lag_s())
