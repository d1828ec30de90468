"""The statements of legacy/sql: as the catalogue of sql/ (AQ2 to AQ9, AI8)."""

from __future__ import annotations

import ast
import contextlib
import importlib
import pkgutil

import pytest

from legacy import rows
from legacy.rows import SQL
from persistence import sql_check, sql_files
from persistence.db import Database, DbSettings
from tests.contract.tree import ROOT

pytestmark = pytest.mark.database  # Runs on 16 too.

MODULES = sorted(each.name for each in pkgutil.iter_modules(rows.__path__))
for module in MODULES:
    importlib.import_module(f"legacy.rows.{module}")
NAMES = sql_files.names(SQL)


def test_the_server_agrees_with_every_statement_of_the_move(database: str) -> None:
    """AQ2 to AQ9: prepared and described on the migrated schema; 0 findings."""
    assert len(NAMES) > 10
    db = Database(database, DbSettings())
    with contextlib.closing(db.connections.connect()) as raw:
        found = [e for name in NAMES for e in sql_check.check(raw, name, plans=True, root=SQL)]
    assert found == []


def test_every_statement_of_the_move_has_one_function() -> None:
    """AI8: and no name is one of sql/ too."""
    used = [name for module in MODULES for name in _statements(module)]
    assert sorted(used) == NAMES
    assert not set(NAMES) & set(sql_files.names())


def _statements(module: str) -> list[str]:
    """Return the files of a module's functions, each of which sends one."""
    tree = ast.parse((ROOT / "legacy" / "rows" / f"{module}.py").read_text("utf-8"))
    files = {
        ast.unparse(node.targets[0]): ast.literal_eval(node.value.args[0])
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call) and node.value.args
    }
    return [
        str(files[used.id])
        for function in tree.body
        if isinstance(function, ast.FunctionDef)
        for used in ast.walk(function)
        if isinstance(used, ast.Name) and used.id in files
    ]
