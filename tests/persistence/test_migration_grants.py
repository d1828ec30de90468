"""What the application's role may do is what sql/grants.sql says, no more (P7, LI7, A53)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

from persistence.migration_connection import MigrationSettings
from persistence.migration_errors import MigrationError, Misconfigured
from persistence.migration_files import FOLDER
from persistence.migration_grants import APP_ROLE
from persistence.migrator import apply_all
from tests.persistence.conftest import table

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import PostgresServer
    from tests.persistence.conftest import Migrations

APPEND_ONLY = frozenset(
    {"audit_log", "payment_events", "payment_captures", "ledger_transactions", "ledger_entries"}
    | {"ledger_leaves", "ledger_seals"}
)
READ_ONLY = ("currencies", "schema_migrations", "schema_migration_log")


def privileges(url: str) -> dict[str, set[str]]:
    with psycopg.connect(url) as conn:
        rows = conn.execute(
            "SELECT c.relname, array_agg(a.privilege_type) FROM pg_class AS c,"
            " aclexplode(c.relacl) AS a WHERE a.grantee = to_regrole(%s) AND c.relkind = 'r'"
            " AND c.relnamespace = 'public'::regnamespace GROUP BY 1",
            [APP_ROLE],
        ).fetchall()
    return {name: set(found) for name, found in rows}


def test_history_is_append_only_for_the_application(database_owner: str) -> None:
    """P7, LI7, A53: INSERT and SELECT, nothing else."""
    found = privileges(database_owner)
    for name in APPEND_ONLY:
        assert found[name] == {"SELECT", "INSERT"}, name
    for name in READ_ONLY:
        assert found[name] == {"SELECT"}, name


def test_only_what_passes_may_be_deleted(database_owner: str) -> None:
    """P7; a hold's row goes when it is resolved. TRUNCATE and the like belong to the owner."""
    found = privileges(database_owner)
    passing = {"mirror_marks"}  # Of the move from a legacy store; it goes away with it.
    assert {name for name, may in found.items() if "DELETE" in may} - passing == {
        "auth_sessions",
        "idempotency_keys",
        "ledger_holds",
        "login_throttle",
        "mail_outbox",
        "one_time_tokens",
        "refresh_tokens",
        "settings",
    }
    assert set().union(*found.values()) == {"SELECT", "INSERT", "UPDATE", "DELETE"}


def test_every_table_can_be_read(database_owner: str) -> None:
    """A table that grants.sql forgets would be found in production."""
    with psycopg.connect(database_owner) as conn:
        tables = conn.execute(
            "SELECT relname FROM pg_class WHERE relkind = 'r'"
            " AND relnamespace = 'public'::regnamespace"
        ).fetchall()
    assert privileges(database_owner).keys() == {name for (name,) in tables}


def test_the_application_may_make_nothing(database: str) -> None:
    """Least privilege: no tables in the schema."""
    with (
        psycopg.connect(database) as conn,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        conn.execute("CREATE TABLE mine (a int)")


def test_grants_are_applied_again_and_take_back_what_has_no_line(database_owner: str) -> None:
    """M16: after the last file of each run, also if there was none."""
    before = privileges(database_owner)
    with psycopg.connect(database_owner) as conn:
        conn.execute(f"GRANT DELETE ON payments TO {APP_ROLE}")
        conn.execute(f"REVOKE SELECT ON users FROM {APP_ROLE}")
    assert apply_all(MigrationSettings(database_url=database_owner)).grants == "applied"
    assert privileges(database_owner) == before


def test_grants_follow_the_schema(postgres: PostgresServer, empty_database: str) -> None:
    """MIGRATE_SCHEMA: the role may use that schema."""
    with psycopg.connect(empty_database) as conn:
        conn.execute("CREATE SCHEMA elsewhere")
    settings = MigrationSettings(database_url=empty_database, schema="elsewhere")
    assert apply_all(settings).grants == "applied"
    database = str(psycopg.conninfo.conninfo_to_dict(empty_database)["dbname"])
    with psycopg.connect(postgres.url(database, APP_ROLE)) as conn:
        assert conn.execute("SELECT count(*) FROM elsewhere.payments").fetchone() == (0,)


def test_without_the_role_the_grants_are_left_out(migrations: Migrations) -> None:
    """One role for all is a choice; the report says so."""
    migrations.write("0001_a", table("a"))
    grants = migrations.folder.parent / "grants.sql"
    grants.write_text("GRANT SELECT ON a TO nobody_at_all;")
    renamed = "persistence.migration_grants.APP_ROLE"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(renamed, "nobody_at_all")
        report = apply_all(migrations.settings(grants=grants))
    assert report.grants == "skipped: there is no role nobody_at_all"
    assert migrations.events("migrate.grants_skipped") == [
        {"event": "migrate.grants_skipped", "log_level": "warning", "missing_role": "nobody_at_all"}
    ]


def test_grants_that_fail_change_nothing(migrations: Migrations) -> None:
    """One transaction; exit 1."""
    migrations.write("0001_a", table("a"))
    grants = migrations.folder.parent / "grants.sql"
    grants.write_text(f"GRANT SELECT ON a TO {APP_ROLE}; GRANT SELECT ON nobody TO {APP_ROLE};")
    with pytest.raises(MigrationError, match="42P01"):
        apply_all(migrations.settings(grants=grants))
    assert "a" not in privileges(migrations.url)


def test_grants_that_cannot_be_read_stop_the_run_before_it_starts(
    migrations: Migrations, tmp_path: Path
) -> None:
    """Exit 2."""
    migrations.write("0001_a", table("a"))
    with pytest.raises(Misconfigured, match="cannot be read"):
        apply_all(migrations.settings(grants=tmp_path / "none.sql"))
    assert migrations.query("SELECT to_regclass('a')") == [None]


def test_our_grants_stand_beside_the_migrations() -> None:
    """M16: sql/grants.sql is the default."""
    assert MigrationSettings(database_url="").grants == FOLDER.parent / "grants.sql"
