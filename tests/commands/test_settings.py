"""`flask settings`: what it prints, and how it exits."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result

from commands.settings import settings_group

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NAME = "rate_limit_key_write"


@pytest.fixture
def run(database: str, tmp_path: Path) -> Callable[..., Result]:
    environ = {"DATABASE_URL": database, "REDIS_URL": "off", "VAR_DIR": str(tmp_path)}
    return lambda *arguments: CliRunner(env=environ).invoke(settings_group, arguments)


def test_a_value_is_set_listed_and_unset(run: Callable[..., Result]) -> None:
    assert run("set", NAME, "600/minute").stdout == f"{NAME} = 600/minute\n"
    assert run("set", NAME, "600/minute").stdout == f"{NAME} = 600/minute, as before\n"
    assert run("list").stdout.startswith(f"{NAME} = 600/minute  (cli:")
    assert run("list", "--tenant", "default").stdout == ""
    assert run("unset", NAME).stdout == f"{NAME} is not set any more\n"
    assert run("unset", NAME).exit_code == 3


def test_programs_get_one_object(run: Callable[..., Result]) -> None:
    made = json.loads(run("set", NAME, "60/minute", "--tenant", "default", "--json").stdout)
    assert made == {"name": NAME, "value": "60/minute", "changed": True}
    (row,) = json.loads(run("list", "--tenant", "default", "--json").stdout)["data"]
    assert (row["tenant_id"], row["value"], row["version"]) == ("default", "60/minute", 1)
    assert row["updated_at"].endswith("Z")
    assert json.loads(run("unset", NAME, "--tenant", "default", "--json").stdout) == {"name": NAME}


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("set", "rate_limit_login", "1/minute"), 2, "rate_limit_key_write"),
        (("set", NAME, "lots"), 2, "600/minute"),
        (("set", NAME, "1/minute", "--tenant", "nobody"), 3, "no such tenant"),
    ],
)
def test_what_cannot_be_set_says_why(
    run: Callable[..., Result], arguments: tuple[str, ...], code: int, said: str
) -> None:
    done = run(*arguments)
    assert done.exit_code == code
    assert said in done.stderr
