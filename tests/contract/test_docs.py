"""What documents list is what is there: links, files, settings, commands, codes, rules (AT6)."""

from __future__ import annotations

import ast
import re
from importlib import import_module
from typing import TYPE_CHECKING, Any

import click
import pytest

import cli
import errors
from config import Config
from services.job_catalogue import catalogue
from tests import rules
from tests.clients import auth_jobs
from tests.contract.tree import ROOT, blocks, files, name, sources, spans, text, tree

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGES = [name(path) for path in files("*.md")]
# Upper-case words in code spans that are no settings of the service.
OTHER_NAMES = {
    "BEGIN", "CHANGELOG", "COMMIT", "CONCURRENTLY", "FAULT_SEED", "FILE", "GET", "ID", "KEY",
    "NAME", "NAME_FILE", "OR", "PATCH", "POST", "README", "ROLLBACK", "SET", "SSL_CERT_FILE",
    "TEST_DATABASE_URL", "TEST_PG_MAJOR", "TEST_POOLER", "TEST_REDIS_URL", "URL", "USER_ID",
    "WHERE",
}  # fmt: skip


# The move from a legacy store is deletable, with its page: until then these are known too.
HAS_MOVE = (ROOT / "legacy").is_dir()
MOVE_COMMANDS = [import_module("legacy.commands").legacy_group] if HAS_MOVE else []
MOVE_FIELDS = import_module("legacy.settings").LegacySettings.__slots__ if HAS_MOVE else ()


# --- What documents list ------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    """Within the project; what is elsewhere is not asked for."""
    targets = re.findall(r"\]\(([^)]+)\)", text(page))
    here = (ROOT / page).parent
    inner = [target.partition("#")[0] for target in targets if "://" not in target]
    assert [target for target in inner if target and not (here / target).exists()] == []


# What a sentence names that is not there, or not yet: why there is none, or what a run makes.
ELSEWHERE = {
    "__init__.py",
    "common",
    "utils",
    "base",
    "legacy/",
    "src/strongroom/",
    "token.py",
    "http.py",
}
MADE = (".venv", "./var", "var/", "VAR_DIR/", "docs/performance.md")


@pytest.mark.parametrize("page", PAGES)
def test_files_that_a_page_names_exist(page: str) -> None:
    """AT6: with a star or a <name> in it, something has to fit."""
    named = {
        span.partition("::")[0]
        for span in spans(page)
        if re.fullmatch(r"[\w./<>*-]+(/|\.(py|sql|md|toml|conf|service|txt))(::\w+)?", span)
    }
    paths = {each for each in named if each not in ELSEWHERE and not each.startswith(MADE)}
    fits = {each: re.sub(r"<\w+>", "*", each).rstrip("/") for each in paths}
    assert [each for each, pattern in fits.items() if not list(ROOT.glob(pattern))] == []


@pytest.mark.parametrize("page", PAGES)
def test_targets_of_make_that_a_page_names_exist(page: str) -> None:
    """AT6."""
    said = "\n".join([*spans(page), *blocks(page, "sh")])
    targets = set(re.findall(r"^([a-z-]+):", text("Makefile"), re.MULTILINE))
    assert set(re.findall(r"^make ([a-z-]+)", said, re.MULTILINE)) <= targets


def commands() -> set[str]:
    """Return every flask command of ours, with its group."""
    found = set()
    for command in (*cli.ALL, *MOVE_COMMANDS):
        under = command.commands if isinstance(command, click.Group) else {}
        found |= {f"flask {command.name} {each}" for each in under} or {f"flask {command.name}"}
    return found


def test_operations_lists_every_command() -> None:
    """AT6: those that exist, and no others."""
    table = text("docs/operations.md").partition("## All commands")[2]
    listed = re.findall(r"^\| `(flask [a-z -]+)` \|", table, re.MULTILINE)
    of_the_move = {each for each in commands() if each.startswith("flask legacy ")}
    assert sorted(listed) == sorted(commands() - of_the_move)


@pytest.mark.parametrize("page", PAGES)
def test_commands_that_a_page_names_exist(page: str) -> None:
    """AT6: in sentences and in blocks; of a group its name alone is enough."""
    said = "\n".join([*spans(page), *blocks(page, "sh")])
    named = {match.strip() for match in re.findall(r"\bflask [a-z-]+(?: [a-z-]+)?", said)}
    known = commands() | {command.rpartition(" ")[0] for command in commands()}
    lost = {each for each in named if each not in known and each.rpartition(" ")[0] not in known}
    assert lost == set()


@pytest.mark.parametrize("page", PAGES)
def test_settings_that_a_page_names_exist(page: str) -> None:
    """AT6: docs/config.md, which lists them all, is made from the code."""
    named = {
        word
        for span in spans(page)
        for word in re.findall(r"(?<![\w/.])[A-Z][A-Z0-9_]+(?![\w/.])", span)
        if "_" in word or span.partition("=")[0] == word
    }
    known = {field.upper() for field in Config.model_fields}
    known |= {f"LEGACY_{field.upper()}" for field in MOVE_FIELDS}
    twins = {word for word in named if word.removesuffix("_FILE") in known}
    assert named - known - twins - OTHER_NAMES == set()


@pytest.mark.parametrize("page", ["docs/api.md", "docs/payments.md", "docs/ledger.md"])
def test_statuses_stand_with_codes_that_exist(page: str) -> None:
    """AT6: 409 `invalid_state` is what errors.py says."""
    every: list[type[errors.AppError]] = [errors.AppError, *errors.all_errors()]
    known = {(error.status, error.code) for error in every}
    said = re.findall(r"\b([45]\d\d) `([a-z_]+)`", re.sub(r"\s+", " ", text(page)))
    assert said
    assert {(int(status), code) for status, code in said} <= known


def test_operations_lists_every_job() -> None:
    """AT6."""
    none: Any = None
    jobs = catalogue(none, lambda: iter(()), none, none, none, auth_jobs(none))
    table = text("docs/operations.md").partition("## Worker")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `([a-z-]+)` \|", table, re.MULTILINE)) == {j.name for j in jobs}


def test_every_decision_is_in_their_list() -> None:
    """Section 10: context, choice, price; numbered without a gap."""
    pages = sorted(page for page in PAGES if re.match(r"docs/adr/\d", page))
    assert [int(page[9:13]) for page in pages] == list(range(1, len(pages) + 1))
    listed = re.findall(r"\[(\d{4})\]\((\S+)\)", text("docs/adr/README.md"))
    assert [f"docs/adr/{file}" for _, file in listed] == pages
    for page in pages:
        heads = re.findall(r"^#+ (.*)", text(page), re.MULTILINE)
        assert heads[0].startswith(page[9:13])
        assert heads[1:] == ["Context", "Choice", "Price"], page


def test_decisions_that_code_names_exist() -> None:
    """A comment that says ADR 0012 leads to that page."""
    others = [*files("*.py"), *files("*.sql"), *files("*.toml"), *files("*.md")]
    named = {each for path in others for each in re.findall(r"ADR (\d{4})", path.read_text())}
    assert named <= {page[9:13] for page in PAGES if page.startswith("docs/adr/")}


def test_the_changelog_begins_with_what_is_not_released() -> None:
    """Section 10: Unreleased on top, a bullet per change, schema first."""
    heads = re.findall(r"^## (.*)", text("CHANGELOG.md"), re.MULTILINE)
    assert heads[0] == "Unreleased"
    bullets = re.findall(
        r"^- (.*)", text("CHANGELOG.md").partition("## Unreleased")[2], re.MULTILINE
    )
    schema = [bullet.startswith("Schema: ") for bullet in bullets]
    assert schema == sorted(schema, reverse=True)


# --- Docstrings ---------------------------------------------------------------------------------


def undocumented(file: str) -> Iterator[str]:
    """Yield the public modules, classes and functions of a file that say nothing of themselves."""
    if ast.get_docstring(tree(file)) is None and (ROOT / file).stat().st_size:
        yield file
    holders = [
        node
        for node in ast.walk(tree(file))
        if isinstance(node, ast.Module) or (isinstance(node, ast.ClassDef) and node.name[0] != "_")
    ]
    for node in (inner for holder in holders for inner in holder.body):
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name[0] != "_":
            is_abstract = [ast.unparse(statement) for statement in node.body] == ["..."]
            if ast.get_docstring(node) is None and not is_abstract:
                yield f"{file}:{node.lineno} {node.name}"


def test_public_things_say_what_they_are() -> None:
    """Style 33: modules, classes and functions; a Protocol's members say it by their names."""
    assert [each for file in sources() for each in undocumented(file)] == []


# --- Rules --------------------------------------------------------------------------------------


def test_rules_are_listed_with_their_tests() -> None:
    """AT4: tests/rules.py reads the ids from docstrings; a range names each of its rules."""
    assert rules.named("AF1 to AF3, K6 and LR8: not A, B2 or ISO4217.") == [
        "AF1", "AF2", "AF3", "K6", "LR8",
    ]  # fmt: skip
    found = rules.rules()
    mine = "tests/contract/test_docs.py::test_rules_are_listed_with_their_tests"
    assert mine in found["AT4"]
    families = " ".join(re.findall(r"^\| ([A-Z ]+) \| ", text("CONTRIBUTING.md"), re.MULTILINE))
    assert {rule.rstrip("0123456789") for rule in found} <= set(families.split())


def test_deploy_names_settings_that_exist() -> None:
    """OD1: in units and in nginx' comments; and no secret stands there."""
    known = {field.upper() for field in Config.model_fields}
    for unit in files("*.service", "deploy"):
        lines = re.findall(r"^Environment=(.*)", unit.read_text("utf-8"), re.MULTILINE)
        named = {pair.partition("=")[0] for line in lines for pair in line.split()}
        assert {each.removesuffix("_FILE") for each in named} <= known | {"FLASK_SKIP_DOTENV"}
        assert not {each for each in named if each.endswith(("_URL", "_KEYS"))} - {
            "PUBLIC_URL",
            "REDIS_URL",
        }
    nginx = text("deploy/nginx.conf")
    comments = " ".join(re.findall(r"#(.*)", nginx))
    named = set(re.findall(r"\b[A-Z]+(?:_[A-Z]+)+\b|\bBIND\b", comments))
    assert named <= known
    assert "client_max_body_size 64k;" in nginx
    assert Config.model_fields["body_max_bytes"].default == 64 * 1024
