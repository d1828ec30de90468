"""What tests of the access layer share: databases, statements made of text, ways to disturb."""

from __future__ import annotations

import contextlib
import socket
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Self

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

import observability
from persistence import sql_check, statements
from persistence.db import Database, DbSettings
from persistence.embedded_process import wait_until
from persistence.statements import Statement, statement

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from errors import AppError
    from persistence.db_connection import DeadlineConnection

PATIENCE_S = 10
PATIENT = {
    "pool_size": 1,
    "pool_timeout_ms": 20_000,
    "lock_timeout_ms": 20_000,
    "statement_timeout_ms": 30_000,
    "transaction_timeout_ms": 40_000,
    "idle_transaction_timeout_ms": 40_000,
    "request_deadline_ms": 50_000,
}
_BLOCKED = b"""
SELECT pid FROM pg_stat_activity
WHERE datname = current_database() AND wait_event_type = 'Lock' ORDER BY query_start
"""


class World:
    """One empty database, and everything that a test opens in it, closed at the end."""

    def __init__(self, url: str, directory: Path) -> None:
        self.url = url
        self._directory = directory
        self._opened: list[Database | Proxy] = []
        self._proxies: list[Proxy] = []
        self._threads = ThreadPoolExecutor(8)
        self.other = psycopg.connect(url, autocommit=True)
        self.new_context()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.other.close()
        self._threads.shutdown()
        for proxy in self._proxies:
            proxy.cut()
        for opened in reversed(self._opened):
            opened.close()
        self.new_context()

    def new_context(self) -> observability.Context:
        """Begin another request in this thread."""
        self.context = observability.begin(observability.Context())
        return self.context

    def database(self, url: str = "", **settings: Any) -> Database:
        """Make a Database with one connection and all the time of the world."""
        made = Database(url or self.url, DbSettings(**{**PATIENT, **settings}))
        self._opened.append(made)
        return made

    def ready(self, database: Database) -> Database:
        """Wait until the pool has all its connections."""
        size = database.connections.settings.pool_size
        assert wait_until(lambda: database.stats()["available"] == size, PATIENCE_S)
        return database

    def proxy(self) -> Proxy:
        """Put something between a database and its clients."""
        made = Proxy(self.url)
        self._opened.append(made)
        self._proxies.append(made)
        return made

    def statement(
        self,
        text: str,
        *,
        params: str = "none",
        kind: str = "read",
        returns: str = "one",
        row: Any = int,
        claims: bool = False,
    ) -> Statement[Any]:
        """Make a statement of the catalogue of `text`."""
        folder = self._directory / "t"
        folder.mkdir(exist_ok=True)
        name = f"t/s{len(list(folder.iterdir()))}"
        locks = " | locks: none" if kind == "write" else ""
        header = [f"{name}: a test's.", "why: a test.", f"params: {params}"]
        header += [f"kind: {kind} | returns: {returns}{locks}"] + ["claims: key"] * claims
        lines = [f"-- {line}" for line in header]
        (self._directory / f"{name}.sql").write_text("\n".join([*lines, text]), "utf-8")
        return statement(name, row, root=self._directory)

    def sql(self, text: str, *params: Any) -> list[tuple[Any, ...]]:
        """Run SQL in the other session."""
        cursor = self.other.execute(text.encode(), params or None)
        return cursor.fetchall() if cursor.description else []

    def in_thread(self, work: Callable[[], Any]) -> Future[Any]:
        """Run `work` in a thread, which has a context of its own."""
        return self._threads.submit(work)

    def blocked(self, count: int = 1) -> list[int]:
        """Wait until `count` backends wait for locks, and return their process ids."""
        found: list[int] = []

        def look() -> bool:
            found[:] = [pid for (pid,) in self.sql(_BLOCKED.decode())]
            return len(found) == count

        assert wait_until(look, PATIENCE_S), f"blocked: {found}"
        return found

    def terminate(self, pid: int) -> None:
        """End a backend and wait until it is gone."""
        assert self.sql("SELECT pg_terminate_backend(%s, %s)", pid, PATIENCE_S * 1000) == [(True,)]

    def terminate_all(self) -> None:
        """End all backends of this database but the other session."""
        for (pid,) in self.sql(
            "SELECT pid FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        ):
            self.terminate(pid)


TABLES = """
CREATE TABLE t (
    tenant_id text NOT NULL, id uuid NOT NULL, seen date, kind text, PRIMARY KEY (tenant_id, id));
CREATE INDEX t_seen_idx ON t (tenant_id, seen);
CREATE INDEX t_expression_idx ON t (lower(kind));
CREATE TABLE coins (code text PRIMARY KEY, name text NOT NULL)
"""


class CheckedWorld(World):
    """A world with tables and one connection that checks statements."""

    def __init__(self, url: str, directory: Path) -> None:
        super().__init__(url, directory)
        for command in TABLES.split(";"):
            self.sql(command)
        self.raw: DeadlineConnection = self.database().connections.connect()

    def findings(self, text: str, *, plans: bool = False, **more: Any) -> list[str]:
        """Return the texts of all findings of a statement."""
        made = self.statement(text, **more)
        statements.REGISTRY[made.name] = made
        found = sql_check.check(self.raw, made.name, plans=plans, root=self._directory)
        assert {finding.file for finding in found} <= {made.name}
        return [finding.text for finding in found]


class Proxy:
    """A TCP proxy that can keep the server's answers to itself, and cut all connections."""

    def __init__(self, url: str) -> None:
        self._to = conninfo_to_dict(url)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = []
        self.mute = threading.Event()
        self.muted = threading.Event()
        self.url = make_conninfo(url, host="127.0.0.1", port=self._listener.getsockname()[1])
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._sockets.append(client)
                server = self._connect()
                self._sockets.append(server)
                for pair in ((client, server, False), (server, client, True)):
                    threading.Thread(target=self._forward, args=pair, daemon=True).start()

    def _connect(self) -> socket.socket:
        host, port = str(self._to["host"]), int(self._to["port"] or 0)
        if host.startswith("/"):
            server = socket.socket(socket.AF_UNIX)
            server.connect(f"{host}/.s.PGSQL.{port}")
            return server
        return socket.create_connection((host, port))

    def _forward(self, source: socket.socket, target: socket.socket, is_answer: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if is_answer and self.mute.is_set():
                    self.muted.set()
                else:
                    target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    def cut_when_muted(self) -> None:
        """Wait for an answer that was kept back, then break all connections."""
        assert self.muted.wait(PATIENCE_S)
        self.cut()

    def cut(self) -> None:
        """Break all connections; new ones are let through."""
        self.mute.clear()
        while self._sockets:
            broken = self._sockets.pop()
            with contextlib.suppress(OSError):
                broken.shutdown(socket.SHUT_RDWR)
            broken.close()

    def close(self) -> None:
        """Break all connections and take no more."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._accepting.join()
        self._listener.close()
        self.cut()


def assert_raises(error: type[AppError], act: Callable[[], Any]) -> None:
    """Expect `error`, made from the database's own, with a Retry-After if it may be repeated."""
    with pytest.raises(error) as raised:
        act()
    if error.status in {429, 503}:
        assert raised.value.headers == {"Retry-After": "1"}
    assert isinstance(raised.value.__cause__, psycopg.Error)
