"""The service as real processes, and a client that repeats each request until it is answered."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from persistence.db import Database, DbSettings
from persistence.embedded_process import alive, wait_until
from services.actors import GRANTABLE
from services.api_keys import ApiKeys
from services.users import Users
from tests.world import new_key

if TYPE_CHECKING:
    from types import TracebackType

    from persistence.embedded import EmbeddedServers

ROOT = Path(__file__).resolve().parent.parent.parent
# A busy machine starts workers slowly; no test fails because of that.
PATIENCE_S = float(os.environ.get("FAULT_PATIENCE_S", "150"))
SUBJECT = "cli:test"


def free_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def children_of(pid: int) -> list[int]:
    """Return the pids of its child processes."""
    return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


class Service:
    """gunicorn with two workers over the given stores."""

    # Not `python -m gunicorn`: USR2 starts it by its path, and its own `http` hides Python's then.
    command = (
        str(Path(sys.executable).with_name("gunicorn")),
        "-c",
        "gunicorn.conf.py",
        "wsgi:app",
    )

    def __init__(
        self, servers: EmbeddedServers, var_dir: Path, redis_url: str | None, **settings: str
    ) -> None:
        database_url = servers.database_url
        assert database_url is not None
        self.database_url = database_url
        self.port = free_port()
        self._environ = {
            **os.environ,
            "BIND": f"127.0.0.1:{self.port}",
            "DATABASE_URL": database_url,
            "REDIS_URL": redis_url or servers.redis_url or "off",
            "VAR_DIR": str(var_dir),
            "FEATURE_LEDGER_ENABLED": "true",
            "WEB_CONCURRENCY": "2",
            "LOG_LEVEL": "error",
            "RATE_LIMIT_KEY_READ": "1000000/minute",
            "RATE_LIMIT_KEY_WRITE": "1000000/minute",
            **settings,
        }
        var_dir.parent.mkdir(parents=True, exist_ok=True)
        self.output = var_dir.parent / "service.log"
        self.pid = 0
        self._process: subprocess.Popen[bytes] | None = None
        self.user_id, self.api_key = self._client()

    def _client(self) -> tuple[str, str]:
        db = Database(self.database_url, DbSettings(pool_size=1))
        user = Users(db).create("default", f"{new_key()}@example.org", SUBJECT)
        _, api_key = ApiKeys(db).create("default", "faults", sorted(GRANTABLE), SUBJECT)
        db.close()
        return str(user.id), api_key

    def __enter__(self) -> Self:
        with self.output.open("ab") as output:
            self._process = subprocess.Popen(
                self.command, cwd=ROOT, env=self._environ, stdout=output, stderr=output
            )
        self.pid = self._process.pid
        until = time.monotonic() + PATIENCE_S
        while not self._answers():
            assert time.monotonic() < until, self.output.read_text()[-3000:]
            time.sleep(0.05)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGTERM)
        self._process.wait(PATIENCE_S)
        assert wait_until(lambda: not alive(self.pid), PATIENCE_S)

    def connection(self) -> http.client.HTTPConnection:
        """Return a new connection of a client."""
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)

    def flask(self, *arguments: str) -> None:
        """Run a command beside it, however slow the machine is; it has to end well."""
        patient = {"DB_POOL_TIMEOUT_MS": "60000", "DB_CONNECT_TIMEOUT_S": "60"}
        done = subprocess.run(
            [sys.executable, "-m", "flask", *arguments],
            cwd=ROOT,
            env=self._environ | patient,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def durations_ms(self, start: int) -> list[float]:
        """Return how long it says that each request took since its log had `start` bytes."""
        return [line["duration_ms"] for line in self.lines(start) if line["event"] == "request"]

    def lines(self, start: int = 0) -> list[dict[str, Any]]:
        """Return what it has written: its own lines and gunicorn's, but for one half written."""
        texts = self.output.read_bytes()[start:].decode().splitlines()
        return [json.loads(text) for text in texts if text[:1] + text[-1:] == "{}"]

    def _answers(self) -> bool:
        client = Client(self)
        try:
            return client.send("GET", "/livez", None, None)[0] == 200
        except OSError:
            return False
        finally:
            client.close()

    def workers(self) -> list[int]:
        """Return the pids of gunicorn's workers."""
        return children_of(self.pid)

    def kill_worker(self, which: int) -> None:
        """Kill one worker as the kernel would: without a word."""
        workers = self.workers()
        if workers:
            os.kill(workers[which % len(workers)], signal.SIGKILL)


@dataclass
class Client:
    """One client, one connection at a time. `acknowledged`: what it was told, by key."""

    service: Service
    acknowledged: dict[str, dict[str, Any]] = field(default_factory=dict)
    statuses: list[int] = field(default_factory=list)
    _connection: http.client.HTTPConnection | None = None

    def pay(self, amount_minor: int) -> None:
        """Create and capture a payment, and refund a part of every other one.

        Each request is repeated with its key until it is told.
        """
        body = {"amount_minor": amount_minor, "currency": "EUR", "user_id": self.service.user_id}
        path = f"/v1/payments/{self.insist('/v1/payments', body)['id']}"
        self.insist(f"{path}/capture", {"fee_minor": 1})
        if amount_minor % 2:
            self.insist(f"{path}/refunds", {"amount_minor": 2, "fee_minor": 1})

    def insist(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Send a POST until it is answered with 2xx; a 4xx that is not retryable is a failure."""
        key, until = new_key(), time.monotonic() + PATIENCE_S
        while time.monotonic() < until:
            try:
                status, answer = self.send("POST", path, body, key)
            except (OSError, http.client.HTTPException):
                continue
            self.statuses.append(status)
            if status < 300:
                self.acknowledged[key] = answer
                return answer
            assert answer["retryable"], answer
            time.sleep(0.01)
        raise AssertionError(f"no answer within {PATIENCE_S} s: {path}")

    def send(
        self, method: str, path: str, body: dict[str, Any] | None, key: str | None
    ) -> tuple[int, dict[str, Any]]:
        """Send one request and return status and JSON. Raises OSError, HTTPException."""
        if self._connection is None:
            self._connection = self.service.connection()
        headers = {"Authorization": f"Bearer {self.service.api_key}"}
        if key is not None:
            headers |= {"Idempotency-Key": key, "Content-Type": "application/json"}
        content = None if body is None else json.dumps(body)
        try:
            self._connection.request(method, path, content, headers)
            response = self._connection.getresponse()
            return response.status, json.loads(response.read())
        except BaseException:
            self.close()
            raise

    def export(self) -> tuple[int, int, dict[str, Any]]:
        """Read all payments and return status, bytes and the last line."""
        link = http.client.HTTPConnection("127.0.0.1", self.service.port, timeout=PATIENCE_S)
        headers = {"Authorization": f"Bearer {self.service.api_key}"}
        link.request("GET", "/v1/payments/export", None, headers)
        response, read, line = link.getresponse(), 0, b""
        for line in response:
            read += len(line)
        link.close()
        return response.status, read, json.loads(line)

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
