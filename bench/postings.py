"""B4: transfers in SQL, against pgledger's on the same server: uniform, and one hot account.

pgledger's SQL is not here: `--pgledger` names a checkout of it. Without one ours runs alone.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import psycopg

from bench.in_sql import ID, VALUES, environment_of, libpq, pgbench, translated
from bench.measure import Figure, Sample, alternate, ratio
from bench.processes import BenchError
from bench.report import Row
from bench.stage import CURRENCY, TENANT, WORK
from persistence.embedded_postgres import OWNER_ROLE, SUPERUSER
from persistence.sql_files import ROOT as SQL

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from bench.measure import Rounds
    from bench.stage import Stage

ACCOUNTS = 1_000
CLIENTS = 8
STRIPES = 16
WARM_UP_S = 4
HOT, STRIPED = "hot", "striped"
OPEN = """
WITH opened AS (
    INSERT INTO ledger_accounts (tenant_id, code, currency, normal_side, stripes)
    SELECT %(tenant)s, x.code, %(currency)s, 1, x.stripes
    FROM (
        SELECT 'a' || n AS code, 1 AS stripes FROM generate_series(1, %(accounts)s) AS n
        UNION ALL VALUES (%(hot)s, 1), (%(striped)s, %(stripes)s)
    ) AS x
    ON CONFLICT DO NOTHING
    RETURNING tenant_id, account_id, currency, normal_side, stripes
)
INSERT INTO ledger_balances (tenant_id, account_id, stripe, currency, normal_side, floor)
SELECT o.tenant_id, o.account_id, n, o.currency, o.normal_side, NULL
FROM opened AS o CROSS JOIN LATERAL generate_series(0, o.stripes - 1) AS n
"""
PGLEDGER = ("vendor/scoville-pgsql-ulid/ulid-to-uuid.sql",
            "vendor/scoville-pgsql-ulid/uuid-to-ulid.sql", "pgledger.sql")  # fmt: skip
OPEN_THERE = """
INSERT INTO pgledger_accounts (
    id, name, currency, allow_negative_balance, allow_positive_balance, created_at, updated_at
)
SELECT x.id, x.id, %(currency)s, true, true, now(), now()
FROM (
    SELECT 'a' || n AS id FROM generate_series(1, %(accounts)s) AS n UNION ALL VALUES (%(hot)s)
) AS x
"""
# A sender at random; the receiver is another one, or the hot account.
HEADER = f"""\
\\set n :n + 64
\\set id :began + :n + :client_id
\\set d random(1, {ACCOUNTS})
\\set c 1 + (:d + random(0, {ACCOUNTS - 2})) % {ACCOUNTS}
"""
UNIFORM = "'a' || :c"


@dataclass
class Contender:
    """One ledger with one load. It counts its log and its deadlocks beside the transfers."""

    url: str
    script: Path
    environment: Mapping[str, str]
    values: Mapping[str, str]
    wal_bytes: int = 0
    transfers: int = 0

    def round(self, seconds: int) -> Sample:
        """Send transfers for a while."""
        values = {**self.values, "n": "0", "began": str(time.time_ns() // 1000)}
        with psycopg.connect(self.url, autocommit=True) as conn:
            before = _wal(conn)
            sample = pgbench(self.script, self.environment, CLIENTS, seconds, values)
            self.wal_bytes += _wal(conn) - before
        self.transfers += sample.requests
        return sample

    @property
    def deadlocks(self) -> int:
        """How many the database has met so far."""
        query = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
        with psycopg.connect(self.url) as conn:
            row = conn.execute(query).fetchone()
        return int(row[0]) if row else 0


def transfers(stage: Stage, pgledger: Path | None, rounds: int, seconds: int) -> list[Row]:
    """Let both ledgers transfer in turn; return B4's rows."""
    ours = _ours(stage)
    contenders = {f"ours, {load}": each for load, each in ours.items()}
    if pgledger is not None:
        theirs = _theirs(stage, pgledger)
        contenders |= {f"pgledger, {load}": each for load, each in theirs.items()}
    with psycopg.connect(stage.url(SUPERUSER, "postgres"), autocommit=True) as conn:
        conn.execute("CHECKPOINT")  # It logs whole pages anew; most are by the end of the warm-up.
    for each in contenders.values():
        each.round(WARM_UP_S)
        each.wal_bytes = each.transfers = 0
    runs = {name: partial(each.round, seconds) for name, each in contenders.items()}
    found = alternate(runs, rounds)
    rows = [Row("B4", f"{name}, transfers/s", _speed(found, name)) for name in contenders]
    if pgledger is not None:
        rows += _ratios(found, contenders)
    deadlocks = Figure((float(max(each.deadlocks for each in ours.values())),))
    return [*rows, Row("", "deadlocks of ours", deadlocks, target=0, goal=0, at_most=True)]


def _ratios(found: Rounds, contenders: Mapping[str, Contender]) -> list[Row]:
    def over(load: str, other: str) -> Figure | None:
        pair = (f"ours, {load}", f"pgledger, {other}")
        return ratio(*([sample.per_s for sample in found[name]] for name in pair))

    ours, theirs = contenders["ours, uniform"], contenders["pgledger, uniform"]
    logged = (ours.wal_bytes / ours.transfers) / (theirs.wal_bytes / theirs.transfers)
    return [
        Row("", "ratio, uniform", over("uniform", "uniform"), target=1.3, goal=2),
        Row("", "ratio, one hot account of one row", over("hot", "hot")),
        Row("", f"ratio, one hot account of {STRIPES} rows", over("striped", "hot"), 2, 8),
        Row("", "ratio, bytes of log a transfer", Figure((logged,)), 0.8, 0.6, at_most=True),
    ]


def _speed(found: Rounds, name: str) -> Figure | None:
    return Figure.of([sample.per_s for sample in found[name]])


def _wal(conn: psycopg.Connection[Any]) -> int:
    row = conn.execute("SELECT pg_current_wal_insert_lsn() - '0/0'").fetchone()
    return int(row[0]) if row else 0


# --- Ours ---------------------------------------------------------------------------------------


def open_accounts(stage: Stage) -> None:
    """Open the accounts a1 to a1000 and the hot ones, unless they are there."""
    facts = {"tenant": TENANT, "currency": CURRENCY, "accounts": ACCOUNTS, "hot": HOT,
             "striped": STRIPED, "stripes": STRIPES}  # fmt: skip
    with psycopg.connect(stage.owner_url, autocommit=True) as conn:
        conn.execute(OPEN, facts)
        conn.execute("VACUUM ANALYZE ledger_accounts, ledger_balances")


def _ours(stage: Stage) -> dict[str, Contender]:
    open_accounts(stage)
    text = (SQL / "postings/transfer.sql").read_text("utf-8")
    found = {}
    for load, credit in (("uniform", UNIFORM), (HOT, f"'{HOT}'"), (STRIPED, f"'{STRIPED}'")):
        own = {"id": ID.format("id"), "debit": "'a' || :d", "credit": credit, "kind": "'post'",
               "currency": f"'{CURRENCY}'", "amount_minor": "1", "key": "NULL",
               "metadata": "NULL", "metadata_hash": "NULL", "request_hash": ":fingerprint",
               "answer": "'{}'"}  # fmt: skip
        script = WORK / f"transfer-{load}.sql"
        script.write_text(HEADER + translated(text, own), encoding="utf-8")
        url = stage.url(SUPERUSER, "strongroom")
        found[load] = Contender(url, script, environment_of(stage), VALUES)
    return found


# --- pgledger -----------------------------------------------------------------------------------


def _theirs(stage: Stage, checkout: Path) -> dict[str, Contender]:
    with psycopg.connect(stage.url(SUPERUSER, "postgres"), autocommit=True) as conn:
        conn.execute(f"CREATE DATABASE pgledger OWNER {OWNER_ROLE}")
    url = stage.url(SUPERUSER, "pgledger")
    with psycopg.connect(url) as conn:
        for name in PGLEDGER:
            if not (checkout / name).is_file():
                raise BenchError(f"{checkout} is no checkout of pgledger: {name} is missing.")
            conn.execute((checkout / name).read_bytes(), prepare=False)
        conn.execute(OPEN_THERE, {"currency": CURRENCY, "accounts": ACCOUNTS, "hot": HOT})
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute("VACUUM ANALYZE")
    found = {}
    for load, credit in (("uniform", UNIFORM), (HOT, f"'{HOT}'")):
        script = WORK / f"pgledger-{load}.sql"
        call = f"SELECT id FROM pgledger_create_transfer('a' || :d, {credit}, 1);\n"
        script.write_text(HEADER + call, encoding="utf-8")
        found[load] = Contender(url, script, libpq(url), {})
    return found
