"""B1 and B2: the service over HTTP against its yardsticks; B3 runs in the rounds of B1."""

from __future__ import annotations

import random
from functools import partial
from typing import TYPE_CHECKING

import psycopg

from bench import wrk
from bench.in_sql import Pgbench
from bench.measure import Figure, alternate, ratio
from bench.report import Row
from bench.stage import ROOT, USERS, WORK

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bench.measure import Rounds, Sample
    from bench.stage import Stage

CONNECTIONS = 16
PGBENCH_CLIENTS = (8, 16)
WARM_UP_S = 3
READ_IDS = 10_000


def payments(stage: Stage, yardsticks: Path | None, rounds: int, seconds: int) -> list[Row]:
    """B1 and B3: create and capture. Without yardsticks the service runs alone."""
    sql = Pgbench(stage)
    contenders: dict[str, Callable[[int], Sample]] = {"service": service_load(stage)}
    if yardsticks is not None:
        contenders["peer"] = _peer(stage, yardsticks)
    for clients in PGBENCH_CLIENTS:
        contenders[f"pgbench {clients}"] = partial(sql.round, clients)
    for run in contenders.values():
        run(WARM_UP_S)
    found = alternate({name: partial(run, seconds) for name, run in contenders.items()}, rounds)
    return [*_rows_b1(found), *_rows_b3(found)]


def reads(stage: Stage, yardsticks: Path | None, rounds: int, seconds: int) -> list[Row]:
    """B2: read one of many payments, against a route that does nothing."""
    Pgbench(stage).round(8, WARM_UP_S)
    url = f"http://127.0.0.1:{stage.service()}"
    arguments = [stage.api_key, str(_ids(stage))]
    script = ROOT / "bench" / "read.lua"
    contenders = {"service": partial(_wrk, url, script, arguments)}
    if yardsticks is not None:
        bare = f"http://127.0.0.1:{stage.bare_flask(yardsticks)}/h"
        contenders["bare Flask"] = partial(_wrk, bare, None, [])
    for run in contenders.values():
        run(WARM_UP_S)
    found = alternate({name: partial(run, seconds) for name, run in contenders.items()}, rounds)
    rows = [Row("B2", "read one payment, requests/s", _per_s(found, "service"))]
    if yardsticks is not None:
        rows.append(Row("", "bare Flask, requests/s", _per_s(found, "bare Flask")))
        quotient = ratio(_speeds(found, "service"), _speeds(found, "bare Flask"))
        rows.append(Row("", "ratio to bare Flask", quotient, target=0.45, goal=0.6))
    return rows + _latencies(found, "service")


# --- Contenders ---------------------------------------------------------------------------------


def service_load(stage: Stage) -> Callable[[int], Sample]:
    """Return what loads the service with creates and captures for so many seconds."""
    url = f"http://127.0.0.1:{stage.service()}"
    return partial(_wrk, url, ROOT / "bench" / "load.lua", [stage.api_key, str(USERS)])


def _peer(stage: Stage, yardsticks: Path) -> Callable[[int], Sample]:
    url = f"http://127.0.0.1:{stage.peer(yardsticks)}"
    return partial(_wrk, url, yardsticks / "load.lua", [])


def _wrk(url: str, script: Path | None, arguments: list[str], seconds: int) -> Sample:
    return wrk.run(
        url, seconds=seconds, connections=CONNECTIONS, script=script, arguments=arguments
    )


def _ids(stage: Stage) -> Path:
    """Write ids of payments at random into a file for wrk."""
    with psycopg.connect(stage.owner_url) as conn:
        found = [str(row[0]) for row in conn.execute("SELECT id FROM payments")]
    path = WORK / "ids.txt"
    path.write_text("\n".join(random.Random(1).sample(found, min(READ_IDS, len(found)))) + "\n")
    return path


# --- Rows ---------------------------------------------------------------------------------------


def _rows_b1(found: Rounds) -> list[Row]:
    rows = [Row("B1", "create and capture, all on, requests/s", _per_s(found, "service"))]
    if "peer" in found:
        quotient = ratio(_speeds(found, "service"), _speeds(found, "peer"))
        slowest = ratio(*([sample.p99_ms for sample in found[one]] for one in ("service", "peer")))
        rows += [
            Row("", "peer-kysely, requests/s", _per_s(found, "peer")),
            Row("", "ratio to peer-kysely", quotient, target=1.6, goal=3.0),
            Row("", "p99 over the peer's", slowest, target=1.0, goal=0.5, at_most=True),
        ]
    return rows + [
        row for one in ("service", "peer") if one in found for row in _latencies(found, one)
    ]


def _rows_b3(found: Rounds) -> list[Row]:
    names = [f"pgbench {clients}" for clients in PGBENCH_CLIENTS]
    best = [max(speeds) for speeds in zip(*(_speeds(found, name) for name in names), strict=True)]
    quotient = ratio(_speeds(found, "service"), best)
    return [
        Row("B3", "B1 over the faster pgbench", quotient, target=0.3, goal=0.5),
        *(Row("", f"{name} clients, requests/s", _per_s(found, name)) for name in names),
    ]


def _latencies(found: Rounds, name: str) -> list[Row]:
    return [
        Row("", f"{name}: p50, ms", Figure.of([sample.p50_ms for sample in found[name]])),
        Row("", f"{name}: p99, ms", Figure.of([sample.p99_ms for sample in found[name]])),
        Row("", f"{name}: wrong answers", Figure.of([sample.errors for sample in found[name]])),
    ]


def _speeds(found: Rounds, name: str) -> list[float]:
    return [sample.per_s for sample in found[name]]


def _per_s(found: Rounds, name: str) -> Figure | None:
    return Figure.of(_speeds(found, name))
