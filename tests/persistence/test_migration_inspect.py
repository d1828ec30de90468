"""Status, verify and diff: what is wrong is named, nothing is changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from persistence.migration_errors import MigrationError, Misconfigured
from persistence.migration_inspect import diff, status, verify
from persistence.migrator import baseline
from tests.persistence.conftest import table

if TYPE_CHECKING:
    from tests.persistence.conftest import Migrations

NO_TX = "-- migrate: no-transaction"


def test_status_names_every_state(migrations: Migrations) -> None:
    """applied, baseline, changed, missing, ahead, partial, pending, waiting."""
    migrations.run(table("a"))
    for number, letter in enumerate("abcdefg", 1):
        migrations.write(f"{number:04}_{letter}", table(letter))
    migrations.write("0006_f", NO_TX, table("f"), "ALTER TABLE nobody ADD COLUMN x int;")
    baseline(migrations.settings(), 1, "was there")
    with pytest.raises(MigrationError):
        migrations.apply()
    migrations.write("0006_f", NO_TX, table("f"))
    migrations.apply()
    migrations.write("0003_c", "-- changed", table("c"))
    (migrations.folder / "0004_d.sql").unlink()
    (migrations.folder / "0007_g.sql").unlink()
    (migrations.folder / "0006_f.sql").unlink()
    migrations.write("0005_w", "-- migrate: requires-extension nope", table("w"))
    (migrations.folder / "0005_e.sql").unlink()
    migrations.run("DELETE FROM schema_migrations WHERE version = 5")
    found = {state.name: state.state for state in status(migrations.settings())}
    assert found == {
        "0001_a": "baseline",
        "0002_b": "applied",
        "0003_c": "changed",
        "0004_d": "missing",
        "0005_w": "waiting",
        "0006_f": "ahead",
        "0007_g": "ahead",
    }


def test_status_without_history_is_all_pending(migrations: Migrations) -> None:
    """The tables need not exist."""
    migrations.write("0001_a", table("a"))
    assert [state.state for state in status(migrations.settings())] == ["pending"]


def test_status_shows_a_partial_file(migrations: Migrations) -> None:
    """M14."""
    migrations.write("0001_a", NO_TX, table("a"), "ALTER TABLE nobody ADD COLUMN b int;")
    with pytest.raises(MigrationError):
        migrations.apply()
    (state,) = status(migrations.settings())
    assert state.state == "partial"
    assert state.row is not None
    assert (state.row.statements_done, state.row.finished_at) == (1, None)


def test_verify_is_silent_on_a_sound_database(migrations: Migrations) -> None:
    """Pending files above the highest applied are no fault."""
    migrations.write("0001_a", table("a"))
    migrations.apply()
    migrations.write("0002_b", table("b"))
    assert verify(migrations.settings()) == []


def test_verify_finds_what_is_wrong(migrations: Migrations) -> None:
    """Checksums, missing files, gaps, partial files, invalid indexes, NOT VALID."""
    for number, letter in enumerate("abd", 1):
        migrations.write(f"{number * 2:04}_{letter}", table(letter))
    migrations.apply()
    migrations.write(
        "0007_x",
        NO_TX,
        "INSERT INTO a VALUES ('x', 1), ('y', 1);",
        "ALTER TABLE a ADD CONSTRAINT a_check CHECK (n > 1) NOT VALID;",
        "CREATE UNIQUE INDEX CONCURRENTLY a_key ON a (n);",
    )
    text = (migrations.folder / "0007_x.sql").read_text()
    migrations.write("0007_x", '-- migrate: allow global-table "a test"', text)
    with pytest.raises(MigrationError, match="23505"):
        migrations.apply()
    migrations.write("0002_a", "-- changed", table("a"))
    (migrations.folder / "0004_b.sql").unlink()
    migrations.write("0003_c", table("c"))
    assert verify(migrations.settings()) == [
        "0002_a: changed after it was applied: `diff` shows how, `accept` takes a comment",
        "0003_c: pending below the highest applied version",
        "0004_b: applied, but its file is gone",
        "0007_x: stopped on its way",
        "a_key: invalid index",
        "a.a_check: still NOT VALID",
    ]


def test_verify_says_that_there_is_no_history(migrations: Migrations) -> None:
    """An empty database is not a sound one."""
    migrations.write("0001_a", table("a"))
    assert verify(migrations.settings()) == ["there is no history: nothing was ever applied"]


def test_diff_goes_from_what_was_applied_to_the_file(migrations: Migrations) -> None:
    """Unified, each file by itself, or one of them."""
    migrations.write("0001_a", table("a"))
    migrations.write("0002_b", "-- why", table("b").strip())
    migrations.apply()
    assert diff(migrations.settings()) == ""
    migrations.write("0002_b", "-- because", table("b").strip())
    body = table("b").strip()
    assert diff(migrations.settings()) == (
        "--- applied/0002_b.sql\n+++ files/0002_b.sql\n@@ -1,2 +1,2 @@\n"
        f"-{'-- why'}\n+{'-- because'}\n {body}\n"
    )
    assert diff(migrations.settings(), 1) == ""
    assert diff(migrations.settings(), 2) != ""


def test_diff_of_an_unknown_version_is_refused(migrations: Migrations) -> None:
    """Exit 2."""
    migrations.write("0001_a", table("a"))
    with pytest.raises(Misconfigured, match="there is no version 7"):
        diff(migrations.settings(), 7)
