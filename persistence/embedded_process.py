"""Processes of the embedded servers: whose they are, whether they live, how they start and end."""

from __future__ import annotations

import contextlib
import itertools
import os
import pwd
import shutil
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    import signal
    from collections.abc import Callable, Mapping, Sequence

LOG_MAX_BYTES = 10 * 1024 * 1024
LOGS_KEPT = 3
POLL_S = 0.005
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}


class EmbeddedError(Exception):
    """The embedded servers cannot run here. The text is one sentence for whoever started them."""


@dataclass(frozen=True, slots=True)
class Owner:
    """The account that servers run as: PostgreSQL refuses to run as root (OE7)."""

    uid: int
    gid: int

    @classmethod
    def of(cls, directory: Path) -> Owner:
        """Return who owns the nearest existing part of `directory`; `nobody` where that is root."""
        while not directory.exists():
            directory = directory.parent
        found = directory.stat()
        if os.geteuid() != 0:
            return cls(os.geteuid(), os.getegid())
        if found.st_uid != 0:
            return cls(found.st_uid, found.st_gid)
        nobody = pwd.getpwnam("nobody")
        return cls(nobody.pw_uid, nobody.pw_gid)

    def take(self, path: Path) -> None:
        """Give `path` to this account, which only root can and needs to do."""
        if os.geteuid() == 0:
            os.chown(path, self.uid, self.gid)

    def reaches(self, path: Path) -> bool:
        """Tell whether no directory above `path` is closed to this account."""
        for parent in path.parents:
            found = parent.stat()
            shift = 6 if found.st_uid == self.uid else 3 if found.st_gid == self.gid else 0
            if not found.st_mode >> shift & 1:
                return False
        return True

    def command(self, argv: Sequence[str], paths: Sequence[Path]) -> list[str]:
        """Return `argv` as it must be started so that it runs as this account and reaches `paths`.

        Below a closed directory (a checkout in root's home) the server keeps one capability, so
        no directory has to be opened and no account made. Raises EmbeddedError without setpriv.
        """
        if os.geteuid() != 0:
            return list(argv)
        setpriv = shutil.which("setpriv", path=f"{os.environ.get('PATH', '')}:/usr/bin:/bin")
        if setpriv is None:
            raise EmbeddedError(
                "As root the servers run as another account, which needs `setpriv` (package"
                " util-linux): install it, start as an ordinary user, or set DATABASE_URL and"
                " REDIS_URL."
            )
        ids = [f"--reuid={self.uid}", f"--regid={self.gid}", "--clear-groups"]
        if all(map(self.reaches, paths)):
            return [setpriv, *ids, "--inh-caps=-all", *argv]
        caps = "-all,+dac_override"
        # PostgreSQL asks access() for its own programs, which by default ignores capabilities.
        bits = "--securebits=+no_setuid_fixup"
        return [setpriv, *ids, bits, f"--inh-caps={caps}", f"--ambient-caps={caps}", *argv]


def spawn(argv: list[str], log: Path, env: Mapping[str, str] | None = None) -> int:
    """Start `argv` in a session of its own, so that Ctrl-C does not reach it; return its pid."""
    rotate(log)
    return os.posix_spawn(
        argv[0],
        argv,
        {**ENVIRONMENT, **(env or {})},
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
    )


def rotate(log: Path) -> None:
    """Keep at most LOGS_KEPT old logs of LOG_MAX_BYTES.

    The server keeps its open, appending file, so the text is copied away and the file cut.
    """
    if not log.exists() or log.stat().st_size < LOG_MAX_BYTES:
        return
    for number in range(LOGS_KEPT - 1, 0, -1):
        older = log.with_name(f"{log.name}.{number}")
        if older.exists():
            older.replace(log.with_name(f"{log.name}.{number + 1}"))
    shutil.copy2(log, log.with_name(f"{log.name}.1"))
    os.truncate(log, 0)


def alive(pid: int) -> bool:
    """Tell whether `pid` runs; one that was killed and that its parent did not reap does not."""
    try:
        return psutil.Process(pid).status() not in {psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD}
    except (psutil.NoSuchProcess, ValueError):
        return False


def runs(pid: int, program: str, argument: str) -> bool:
    """Tell whether `pid` lives and runs `program` with exactly this argument."""
    try:
        argv = psutil.Process(pid).cmdline()
    except psutil.Error:
        return False
    # A server that is about to start still has the name of setpriv before its own.
    return argument in argv and program in {Path(part).name for part in argv} and alive(pid)


def wait_until(condition: Callable[[], bool], timeout_s: float) -> bool:
    """Poll `condition` quickly until it holds; tell whether it did within `timeout_s`."""
    ends = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() >= ends:
            return False
        time.sleep(POLL_S)
    return True


def end(pid: int, steps: Sequence[tuple[signal.Signals, float]]) -> None:
    """Send `pid` the signals one after another, each with its seconds to take effect."""
    for number, timeout_s in steps:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        if wait_until(lambda: not alive(pid), timeout_s):
            return
    raise EmbeddedError(f"Process {pid} does not end: stop it by hand, then start again.")


def port_is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Tell whether a server could listen on `host`:`port` now."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def free_port(first: int, last_time: int | None) -> int:
    """Return last time's port, else the first free one from `first` on (OE3)."""
    for port in itertools.chain([last_time or first], range(first, first + 1000)):
        if port_is_free(port):
            return port
    raise EmbeddedError(f"No port from {first} to {first + 999} is free on 127.0.0.1.")


def require_free(bind: str) -> None:
    """Refuse, with a sentence, to serve HTTP on a `host:port` that somebody else serves (OE3)."""
    host, _, port = bind.rpartition(":")
    if host != "unix" and not port_is_free(int(port), host.strip("[]")):
        raise EmbeddedError(
            f"Port {port} of {host} is taken: stop what uses it, or choose another with"
            f" PORT={int(port) + 1} (or BIND=host:port)."
        )
