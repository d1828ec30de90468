"""`flask servers`, as an operator uses it."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result

from commands.servers import servers_group

if TYPE_CHECKING:
    from pathlib import Path

    from persistence.embedded import EmbeddedServers

PG_MAJOR = os.environ.get("TEST_PG_MAJOR", "18")


def invoke(var_dir: Path, *arguments: str) -> Result:
    """Run `flask servers` with the embedded servers of `var_dir`."""
    environment = {"VAR_DIR": str(var_dir), "EMBEDDED_PG_MAJOR": PG_MAJOR}
    return CliRunner(env=environment).invoke(servers_group, arguments)


def test_what_does_not_run_is_exit_3(tmp_path: Path) -> None:
    """Exit codes: architecture page, section 4."""
    for command in ("status", "stop", "psql"):
        assert invoke(tmp_path / "var", command).exit_code == 3


def test_started_servers_run_until_stopped(var_dir: Path) -> None:
    """OE4: nobody uses them, and they stay."""
    assert invoke(var_dir, "start").exit_code == 0
    found = invoke(var_dir, "status", "--json")
    assert found.exit_code == 0
    told = json.loads(found.stdout)
    assert told["servers"]["postgres"]["major"] == int(PG_MAJOR)
    assert (told["kept"], told["in_use"]) == (True, False)
    assert invoke(var_dir, "stop").exit_code == 0
    assert invoke(var_dir, "status").exit_code == 3


def test_servers_in_use_are_not_taken_away(own_servers: EmbeddedServers) -> None:
    """OE4: exit 4, could not finish."""
    for command in (["stop"], ["reset", "--yes"]):
        refused = invoke(own_servers.var.path, *command)
        assert refused.exit_code == 4
        assert "in use" in refused.stderr
    assert invoke(own_servers.var.path, "status").exit_code == 0


def test_reset_needs_a_yes(var_dir: Path) -> None:
    """It deletes all money there is."""
    assert invoke(var_dir, "reset").exit_code == 2
    assert (var_dir / "pg" / PG_MAJOR).exists()
    assert invoke(var_dir, "reset", "--yes").exit_code == 0
    assert not (var_dir / "pg").exists()


@pytest.mark.parametrize(
    ("role", "user"),
    [("owner", "strongroom"), ("app", "strongroom_app"), ("superuser", "postgres")],
)
def test_psql_opens_the_database_by_role(
    own_servers: EmbeddedServers, capfd: pytest.CaptureFixture[str], role: str, user: str
) -> None:
    """The wheel's psql, its arguments passed on, its exit code passed back."""
    ask = ["psql", "--role", role, "-Atc", "SELECT current_user, current_database()"]
    assert invoke(own_servers.var.path, *ask).exit_code == 0
    assert capfd.readouterr().out == f"{user}|strongroom\n"
    wrong = ["psql", "-v", "ON_ERROR_STOP=1", "-c", "SELECT 1/0"]
    assert invoke(own_servers.var.path, *wrong).exit_code == 1
