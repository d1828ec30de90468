"""B13: do a statement's page and a balance, now and in the past, cost more as an account grows?

Accounts with 10^3 entries and more are asked the same in turn, by the service's own statements on a
connection of its pool.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

import psycopg

from bench.measure import Sample, alternate, ratio
from bench.processes import BenchError
from bench.report import Row
from bench.stage import CURRENCY, TENANT
from persistence.db import Database, DbSettings
from repos import ledger

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.stage import Stage
    from persistence.db import Conn

FEWEST = 1_000
PAGE = 50
CALLS = 300
BATCH = 100_000
START = datetime(2026, 1, 1, tzinfo=UTC)
STEP = timedelta(milliseconds=1)
OPEN = """
INSERT INTO ledger_accounts (tenant_id, code, currency, normal_side)
VALUES (%(tenant)s, %(code)s, %(currency)s, 1), (%(tenant)s, %(code)s || ':other', %(currency)s, 1)
"""
# Entry n of an account is of moment n, a credit of 1: what postings would have written.
FILL = """
WITH made AS (
    INSERT INTO ledger_transactions (
        tenant_id, id, kind, status, posted_at, effective_at, debit_accounts, credit_accounts,
        amounts, actor, request_id
    )
    SELECT
        %(tenant)s, gen_random_uuid(), 'post', 'applied', x.at, x.at, ARRAY[o.account_id],
        ARRAY[a.account_id], ARRAY[1::bigint], 'key:bench', '-'
    FROM (
        SELECT %(start)s::timestamptz + n * interval '1 ms' AS at
        FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS n
    ) AS x
    INNER JOIN ledger_accounts AS a ON a.tenant_id = %(tenant)s AND a.code = %(code)s
    INNER JOIN ledger_accounts AS o ON o.tenant_id = %(tenant)s AND o.code = %(code)s || ':other'
    RETURNING id, posted_at, debit_accounts[1] AS debit, credit_accounts[1] AS credit
)
INSERT INTO ledger_entries (
    tenant_id, account_id, posted_at, version, tx_id, leg, side, posted, effective_at, balance_after
)
SELECT
    %(tenant)s, v.account_id, m.posted_at, v.n, m.id, 1, v.side, 1, m.posted_at, v.side * v.n
FROM (
    SELECT
        *, %(first)s::bigint - 1 + row_number() OVER (ORDER BY posted_at) AS n FROM made
) AS m
CROSS JOIN LATERAL (VALUES (m.credit, 1, m.n), (m.debit, -1, m.n)) AS v (account_id, side, n)
"""
BALANCES = """
INSERT INTO ledger_balances (
    tenant_id, account_id, currency, normal_side, floor, debits_posted, credits_posted, version,
    last_posted_at
)
SELECT
    %(tenant)s, a.account_id, %(currency)s, 1, NULL,
    CASE WHEN a.code = %(code)s THEN 0 ELSE %(last)s::bigint END,
    CASE WHEN a.code = %(code)s THEN %(last)s::bigint ELSE 0 END, %(last)s::bigint,
    %(start)s::timestamptz + %(last)s::bigint * interval '1 ms'
FROM ledger_accounts AS a
WHERE a.tenant_id = %(tenant)s AND a.code IN (%(code)s, %(code)s || ':other')
"""


@dataclass(frozen=True)
class Account:
    """An account with so many entries."""

    entries: int

    @property
    def code(self) -> str:
        """Its name."""
        return f"deep:{self.entries}"

    def moment(self, rng: random.Random) -> str:
        """Return some moment of its past."""
        return (START + rng.randint(PAGE, self.entries) * STEP).isoformat()


Question = tuple[str, "Callable[[Conn, Account, random.Random], None]"]


def depths(stage: Stage, rounds: int, most: int) -> list[Row]:
    """Ask accounts of 1,000 entries up to `most`; return B13's rows: the largest over the least."""
    sizes = [FEWEST]
    while sizes[-1] * 10 <= most:
        sizes.append(sizes[-1] * 10)
    accounts = [Account(size) for size in sizes]
    for account in accounts:
        _fill(stage, account)
    db = Database(stage.servers.database_url or "", DbSettings(pool_size=1))
    try:
        found = alternate(
            {
                f"{what}, {account.entries:,} entries": partial(_round, db, ask, account)
                for what, ask in QUESTIONS
                for account in accounts
            },
            rounds,
        )
    finally:
        db.close()
    rows = []
    for what, _ in QUESTIONS:
        speeds = [[one.per_s for one in found[f"{what}, {size:,} entries"]] for size in sizes]
        name = f"{what}: time with {sizes[-1]:,} entries over {FEWEST:,}"
        rows.append(Row("B13", name, ratio(speeds[0], speeds[-1]), 1.5, 1.1, at_most=True))
    return rows


def _page(conn: Conn, account: Account, rng: random.Random) -> None:
    rows = ledger.list_entries(
        conn,
        tenant_id=TENANT,
        code=account.code,
        currency=CURRENCY,
        owner_id=None,
        side=0,
        start_at=(START + rng.randint(0, account.entries - PAGE) * STEP).isoformat(),
        start_version=account.entries,
        start_stripe=0,
        end_at="infinity",
        scan_rows=1_000,
        row_limit=PAGE,
    )
    if not rows[0].tx_id:
        raise BenchError("A page is empty.")


def _newest(conn: Conn, account: Account, _: random.Random) -> None:
    rows = ledger.list_entries_backwards(
        conn,
        tenant_id=TENANT,
        code=account.code,
        currency=CURRENCY,
        owner_id=None,
        side=0,
        start_at="infinity",
        start_version=0,
        start_stripe=0,
        end_at="-infinity",
        scan_rows=1_000,
        row_limit=PAGE,
    )
    if rows[0].version != account.entries:
        raise BenchError(f"The newest entry is {rows[0].version}, not {account.entries}.")


def _now(conn: Conn, account: Account, _: random.Random) -> None:
    (row,) = ledger.get_balance(
        conn, tenant_id=TENANT, code=account.code, currency=CURRENCY, owner_id=None
    )
    if row.posted_minor != account.entries:
        raise BenchError(f"The balance is {row.posted_minor}, not {account.entries}.")


def _then(conn: Conn, account: Account, rng: random.Random) -> None:
    (row,) = ledger.get_balance_as_of(
        conn,
        tenant_id=TENANT,
        code=account.code,
        currency=CURRENCY,
        owner_id=None,
        as_of=account.moment(rng),
    )
    if row.posted_minor != row.version:
        raise BenchError(f"The balance after entry {row.version} is {row.posted_minor}.")


def _effective(conn: Conn, account: Account, rng: random.Random) -> None:
    (row,) = ledger.get_balance_effective(
        conn,
        tenant_id=TENANT,
        code=account.code,
        currency=CURRENCY,
        owner_id=None,
        effective_at=account.moment(rng),
        known_at="infinity",
    )
    if not PAGE <= row.posted_minor <= account.entries:
        raise BenchError(f"The effective balance is {row.posted_minor}.")


QUESTIONS: tuple[Question, ...] = (
    ("a page of the statement", _page),
    ("its newest page", _newest),
    ("the balance", _now),
    ("the balance at a moment", _then),
    ("the effective balance", _effective),
)


def _round(
    db: Database, ask: Callable[[Conn, Account, random.Random], None], account: Account
) -> Sample:
    rng = random.Random(account.entries)
    began = time.monotonic()
    for _ in range(CALLS):
        with db.read() as conn:
            ask(conn, account, rng)
    return Sample(per_s=CALLS / (time.monotonic() - began), requests=CALLS)


def _fill(stage: Stage, account: Account) -> None:
    facts = {"tenant": TENANT, "currency": CURRENCY, "code": account.code, "start": START}
    with psycopg.connect(stage.owner_url, autocommit=True) as conn:
        conn.execute(OPEN, facts)
        for first in range(1, account.entries + 1, BATCH):
            last = min(first + BATCH - 1, account.entries)
            conn.execute(FILL, {**facts, "first": first, "last": last})
        conn.execute(BALANCES, {**facts, "last": account.entries})
        conn.execute("VACUUM ANALYZE ledger_transactions, ledger_entries, ledger_balances")
    print(f"  {account.entries:,} entries stored", flush=True)
