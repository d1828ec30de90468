"""The project's own files, as the tests of its shape read them."""

from __future__ import annotations

import ast
import os
import re
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# Not ours, or made by a run.
OUTSIDE = {".venv", "var", "node_modules", "work", ".git", "__pycache__"}


@cache
def _everything() -> tuple[Path, ...]:
    found = []
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [each for each in folders if each not in OUTSIDE and "_cache" not in each]
        found += [Path(folder, each) for each in names]
    return tuple(sorted(found))


def files(pattern: str, under: str = ".") -> list[Path]:
    """Return our files that match, sorted; `under` is a folder of the project."""
    top = ROOT / under
    return [p for p in _everything() if fnmatch(p.name, pattern) and p.is_relative_to(top)]


def name(path: Path) -> str:
    """Return the file's name in the project: services/payments.py."""
    return path.relative_to(ROOT).as_posix()


def sources() -> list[str]:
    """Return the names of all Python files of the service: not the tests, not the benchmarks."""
    names = [name(path) for path in files("*.py")]
    return [each for each in names if not each.startswith(("tests/", "bench/"))]


@cache
def tree(file: str) -> ast.Module:
    """Return the syntax tree of a file."""
    return ast.parse((ROOT / file).read_text("utf-8"), file)


@cache
def modules() -> frozenset[str]:
    """Return every module and package of the project, by its dotted name."""
    stems = [name(path).removesuffix(".py") for path in files("*.py")]
    dotted = [each.replace("/", ".") for each in stems if "." not in each]  # No gunicorn.conf.
    plain = [each.removesuffix(".__init__") for each in dotted]
    return frozenset([*plain, *(each.rpartition(".")[0] for each in plain)]) - {""}


# --- Documents ----------------------------------------------------------------------------------


def text(page: str) -> str:
    """Return a page."""
    return (ROOT / page).read_text("utf-8")


def spans(page: str) -> list[str]:
    """Return its code spans; blocks of code are not among them."""
    return re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text(page), flags=re.DOTALL))


def blocks(page: str, language: str) -> list[str]:
    """Return its blocks of code in one language."""
    fences = text(page).split("\n```")
    return [each.partition("\n")[2] for each in fences[1::2] if each.split("\n")[0] == language]
