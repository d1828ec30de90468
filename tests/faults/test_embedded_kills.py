"""kill -9 at seeded moments of starting, running and stopping: the next start always works."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import psycopg
import pytest

from persistence.embedded import EmbeddedServers, EmbeddedSettings
from persistence.embedded_process import alive, wait_until

ROOT = Path(__file__).resolve().parents[2]
PG_MAJOR = int(os.environ.get("TEST_PG_MAJOR", "18"))
ROUNDS = 6
# A user that comes and goes; where it is killed, the servers are in any state there is.
USER = """
import sys, time
from pathlib import Path
from persistence.embedded import EmbeddedServers, EmbeddedSettings
settings = EmbeddedSettings(Path(sys.argv[1]), int(sys.argv[2]), pg_options={"fsync": "off"})
with EmbeddedServers(settings):
    time.sleep(float(sys.argv[3]))
"""


def kill_something(var_dir: Path, chance: random.Random) -> None:
    """Start a user and kill, after a while, it or the servers or all of them."""
    arguments = [str(var_dir), str(PG_MAJOR), str(chance.random())]
    user = subprocess.Popen([sys.executable, "-c", USER, *arguments], cwd=ROOT)
    time.sleep(chance.random() * 2)  # The moment is the subject, not something waited for.
    record = EmbeddedServers(EmbeddedSettings(var_dir)).var.record
    found = [record.get(name, {}).get("pid") for name in ("postgres", "valkey")]
    for pid in chance.choice(([], found, found[:1], found[1:])):
        if pid and alive(pid):
            os.kill(pid, signal.SIGKILL)
    user.kill()
    user.wait()


def servers_of(var_dir: Path) -> list[str]:
    """The command lines of the servers that run on `var_dir`, whether they answer or not."""
    places = {str(var_dir / "pg" / str(PG_MAJOR)), str(var_dir / "run" / "valkey.conf")}
    lines: list[list[str] | None] = [
        process.info["cmdline"] for process in psutil.process_iter(["cmdline"])
    ]
    return [" ".join(line) for line in lines if line and places.intersection(line)]


@pytest.mark.parametrize("seed", [1, 2])
def test_a_kill_at_any_moment_leaves_servers_that_start(tmp_path: Path, seed: int) -> None:
    """OE6; OE4: the last exit leaves no server. The first rounds fall into initdb."""
    chance = random.Random(seed)
    servers = EmbeddedServers(EmbeddedSettings(tmp_path / "var", PG_MAJOR))
    for _ in range(ROUNDS):
        with contextlib.suppress(FileNotFoundError):
            kill_something(tmp_path / "var", chance)
        with servers:
            assert servers.database_url
            with psycopg.connect(servers.database_url) as conn:
                assert conn.execute("SELECT 1").fetchone() == (1,)
        # A start that was overtaken may still be giving up.
        assert wait_until(lambda: not servers_of(tmp_path / "var"), 60)
    servers.reset()
