"""B11: `make run` once installed: from the command to ready, the first time and later."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import time
from typing import TYPE_CHECKING

from bench.measure import Figure
from bench.processes import BenchError, free_port, running, status, stop
from bench.report import Row
from bench.stage import ROOT, WORK

if TYPE_CHECKING:
    from pathlib import Path

VAR, LOG = WORK / "start-up", WORK / "start-up.log"
OK = 200
LONGEST_S = 60.0


def starts(rounds: int) -> list[Row]:
    """Start with an empty VAR_DIR, then with the one that this left, in turn."""
    subprocess.run(["make", "--silent", ".venv/run"], cwd=ROOT, check=True)
    WORK.mkdir(exist_ok=True)
    LOG.unlink(missing_ok=True)
    first: list[float | None] = []
    later: list[float | None] = []
    for number in range(1, rounds + 1):
        shutil.rmtree(VAR, ignore_errors=True)
        first.append(_start())
        later.append(_start())
        print(f"  round {number}: first {first[-1]:.2f} s, later {later[-1]:.2f} s", flush=True)
    shutil.rmtree(VAR, ignore_errors=True)
    return [
        Row("B11", "make run, first time, s", Figure.of(first), target=8, goal=4, at_most=True),
        Row("", "make run, later, s", Figure.of(later), target=4, goal=2, at_most=True),
    ]


def _start() -> float:
    """Return the seconds until /readyz says so and a request with the demo's key is answered."""
    port = free_port()
    environment = {"VAR_DIR": str(VAR), "PORT": str(port), "DATABASE_URL": "", "REDIS_URL": ""}
    began = time.monotonic()
    with running(["make", "--silent", "run"], log=LOG, cwd=ROOT, env=environment) as child:
        while not _is_served(port, VAR / "demo.json"):
            if child.poll() is not None or time.monotonic() - began > LONGEST_S:
                raise BenchError(f"`make run` does not come up: see {LOG}.")
            time.sleep(0.01)
        took = time.monotonic() - began
        stop(child, signal.SIGINT)
    return took


def _is_served(port: int, demo: Path) -> bool:
    if status(port, "/readyz") != OK or not demo.exists():
        return False
    key = json.loads(demo.read_text("utf-8"))["api_key"]
    return status(port, "/v1/payments?limit=1", {"Authorization": f"Bearer {key}"}) == OK
