"""Which tests prove which rule: `python tests/rules.py [RULE ...]`, by the ids in docstrings."""

from __future__ import annotations

import ast
import re
import sys
from collections import defaultdict
from pathlib import Path

TESTS = Path(__file__).resolve().parent
FAMILIES = (
    "AI AW AQ AC AE AF AG AT LI LA LP LC LH LT LS LQ LX LM LR OE OK OU OR OS OH OL OM OJ OD FI LV"
    " MF A P K E W G F M D V"
)
# An id, or several in a row: AF1 to AF4.
ID = re.compile(rf"\b({'|'.join(FAMILIES.split())})([1-9]\d?)(?: to \1([1-9]\d?))?\b")


def rules() -> dict[str, list[str]]:
    """Return every rule that a test's docstring names, with those tests, in order of the ids."""
    found = defaultdict(list)
    for path in sorted(TESTS.rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                where = f"{path.relative_to(TESTS.parent).as_posix()}::{node.name}"
                for rule in named(ast.get_docstring(node) or ""):
                    found[rule].append(where)
    return {rule: found[rule] for rule in sorted(found, key=_order)}


def named(text: str) -> list[str]:
    """Return the ids that a text names, each once."""
    ids = [
        f"{family}{number}"
        for family, first, last in ID.findall(text)
        for number in range(int(first), int(last or first) + 1)
    ]
    return list(dict.fromkeys(ids))


def _order(rule: str) -> tuple[int, int]:
    family = rule.rstrip("0123456789")
    return FAMILIES.split().index(family), int(rule.removeprefix(family))


def main(wanted: list[str]) -> int:
    """Print them; 3: no test names one that was asked for. `--page FILE`: those no test names."""
    found = rules()
    if wanted[:1] == ["--page"]:
        bold = re.findall(r"\*\*([^*]+)\*\*", Path(wanted[1]).read_text("utf-8"))
        wanted = sorted({rule for each in bold for rule in named(each)} - found.keys())
        return main(wanted) if wanted else 0
    for rule in wanted or found:
        sys.stdout.write("".join(f"{line}\n" for line in (rule, *_indented(found.get(rule)))))
    return 3 if set(wanted) - found.keys() else 0


def _indented(tests: list[str] | None) -> list[str]:
    return [f"  {test}" for test in tests or ["no test"]]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
