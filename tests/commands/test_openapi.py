"""`flask openapi` writes a document and nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from tests.contract.tree import ROOT


def test_the_description_is_all_that_is_printed() -> None:
    """OL1: a command logs on stderr; here there is nothing to log, as no store is touched."""
    done = subprocess.run(
        [sys.executable, "-m", "flask", "openapi"],
        cwd=ROOT,
        env={
            **os.environ,
            "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
            "REDIS_URL": "unix:///nowhere",
        },
        capture_output=True,
        check=True,
    )
    assert json.loads(done.stdout)["openapi"] == "3.1.0"
    assert done.stderr == b""
