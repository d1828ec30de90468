"""Programs that a benchmark starts: each in its own session, with a log, stopped at the end."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

START_S, STOP_S = 30.0, 40.0


class BenchError(Exception):
    """A benchmark cannot run; the text is one sentence for whoever started it."""


def free_port() -> int:
    """Return a TCP port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def running(
    command: Sequence[str], *, log: Path, cwd: Path, env: Mapping[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program, what it starts too, until the block ends; its words go to `log`."""
    with log.open("ab") as out:
        child = subprocess.Popen(
            command,
            cwd=cwd,
            env={**os.environ, **env},
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    try:
        yield child
    finally:
        stop(child)


def stop(child: subprocess.Popen[bytes], with_signal: signal.Signals = signal.SIGTERM) -> None:
    """Ask the program's session to end, and end it if it does not."""
    for number, seconds in ((with_signal, STOP_S), (signal.SIGKILL, 5.0)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(seconds)
            return


def wait_for(child: subprocess.Popen[bytes], port: int, log: Path) -> None:
    """Wait until the program answers HTTP. Raises BenchError if it ends or stays silent."""
    ends = time.monotonic() + START_S
    while status(port, "/") is None:
        if child.poll() is not None or time.monotonic() > ends:
            raise BenchError(f"{child.args!r} does not answer: see {log}.")
        time.sleep(0.01)


def status(port: int, path: str, headers: Mapping[str, str] | None = None) -> int | None:
    """Return the status of a GET, None if nobody answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path, headers=dict(headers or {}))
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
