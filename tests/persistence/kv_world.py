"""A Valkey of the test's own: to be killed, stopped, filled up and started again."""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import redis

from persistence.embedded_process import wait_until
from persistence.embedded_valkey import binary

if TYPE_CHECKING:
    from collections.abc import Iterator


class OwnValkey:
    """One server on one Unix socket, which it keeps over restarts."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None
        self.socket = directory / "valkey.sock"
        self.url = f"unix://{self.socket}"

    def start(self, *options: str, ready: bool = True) -> None:
        """Start it; `ready` waits until it answers, if only with an error."""
        argv = [str(binary()), "--port", "0", "--unixsocket", str(self.socket), "--save", ""]
        place = ["--dir", str(self._directory), "--logfile", "valkey.log"]
        self._process = subprocess.Popen([*argv, *place, *options])
        if ready:
            assert wait_until(self._answers, 30)

    def _answers(self) -> bool:
        try:
            return bool(self.ask("PING"))
        except redis.ConnectionError:
            return False

    def ask(self, *command: Any) -> Any:
        """Send a command by a connection of its own."""
        with redis.Redis(unix_socket_path=str(self.socket)) as client:
            return client.execute_command(*command)

    def calls(self, command: str) -> int:
        """Return how often it was asked for a command, since it started."""
        told: dict[str, Any] = self.ask("INFO", "commandstats").get(f"cmdstat_{command}", {})
        return int(told.get("calls", 0))

    def send(self, number: signal.Signals) -> None:
        """Send a signal; one that ends or stops the server is waited for."""
        assert self._process is not None
        self._process.send_signal(number)
        if number in {signal.SIGKILL, signal.SIGTERM}:
            self._process.wait(30)
        if number == signal.SIGSTOP:
            server = psutil.Process(self._process.pid)
            assert wait_until(lambda: server.status() == psutil.STATUS_STOPPED, 30)

    def end(self) -> None:
        """Kill it, whatever its state."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(30)


def running() -> Iterator[OwnValkey]:
    """A server that runs until the test is over. A socket's path has 107 bytes at most."""
    directory = Path(tempfile.mkdtemp(prefix="kv-"))
    server = OwnValkey(directory)
    server.start()
    yield server
    server.end()
    shutil.rmtree(directory)
