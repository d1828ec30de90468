"""A folder of migrations and an empty database to apply them to."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from structlog.testing import capture_logs

from persistence.migration_connection import MigrationSettings
from persistence.migration_history import History, HistoryRow
from persistence.migrator import Report, apply_all

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).resolve().parent.parent.parent
RUNNER = """
import json, sys
from pathlib import Path
from persistence.migrator import MigrationSettings, apply_all
given = json.loads(sys.argv[1])
apply_all(MigrationSettings(**given | {"folder": Path(given["folder"])}))
"""


def table(name: str) -> str:
    """Return the statement of a table that the lint accepts."""
    key = f"CONSTRAINT {name}_pkey PRIMARY KEY (tenant_id)"
    return f"CREATE TABLE {name} (tenant_id text, n int, {key});\n"


@dataclass
class Migrations:
    """A folder, a database, and short settings; `logs` holds what the runner told."""

    url: str
    folder: Path
    logs: list[Any]

    def write(self, name: str, *lines: str) -> None:
        """Write a file, anew if it is there."""
        (self.folder / f"{name}.sql").write_text("\n".join(lines), "utf-8")

    def settings(self, **changes: Any) -> MigrationSettings:
        """Return settings whose pauses are short; only what is stuck runs into their limits."""
        short = {"lock_retries": 1, "retry_min_s": 0.01, "retry_max_s": 0.05}
        defaults = {"grants": None, "wait_s": 30, "lock_timeout_ms": 10_000, **short}
        return MigrationSettings(
            **{"database_url": self.url, "folder": self.folder, **defaults, **changes}
        )

    def apply(self, **options: Any) -> Report:
        """Apply with the short settings."""
        return apply_all(self.settings(), **options)

    def process(self, **changes: Any) -> subprocess.Popen[bytes]:
        """Start a runner of its own, to be killed."""
        given = asdict(self.settings(**changes)) | {"folder": str(self.folder)}
        return subprocess.Popen(
            [sys.executable, "-c", RUNNER, json.dumps(given)],
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def command(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start `flask migrate` with these arguments on this folder and database."""
        (self.folder.parent / "grants.sql").write_text("SELECT 1;", "utf-8")
        program = "from commands.migrate import migrate; migrate()"
        place = ("--folder", str(self.folder), "--database-url", self.url)
        return subprocess.Popen(
            [sys.executable, "-c", program, *arguments, *place],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def connect(self) -> psycopg.Connection[Any]:
        """Return somebody else's connection, in autocommit."""
        return psycopg.connect(self.url, autocommit=True)

    def run(self, text: str) -> None:
        """Run somebody else's statements."""
        with self.connect() as conn:
            conn.execute(text)

    def query(self, text: str) -> list[Any]:
        """Return the rows of a query, single columns as bare values."""
        with self.connect() as conn:
            rows = conn.execute(text).fetchall()
        return [row[0] if len(row) == 1 else row for row in rows]

    def done(self) -> dict[str, str]:
        """Return name -> "statements done/total" of the history."""
        rows = self.query(
            "SELECT name, statements_done || '/' || statements_total"
            " FROM schema_migrations ORDER BY version"
        )
        return dict(rows)

    def row(self, version: int) -> HistoryRow:
        """Return the history row of a version."""
        with self.connect() as conn:
            return History(conn, self.settings()).rows()[version]

    def lock_holders(self) -> list[int]:
        """Return the pids that hold a runner lock of this database."""
        return self.query(
            "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        )

    def end_lock_holder(self) -> None:
        """Terminate the backend that holds the runner lock, and see it gone."""
        (pid,) = self.lock_holders()
        self.query(f"SELECT pg_terminate_backend({pid})")
        wait_until(lambda: self.lock_holders() == [])

    def wait_for_rows(self, view: str, number: int) -> None:
        """Wait until so many rows of a statistics view are about this database."""
        query = f"SELECT count(*) FROM {view} AND datname = current_database()"
        wait_until(lambda: self.query(query) == [number])

    def wait_for_lock(self) -> None:
        """Wait until a backend waits for a lock."""
        self.wait_for_rows("pg_stat_activity WHERE wait_event_type = 'Lock'", 1)

    def wait_for_end(self) -> None:
        """Wait until no backend of a runner is left."""
        self.wait_for_rows("pg_stat_activity WHERE application_name LIKE 'strongroom-migr%'", 0)

    def wait_for_event(self, name: str) -> None:
        """Wait until something was logged under this name."""
        wait_until(lambda: bool(self.events(name)))

    def events(self, name: str) -> list[Any]:
        """Return what was logged under this name."""
        return [entry for entry in self.logs if entry["event"] == name]


def wait_until(happened: Callable[[], bool], limit_s: float = 20) -> None:
    """Look every 10 ms; fail after `limit_s`."""
    give_up = time.monotonic() + limit_s
    while not happened():
        assert time.monotonic() < give_up, "waited in vain"
        time.sleep(0.01)


@pytest.fixture
def migrations(empty_database: str, tmp_path: Path) -> Iterator[Migrations]:
    """An empty folder and an empty database, as its owner."""
    folder = tmp_path / "migrations"
    folder.mkdir()
    with capture_logs() as logs:
        yield Migrations(empty_database, folder, logs)
