"""What a run applies, refuses and remembers."""

from __future__ import annotations

import pytest

from persistence.migration_errors import (
    GateRefused,
    HistoryDiffers,
    LintRefused,
    MigrationError,
    Misconfigured,
    Unfinished,
)
from persistence.migration_files import load
from persistence.migrator import accept, apply_all, baseline
from tests.persistence.conftest import Migrations, table


def test_files_are_applied_in_order_and_remembered(migrations: Migrations) -> None:
    """M6, M12: with text, checksum, statements, and the log of it."""
    migrations.write("0002_b", table("b"))
    migrations.write("0001_a", table("a"), "-- mine", "CREATE INDEX a_idx ON a (tenant_id, n);")
    report = migrations.apply()
    assert [took.name for took in report.applied] == ["0001_a", "0002_b"]
    assert [took.statements for took in report.applied] == [2, 1]
    row = migrations.query(
        "SELECT version, name, body, kind, transactional, statements_done, lock_retries,"
        " finished_at >= started_at, applied_by = session_user, host <> '', checksum"
        " FROM schema_migrations WHERE version = 1"
    )
    file = load(migrations.folder)[0]
    assert row == [(1, "0001_a", file.body, "applied", True, 2, 0, True, True, True, file.checksum)]
    assert migrations.query("SELECT action, version, detail FROM schema_migration_log") == [
        ("apply", 1, {"name": "0001_a"}),
        ("apply", 2, {"name": "0002_b"}),
    ]


def test_a_second_run_finds_nothing(migrations: Migrations) -> None:
    """M12."""
    migrations.write("0001_a", table("a"))
    migrations.apply()
    assert migrations.apply().applied == []
    assert migrations.done() == {"0001_a": "1/1"}


def test_a_failing_file_leaves_nothing_and_names_the_place(migrations: Migrations) -> None:
    """M12: the files before it stay, it and its history row roll back. There is no dirty state."""
    migrations.write("0001_a", table("a"))
    migrations.write("0002_b", table("b"), "INSERT INTO b (tenant_id)", "VALUES", "(nobody);")
    with pytest.raises(MigrationError) as raised:
        migrations.apply()
    assert raised.value.exit_code == 1
    assert str(raised.value).startswith("0002_b, line 5, statement 2 of 2: 42703: column")
    assert raised.value.details["sqlstate"] == "42703"
    assert migrations.done() == {"0001_a": "1/1"}
    assert migrations.query("SELECT to_regclass('b')") == [None]
    migrations.write("0002_b", table("b"))
    assert [took.name for took in migrations.apply().applied] == ["0002_b"]


def test_a_deferred_constraint_that_fails_at_commit_is_a_failure(migrations: Migrations) -> None:
    """M12: an error at COMMIT is no doubt if the connection still stands."""
    migrations.write(
        "0001_a",
        "CREATE TABLE a (tenant_id text, b text, CONSTRAINT a_pkey PRIMARY KEY (tenant_id),"
        " CONSTRAINT a_fkey FOREIGN KEY (tenant_id) REFERENCES a DEFERRABLE INITIALLY DEFERRED,"
        " CONSTRAINT b_fkey FOREIGN KEY (b) REFERENCES a (tenant_id) DEFERRABLE INITIALLY DEFERRED)"
        ";",
        "-- tenant_id does not lead b_fkey, which the file must say.",
        "INSERT INTO a VALUES ('x', 'nobody');",
    )
    text = (migrations.folder / "0001_a.sql").read_text()
    migrations.write("0001_a", '-- migrate: allow global-table "a test"', text)
    with pytest.raises(MigrationError, match="0001_a, at COMMIT: 23503"):
        migrations.apply()
    assert migrations.done() == {}


def test_nothing_that_a_file_sets_leaks_into_the_next(migrations: Migrations) -> None:
    """M12: each file has a fresh connection; UTC and the search_path are the runner's."""
    migrations.write("0001_a", table("a"), "SET LOCAL timezone = 'Asia/Tokyo';")
    migrations.write(
        "0002_b",
        table("b"),
        "INSERT INTO b VALUES (current_setting('timezone') || current_setting('search_path'));",
    )
    migrations.apply()
    assert migrations.query("SELECT tenant_id FROM b") == ['UTC"public"']


def test_to_stops_after_a_version(migrations: Migrations) -> None:
    """`--to N`: grants wait for the last file."""
    migrations.write("0001_a", table("a"))
    migrations.write("0002_b", table("b"))
    report = migrations.apply(to=1)
    assert [took.version for took in report.applied] == [1]
    assert report.pending == ["0002_b"]
    assert report.grants == "skipped: this is not the last version"


def test_to_an_unknown_version_is_refused(migrations: Migrations) -> None:
    """Exit 2: a typing error must not look like a finished run."""
    migrations.write("0001_a", table("a"))
    with pytest.raises(Misconfigured, match="no file has version 3"):
        migrations.apply(to=3)


def test_a_changed_file_is_refused(migrations: Migrations) -> None:
    """M20: exit 6, named, and nothing later is applied."""
    migrations.write("0001_a", table("a"))
    migrations.apply()
    migrations.write("0001_a", table("a"), "-- edited")
    migrations.write("0002_b", table("b"))
    with pytest.raises(HistoryDiffers, match=r"0001_a .changed after it was applied") as raised:
        migrations.apply()
    assert raised.value.exit_code == 6
    assert raised.value.details["files"] == [{"version": 1, "name": "0001_a", "state": "changed"}]
    assert migrations.query("SELECT to_regclass('b')") == [None]


def test_line_ends_and_a_bom_change_nothing(migrations: Migrations) -> None:
    """M2: a checkout on another system applies nothing and refuses nothing."""
    migrations.write("0001_a", table("a"))
    migrations.apply()
    path = migrations.folder / "0001_a.sql"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert migrations.apply().applied == []


def test_a_missing_file_is_refused(migrations: Migrations) -> None:
    """M20: gone while a higher one is there."""
    migrations.write("0001_a", table("a"))
    migrations.write("0002_b", table("b"))
    migrations.apply()
    (migrations.folder / "0001_a.sql").unlink()
    with pytest.raises(HistoryDiffers, match=r"0001_a .applied, but its file is gone"):
        migrations.apply()


def test_an_old_release_runs_on_a_newer_schema(migrations: Migrations) -> None:
    """M20, M4: versions above the highest file are `ahead`, and its old grants stay away."""
    migrations.write("0001_a", table("a"))
    migrations.write("0002_b", table("b"))
    migrations.apply()
    (migrations.folder / "0002_b.sql").unlink()
    report = migrations.apply()
    assert (report.applied, report.ahead) == ([], ["0002_b"])
    assert report.grants == "skipped: this is not the last version"


def test_files_out_of_order_are_refused_unless_allowed(migrations: Migrations) -> None:
    """M20: all of them named, nothing applied, also nothing above them."""
    migrations.write("0003_c", table("c"))
    migrations.apply()
    for name in ("0001_a", "0002_b", "0004_d"):
        migrations.write(name, table(name[-1]))
    with pytest.raises(HistoryDiffers, match=r"0001_a .*0002_b .pending below") as raised:
        migrations.apply()
    assert "0004_d" not in str(raised.value)
    assert migrations.query("SELECT to_regclass('d')") == [None]
    report = migrations.apply(allow_out_of_order=True)
    assert [took.version for took in report.applied] == [1, 2, 4]


def test_a_file_waits_for_its_extension_and_blocks_nothing(migrations: Migrations) -> None:
    """M3: no gap, and applied once the server has it, though higher ones were first."""
    needs = "-- migrate: requires-extension {}\n"
    migrations.write("0001_a", needs.format("no_such_extension"), table("a"))
    migrations.write("0002_b", table("b"))
    report = migrations.apply()
    assert ([took.version for took in report.applied], report.waiting) == ([2], ["0001_a"])
    assert migrations.apply().waiting == ["0001_a"]
    migrations.write("0001_a", needs.format("plpgsql"), table("a"))
    assert [took.version for took in migrations.apply().applied] == [1]


def test_the_lint_refuses_before_any_statement(migrations: Migrations) -> None:
    """M30: exit 7, and the file before it is not applied either."""
    migrations.write("0001_a", table("a"))
    migrations.write("0002_b", "CREATE INDEX i ON a (tenant_id);")
    with pytest.raises(LintRefused, match="0002_b, line 1: blocking") as raised:
        migrations.apply()
    assert raised.value.exit_code == 7
    assert raised.value.details["findings"][0]["rule"] == "blocking"
    assert migrations.query("SELECT to_regclass('schema_migrations')") == [None]


def test_what_destroys_needs_both_keys(migrations: Migrations) -> None:
    """M31: neither the file's reason nor the command line alone drops a table."""
    migrations.write("0001_a", table("a"))
    migrations.apply()
    migrations.write("0002_b", "DROP TABLE a;")
    with pytest.raises(LintRefused, match="drop"):
        migrations.apply(allow_destructive=True)
    migrations.write("0002_b", '-- migrate: allow drop "nobody reads it"', "DROP TABLE a;")
    with pytest.raises(LintRefused, match="needs --allow-destructive too"):
        migrations.apply()
    assert migrations.query("SELECT to_regclass('a')::text") == ["a"]
    migrations.apply(allow_destructive=True)
    assert migrations.query("SELECT to_regclass('a')") == [None]


def test_applied_files_are_not_linted_again(migrations: Migrations) -> None:
    """M30: a plain run after a destructive one is fine."""
    migrations.write("0001_a", table("a"))
    migrations.write("0002_b", '-- migrate: allow drop "nobody reads it"', "DROP TABLE a;")
    migrations.apply(allow_destructive=True)
    migrations.write("0003_c", table("c"))
    assert [took.version for took in migrations.apply().applied] == [3]


def test_another_schema_has_its_own_history(migrations: Migrations) -> None:
    """MIGRATE_SCHEMA: tables and history live there, `public` stays empty."""
    migrations.run('CREATE SCHEMA "odd-one"')
    migrations.write("0001_a", table("a"))
    apply_all(migrations.settings(schema="odd-one"))
    found = migrations.query(
        "SELECT relnamespace::regnamespace::text FROM pg_class"
        " WHERE relname IN ('a', 'schema_migrations')"
    )
    assert found == ['"odd-one"', '"odd-one"']


def test_a_missing_schema_is_refused(migrations: Migrations) -> None:
    """Exit 2: a typing error must not migrate into a new schema."""
    migrations.write("0001_a", table("a"))
    with pytest.raises(Misconfigured, match="the schema nope does not exist"):
        apply_all(migrations.settings(schema="nope"))


def test_an_unreadable_url_is_a_configuration_error(migrations: Migrations) -> None:
    """Exit 2."""
    migrations.write("0001_a", table("a"))
    with pytest.raises(Misconfigured, match="the database URL cannot be read"):
        apply_all(migrations.settings(database_url="postgresql://host:port/x?no=1"))


def test_an_unreachable_server_is_not_a_finding(migrations: Migrations) -> None:
    """Exit 4."""
    migrations.write("0001_a", table("a"))
    with pytest.raises(Unfinished, match="PostgreSQL cannot be reached"):
        apply_all(migrations.settings(database_url="postgresql://127.0.0.1:1/x"))


def test_a_role_that_may_not_write_is_a_failure(migrations: Migrations) -> None:
    """Exit 1: the message is PostgreSQL's own."""
    migrations.write("0001_a", table("a"))
    with pytest.raises(MigrationError, match="PostgreSQL: 42501") as raised:
        apply_all(migrations.settings(schema="pg_catalog"))
    assert raised.value.exit_code == 1


def test_accept_records_the_file_and_keeps_the_old_text(migrations: Migrations) -> None:
    """`accept`: the way out of M20 when a comment was mended."""
    migrations.write("0001_a", table("a"))
    migrations.apply()
    old = load(migrations.folder)[0]
    migrations.write("0001_a", "-- Why there is an a.", table("a"))
    assert accept(migrations.settings(), 1, "typo") is True
    assert accept(migrations.settings(), 1, "typo") is False
    assert migrations.apply().applied == []
    (detail,) = migrations.query("SELECT detail FROM schema_migration_log WHERE action = 'accept'")
    assert detail == {
        "reason": "typo",
        "old_body": old.body,
        "old_checksum": old.checksum.hex(),
        "statements_changed": False,
    }


def test_accept_of_another_number_of_statements_leaves_the_file_whole(
    migrations: Migrations,
) -> None:
    """`accept`: nothing of it is run, and the log says that more than a comment changed."""
    migrations.write("0001_a", table("a"), "ANALYZE a;")
    migrations.apply()
    for text in (table("a"), f"{table('a')} ANALYZE a; ANALYZE a;"):
        migrations.write("0001_a", text)
        assert accept(migrations.settings(), 1, "as it is elsewhere") is True
        assert migrations.apply().applied == []
    assert migrations.done() == {"0001_a": "3/3"}
    assert migrations.query(
        "SELECT detail ->> 'statements_changed' FROM schema_migration_log WHERE action = 'accept'"
    ) == ["true", "true"]


def test_accept_of_what_was_not_applied_is_refused(migrations: Migrations) -> None:
    """Exit 3 for a pending file, 2 for a version that nobody knows."""
    migrations.write("0001_a", table("a"))
    with pytest.raises(GateRefused, match="0001_a is pending"):
        accept(migrations.settings(), 1, "typo")
    with pytest.raises(Misconfigured, match="there is no version 9"):
        accept(migrations.settings(), 9, "typo")


def test_baseline_records_without_running(migrations: Migrations) -> None:
    """`baseline`: for a database that had its tables before the runner came."""
    migrations.run(table("a"))
    migrations.write("0001_a", table("a"), "INSERT INTO a VALUES ('x', 1);")
    migrations.write("0002_b", table("b"))
    assert baseline(migrations.settings(), 1, "came from a dump") == ["0001_a"]
    assert migrations.query("SELECT count(*) FROM a") == [0]
    assert migrations.query("SELECT kind, finished_at IS NULL FROM schema_migrations") == [
        ("baseline", False)
    ]
    assert [took.version for took in migrations.apply().applied] == [2]


def test_baseline_is_refused_while_a_table_is_missing(migrations: Migrations) -> None:
    """Exit 3, named: a record of what never happened would hide it for ever."""
    migrations.write("0001_a", table("a"), table("b"))
    migrations.run(table("a"))
    with pytest.raises(GateRefused, match="not there: b"):
        baseline(migrations.settings(), 1, "came from a dump")
    assert migrations.done() == {}
