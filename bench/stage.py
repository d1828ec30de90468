"""The stage of B1 to B3: durable servers of their own, a database for each side, users, a key."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self
from uuid import UUID

import psycopg

from bench.processes import BenchError, free_port, running, wait_for
from persistence.db import Database, DbSettings
from persistence.embedded import EmbeddedServers, EmbeddedSettings
from persistence.embedded_postgres import APP_ROLE, DATABASE, OWNER_ROLE, SUPERUSER
from repos import ledger
from services.actors import GRANTABLE
from services.api_keys import ApiKeys
from services.payment_commands import HOUSE_STRIPES

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / "bench" / "work"
TENANT, CURRENCY, GATEWAY = "default", "USD", "manual"
# Thousands of payers at random, as many accounts: opened before, as by each one's first capture.
USERS = 10_000
MAKE_USERS = """
INSERT INTO users (tenant_id, id, email, email_norm)
SELECT %(tenant)s, (%(head)s || lpad(to_hex(n), 12, '0'))::uuid, 'u' || n || '@example.com',
    'u' || n || '@example.com'
FROM generate_series(1, %(users)s) AS n
"""
FOUND_S, SURE = 60.0, 20  # So many answers in a row: there are two workers, and one answers.
USER_HEAD = "00000000-0000-7000-8000-"


class Stage:
    """PostgreSQL 18 and Valkey from the wheels, as `make run` starts them, in bench/work/var.

    fsync and synchronous_commit are on: the embedded servers know no other way.
    """

    def __init__(self) -> None:
        self.var = WORK / "var"
        self.servers = EmbeddedServers(EmbeddedSettings(self.var))
        self.api_key = ""
        self._ports: dict[str, int] = {}
        self.service_pid = 0
        self._open = contextlib.ExitStack()

    def __enter__(self) -> Self:
        WORK.mkdir(exist_ok=True)
        if (self.var / "run").is_dir() and not self.servers.stop():
            raise BenchError(f"Another benchmark uses {self.var}: wait for its end.")
        shutil.rmtree(self.var, ignore_errors=True)
        with contextlib.ExitStack() as opened:
            opened.enter_context(self.servers)
            self._migrate()
            self._fill()
            self._open = opened.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def url(self, role: str, database: str) -> str:
        """Return a URL of one of the stage's databases."""
        assert self.servers.postgres is not None  # noqa: S101 - the settings ask for it.
        return self.servers.postgres.url(role, database)

    @property
    def owner_url(self) -> str:
        """The service's database as the owner of its tables."""
        return self.url(OWNER_ROLE, DATABASE)

    @property
    def environment(self) -> dict[str, str]:
        """What the service is told: defaults, but for the stores and the ledger."""
        return {
            **self.servers.environment(),
            "MIGRATE_DATABASE_URL": self.owner_url,
            "VAR_DIR": str(self.var),
            "FEATURE_LEDGER_ENABLED": "true",
            "FLASK_SKIP_DOTENV": "1",
            "LOG_FORMAT": "json",
            # Counted as ever, and never reached: one key asks for all.
            "RATE_LIMIT_KEY_READ": "100000000/minute",
            "RATE_LIMIT_KEY_WRITE": "100000000/minute",
            "RATE_LIMIT_ANONYMOUS": "100000000/minute",
            # All log-ins come from one address.
            "LOGIN_IP_PER_MINUTE": "100000",
        }

    @property
    def inherited(self) -> dict[str, str]:
        """The whole environment of a command of the service."""
        return {**os.environ, **self.environment}

    def service(self, database: str = DATABASE) -> int:
        """Start the service over a database as gunicorn.conf.py has it; return its port."""
        if database in self._ports:
            return self._ports[database]
        port = free_port()
        command = [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py", "wsgi:app"]
        environment = {**self.environment, **self._stores(database), "PORT": str(port)}
        self.service_pid = self._start(f"service-{database}", command, ROOT, environment)
        self._ports[database] = port
        if self.servers.redis_url:
            self.find_redis(database)
        return port

    def find_redis(self, database: str = DATABASE) -> None:
        """Wait until every worker of a service uses Redis: without it all figures are others."""
        ends, sure = time.monotonic() + FOUND_S, 0
        while sure < SURE:
            sure = sure + 1 if self._redis_state(database) == "closed" else 0
            if time.monotonic() > ends:
                raise BenchError("The service does not find Redis.")
            time.sleep(0.02)

    def _redis_state(self, database: str) -> str:
        connection = http.client.HTTPConnection("127.0.0.1", self._ports[database], timeout=5)
        try:
            connection.request("GET", "/healthz")
            return str(json.loads(connection.getresponse().read())["redis"]["state"])
        finally:
            connection.close()

    def copy(self, database: str) -> None:
        """Make a database that holds what the service's holds now."""
        with psycopg.connect(self.url(SUPERUSER, "postgres"), autocommit=True) as conn:
            conn.execute(f"CREATE DATABASE {database} TEMPLATE {DATABASE} OWNER {OWNER_ROLE}")

    def _stores(self, database: str) -> dict[str, str]:
        """Two services that share Redis would each take the other's database for a restored one."""
        number = 0 if database == DATABASE else 1
        return {
            "DATABASE_URL": self.url(APP_ROLE, database),
            "REDIS_URL": f"{self.servers.redis_url}&db={number}",
        }

    def bare_flask(self, yardsticks: Path) -> int:
        """Start Flask with a route that does nothing; return its port."""
        port = free_port()
        command = [sys.executable, "-m", "gunicorn", "-b", f"127.0.0.1:{port}", "-k", "gthread"]
        command += ["-w", "2", "--threads", "8", "--log-level", "error", "hello:app"]
        self._start("bare-flask", command, yardsticks, {"PORT": str(port)})
        return port

    def peer(self, yardsticks: Path) -> int:
        """Start the peer with its own database on the same servers; return its port."""
        folder = WORK / "peer-kysely"
        shutil.copytree(yardsticks / "peer-kysely", folder, dirs_exist_ok=True)
        if not (folder / "node_modules").is_dir():
            _call(["npm", "ci", "--no-audit", "--no-fund"], cwd=folder)
        with psycopg.connect(self.url(SUPERUSER, "postgres"), autocommit=True) as conn:
            conn.execute(f"CREATE DATABASE peer OWNER {OWNER_ROLE}")
        with psycopg.connect(self.url(OWNER_ROLE, "peer"), autocommit=True) as conn:
            conn.execute((folder / "schema.sql").read_bytes())
        port = free_port()
        environment = {"DSN": self.url(OWNER_ROLE, "peer"), "REDIS": self._redis_path()}
        environment |= {"PORT": str(port), "WORKERS": "2", "POOL": "8"}
        self._start("peer", ["node", "server.mjs"], folder, environment)
        return port

    def _redis_path(self) -> str:
        """Write Valkey's URL as ioredis reads a Unix socket: a path with a password."""
        return (self.servers.redis_url or "").removeprefix("unix://")

    def _start(self, name: str, command: list[str], cwd: Path, env: Mapping[str, str]) -> int:
        log = WORK / f"{name}.log"
        log.unlink(missing_ok=True)
        child = self._open.enter_context(running(command, log=log, cwd=cwd, env=env))
        wait_for(child, int(env["PORT"]), log)
        return child.pid

    def _migrate(self) -> None:
        _call([sys.executable, "-m", "flask", "migrate"], cwd=ROOT, env=self.environment)

    def _fill(self) -> None:
        """Make users with their accounts, and a key that may do everything."""
        with psycopg.connect(self.owner_url, autocommit=True) as conn:
            facts = {"tenant": TENANT, "head": USER_HEAD, "users": USERS}
            conn.execute(MAKE_USERS, facts)
        db = Database(self.servers.database_url or "", DbSettings(pool_size=1))
        try:
            for number in range(1, USERS + 1):
                _open_accounts(db, UUID(f"{USER_HEAD}{number:012x}"))
            _, self.api_key = ApiKeys(db).create(TENANT, "bench", sorted(GRANTABLE), "system:bench")
        finally:
            db.close()
        with psycopg.connect(self.owner_url, autocommit=True) as conn:
            # Only what was filled: a table that was analysed while it was empty has no good plan.
            conn.execute("VACUUM ANALYZE users, ledger_accounts, ledger_balances")


def _open_accounts(db: Database, user_id: UUID) -> None:
    codes = [f"users:{user_id}:available", f"gateways:{GATEWAY}:clearing", "platform:fees"]
    with db.write() as conn:
        ledger.open_accounts(
            conn,
            tenant_id=TENANT,
            currency=CURRENCY,
            user_id=user_id,
            codes=codes,
            house_stripes=HOUSE_STRIPES,
        )


def _call(command: list[str], cwd: Path, env: Mapping[str, str] | None = None) -> None:
    done = subprocess.run(
        command, cwd=cwd, env={**os.environ, **(env or {})}, capture_output=True, check=False
    )
    if done.returncode != 0:
        raise BenchError(f"{command} failed: {done.stderr.decode()[-1_000:]}")
