"""The catalogue as a whole: every file against psql, the server, its repo, the prepared limit."""

from __future__ import annotations

import ast
import contextlib
import importlib
import pkgutil
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import repos
from persistence import sql_check, sql_files
from persistence.db import Database, DbSettings
from persistence.db_connection import PREPARED_MAX
from persistence.embedded_postgres import binaries
from persistence.statements import REGISTRY
from tests.conftest import PG_MAJOR

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.database  # Runs on 16 too.

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted(module.name for module in pkgutil.iter_modules(repos.__path__))
for module in MODULES:
    importlib.import_module(f"repos.{module}")
NAMES = sql_files.names()
# A value of each type, as psql writes it between quotes.
EXAMPLES = {
    "bigint": "1",
    "bigint[]": "{1}",
    "boolean": "true",
    "bytea": "\\x00",
    "bytea[]": "{}",
    "char(3)": "EUR",
    "date": "2026-01-01",
    "inet": "127.0.0.1",
    "int": "1",
    "integer": "1",
    "jsonb": "{}",
    "smallint": "1",
    "text": "x",
    "text[]": "{x}",
    "timestamptz": "2026-01-01Z",
    "uuid": "01890a5d-ac96-774b-bcce-b302099a8057",
    "uuid[]": "{}",
}
# These are sent as unknown text, so their NULL is no other variant (AQ10).
TEXTUAL = ("text", "inet", "cidr", "char(3)")
SQL_TEXT = re.compile(
    r"\s*(?:--.*\n\s*)*(?:SELECT|INSERT INTO|UPDATE|DELETE FROM|WITH|BEGIN|COMMIT|ROLLBACK|SET"
    r"|TRUNCATE|CREATE|ALTER|DROP|LOCK|COPY)\s+[\w\"'(*]",
)


def test_there_is_a_catalogue() -> None:
    assert len(NAMES) > 30


def test_the_server_agrees_with_every_file(database: str) -> None:
    """AQ2 to AQ9, AQ12: prepared, described and planned on the migrated schema; 0 findings."""
    db = Database(database, DbSettings())
    with contextlib.closing(db.connections.connect()) as raw:
        found = [each for name in NAMES for each in sql_check.check(raw, name, plans=True)]
    assert found == []


def test_psql_runs_every_file_as_it_is(database: str, database_owner: str) -> None:
    """AQ1: made-up values may be of no use (22xxx, 23xxx); no other error."""
    urls = {name: database_owner if sql_files.load(name).role else database for name in NAMES}
    failed = {name: error for name in NAMES if (error := psql(urls[name], name))}
    assert failed == {}


def test_what_needs_the_owner_is_refused_to_the_application(database: str) -> None:
    """LI7: nothing that the role may do is marked so."""
    marked = [name for name in NAMES if sql_files.load(name).role]
    assert marked
    assert [name for name in marked if "42501" not in psql(database, name)] == []


def psql(url: str, name: str) -> str:
    file = sql_files.load(name)
    values = [f"{param.name}={EXAMPLES[param.type]}" for param in file.params]
    arguments = [part for value in values for part in ("-v", value)]
    path = str(sql_files.ROOT / f"{name}.sql")
    done = subprocess.run(
        [
            str(binaries(PG_MAJOR) / "psql"),
            *("-X", "-q", "-d", url, "-v", "ON_ERROR_STOP=1", "-v", "VERBOSITY=sqlstate"),
            *arguments,
            *("-c", "BEGIN", "-f", path, "-c", "ROLLBACK"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    return "" if re.search(r"ERROR:  2[23]\w{3}\b", done.stderr) else done.stderr


def test_all_files_and_their_variants_stay_prepared() -> None:
    """AC4: 0 evicted."""
    assert sum(variants(sql_files.load(name)) for name in NAMES) <= PREPARED_MAX


def variants(file: sql_files.SqlFile) -> int:
    """Count NULL, and the empty array, which psycopg sends without a type."""
    doubling = [
        param
        for param in file.params
        if param.type.endswith("[]") or (param.nullable and param.type not in TEXTUAL)
    ]
    return int(2 ** len(doubling))


def test_a_keyset_is_the_only_end_that_a_page_starts_from() -> None:
    """P44, LQ1: beside another end PostgreSQL may enter the index at that, and walk to the page."""
    for name in NAMES:
        text = (ROOT / "sql" / f"{name}.sql").read_text("utf-8")
        for column, sign, start in KEYSET.findall(text):
            ends = re.findall(rf"[ (]{re.escape(column)} {sign}=? :'(\w+)'", text)
            assert set(ends) <= {start}, f"{name}: {column}"


# `(p.created_at, p.id) < (:'before_at'`.
KEYSET = re.compile(r"\((\w+\.\w+), [^()]+\) ([<>]) \(\s*:'(\w+)'")


def test_every_file_belongs_to_one_repo_function_and_back() -> None:
    """AI8."""
    uses = [use for name in MODULES for use in repo_uses(name)]
    assert sorted(uses) == [(name.split("/")[0], name) for name in NAMES]
    assert set(REGISTRY) >= set(NAMES)


def repo_uses(name: str) -> list[tuple[str, str]]:
    """Return (module, file) for each function of a repo; a function uses one statement."""
    tree = ast.parse((ROOT / "repos" / f"{name}.py").read_text("utf-8"))
    files = {
        node.targets[0].id: node.value.args[0].value
        for node in tree.body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and isinstance(node.value, ast.Call)
        and isinstance(node.value.args[0], ast.Constant)
    }
    return [
        (name, str(files[used.id]))
        for function in tree.body
        if isinstance(function, ast.FunctionDef)
        for used in ast.walk(function)
        if isinstance(used, ast.Name) and used.id in files
    ]


@pytest.mark.parametrize("folder", ["services", "repos", "blueprints"])
def test_no_sql_is_written_outside_of_files(folder: str) -> None:
    """AQ5: nor put together at run time."""
    found = [
        place
        for place, node in nodes(folder)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and SQL_TEXT.match(node.value)
    ]
    assert found == []


@pytest.mark.parametrize("folder", ["services", "repos", "blueprints", "commands"])
def test_only_persistence_sends_text_to_the_server(folder: str) -> None:
    """AQ5."""
    sends = {"execute", "executemany", "copy"}
    found = [
        place
        for place, node in nodes(folder)
        if isinstance(node, ast.Attribute) and node.attr in sends
    ]
    assert found == []


def nodes(folder: str) -> Iterator[tuple[str, ast.AST]]:
    """Yield every node of a folder's modules with its place."""
    for path in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            yield f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}", node
