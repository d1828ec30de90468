"""The end: what served the move goes in one go, and the rest does not know that it was there."""

from __future__ import annotations

import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.contract.tree import ROOT

if TYPE_CHECKING:
    from pathlib import Path

LEFT_OUT = shutil.ignore_patterns(".git", ".venv", "var", "work", "__pycache__", ".*_cache")
IMPORTS = "import wsgi; print(sorted(name for name in wsgi.app.cli.commands if 'legacy' in name))"

IMPORTING = ("application_is_made_without_a_socket", "core_is_imported_without_flask")


def run(folder: Path, *words: str) -> str:
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def test_the_rest_stands_without_it(tmp_path: Path) -> None:
    """MF3, AT8: it imports, has no command of the move, and what is said of it is true."""
    copy = tmp_path / "copy"
    shutil.copytree(ROOT, copy, ignore=LEFT_OUT, symlinks=True)
    run(copy, "sh", ".ci/delete-legacy", "--drop")
    assert not (copy / "legacy").exists()
    assert [*(copy / "sql" / "migrations").glob("*_drop_legacy.sql")] != []
    assert run(copy, sys.executable, "-c", IMPORTS) == "[]\n"
    tests = [f"tests/contract/test_{name}.py" for name in ("architecture", "docs", "names")]
    # It was imported above, and what lies below the move never imports it: half of the time.
    left_out = [f"--deselect={tests[0]}::test_the_{name}" for name in IMPORTING]
    run(copy, sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *left_out, *tests)
