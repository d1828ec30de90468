"""What a fault may touch, and what several faults do to it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import socketserver
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import redis

from persistence.embedded_process import wait_until
from tests.faults.service import Client

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

    from persistence.embedded import EmbeddedServers
    from tests.faults.paying import Paying
    from tests.faults.service import Service


@dataclass
class Stage:
    """The service, its stores, the load on it, and the seed's chance."""

    service: Service
    servers: EmbeddedServers
    paying: Paying
    chance: random.Random

    @property
    def valkey(self) -> int:
        """Its pid."""
        assert self.servers.valkey is not None
        return int(self.servers.valkey.fact["pid"])

    @property
    def postmaster(self) -> int:
        """Its pid."""
        assert self.servers.postgres is not None
        return int(self.servers.postgres.fact["pid"])

    @property
    def kv(self) -> redis.Redis:
        """A client of Valkey, not the service's."""
        return self.kv_at(self.kv_socket)

    def kv_at(self, path: Path) -> redis.Redis:
        """The same, where Valkey's socket has been moved."""
        password = self.servers.var.secret("valkey")
        return redis.Redis(unix_socket_path=str(path), password=password)

    @property
    def kv_socket(self) -> Path:
        """Where the service finds Valkey."""
        assert self.servers.valkey is not None
        return Path(self.servers.valkey.fact["socket"])

    def admin(self) -> psycopg.Connection[Any]:
        """A connection of the database's administrator."""
        assert self.servers.postgres is not None
        url = self.servers.postgres.url("postgres")
        return psycopg.connect(url, autocommit=True)

    def pause(self, seconds: float) -> None:
        """Let the load go on for so long: the fault's own length, not a wait for an event."""
        threading.Event().wait(seconds)

    def ask(self, path: str) -> int:
        """Return the status of a GET by a connection of its own."""
        client = Client(self.service)
        try:
            return client.send("GET", path, None, None)[0]
        finally:
            client.close()

    def backends(self, conn: psycopg.Connection[Any]) -> list[int]:
        """Return the pids of the service's backends."""
        rows = conn.execute(
            "SELECT pid FROM pg_stat_activity WHERE application_name = 'strongroom' ORDER BY pid"
        )
        return [pid for (pid,) in rows]

    def reload(self) -> None:
        """HUP, and wait until every worker is another."""
        before = set(self.service.workers())
        os.kill(self.service.pid, signal.SIGHUP)
        assert wait_until(lambda: not before & set(self.service.workers()), 150)


@contextlib.contextmanager
def stopped(*pids: int) -> Iterator[None]:
    """SIGSTOP, and SIGCONT whatever happens meanwhile."""
    _signal_all(pids, signal.SIGSTOP)
    try:
        yield
    finally:
        _signal_all(pids, signal.SIGCONT)


def _signal_all(pids: tuple[int, ...], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


# --- Somebody else where Valkey listens ---------------------------------------------------------


class Impostor(socketserver.StreamRequestHandler):
    """Answers whatever it hears as a web server would."""

    def handle(self) -> None:
        with contextlib.suppress(OSError):
            while self.request.recv(4096):
                self.request.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


class BadLine(socketserver.StreamRequestHandler):
    """Passes on what it hears, late, or not at all: the class of a run says which."""

    real: Path
    delay_s = 0.0
    lost = 0.0  # The share of calls at which it hangs up.
    chance: random.Random

    def handle(self) -> None:
        with socket.socket(socket.AF_UNIX) as server, contextlib.suppress(OSError):
            server.connect(str(self.real))
            while data := self.request.recv(65536):
                if self.chance.random() < self.lost:
                    return
                time.sleep(self.delay_s)
                server.sendall(data)
                if not (reply := server.recv(65536)):
                    return
                self.request.sendall(reply)


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    block_on_close = False


@contextlib.contextmanager
def in_place_of_valkey(
    stage: Stage, handler: type[socketserver.BaseRequestHandler]
) -> Iterator[None]:
    """Let `handler` answer the service's connections, and undo it; Valkey's socket has moved."""
    public, real = stage.kv_socket, moved(stage.kv_socket)
    public.rename(real)
    with stage.kv_at(real) as kv, _Server(str(public), handler) as server:
        serving = threading.Thread(target=server.serve_forever, args=(0.01,))
        serving.start()
        _hang_up(kv)
        try:
            yield
        finally:
            server.shutdown()
            serving.join()
            real.rename(public)
            _hang_up(kv)


def moved(path: Path) -> Path:
    """Where Valkey's socket is while somebody else has its place."""
    return path.with_suffix(".real")


def _hang_up(kv: redis.Redis) -> None:
    kv.client_kill_filter(_type="normal", skipme=True)
