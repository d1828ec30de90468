"""Names: of tests, files, constraints and installed things (AT4, AF2, section 11 of the design)."""

from __future__ import annotations

import ast
import importlib.metadata
import re
from collections import Counter

import pytest

from errors import CONSTRAINTS
from tests.contract.tree import ROOT, files, name, tree

TESTS = [name(path) for path in files("test_*.py", "tests")]
# Of no one module: what holds of all of them, of many at once, of killed ones, of a whole move.
OF_THE_WHOLE = ("tests/contract/", "tests/races/", "tests/faults/", "tests/legacy/")
# One feature is one plural noun in SQL, repos, services and blueprints. These stop on the way.
SQL_ONLY = {"checks", "migrations"}
NO_SERVICE_OF_ITS_NAME = {
    "audit",  # Whoever acts records it, mostly as a step of the act's own statement.
    "ops",  # What health and `flask check-config --db` ask the server about itself.
}
VERBS = """
    authenticate authorize begin cancel capture change check claim clear count create delete end
    erase expire explain export finish get give import list lock open post queue read
    reauthenticate record redact register renew request reset resolve revoke rotate set touch
    transfer update upgrade verify void warn
"""
# These say what a look at the server shows; there is nothing else to do with it than to read it.
WITHOUT_A_VERB = {"ops/event_epoch", "ops/facts", "ops/server_settings"}
# One word per thing: ours, and what it would be called by mistake.
WORDS = {
    "cancelled": "canceled",
    "amount_minor": "amount_cents|amount_in_cents|minor_units_amount",
    "tenant_id": "organi[sz]ation_id|org_id",
    "idempotency": "idempotence|idempotent_key|dedup_key",
    "user_id": "customer_id|payer_id",
    "payment_id": "charge_id",
    "created_at": "creation_time|date_created|created_on",
}


def test_a_test_file_stands_where_its_module_stands() -> None:
    """AT4: tests/services/test_payments.py is of services/payments.py."""
    modules = {file: file.removeprefix("tests/").replace("test_", "", 1) for file in TESTS}
    lost = [file for file, module in modules.items() if not (ROOT / module).exists()]
    assert [file for file in lost if not file.startswith(OF_THE_WHOLE)] == []


def test_names_of_tests_are_rules() -> None:
    """AT4: a name of three words or more, which no other test of its file has."""
    for file in TESTS:
        nodes = ast.walk(tree(file))
        found = [n.name for n in nodes if isinstance(n, ast.FunctionDef)]
        names = [each for each in found if each.startswith("test_")]
        assert [each for each in names if each.count("_") < 3] == [], file
        assert [each for each, count in Counter(names).items() if count > 1] == [], file


def test_nothing_is_left_to_be_done() -> None:
    """What is missing is said in a sentence, or is an issue; a mark in the code is neither."""
    mark = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|HA" + r"CK)\b")
    endings = ("py", "sql", "md", "toml", "lua", "html", "css", "conf", "service", "socket")
    texts = [path for ending in endings for path in files(f"*.{ending}")]
    texts += [ROOT / "Makefile", *files("*", ".ci")]
    assert len(texts) > 200
    assert [name(path) for path in texts if mark.search(path.read_text("utf-8"))] == []


def test_a_feature_is_one_noun_from_sql_to_service() -> None:
    """One grep finds all of it: sql/payments, repos/payments.py, services/payments.py."""
    nouns = {path.name for path in (ROOT / "sql").iterdir() if path.is_dir()} - SQL_ONLY
    repos = {path.stem for path in (ROOT / "repos").glob("[a-z]*.py")}
    services = {path.stem for path in (ROOT / "services").glob("[a-z]*.py")}
    assert nouns == repos
    assert repos - NO_SERVICE_OF_ITS_NAME <= services


def test_sql_files_begin_with_a_verb() -> None:
    """Section 11, rule 15: get, list_by_user, capture, explain_create."""
    found = {path.relative_to(ROOT / "sql").with_suffix("") for path in files("*.sql", "sql")}
    queries = {each for each in found if each.parent.name and each.parent.name not in SQL_ONLY}
    nouns = {each.as_posix() for each in queries if each.name.split("_")[0] not in VERBS.split()}
    assert nouns == WITHOUT_A_VERB


@pytest.mark.parametrize(("ours", "mistaken"), WORDS.items())
def test_one_thing_has_one_word(ours: str, mistaken: str) -> None:
    """Section 11, rule 14: in SQL, Python, JSON and documents."""
    wrong = re.compile(mistaken)
    texts = [path for ending in ("py", "sql", "md") for path in files(f"*.{ending}")]
    others = [path for path in texts if path.name != "test_names.py"]
    assert any(ours in path.read_text("utf-8") for path in others)
    assert [name(path) for path in others if wrong.search(path.read_text("utf-8"))] == []


def test_the_old_library_of_passwords_is_not_installed() -> None:
    """Passlib fails with bcrypt 5, and its fork libpass has the same import name."""
    installed = {each.metadata["Name"].lower() for each in importlib.metadata.distributions()}
    assert "flask" in installed
    assert "passlib" not in installed


def _names(pattern: str) -> list[str]:
    text = "\n".join(path.read_text("utf-8") for path in files("*.sql", "sql/migrations"))
    bare = re.sub(r"--[^\n]*", "", text)
    return re.findall(pattern, bare)


def _constraints() -> list[str]:
    """Return the name of every constraint; a unique index is one to whoever violates it."""
    unique = _names(r"\bUNIQUE INDEX (?:CONCURRENTLY )?(\w+)")
    return _names(r"(?<!VALIDATE )\bCONSTRAINT\s+(\w+)") + unique


def test_names_of_constraints_are_unique() -> None:
    """AF2: a violation is known by its constraint's name alone, so they are part of the API."""
    found = _constraints()
    assert len(found) > 50
    assert [each for each, count in Counter(found).items() if count > 1] == []


def test_a_constraint_that_means_a_code_exists() -> None:
    """AF2."""
    found = _constraints()
    assert CONSTRAINTS.keys() <= set(found)
