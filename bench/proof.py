"""After the load: the money is where the answers say. Speed without that is worth nothing."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import psycopg
from psycopg.rows import dict_row

from bench.processes import BenchError
from bench.stage import ROOT
from persistence.checks import broken_rows
from persistence.db import Database, DbSettings

if TYPE_CHECKING:
    from bench.stage import Stage

# Each pair must be equal. Every payment of the load is made once, captured at most once, free of
# fees; of one capture come a key, an event, a transaction and two entries.
MONEY = """
SELECT
    (SELECT count(*) FROM payments) AS payments,
    (SELECT count(*) FROM payments WHERE status = 'captured') AS captured,
    (SELECT count(*) FROM payment_captures) AS captures,
    (SELECT count(*) FROM payment_events) AS events,
    (SELECT count(*) FROM idempotency_keys) AS keys,
    (SELECT count(*) FROM ledger_transactions) AS transactions,
    (SELECT count(*) FROM ledger_entries) AS entries,
    (SELECT coalesce(sum(captured_minor), 0)::bigint FROM payments) AS captured_minor,
    (SELECT sum(credits_posted)::bigint FROM ledger_balances WHERE normal_side = 1) AS owed_minor,
    (SELECT sum(debits_posted)::bigint FROM ledger_balances WHERE normal_side = -1) AS held_minor
"""


def prove(stage: Stage) -> dict[str, int]:
    """Return what was counted. Raises BenchError if payments, keys and ledger do not agree."""
    with psycopg.connect(stage.owner_url, row_factory=dict_row) as conn:
        found: dict[str, int] = conn.execute(MONEY).fetchone() or {}
    done = found["payments"] + found["captured"]
    agree = (
        found["captured"] == found["captures"] == found["transactions"]
        and found["entries"] == 2 * found["transactions"]
        and found["keys"] == found["events"] == done
        and found["captured_minor"] == found["owed_minor"] == found["held_minor"]
    )
    if not agree:
        raise BenchError(f"Payments, keys and ledger do not agree: {found}")
    _check_rules(stage)
    _replay(stage)
    return found


def _check_rules(stage: Stage) -> None:
    db = Database(stage.owner_url, DbSettings(pool_size=1))
    try:
        broken = {name: rows for name, rows in broken_rows(db) if rows}
    finally:
        db.close()
    if broken:
        raise BenchError(f"sql/checks have rows: {broken}")


def _replay(stage: Stage) -> None:
    command = [sys.executable, "-m", "flask", "replay-ledger", "--json"]
    done = subprocess.run(
        command, cwd=ROOT, env=stage.inherited, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise BenchError(f"flask replay-ledger: exit {done.returncode}: {done.stdout[-1_000:]}")
