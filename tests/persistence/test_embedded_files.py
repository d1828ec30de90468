"""What stands below VAR_DIR is made by whoever comes first, with those who come at once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from persistence.embedded_files import VarDir

if TYPE_CHECKING:
    from pathlib import Path

ROUNDS = 100


def test_starters_at_once_make_the_directories_together(tmp_path: Path) -> None:
    """OE5: what holds the start lock has to be made first, by both; nobody fails for it."""
    both = threading.Barrier(2)

    def prepare(path: Path) -> bool:
        both.wait()
        VarDir(path).prepare()
        return (path / "run").is_dir()

    with ThreadPoolExecutor(2) as starters:
        for number in range(ROUNDS):
            path = tmp_path / f"var{number}"
            assert all(starters.map(prepare, (path, path)))
