"""kill -9 in the middle of backfill, mirror, repair and advance: each goes on where it was (MF2).

Real processes, a real file; FAULT_KILLS raises the number of points.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import sqlite3
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from errors import AppError
from legacy import drift
from legacy.phases import Ask
from legacy.stores.sqlite import SqliteStore
from tests.legacy import killed
from tests.legacy.maps import maps, shop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from legacy.parts import Parts

POINTS = int(os.environ.get("FAULT_KILLS", "2"))
SEED = int(os.environ.get("FAULT_SEED", "7"))
ROWS = 23
SCHEMA = """
CREATE TABLE customers (
    id INTEGER PRIMARY KEY AUTOINCREMENT, mail TEXT UNIQUE COLLATE NOCASE, pw TEXT, name TEXT,
    verified INTEGER NOT NULL DEFAULT 0, created TEXT, updated TEXT, is_active INTEGER DEFAULT 1
);
CREATE TABLE orders (
    id INTEGER PRIMARY KEY AUTOINCREMENT, customer TEXT NOT NULL, order_no INTEGER, amount TEXT,
    currency TEXT, what TEXT, extra TEXT, refunded INTEGER, "until" TEXT, created TEXT, state TEXT
);
"""
# One process that has imported everything makes the others: each is there in a moment.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["tests.legacy.killed"])


class Site:
    """A shop in a file, our database, and processes that are killed."""

    def __init__(self, url: str, path: Path) -> None:
        self.url = url
        self.file = path / "shop.db"
        config = path / "legacy.toml"
        text = shop(f'adapter = "sqlite"\npath = "{self.file}"\ncapture = "trigger"')
        config.write_text(text)
        self.environ = {
            "DATABASE_URL": url,
            "VAR_DIR": str(path),
            "LEGACY_CONFIG": str(config),
            "LEGACY_GRACE_MS": "0",
            "LEGACY_SHADOW_MIN_READS": "0",
            "FEATURE_DUAL_WRITE_USERS": "true",
            "FEATURE_DUAL_WRITE_PAYMENTS": "true",
        }
        self._prepare(text)
        self.parts: Parts = killed.opened(self.environ)

    def _prepare(self, text: str) -> None:
        with closing(sqlite3.connect(self.file)) as conn:
            conn.executescript(SCHEMA)
            conn.executescript(SqliteStore(maps(text)["users"]).prepare_sql())
            conn.executemany(
                "INSERT INTO customers (mail, created, updated) VALUES (?, ?, ?)",
                [
                    (f"u{n}@example.org", "2024-01-01 00:00:00", "2024-01-02 00:00:00Z")
                    for n in range(ROWS)
                ],
            )
            conn.commit()

    def program(self, statement: str) -> None:
        """What the shop's own program does."""
        with closing(sqlite3.connect(self.file, timeout=30)) as conn:
            conn.execute(statement)
            conn.commit()

    def let_in(self) -> None:
        """Let the mirror lift a fence that is left, and the shop's program write."""
        self.parts.mirror.run_once()
        self.program("UPDATE customers SET name = 'still here' WHERE id = 1")

    def sql(self, statement: str, *params: Any) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url, autocommit=True) as conn:
            cursor = conn.execute(statement.encode(), params or None)
            return cursor.fetchall() if cursor.description else []

    def attach(self, phase: int) -> None:
        self.sql("SELECT legacy_switch('users', true)")
        self.sql(
            "INSERT INTO migration_state (tenant_id, domain, phase, moved_by, adapter)"
            " VALUES ('default', 'users', %s, 'test', 'sqlite')",
            phase,
        )

    def filled(self) -> None:
        """Let new have all that legacy has."""
        self.until(lambda: killed.WORK["backfill"](self.parts))
        self.settle()

    def killed_at(self, name: str, at: int) -> bool:
        """Do a piece of work in a process that is killed at a step; False: it was done before."""
        process = PROCESSES.Process(target=killed.work, args=(name, self.environ, at))
        process.start()
        process.join()
        assert process.exitcode in {0, -signal.SIGKILL}, process.exitcode
        return process.exitcode != 0

    def until(self, call: Callable[[], Any]) -> Any:
        """Try again until it does: the server needs a moment to see that a client has gone."""
        end = time.monotonic() + 90
        while True:
            try:
                return call()
            except (AppError, sqlite3.Error):
                if time.monotonic() > end:
                    raise
            time.sleep(0.1)

    def settle(self) -> None:
        """What runs by itself: the mirror, until nothing is marked."""
        end = time.monotonic() + 90
        while self.parts.mirror.run_once() or self.sql("SELECT 1 FROM mirror_marks"):
            assert time.monotonic() < end
            time.sleep(0.05)

    def compare(self) -> drift.Report:
        ask = drift.Ask(tenant_id="default", domain="users", by="test")
        return self.parts.verifier.run(ask)

    def phase(self) -> int:
        ((phase,),) = self.sql("SELECT phase FROM migration_state")
        return int(phase)


@pytest.fixture
def site(database_owner: str, tmp_path: Path) -> Iterator[Site]:
    made = Site(database_owner, tmp_path)
    yield made
    killed.closed(made.parts)


def points(name: str, most: int) -> list[int]:
    """Return steps at which to kill; the same for the same seed."""
    return random.Random(f"{SEED}/{name}").sample(range(1, most), POINTS)


def test_a_killed_backfill_goes_on_at_its_cursor(site: Site) -> None:
    """D27: cursor and batch commit together; every row is counted once."""
    site.attach(2)
    kills = 0
    for at in points("backfill", 40):
        kills += site.killed_at("backfill", at)
        rows, done = site.sql(
            "SELECT (SELECT count(*) FROM users WHERE legacy_id IS NOT NULL),"
            " coalesce((SELECT rows_done FROM backfill_cursors), 0)"
        )[0]
        assert rows == done
        if site.sql("SELECT finished_at FROM backfill_cursors WHERE finished_at IS NOT NULL"):
            break
    assert kills
    site.filled()
    assert site.compare().clean
    assert site.sql("SELECT count(*) FROM users WHERE legacy_id IS NOT NULL") == [(ROWS,)]


def test_a_killed_mirror_leaves_its_marks(site: Site) -> None:
    """D21: what it has not copied is still marked, and what it copied twice is the same."""
    site.attach(2)
    site.filled()
    kills = 0
    for number, at in enumerate(points("mirror", 30)):
        site.program(f"UPDATE customers SET name = 'name {number}'")
        kills += site.killed_at("mirror", at)
    assert kills
    site.settle()
    assert site.compare().clean
    names = site.sql("SELECT DISTINCT display_name FROM users WHERE legacy_id IS NOT NULL")
    assert names == [(f"name {POINTS - 1}",)]


def test_a_killed_repair_is_repeated(site: Site) -> None:
    """V5: what was marked is copied, what was not is found again; a killed run is not running."""
    site.attach(3)
    site.sql("UPDATE migration_state SET phase = 2")
    site.filled()
    site.sql("UPDATE migration_state SET phase = 3")
    kills = 0
    for number, at in enumerate(points("repair", 40)):
        with psycopg.connect(site.url) as conn:
            conn.execute("SET LOCAL strongroom.mirror = 'on'")
            conn.execute(
                "UPDATE users SET display_name = %s WHERE legacy_id IN ('2', '3', '5')",
                (f"wrong {number}",),
            )
        kills += site.killed_at("repair", at)
        # Ten minutes later.
        site.sql("UPDATE drift_runs SET started_at = started_at - interval '10 minutes'")
    assert kills
    site.until(lambda: killed.WORK["repair"](site.parts))
    site.settle()
    assert site.compare().clean
    assert site.sql("SELECT 1 FROM drift_runs WHERE status = 'running'") == []


def test_a_killed_advance_has_moved_or_has_not(site: Site) -> None:
    """D7, D31: unchanged until COMMIT; a fence that is left is lifted; the next one does it."""
    site.attach(2)
    site.filled()
    site.sql("UPDATE migration_state SET phase = 3, since = now()")
    assert site.compare().clean
    kills = 0
    for at in points("advance", 40):
        kills += site.killed_at("advance", at)
        moves = site.sql("SELECT count(*) FROM migration_moves")[0][0]
        assert (site.phase(), moves) in {(3, 0), (4, 1)}
        if site.phase() == 4:
            site.until(lambda: site.parts.phases.step_back(_ask()))
            site.sql("DELETE FROM migration_moves")
            site.compare()
        else:
            # Once nobody holds the gate, the mirror lets the shop's program write again.
            site.until(site.let_in)
            site.settle()
    assert kills
    site.settle()
    assert site.compare().clean
    assert site.parts.phases.advance(_ask()).to_phase == 4
    with pytest.raises(sqlite3.Error):
        site.program("UPDATE customers SET name = 'too late' WHERE id = 1")


def _ask() -> Any:
    return Ask(tenant_id="default", domain="users", by="test", reason="test")
