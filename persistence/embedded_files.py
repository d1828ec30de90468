"""The files below VAR_DIR: directories, secrets, locks, and what is known of running servers."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import tempfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from persistence.embedded_process import EmbeddedError, Owner

if TYPE_CHECKING:
    from collections.abc import Iterator

# The kernel takes socket paths of 107 bytes; PostgreSQL adds its file name to the directory.
SOCKET_PATH_MAX_BYTES = 100
LONGEST_SOCKET = ".s.PGSQL.65535"


@dataclass(frozen=True)
class VarDir:
    """The directory that holds all that the embedded servers keep; made by `prepare`."""

    path: Path

    def prepare(self) -> None:
        """Make what is missing. As root the servers' account may pass through, not look around."""
        is_root = os.geteuid() == 0
        try:
            self._make(self.path, 0o711 if is_root else 0o700)
            self._make(self.path / "pg", 0o711 if is_root else 0o700)
            for name in ("secrets", "log"):
                self._make(self.path / name, 0o700)
            self._make(self.run, 0o700)
            self._open_run()
        except PermissionError as error:
            raise EmbeddedError(
                f"{error.filename} cannot be written: run as its owner, or set VAR_DIR."
            ) from error

    def _make(self, directory: Path, mode: int) -> None:
        """Make `directory` unless it is there: others who start at this moment make it too."""
        directory.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            directory.mkdir()
            directory.chmod(mode)
            self.keep(directory)

    def _open_run(self) -> None:
        """Let the servers' account make its sockets in run/, and touch nothing else there."""
        if os.geteuid() == 0 and self.run.stat().st_uid == 0:
            os.chown(self.run, 0, self.owner.gid)
            self.run.chmod(0o1730)

    @cached_property
    def owner(self) -> Owner:
        """The account that servers run as: the data directory's owner."""
        data = sorted(self.path.glob("pg/[0-9]*"))
        return Owner.of(data[0] if data else self.path)

    @property
    def run(self) -> Path:
        """Sockets, locks, servers.json."""
        return self.path / "run"

    def data(self, major: int) -> Path:
        """Return the data directory of PostgreSQL `major`."""
        return self.path / "pg" / str(major)

    def log(self, name: str) -> Path:
        """Return the log file of the server `name`, made if missing."""
        path = self.path / "log" / f"{name}.log"
        path.touch(0o600)
        self.keep(path)
        return path

    def keep(self, path: Path) -> None:
        """Let root leave `path` to who owns VAR_DIR, so that a start by root locks nobody out."""
        if os.geteuid() == 0:
            found = self.path.stat()
            os.chown(path, found.st_uid, found.st_gid)

    def write(self, path: Path, text: str) -> None:
        """Replace `path` at once, readable by its owner only. For holders of the start lock."""
        draft = path.with_name(f"{path.name}.new")
        draft.unlink(missing_ok=True)  # A killed writer left it.
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        self.keep(draft)
        draft.replace(path)

    def secret(self, name: str) -> str:
        """Return the random password `name`, made at its first use."""
        path = self.path / "secrets" / name
        if not path.exists():
            self.write(path, secrets.token_urlsafe(24) + "\n")
        return path.read_text(encoding="utf-8").strip()

    def socket_directory(self, remembered: str | None) -> Path:
        """Return where sockets go: run/, or a private directory in TMPDIR if its path is long."""
        if _fits(self.run):
            return self.run
        if remembered and Path(remembered).is_dir():
            return Path(remembered)
        made = Path(tempfile.mkdtemp(prefix="strongroom-"))
        if not _fits(made):
            made.rmdir()
            raise EmbeddedError(
                f"A socket's path cannot be as long as {self.run}, nor as {made}: set VAR_DIR or"
                " TMPDIR to a shorter one."
            )
        self.owner.take(made)
        return made

    @property
    def record(self) -> dict[str, Any]:
        """What servers.json says of the servers; it may be out of date, never half written."""
        try:
            found: dict[str, Any] = json.loads((self.run / "servers.json").read_text("utf-8"))
        except (OSError, ValueError):
            return {}
        return found

    def remember(self, name: str, **facts: Any) -> None:
        """Note facts of the server `name` in servers.json."""
        record = self.record
        record[name] = {**record.get(name, {}), **facts}
        self.write(self.run / "servers.json", json.dumps(record, indent=1) + "\n")

    def forget(self, name: str) -> None:
        """Drop what servers.json says of `name`."""
        record = self.record
        if record.pop(name, None) is not None:
            self.write(self.run / "servers.json", json.dumps(record, indent=1) + "\n")

    @contextlib.contextmanager
    def starting(self) -> Iterator[None]:
        """Hold the lock under which servers are started, adopted and stopped (OE5)."""
        with self.locked("start.lock", fcntl.LOCK_EX):
            yield

    @contextlib.contextmanager
    def locked(self, name: str, kind: int) -> Iterator[None]:
        """Hold a lock of run/ for a while; it ends with this process, whatever happens to it."""
        handle = self.open_lock(name)
        try:
            fcntl.flock(handle, kind)
            yield
        finally:
            os.close(handle)

    def open_lock(self, name: str) -> int:
        """Return a descriptor of the lock file `name`, not inherited by programs we start."""
        path = self.run / name
        made = not path.exists()
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        if made:
            self.keep(path)
        return handle


def _fits(directory: Path) -> bool:
    return len(os.fsencode(directory / LONGEST_SOCKET)) <= SOCKET_PATH_MAX_BYTES
