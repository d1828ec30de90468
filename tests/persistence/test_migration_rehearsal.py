"""A dry run tells what would happen and leaves nothing behind (M21)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from persistence.migration_errors import HistoryDiffers, LintRefused, MigrationError, Unfinished
from persistence.migration_lock import runner_lock
from persistence.migration_rehearsal import preview, rehearse
from tests.persistence.conftest import table

if TYPE_CHECKING:
    from tests.persistence.conftest import Migrations

NO_TX = "-- migrate: no-transaction"
INDEX = "CREATE INDEX CONCURRENTLY a_idx ON a (tenant_id, n);"


def tables(migrations: Migrations) -> list[str]:
    return migrations.query(
        "SELECT relname::text FROM pg_class WHERE relkind = 'r'"
        " AND relnamespace = 'public'::regnamespace ORDER BY 1"
    )


def test_a_preview_lists_statements_locks_and_lint_and_leaves_nothing(
    migrations: Migrations,
) -> None:
    """M21: no history table is needed, none is made, no lock is taken."""
    migrations.write("0001_a", table("a"), "CREATE INDEX a_idx ON a (tenant_id, n);")
    migrations.write("0002_b", NO_TX, "ALTER TABLE a\nADD COLUMN b int;", "DROP TABLE a;")
    with runner_lock(migrations.settings()):
        (first, second), findings = preview(migrations.settings())
    assert [s.kinds for s in first.statements] == [["create table"], ["create index"]]
    assert [s.locks for s in first.statements] == [[], []]
    assert [(s.line, s.text, s.locks) for s in second.statements] == [
        (2, "ALTER TABLE a", [("a", "ACCESS EXCLUSIVE")]),
        (4, "DROP TABLE a", [("a", "ACCESS EXCLUSIVE")]),
    ]
    assert (first.transactional, second.transactional) == (True, False)
    assert [finding.rule for finding in findings] == ["drop"]
    assert tables(migrations) == []


def test_a_preview_goes_on_where_a_partial_file_stopped(migrations: Migrations) -> None:
    """M21, M14."""
    migrations.write("0001_a", NO_TX, table("a"), "ALTER TABLE nobody ADD COLUMN b int;")
    with pytest.raises(MigrationError):
        migrations.apply()
    ((file,), _) = preview(migrations.settings())
    assert [statement.number for statement in file.statements] == [2]


def test_a_preview_says_that_history_differs(migrations: Migrations) -> None:
    """M20, M21."""
    migrations.write("0001_a", table("a"))
    migrations.apply()
    migrations.write("0001_a", table("b"))
    with pytest.raises(HistoryDiffers):
        preview(migrations.settings())


def test_a_rehearsal_tells_locks_and_rewrites_and_rolls_back(migrations: Migrations) -> None:
    """M21: the strongest lock on each table that was there; what it rewrote."""
    migrations.write("0001_a", table("a"), table("b"))
    migrations.apply()
    migrations.write(
        "0002_c",
        '-- migrate: allow rewrite "small"',
        table("c"),
        "INSERT INTO a VALUES ('x', 1);",
        "ALTER TABLE a ADD COLUMN u uuid DEFAULT gen_random_uuid();",
        "ALTER TABLE b SET (fillfactor = 70);",
    )
    migrations.write("0003_d", '-- migrate: allow drop "gone"', "DROP TABLE c;")
    done = rehearse(migrations.settings(), allow_destructive=True)
    assert [(file.name, file.locks, file.rewritten, file.not_executed) for file in done] == [
        ("0002_c", {"a": "AccessExclusiveLock", "b": "ShareUpdateExclusiveLock"}, ["a"], []),
        ("0003_d", {}, [], []),  # It holds that lock since it made the table.
    ]
    assert all(file.ms >= 0 for file in done)
    assert tables(migrations) == ["a", "b", "schema_migration_log", "schema_migrations"]
    assert migrations.query("SELECT count(*) FROM a") == [0]
    assert migrations.done() == {"0001_a": "2/2"}


def test_a_rehearsal_needs_no_history_table(migrations: Migrations) -> None:
    """M21."""
    migrations.write("0001_a", table("a"))
    assert [file.name for file in rehearse(migrations.settings())] == ["0001_a"]
    assert tables(migrations) == []


def test_what_cannot_run_in_a_transaction_is_not_executed(migrations: Migrations) -> None:
    """M21: by number."""
    migrations.write("0001_a", table("a"))
    migrations.write("0002_i", NO_TX, "ALTER TABLE a ADD COLUMN b int;", INDEX, "ANALYZE a;")
    assert rehearse(migrations.settings())[1].not_executed == [2]


def test_a_rehearsal_holds_locks_no_longer_than_allowed(migrations: Migrations) -> None:
    """M21: `--max-hold-s` cancels it in the middle of a statement."""
    migrations.write("0001_a", '-- migrate: allow unknown "a test"', "SELECT pg_sleep(60);")
    with pytest.raises(Unfinished, match=r"cancelled: it held locks for 0\.1 s"):
        rehearse(migrations.settings(), max_hold_s=0.1, allow_destructive=True)


def test_a_statement_that_fails_in_a_rehearsal_is_named(migrations: Migrations) -> None:
    """M21: exit 1, as it would be."""
    migrations.write("0001_a", "ALTER TABLE nobody ADD COLUMN b int;")
    with pytest.raises(MigrationError, match="0001_a, line 1, statement 1 of 1: 42P01") as raised:
        rehearse(migrations.settings())
    assert raised.value.exit_code == 1


def test_a_rehearsal_cancelled_by_others_says_so(migrations: Migrations) -> None:
    """M21: not every cancelled statement was too long."""
    cancel = "SELECT pg_cancel_backend(pg_backend_pid()), pg_sleep(60);"
    migrations.write("0001_a", '-- migrate: allow unknown "a test"', cancel)
    with pytest.raises(Unfinished, match="somebody cancelled it"):
        rehearse(migrations.settings(), allow_destructive=True)


def test_a_rehearsal_names_who_blocks_it(migrations: Migrations) -> None:
    """M13, M21: exit 4 after one try."""
    migrations.write("0001_a", table("a"))
    migrations.apply()
    migrations.write("0002_b", "ALTER TABLE a ADD COLUMN b int;")
    with migrations.connect() as other:
        other.execute("BEGIN; SELECT FROM a")
        with pytest.raises(Unfinished, match="a lock was not got in 500 ms") as raised:
            rehearse(migrations.settings(lock_timeout_ms=500))
        assert raised.value.details["blockers"][0]["pid"] == other.info.backend_pid


def test_what_the_lint_refuses_is_not_rehearsed(migrations: Migrations) -> None:
    """M21, M30: a COMMIT in a file would make it real."""
    migrations.write("0001_a", table("a"), "COMMIT;")
    with pytest.raises(LintRefused, match="session"):
        rehearse(migrations.settings())
    assert tables(migrations) == []
