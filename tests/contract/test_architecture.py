"""Who may import whom, who may write, and that each SQL file has one function (AI1 to AI6, AI8)."""

from __future__ import annotations

import ast
import importlib.metadata
import os
import re
import subprocess
import sys
from collections import Counter, defaultdict
from dataclasses import dataclass
from graphlib import TopologicalSorter
from typing import TYPE_CHECKING

import pytest

from tests.contract.tree import ROOT, files, modules, name, sources, tree

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ANY = "*"


@dataclass(frozen=True, slots=True)
class Row:
    """What files may import: of the project, of it for annotations only, of libraries.

    A module stands for itself, a package for all that is in it. `never` is of the standard
    library, which is free otherwise.
    """

    may: str = ""
    types: str = ""
    owns: str = ""
    never: str = ""

    def allows(self, module: str, *, for_types: bool) -> bool:
        """Tell whether a module of the project may be imported."""
        named = f"{self.may} {self.types if for_types else ''}".split()
        return ANY in named or any(f"{module}.".startswith(f"{each}.") for each in named)


# The table of docs/architecture.md. The longest name that a file begins with is its row.
# Folders and files that the table of the design does not know have a line that says why.
TABLE = {
    "wsgi.py": Row(may="app config"),
    "app.py": Row(
        # db_settings makes DbSettings of the settings, for commands and here: once.
        may="blueprints cli commands.database observability persistence services tracing version",
        types="config",
        owns="click flask uuid_utils werkzeug",
    ),
    "gunicorn.conf.py": Row(
        may="config persistence.embedded persistence.embedded_process", owns="gunicorn"
    ),
    # cli.py lists commands as blueprints/__init__.py lists blueprints; commands/ has the code,
    # since one file of all commands would pass 400 lines (ADR 0009).
    "cli.py": Row(may="commands", types="flask"),
    # What a service returns may be a row of a repo: a command names its type, and asks no repo.
    "commands/": Row(
        may="commands services persistence config errors observability version",
        types="repos",
        owns="click pydantic",
    ),
    "commands/currencies.py": Row(owns="click iso4217"),
    # Asks the application itself, as a client would.
    "commands/openapi.py": Row(may="observability", owns="click flask"),
    # Lines of a file are read by the models that read a batch.
    "commands/ledger_data.py": Row(
        may="blueprints commands services errors", types="config persistence", owns="click"
    ),
    # The page of errors names which constraint answers with which; it needs no service.
    "commands/errors.py": Row(may="errors", owns="click"),
    "blueprints/": Row(
        may="blueprints services errors observability repos persistence.db",
        owns="flask werkzeug markupsafe pydantic pydantic_core uuid_utils",
    ),
    # The only metric that is made with labels here; its type is the registry's.
    "blueprints/hooks.py": Row(
        may="blueprints observability errors services",
        owns="flask werkzeug uuid_utils prometheus_client",
    ),
    # Shared by the edge and the problems: knows neither flask nor the rest of the package.
    "blueprints/exchange.py": Row(may="observability", types="services.rate_limits"),
    # Tried without a server: the guard knows header values, no flask.
    "blueprints/policy.py": Row(
        may="errors services.actors", types="services.credentials services.session_copies"
    ),
    "services/": Row(
        may="services repos persistence.db persistence.kv errors observability",
        types="config",
        owns="itsdangerous uuid_utils",
    ),
    # libpass and its import name, and what it raises, stay in one file.
    "services/passwords.py": Row(
        may="services repos persistence.db errors observability", types="config", owns="passlib"
    ),
    # How a limit is written and counted; its stores and clients are not used.
    "services/rate_limits.py": Row(
        may="persistence.kv errors observability",
        types="services.actors persistence.kv_connections",
        owns="limits",
    ),
    # PyJWT signs and compares; what may be signed or compared is decided in one file.
    "services/jws.py": Row(owns="jwt"),
    # The only one that holds a private key outside of a signature.
    "services/sealed_keys.py": Row(may="services.jws", owns="cryptography"),
    # Ed25519 for checkpoints and receipts; what is signed is decided by those who call it.
    "services/signed_notes.py": Row(owns="cryptography"),
    # Speaks to hosts that are not ours; nothing else here does.
    "services/webhook_calls.py": Row(may="services", owns="urllib3"),
    "services/webhook_secrets.py": Row(owns="cryptography"),
    # What several statements are given, like the caller of an audit row, is one type of one repo.
    "repos/": Row(
        may="persistence.statements",
        types="persistence.db repos",
        never="os random secrets time uuid datetime",
    ),
    # Every command on a payment claims a key: what it returns is one row type for all of them.
    "repos/payments.py": Row(
        may="persistence.statements repos.idempotency",
        types="persistence.db",
        never="os random secrets time uuid datetime",
    ),
    "repos/refunds.py": Row(
        may="persistence.statements repos.idempotency",
        types="persistence.db",
        never="os random secrets time uuid datetime",
    ),
    "repos/disputes.py": Row(
        may="persistence.statements repos.idempotency",
        types="persistence.db",
        never="os random secrets time uuid datetime",
    ),
    "persistence/": Row(
        may="persistence errors observability",
        owns="psycopg psycopg_pool redis hiredis pybreaker psutil",
    ),
    "config.py": Row(owns="dotenv pydantic pydantic_core pydantic_settings"),
    "errors.py": Row(),
    "observability.py": Row(owns="structlog prometheus_client"),
    # The extra: a file of its own, because its library may be missing. app.py imports it if asked.
    "tracing.py": Row(owns="opentelemetry urllib3"),
    # The release's number and nothing else, for whoever tells it.
    "version.py": Row(),
    # Both look from outside: they may take hold of anything.
    "bench/": Row(may=ANY, owns=ANY),
    # Runs in a container without the project's modules.
    "deploy/": Row(),
    "tests/": Row(may=ANY, owns=ANY),
}
# What one line of app.py knows and nobody else: these rows go with the folder (MF3), so
# docs/architecture.md has a sentence on them instead.
_OF_THE_MOVE = "legacy services repos persistence errors observability"
PASSING = {
    # Programs of others: they know nothing of ours.
    "examples/": Row(owns="bcrypt"),
    "legacy/": Row(may=_OF_THE_MOVE, types="config", owns="uuid_utils psycopg"),
    # Its settings are read as all others are.
    "legacy/settings.py": Row(may="config", owns="pydantic pydantic_settings"),
    # For the adapters of others too: what a store has to keep, as tests.
    **{
        f"legacy/contract{part}.py": Row(may=_OF_THE_MOVE, owns="pytest")
        for part in ("", "_capture", "_following", "_reading", "_rows", "_writing")
    },
    "legacy/bodies.py": Row(may="legacy blueprints", owns="pydantic"),
    "legacy/metrics.py": Row(owns="prometheus_client"),
    # The schema of a release is one of its gates.
    "legacy/parts.py": Row(may=_OF_THE_MOVE, types="config"),
    **{
        f"legacy/commands{part}.py": Row(
            may=f"{_OF_THE_MOVE} commands config version", owns="click uuid_utils"
        )
        for part in ("", "_comparing", "_copying", "_looking", "_moving", "_opening")
    },
    "legacy/blueprint.py": Row(may=f"{_OF_THE_MOVE} blueprints", owns="flask pydantic uuid_utils"),
    "legacy/__init__.py": Row(may="legacy services config persistence", owns="flask"),
}
TABLE_OF_ALL = {**TABLE, **(PASSING if (ROOT / "legacy").is_dir() else {})}
WRITERS = ("services/", "legacy/")
# Asks sql/checks, whose text only persistence may read, in one read-only snapshot.
SNAPSHOT_OUTSIDE = {"persistence/checks.py"}


def row_of(file: str) -> Row:
    """Return the row of a file. Raises LookupError if it has none."""
    rows = TABLE_OF_ALL
    named = [key for key in rows if file == key or (key[-1] == "/" and file.startswith(key))]
    if not named:
        raise LookupError(f"{file} has no row in TABLE: who may it import?")
    return rows[max(named, key=len)]


def imports(file: str) -> Iterator[tuple[str, bool, int]]:
    """Yield every module that a file imports anywhere, whether for types only, and the line."""
    source = tree(file)
    for_types = {
        id(inner)
        for node in ast.walk(source)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for part in node.body
        for inner in ast.walk(part)
    }
    for node in ast.walk(source):
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno}: an import from above or beside"
            whole = [f"{node.module}.{alias.name}" for alias in node.names]
            found = [each if each in modules() else str(node.module) for each in whole]
        else:
            continue
        for module in found:
            yield module, id(node) in for_types, node.lineno


def _forbidden(file: str) -> Iterator[str]:
    row = row_of(file)
    for module, for_types, line in imports(file):
        top = module.partition(".")[0]
        if module in modules() or top in modules():
            fine = row.allows(module, for_types=for_types)
        elif top in sys.stdlib_module_names:
            fine = for_types or top not in row.never.split()
        else:
            owned = f"{row.owns} {row.types if for_types else ''}".split()
            fine = ANY in owned or top in owned
        if not fine:
            yield f"{file}:{line} imports {module}{' for types' if for_types else ''}"


def test_every_import_is_in_the_table() -> None:
    """AI1: in functions and for annotations too; a file without a row fails."""
    everything = [name(path) for path in files("*.py")]
    assert len(everything) > 100
    assert [each for file in everything for each in _forbidden(file)] == []


def test_every_row_of_the_table_has_a_file() -> None:
    """AI1: the table tells of what is there."""
    everything = [name(path) for path in files("*.py")]
    assert {key for key in TABLE if not any(file.startswith(key) for file in everything)} == set()


def test_a_file_without_a_row_fails() -> None:
    """AI1."""
    with pytest.raises(LookupError, match="has no row"):
        row_of("helpers.py")


@pytest.mark.parametrize("package", ["persistence", "repos", "services"])
def test_the_core_is_imported_without_flask(package: str) -> None:
    """AI2: in a fresh interpreter in which flask cannot be imported."""
    named = [each for each in sorted(modules()) if f"{each}.".startswith(f"{package}.")]
    code = f"import sys; sys.modules['flask'] = None\nimport {', '.join(named)}"
    assert _run("-c", code) == ""


def test_services_form_no_cycle() -> None:
    """AI3: not even for annotations; the package itself, which lists them all, is left out."""
    graph = defaultdict(set)
    for file in sources():
        if file.startswith("services/") and file != "services/__init__.py":
            mine = file.removesuffix(".py").replace("/", ".")
            graph[mine] = {module for module, _, _ in imports(file)} & modules() - {"services"}
    order = list(TopologicalSorter(graph).static_order())  # Raises CycleError.
    assert order.index("services.idempotency") < order.index("services.payments")


def _calls(file: str) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            yield node.func.attr, node


def test_only_services_begin_a_write() -> None:
    """AI4: `db.write()` and its kin take nothing, which tells them from a file's write."""
    beginners = {"write", "transaction", "snapshot"}
    found = [
        f"{file}:{call.lineno} .{attribute}()"
        for file in sources()
        if not file.startswith(WRITERS) and file not in SNAPSHOT_OUTSIDE
        for attribute, call in _calls(file)
        if attribute in beginners and not call.args and not call.keywords
    ]
    assert found == []


def test_only_persistence_ends_a_transaction() -> None:
    """AI4: neither by a method of psycopg nor by a word of SQL; another's file is not our store."""
    words = re.compile(r"\s*(BEGIN|COMMIT|ROLLBACK|SAVEPOINT|START TRANSACTION)\b")
    found = []
    for file in sources():
        if file.startswith(("persistence/", "legacy/stores/sqlite")):
            continue
        found += [f"{file}:{c.lineno}" for a, c in _calls(file) if a in {"commit", "rollback"}]
        found += [
            f"{file}:{node.lineno}"
            for node in ast.walk(tree(file))
            if isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and words.match(node.value)
        ]
    assert found == []


def test_repos_know_no_clock() -> None:
    """AI1: what a repo sends came as an argument; ids and moments too."""
    makers = {"now", "today", "utcnow", "uuid4", "uuid7", "token_bytes"}
    found = [
        f"{file}:{call.lineno} .{attribute}()"
        for file in sources()
        if file.startswith("repos/")
        for attribute, call in _calls(file)
        if attribute in makers
    ]
    assert found == []


NO_SOCKETS = """
import sys
def refuse(event, _):
    if event in {"socket.__new__", "socket.getaddrinfo", "subprocess.Popen"}:
        raise PermissionError(event)
sys.addaudithook(refuse)
"""


@pytest.mark.parametrize(
    "then",
    [
        "import wsgi",
        "from flask.cli import main; sys.argv = ['flask', '--help']; main()",
    ],
)
def test_the_application_is_made_without_a_socket(then: str, tmp_path: Path) -> None:
    """AI5: the flask command imports wsgi.py first, for --help too."""
    assert _run("-c", NO_SOCKETS + then, VAR_DIR=str(tmp_path)) == ""


def _run(*arguments: str, **environ: str) -> str:
    """Run a fresh interpreter with none of our settings; return what it said on stderr."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**kept, "FLASK_SKIP_DOTENV": "1", **environ},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stderr if done.returncode == 0 else f"exit {done.returncode}: {done.stderr}"


def test_no_module_is_a_drawer_for_everything() -> None:
    """AI6."""
    drawers = {"common", "utils", "util", "helpers", "base", "misc"}
    assert {each for each in modules() if each.rpartition(".")[2] in drawers} == set()


def test_no_root_name_hides_another_module() -> None:
    """AI6: a root token.py or http.py breaks `import flask` (measured)."""
    root = {each.partition(".")[0] for each in modules()}
    installed = set(importlib.metadata.packages_distributions())
    assert root & (installed | set(sys.stdlib_module_names)) == set()


# --- The table for people -----------------------------------------------------------------------


def written(key: str, row: Row) -> str:
    """Return a row of the table as docs/architecture.md shows it."""
    columns = (row.may, row.types, row.owns, row.never)
    shown = ["anything" if column == ANY else column for column in columns]
    return f"| `{key}` | {' | '.join(shown)} |"


def test_the_table_is_the_one_of_the_document() -> None:
    """AT6: docs/architecture.md shows the same rows, in the same order."""
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    head = "| files | of the project | for types | libraries | never |\n|---|---|---|---|---|\n"
    assert text.count(head) == 1
    shown = text.partition(head)[2].partition("\n\n")[0].splitlines()
    assert shown == [written(key, row) for key, row in TABLE.items()]


# --- SQL files and repo functions (AI8) ---------------------------------------------------------


def statements(file: str) -> dict[str, str]:
    """Return the module-level names of a repo that are statements, with their files."""
    return {
        ast.unparse(node.targets[0]): node.value.args[0].value
        for node in tree(file).body
        if isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Call)
        and ast.unparse(node.value.func) == "statement"
        and isinstance(node.value.args[0], ast.Constant)
        and isinstance(node.value.args[0].value, str)
    }


def functions(file: str) -> Iterator[tuple[str, list[str]]]:
    """Yield the functions of a repo with the statements that each of them uses."""
    known = statements(file)
    for node in tree(file).body:
        if isinstance(node, ast.FunctionDef):
            names = [inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)]
            yield node.name, [known[each] for each in names if each in known]


REPOS = sorted(file for file in sources() if re.fullmatch(r"repos/[a-z]\w*\.py", file))


@pytest.mark.parametrize("file", REPOS)
def test_a_repo_function_sends_one_file_of_its_folder(file: str) -> None:
    """AI8."""
    noun = file.removeprefix("repos/").removesuffix(".py")
    wrong = {
        function: used
        for function, used in functions(file)
        if len(used) != 1 or not used[0].startswith(f"{noun}/")
    }
    assert wrong == {}


def test_every_sql_file_is_sent_by_one_repo_function() -> None:
    """AI8: checks and migrations are read by persistence, which asks no file by its name."""
    uses = Counter(each for file in REPOS for _, used in functions(file) for each in used)
    there = {name(path).removeprefix("sql/").removesuffix(".sql") for path in files("*.sql", "sql")}
    queries = {e for e in there if "/" in e and not e.startswith(("checks/", "migrations/"))}
    assert len(queries) > 30
    assert uses == Counter(queries)
