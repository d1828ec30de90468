"""B12: how fast a legacy table comes over, and how fast both sides are compared.

A table in PostgreSQL beside ours is moved by the commands that an operator uses; the time of a
backfill is that of its command, start included, the time of a comparison is what its report says.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import Any

import psycopg

from bench.measure import Figure
from bench.processes import BenchError
from bench.report import Row
from bench.stage import ROOT, WORK, Stage

MOVED = "moved"  # A tenant of its own: the stage's users are not to be compared.
SHOP = """
CREATE SCHEMA shop;
CREATE TABLE shop.customers (
    id bigint PRIMARY KEY, mail text, pw text, name text, created timestamptz, updated timestamptz,
    is_active boolean
);
INSERT INTO shop.customers
SELECT n, 'u' || n || '@example.org', '$2b$04$' || repeat('x', 53), 'Name ' || n,
    timestamptz '2020-01-01Z' + n * interval '1 s', timestamptz '2021-01-01Z' + n * interval '1 s',
    n % 10 > 0
FROM generate_series(1, {rows}) AS n;
ANALYZE shop.customers;
INSERT INTO tenants (tenant_id, name) VALUES ('moved', 'Moved')
"""
MAP = """
[users]
adapter = "postgres"
dsn_env = "SHOP_DSN"
table = "shop.customers"
[users.columns]
id = { from = "id", as = "uuid8" }
email = { from = "mail", as = "text" }
legacy_password_hash = { from = "pw", as = "password" }
display_name = { from = "name", as = "text" }
created_at = { from = "created", as = "timestamp" }
updated_at = { from = "updated", as = "timestamp" }
[users.columns.status]
from = "is_active"
as = "map"
map = { true = "active", false = "disabled" }
back = { active = true, disabled = false, deleted = false }
"""


def rows(rounds: int, count: int) -> list[Row]:
    """Measure on a stage of its own."""
    with Stage() as stage:
        print(f"B12: {count:,} rows come over", flush=True)
        return _moved(stage, rounds, count)


def _moved(stage: Stage, rounds: int, rows: int) -> list[Row]:
    """Bring `rows` over once, then compare both sides `rounds` times."""
    (WORK / "legacy.toml").write_text(MAP, "utf-8")
    with psycopg.connect(stage.owner_url, autocommit=True) as conn:
        conn.execute(SHOP.format(rows=rows).encode())
        conn.execute(_flask(stage, "legacy", "prepare", "--sql", "--tenant", MOVED).encode())
    _flask(stage, "legacy", "attach", "users", "--tenant", MOVED, "--reason", "bench")
    _flask(stage, "legacy", "advance", "users", "--tenant", MOVED, "--reason", "bench")
    began = time.perf_counter()
    _flask(stage, "legacy", "backfill", "users", "--tenant", MOVED)
    per_s = rows / (time.perf_counter() - began)
    print(f"  backfill: {per_s:,.0f} rows/s", flush=True)
    with psycopg.connect(stage.owner_url, autocommit=True) as conn:
        conn.execute("VACUUM ANALYZE users")
    took = [_compared(stage, rows) for _ in range(rounds)]
    at = {"target": 15 * rows / 1e6, "goal": 3 * rows / 1e6}
    return [
        Row("B12", f"compare {rows:,} rows a side, s", Figure.of(took), at_most=True, **at),
        Row("", "backfill, rows/s", Figure.of([per_s]), target=5_000, goal=30_000),
    ]


def _compared(stage: Stage, rows: int) -> float:
    said = _flask(stage, "verify-drift", "users", "--tenant", MOVED, "--json")
    report: dict[str, Any] = json.loads(said.splitlines()[0])
    report = report["runs"][0]
    if not report["clean"] or report["rows"] != {"truth": rows, "follower": rows}:
        raise BenchError(f"the comparison found {said}")
    print(f"  comparison: {report['duration_ms'] / 1000:.1f} s", flush=True)
    return float(report["duration_ms"]) / 1000


def _flask(stage: Stage, *words: str) -> str:
    environment = {
        **stage.inherited,
        "LEGACY_CONFIG": str(WORK / "legacy.toml"),
        "SHOP_DSN": stage.owner_url,
        "FEATURE_DUAL_WRITE_USERS": "true",
        "LOG_LEVEL": "error",
    }
    done = subprocess.run(
        [sys.executable, "-m", "flask", *words],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise BenchError(f"{' '.join(words)}: exit {done.returncode}: {done.stdout}{done.stderr}")
    return done.stdout
