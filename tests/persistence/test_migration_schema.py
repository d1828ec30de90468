"""The snapshot's text: equal for equal schemas, wherever they lie (AT6)."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import psycopg
import pytest

from persistence.migration_connection import MigrationSettings
from persistence.migration_errors import MigrationError, Misconfigured
from persistence.migration_schema import live_dump, scratch_dump
from persistence.migrator import apply_all
from tests.persistence.conftest import table

if TYPE_CHECKING:
    from tests.conftest import PostgresServer
    from tests.persistence.conftest import Migrations


def test_a_schema_of_another_name_gives_the_same_text(migrations: Migrations) -> None:
    """`verify --schema` works with MIGRATE_SCHEMA too; the runner's own tables are left out."""
    migrations.run("CREATE SCHEMA elsewhere")
    migrations.write("0001_a", table("a"), "CREATE INDEX a_idx ON a (tenant_id, n);")
    apply_all(migrations.settings())
    apply_all(migrations.settings(schema="elsewhere"))
    text = live_dump(migrations.settings())
    assert live_dump(migrations.settings(schema="elsewhere")) == text
    assert "CREATE TABLE public.a (" in text
    assert "schema_migration" not in text
    assert "OWNER" not in text


def test_a_scratch_database_is_gone_afterwards(
    migrations: Migrations, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if a file fails."""
    name = f"strongroom_scratch_{uuid.uuid4().hex}"
    monkeypatch.setattr("persistence.migration_schema.scratch_name", lambda: name)
    migrations.write("0001_a", "ALTER TABLE nobody ADD COLUMN x int;")
    with pytest.raises(MigrationError, match="42P01"):
        scratch_dump(migrations.settings(database_url=postgres.admin_url))
    with psycopg.connect(postgres.admin_url) as conn:
        rows = conn.execute("SELECT FROM pg_database WHERE datname = %s", [name])
        assert rows.fetchall() == []


def test_a_role_that_may_not_create_databases_is_told_so(migrations: Migrations) -> None:
    """Exit 2."""
    migrations.write("0001_a", table("a"))
    with pytest.raises(Misconfigured, match="may not create a scratch database: CREATEDB"):
        scratch_dump(migrations.settings())


def test_what_pg_dump_says_is_passed_on(database: str) -> None:
    """A role that may not lock a table cannot dump it."""
    with pytest.raises(MigrationError, match=r"pg_dump: .*permission denied"):
        live_dump(MigrationSettings(database_url=database, schema="pg_catalog"))
