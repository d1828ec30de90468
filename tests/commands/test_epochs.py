"""`flask new-epoch`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result

from commands.epochs import new_epoch

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def run(database: str) -> Callable[..., Result]:
    environ = {"DATABASE_URL": database, "REDIS_URL": "off"}
    return lambda *arguments: CliRunner().invoke(new_epoch, arguments, env=environ)


def test_each_call_begins_the_next_epoch(run: Callable[..., Result]) -> None:
    """E4."""
    assert run("--reason", "restored").stdout == "epoch 2 has begun\n"
    done = run("--reason", "restored again", "--json")
    assert (done.exit_code, json.loads(done.stdout)) == (
        0,
        {"epoch": 3, "was_stale": False, "dry_run": False},
    )


def test_a_dry_run_changes_nothing(run: Callable[..., Result]) -> None:
    """E4."""
    assert run("--reason", "a look", "--dry-run").stdout == "epoch 1, not stale\n"
    assert run("--reason", "a look", "--dry-run").stdout == "epoch 1, not stale\n"


def test_a_reason_has_to_be_given(run: Callable[..., Result]) -> None:
    assert run().exit_code == 2
