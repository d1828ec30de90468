"""B7: create and capture while Redis is up, absent, killed, hung. B10: what a worker grows to."""

from __future__ import annotations

import os
import signal
import threading
from functools import partial
from typing import TYPE_CHECKING

import psutil

from bench.measure import Figure, alternate, ratio
from bench.over_http import service_load
from bench.processes import BenchError
from bench.report import Row

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.measure import Sample
    from bench.stage import Stage

WARM_REQUESTS = 10_000
LEAP_S = 20


def redis_rounds(stage: Stage, rounds: int, seconds: int) -> list[Row]:
    """B7: each ratio is to the round before with Redis up, and so is the longest delay added."""
    load = service_load(stage)
    load(seconds)
    disturbed = {
        "up": partial(load, seconds),
        "absent": partial(_absent, stage, load, seconds),
        "killed": partial(_during, stage, load, seconds, signal.SIGKILL),
        "hung": partial(_during, stage, load, seconds, signal.SIGSTOP),
    }
    found = alternate(disturbed, rounds)
    up = found["up"]
    rows = [Row("B7", "Redis up, requests/s", Figure.of([each.per_s for each in up]))]
    for name in ("absent", "killed", "hung"):
        speed = ratio([each.per_s for each in found[name]], [each.per_s for each in up])
        pairs = zip(found[name], up, strict=True)
        added = Figure.of([max((a.max_ms or 0) - (b.max_ms or 0), 0.0) for a, b in pairs])
        rows += [
            Row("", f"Redis {name}: over up", speed, target=0.8, goal=0.95),
            Row("", f"Redis {name}: longest delay added, ms", added, 100, 50, at_most=True),
            Row("", f"Redis {name}: wrong answers", Figure.of([e.errors for e in found[name]])),
        ]
    return rows


def memory(stage: Stage, requests: int) -> list[Row]:
    """B10: resident memory of the workers, the largest, after 10,000 requests and after all."""
    load = service_load(stage)
    _until(load, WARM_REQUESTS)
    warm = _largest_mb(stage)
    _until(load, requests - WARM_REQUESTS)
    full = _largest_mb(stage)
    growth = Figure.of([full / warm])
    return [
        Row("B10", f"memory after {requests:,} over after 10,000", growth, 1.1, 1.02, at_most=True),
        Row("", "memory of a worker, MB", Figure.of([full]), 150, 90, at_most=True),
    ]


def _until(load: Callable[[int], Sample], requests: int) -> None:
    while requests > 0:
        requests -= load(LEAP_S).requests


def _largest_mb(stage: Stage) -> float:
    workers = psutil.Process(stage.service_pid).children()
    return float(max(worker.memory_info().rss for worker in workers)) / 1e6


def _valkey(stage: Stage) -> int:
    if stage.servers.valkey is None:
        raise BenchError("No Valkey for this platform: B7 cannot be measured.")
    return int(stage.servers.valkey.fact["pid"])


def _absent(stage: Stage, load: Callable[[int], Sample], seconds: int) -> Sample:
    os.kill(_valkey(stage), signal.SIGKILL)
    try:
        return load(seconds)
    finally:
        _well_again(stage)


def _during(
    stage: Stage, load: Callable[[int], Sample], seconds: int, number: signal.Signals
) -> Sample:
    pid = _valkey(stage)
    timer = threading.Timer(seconds / 2, os.kill, (pid, number))
    timer.start()
    try:
        return load(seconds)
    finally:
        timer.join()
        if number == signal.SIGSTOP:
            os.kill(pid, signal.SIGCONT)
        _well_again(stage)


def _well_again(stage: Stage) -> None:
    """Start Redis if it is gone, and wait until every worker uses it again."""
    stage.servers.ensure()
    stage.find_redis()
