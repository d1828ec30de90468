"""B3: the service's own SQL files sent by pgbench, with the service's own session settings.

What pgbench reaches is what is left when Python costs nothing: the ceiling of this design.
"""

from __future__ import annotations

import os
import re
import subprocess
import time
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, unquote, urlsplit

from bench.measure import Sample
from bench.processes import BenchError
from bench.stage import CURRENCY, TENANT, USER_HEAD, USERS, WORK
from persistence.db import Database, DbSettings
from persistence.embedded_postgres import binaries
from persistence.sql_files import ROOT as SQL

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from bench.stage import Stage

# Ids grow within a run and are shared out between clients, as the service's UUIDs of version 7.
ID = "lpad(to_hex(:{}::bigint), 32, '0')"
HEADER = """\
\\set n :n + 64
\\set id :began + :n + :client_id
\\set user random(1, {users})
\\set create_key random(1, 9000000000000000000)
\\set capture_key random(1, 9000000000000000000)
"""
# The parameters that differ from call to call; those that the load leaves out are NULL, as psycopg
# sends it; all others are VALUES, sent as parameters too.
EXPRESSIONS = {
    "payment_id": ID.format("id"),
    "capture_id": ID.format("id"),
    "transaction_id": ID.format("id"),
    "user_id": f"('{USER_HEAD}' || lpad(to_hex(:user::bigint), 12, '0'))",
    "stripe": ":client_id",
    "reference": "NULL",
    "description": "NULL",
    "final": "NULL",
}
CREATE = {"key": "'c' || :create_key", "amount_minor": "1000", "currency": f"'{CURRENCY}'"}
CAPTURE = {"key": "'d' || :capture_key", "amount_minor": "0", "currency": "NULL"}
VALUES = {
    "tenant_id": TENANT,
    "capture_method": "manual",
    "metadata": "{}",
    "scope": "key:bench",
    "operation": "POST /v1/payments/00000000-0000-0000-0000-000000000000/capture",
    "fingerprint": "\\x" + "5a" * 32,
    "fingerprint_version": "1",
    "ttl_s": "2592000",
    "actor": "key:bench",
    "request_id": "00000000-0000-0000-0000-000000000000",
    "duplicate_window_s": "60",
    "if_match": "0",
    "authorize": "false",
    "fee_minor": "0",
    "ledger": "true",
    "authorization_ttl_s": "604800",
}


def pair() -> str:
    """Return the pgbench script: one create and one capture of what it made."""
    create = translated((SQL / "payments/create.sql").read_text("utf-8"), CREATE)
    capture = translated((SQL / "payments/capture.sql").read_text("utf-8"), CAPTURE)
    return HEADER.format(users=USERS) + create + capture


def translated(text: str, own: dict[str, str]) -> str:
    """Rewrite psql's :'name' into pgbench's :name.

    pgbench takes `:clearing` inside of a literal for a variable as well, so a literal's colon is
    written as its octal escape; comments go, as they may hold anything.
    """
    bare = re.sub(r"^\s*--.*\n", "", text, flags=re.MULTILINE)
    marked = re.sub(r":'(\w+)'", r"@\1@", bare)
    escaped = re.sub(r"'[^']*'", _without_colon, marked)
    given = {**{name: f":{name}" for name in VALUES}, **EXPRESSIONS, **own}
    return re.sub(r"@(\w+)@", lambda m: f"({given[m[1]]})", escaped)


def _without_colon(literal: re.Match[str]) -> str:
    return "E" + literal[0].replace(":", "\\072") if ":" in literal[0] else literal[0]


def session_settings(url: str) -> dict[str, str]:
    """Ask a connection of the service what it has set for its session."""
    db = Database(url, DbSettings(pool_size=1))
    raw = db.connections.connect()
    try:
        found = raw.execute("SELECT name, setting FROM pg_settings WHERE source = 'session'")
        return dict(found.fetchall())
    finally:
        raw.close()
        db.close()


class Pgbench:
    """Rounds of pgbench on the stage's database: prepared statements, one thread."""

    def __init__(self, stage: Stage) -> None:
        self._script = WORK / "pair.sql"
        self._script.write_text(pair(), encoding="utf-8")
        self._environment = environment_of(stage)

    def round(self, clients: int, seconds: int) -> Sample:
        """Send pairs for a while; a request is half a pair."""
        values = {**VALUES, "n": "0", "began": str(time.time_ns() // 1000)}
        pairs = pgbench(self._script, self._environment, clients, seconds, values)
        return Sample(per_s=2 * pairs.per_s, requests=2 * pairs.requests, errors=pairs.errors)


def pgbench(
    script: Path,
    environment: Mapping[str, str],
    clients: int,
    seconds: int,
    values: Mapping[str, str],
) -> Sample:
    """Run a script for a while, prepared, by so many clients of one thread; count its runs."""
    command = [str(binaries(18) / "pgbench"), "-n", "-M", "prepared", "-f", str(script)]
    command += ["-c", str(clients), "-T", str(seconds)]
    command += [part for name, value in values.items() for part in ("-D", f"{name}={value}")]
    done = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    runs = re.search(r"number of transactions actually processed: (\d+)", done.stdout)
    tps = re.search(r"tps = ([\d.]+)", done.stdout)
    failed = re.search(r"number of failed transactions: (\d+)", done.stdout)
    if done.returncode != 0 or not (runs and tps and failed):
        raise BenchError(f"pgbench failed: {(done.stderr + done.stdout)[-2_000:]}")
    return Sample(per_s=float(tps[1]), requests=int(runs[1]), errors=int(failed[1]))


def environment_of(stage: Stage) -> dict[str, str]:
    """Say where the database is, and the session settings, in libpq's variables."""
    settings = session_settings(stage.servers.database_url or "")
    options = [f"-c {name}=" + value.replace(" ", "\\ ") for name, value in settings.items()]
    return {**libpq(stage.servers.database_url or ""), "PGOPTIONS": " ".join(options)}


def libpq(database_url: str) -> dict[str, str]:
    """Say where a database is in libpq's variables."""
    url = urlsplit(database_url)
    query = parse_qs(url.query)
    return {
        "PGHOST": query["host"][0],
        "PGPORT": query["port"][0],
        "PGUSER": url.username or "",
        "PGPASSWORD": unquote(url.password or ""),
        "PGDATABASE": url.path.removeprefix("/"),
    }
