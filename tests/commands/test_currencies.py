"""The table of currencies is ISO 4217's, of the date it states (P3)."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import psycopg
from click.testing import CliRunner

from commands.currencies import currencies, iso_rows, migration_text, published
from tests.conftest import ROOT

if TYPE_CHECKING:
    from pathlib import Path


def test_the_table_holds_what_the_package_says(database: str) -> None:
    """P3: code, number, exponent and name, one row each."""
    with psycopg.connect(database) as conn:
        rows = conn.execute(
            "SELECT code, numeric_code, name, exponent FROM currencies ORDER BY code"
        ).fetchall()
    assert rows == [(row.code, row.numeric_code, row.name, row.exponent) for row in iso_rows()]


def test_the_migration_is_the_newest_generated_one() -> None:
    """P3: a newer list is a newer file, not an edit."""
    newest = max(ROOT.glob("sql/migrations/*_currencies.sql"))
    assert newest.read_text("utf-8") == migration_text()


def test_exponents_are_those_of_the_list_of_2026() -> None:
    """P3: counted by hand once; CLDR and others differ."""
    assert published() == "2026-01-01"
    counted = Counter(row.exponent for row in iso_rows())
    assert counted == {2: 139, 0: 17, 3: 7, 4: 2, None: 13}


def test_the_command_writes_the_file_it_is_given(tmp_path: Path) -> None:
    target = tmp_path / "0099_currencies.sql"
    done = CliRunner().invoke(currencies, [str(target)])
    assert (done.exit_code, target.read_text("utf-8")) == (0, migration_text())
