"""B6: `flask replay-ledger` on a large book: time and memory, and how they grow with the book."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import psycopg

from bench.measure import Figure
from bench.processes import BenchError
from bench.report import Row
from bench.stage import CURRENCY, ROOT, TENANT

if TYPE_CHECKING:
    from bench.stage import Stage

ACCOUNTS = 1_000
# Transfers around a ring of accounts: what postings would have written, in whole sets. Transfer n
# of account k is of moment n * 1,000 + k, so an account's debit is older than its credit.
OPEN = """
INSERT INTO ledger_accounts (tenant_id, code, currency, normal_side)
SELECT %(tenant)s, 'ring:' || n, %(currency)s, 1 FROM generate_series(1, %(accounts)s) AS n
"""
RING = """
CREATE TEMPORARY TABLE ring AS
SELECT
    gen_random_uuid() AS id, r.n, d.account_id AS debit, c.account_id AS credit,
    timestamptz '2026-01-01' + make_interval(secs => (r.n * %(accounts)s + k) / 1000.0) AS at,
    k = %(accounts)s AS wraps
FROM generate_series(0, %(rounds)s - 1) AS r (n)
CROSS JOIN generate_series(1, %(accounts)s) AS k
INNER JOIN ledger_accounts AS d ON d.tenant_id = %(tenant)s AND d.code = 'ring:' || k
INNER JOIN ledger_accounts AS c
    ON c.tenant_id = %(tenant)s AND c.code = 'ring:' || (k %% %(accounts)s + 1)
"""
HEADERS = """
INSERT INTO ledger_transactions (
    tenant_id, id, kind, status, posted_at, effective_at, debit_accounts, credit_accounts, amounts,
    actor, request_id
)
SELECT
    %(tenant)s, id, 'post', 'applied', at, at, ARRAY[debit], ARRAY[credit], ARRAY[1::bigint],
    'key:bench', '-'
FROM ring ORDER BY at
"""
ENTRIES = """
INSERT INTO ledger_entries (
    tenant_id, account_id, stripe, posted_at, version, tx_id, leg, side, posted, effective_at,
    balance_after
)
SELECT
    %(tenant)s, account_id, 0, at, row_number() OVER w, id, 1, side, 1, at, sum(side) OVER w
FROM (
    SELECT debit AS account_id, at, id, -1 AS side FROM ring
    UNION ALL SELECT credit, at, id, 1 FROM ring
) AS x
WINDOW w AS (PARTITION BY account_id ORDER BY at ROWS UNBOUNDED PRECEDING)
"""
BALANCES = """
INSERT INTO ledger_balances (
    tenant_id, account_id, stripe, currency, normal_side, floor, debits_posted, credits_posted,
    version, last_posted_at
)
SELECT
    %(tenant)s, e.account_id, 0, %(currency)s, 1, NULL, count(*) FILTER (WHERE e.side = -1),
    count(*) FILTER (WHERE e.side = 1), count(*), max(e.posted_at)
FROM ledger_entries AS e INNER JOIN ledger_accounts AS a USING (tenant_id, account_id)
WHERE e.tenant_id = %(tenant)s AND a.code LIKE 'ring:%%' GROUP BY e.account_id
"""
EMPTY = "TRUNCATE ledger_transactions, ledger_entries, ledger_balances, ledger_accounts CASCADE"


def replays(stage: Stage, entries: int) -> list[Row]:
    """Replay a book of so many entries, then one of twice as many; return B6's rows."""
    once_s, _ = _replayed(stage, entries)
    twice_s, memory = _replayed(stage, 2 * entries)
    return [
        Row("B6", f"replay of {entries:,} entries, s", Figure((once_s,))),
        Row("", f"replay of {2 * entries:,} entries, s", Figure((twice_s,))),
        Row("", "10 million entries at that rate, s", _of(twice_s * 5e6 / entries), 120, 20, True),
        Row("", "twice the entries, times the time", _of(twice_s / once_s), 2.2, 2, True),
        Row("", "memory of the command, MB", _of(memory), 200, 100, True),
    ]


def _of(value: float) -> Figure:
    return Figure((value,))


def _replayed(stage: Stage, entries: int) -> tuple[float, float]:
    """Return seconds and most megabytes of a replay of a new book."""
    facts = {"tenant": TENANT, "currency": CURRENCY, "accounts": ACCOUNTS,
             "rounds": entries // 2 // ACCOUNTS}  # fmt: skip
    with psycopg.connect(stage.owner_url, autocommit=True) as conn:
        for statement in (EMPTY, OPEN, RING, HEADERS, ENTRIES, BALANCES):
            conn.execute(statement, facts if "%(" in statement else None)
        conn.execute("VACUUM ANALYZE ledger_transactions, ledger_entries, ledger_balances")
    command = [sys.executable, "-m", "flask", "replay-ledger", "--no-progress"]
    began = time.monotonic()
    child = subprocess.Popen(command, cwd=ROOT, env=stage.inherited, stdout=subprocess.PIPE)
    assert child.stdout is not None  # noqa: S101 - it was asked for.
    said = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.monotonic() - began
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        raise BenchError(f"replay-ledger has found something: {said.decode()[-2_000:]}")
    print(f"  {entries:,}: {seconds:.1f} s, {usage.ru_maxrss / 1024:.0f} MB", flush=True)
    return seconds, usage.ru_maxrss / 1024
