"""Readiness learns from one query whether the schema is the one that this release needs (M22)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from persistence.db import Database, DbSettings
from persistence.migration_check import GOOD_FOR_S, MigrationCheck
from persistence.migration_errors import MigrationError
from tests.persistence.conftest import table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from persistence.migration_check import SchemaState
    from tests.persistence.conftest import Migrations


class Probe:
    """A release at boot: its check, a clock, a database handle; `schema()` asks."""

    def __init__(self, migrations: Migrations) -> None:
        self.now_s = 1000.0
        self.db = Database(migrations.url, DbSettings())
        self.check = MigrationCheck(folder=migrations.folder, clock=lambda: self.now_s)

    def schema(self) -> SchemaState:
        with self.db.read() as conn:
            return self.check(conn)

    def reboot(self, migrations: Migrations) -> None:
        self.check = MigrationCheck(folder=migrations.folder, clock=lambda: self.now_s)


@pytest.fixture
def probe(migrations: Migrations) -> Iterator[Probe]:
    migrations.write("0001_a", table("a"))
    migrations.write("0002_b", table("b"))
    made = Probe(migrations)
    yield made
    made.db.close()


def test_an_empty_database_has_no_schema(probe: Probe) -> None:
    """503 schema_missing, with what is pending."""
    state = probe.schema()
    assert (state.problem, state.head, state.required) == ("schema_missing", 0, 2)
    assert state.pending == ("0001_a", "0002_b")


def test_a_migrated_database_is_fine(probe: Probe, migrations: Migrations) -> None:
    """Asked again each time until then."""
    assert probe.schema().problem == "schema_missing"
    migrations.apply()
    state = probe.schema()
    assert (state.problem, state.head, state.required, state.pending) == (None, 2, 2, ())


def test_a_good_schema_is_not_asked_for_again_within_30_s(
    probe: Probe, migrations: Migrations
) -> None:
    """One query each 30 s."""
    migrations.apply()
    assert probe.schema().problem is None
    migrations.run("DELETE FROM schema_migrations WHERE version = 2")
    assert probe.schema().problem is None
    probe.now_s += GOOD_FOR_S
    assert probe.schema().problem == "schema_pending"


def test_pending_files_are_a_problem(probe: Probe, migrations: Migrations) -> None:
    """503 schema_pending."""
    migrations.apply(to=1)
    state = probe.schema()
    assert (state.problem, state.pending) == ("schema_pending", ("0002_b",))


def test_a_changed_file_is_a_problem(probe: Probe, migrations: Migrations) -> None:
    """503 schema_changed: by the checksums at boot."""
    migrations.apply()
    migrations.write("0002_b", "-- changed", table("b"))
    assert probe.schema().problem is None
    probe.reboot(migrations)
    state = probe.schema()
    assert (state.problem, state.changed) == ("schema_changed", ("0002_b",))


def test_a_partial_file_is_a_problem(probe: Probe, migrations: Migrations) -> None:
    """503 schema_partial."""
    failing = "ALTER TABLE nobody ADD COLUMN x int;"
    migrations.write("0002_b", "-- migrate: no-transaction", table("b"), failing)
    with pytest.raises(MigrationError):
        migrations.apply()
    assert probe.schema().problem == "schema_partial"


def test_a_newer_schema_is_fine(probe: Probe, migrations: Migrations) -> None:
    """M4: the old release goes on."""
    migrations.write("0003_c", table("c"))
    migrations.apply()
    state = probe.schema()
    assert (state.problem, state.head, state.required) == (None, 3, 2)


@pytest.mark.parametrize(
    ("extension", "problem"), [("no_such_extension", None), ("plpgsql", "schema_pending")]
)
def test_a_file_that_waits_for_its_extension_is_not_pending(
    probe: Probe, migrations: Migrations, extension: str, problem: str | None
) -> None:
    """M3."""
    migrations.apply()
    migrations.write("0003_c", f"-- migrate: requires-extension {extension}", table("c"))
    probe.reboot(migrations)
    assert probe.schema().problem == problem
