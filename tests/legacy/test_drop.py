"""The end of the move: legacy/drop.sql as the next migration (MF3, M31)."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import psycopg
import pytest

from persistence.migration_connection import MigrationSettings
from persistence.migration_errors import LintRefused
from persistence.migration_files import FOLDER
from persistence.migrator import apply_all
from tests.contract.tree import ROOT

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.database  # Runs on 16 too.


def test_drop_sql_takes_away_all_that_the_migration_made(
    database_owner: str, tmp_path: Path
) -> None:
    """MF3: with two keys only (M31); grants are applied once more without the tables."""
    folder = tmp_path / "migrations"
    shutil.copytree(FOLDER, folder)
    shutil.copy(ROOT / "legacy" / "drop.sql", folder / "9000_legacy_drop.sql")
    settings = MigrationSettings(
        database_url=database_owner, folder=folder, grants=FOLDER.parent / "grants.sql"
    )
    with pytest.raises(LintRefused):
        apply_all(settings)
    assert apply_all(settings, allow_destructive=True).grants == "applied"
    with psycopg.connect(database_owner) as conn:
        left = conn.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace"
            " AND (relname ~ '^(migration_|mirror_|backfill_|shadow_|drift_|legacy_)')"
            " UNION ALL SELECT proname FROM pg_proc WHERE proname ~ '^legacy_'"
            " UNION ALL SELECT tgname FROM pg_trigger WHERE tgname ~ '^legacy_'"
        ).fetchall()
    assert left == []


def test_the_migration_fits_an_installation_that_has_later_ones(
    database_owner: str, tmp_path: Path, empty_database: str
) -> None:
    """M20: out of order it needs the operator's word, and comes to the same schema."""
    folder = tmp_path / "migrations"
    shutil.copytree(FOLDER, folder)
    late = folder / "0014_legacy_core.sql"
    text = late.read_text("utf-8")
    late.unlink()
    settings = MigrationSettings(database_url=empty_database, folder=folder, grants=None)
    apply_all(settings)
    late.write_text(text, "utf-8")
    apply_all(settings, allow_out_of_order=True)
    assert _columns(empty_database) == _columns(database_owner)


def _columns(url: str) -> list[tuple[str, ...]]:
    with psycopg.connect(url) as conn:
        return conn.execute(
            "SELECT table_name, column_name, data_type FROM information_schema.columns"
            " WHERE table_schema = 'public' ORDER BY 1, 2"
        ).fetchall()
