"""sql/schema.sql is the sum of the migrations, on every version of PostgreSQL (AT6, T4)."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import psycopg
import pytest

from persistence.migration_connection import MigrationSettings
from persistence.migration_errors import HistoryDiffers
from persistence.migration_files import FOLDER
from persistence.migration_schema import SNAPSHOT, live_dump, scratch_dump
from persistence.migrator import apply_all

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import PostgresServer

pytestmark = pytest.mark.database  # Runs on 16 too.


def test_the_snapshot_is_what_the_migrations_make(postgres: PostgresServer) -> None:
    """AT6, T4: `make schema` was run after the last change, and 16 and 18 agree."""
    settings = MigrationSettings(database_url=postgres.admin_url)
    assert scratch_dump(settings) == SNAPSHOT.read_text("utf-8")


def test_the_snapshot_loads_and_is_complete(empty_database: str) -> None:
    """AT6: what it says, run by itself, gives the same schema again."""
    with psycopg.connect(empty_database, autocommit=True) as conn:
        conn.execute("SET check_function_bodies = off")
        conn.execute(SNAPSHOT.read_bytes())
    assert live_dump(MigrationSettings(database_url=empty_database)) == SNAPSHOT.read_text("utf-8")


def test_a_database_without_the_users_files_takes_them_late(
    empty_database: str, tmp_path: Path
) -> None:
    """M20: 0007 and 0010 came after 0013; --allow-out-of-order ends at the same schema."""
    for path in FOLDER.glob("*.sql"):
        if path.name < "0014" and not path.name.startswith(("0007", "0010")):
            shutil.copy(path, tmp_path)
    apply_all(MigrationSettings(database_url=empty_database, folder=tmp_path, grants=None))
    settings = MigrationSettings(database_url=empty_database)
    with pytest.raises(HistoryDiffers, match="0007_users_indexes"):
        apply_all(settings)
    apply_all(settings, allow_out_of_order=True)
    assert live_dump(settings) == SNAPSHOT.read_text("utf-8")


def test_constraint_names_are_unique_over_all_tables(database_owner: str) -> None:
    """AF2: an error is told by the constraint's name alone."""
    with psycopg.connect(database_owner) as conn:
        rows = conn.execute(
            "SELECT conname FROM pg_constraint WHERE contype <> 'n'"
            " AND connamespace = 'public'::regnamespace GROUP BY conname HAVING count(*) > 1"
        ).fetchall()
    assert rows == []


def test_every_key_leads_with_the_tenant(database_owner: str) -> None:
    """M30: primary keys, unique indexes and foreign keys, read from the catalogs."""
    with psycopg.connect(database_owner) as conn:
        rows = conn.execute(
            """
            SELECT i.indexrelid::regclass::text FROM pg_index AS i
            JOIN pg_class AS t ON t.oid = i.indrelid
            LEFT JOIN pg_attribute AS a ON a.attrelid = t.oid AND a.attnum = i.indkey[0]
            WHERE t.relnamespace = 'public'::regnamespace AND i.indisunique
              AND a.attname IS DISTINCT FROM 'tenant_id'
            UNION ALL
            SELECT c.conname FROM pg_constraint AS c
            JOIN pg_attribute AS a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[1]
            WHERE c.contype = 'f' AND a.attname <> 'tenant_id'
            ORDER BY 1
            """
        ).fetchall()
    # The one table of the whole installation, and the runner's own two.
    assert [name for (name,) in rows] == [
        "currencies_pkey",
        "schema_migration_log_pkey",
        "schema_migrations_pkey",
    ]
