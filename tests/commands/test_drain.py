"""`flask drain`: the mark that /readyz looks for."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from click.testing import CliRunner, Result

from commands.drain import drain

if TYPE_CHECKING:
    from pathlib import Path

    from tests.world import World


def run(var_dir: Path, *arguments: str) -> Result:
    return CliRunner(env={"VAR_DIR": str(var_dir)}).invoke(drain, arguments)


def test_a_draining_host_is_not_ready_and_serves_all_the_same(world: World, tmp_path: Path) -> None:
    """OS5: within a second, so nothing of it is kept."""
    var_dir = world.services.config.var_dir
    assert world.get("/readyz").status_code == 200
    assert run(var_dir, "--wait", "0").stdout == "draining\n"
    answer = world.get("/readyz")
    assert (answer.status_code, answer.json["checks"]["draining"]) == (503, "fail")
    assert world.get("/v1/payments").status_code == 200
    done = run(var_dir, "--undo", "--json")
    assert json.loads(done.stdout) == {"draining": False, "waited_s": 0}
    assert world.get("/readyz").status_code == 200


def test_to_undo_what_is_not_is_harmless(tmp_path: Path) -> None:
    assert run(tmp_path, "--undo").exit_code == 0


def test_a_mark_that_cannot_be_written_is_exit_2(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file, where a folder should be")
    done = run(tmp_path)
    assert done.exit_code == 2
    assert "cannot be written" in done.stderr
