"""The parent of gunicorn and the worker: starts, migrates, watches, and stops in order (OE8)."""

from __future__ import annotations

import os
import queue
import signal
import socket
import sys
import time
from typing import TYPE_CHECKING

import click

from commands.serve import start_child
from commands.servers import with_urls
from observability import set_up_logging
from persistence.embedded import EmbeddedError, EmbeddedServers
from persistence.embedded_process import require_free
from persistence.migrator import MigrationError, MigrationSettings, apply_all
from version import VERSION

if TYPE_CHECKING:
    import subprocess

    from config import Config

STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# gunicorn gives requests in flight 30 s; then it is told to be quick, then it is killed.
STOP_STEPS = ((signal.SIGTERM, 35.0), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0))
READY_TICK_S, TICK_S = 0.02, 0.5
PROBE_S = 1.0
RESTART_PAUSE_S = 1.0
INTERRUPTED = 130


class Supervisor:
    """Serves until a signal or until gunicorn ends. `go` lets the waiting gunicorn begin."""

    def __init__(self, config: Config, gunicorn: subprocess.Popen[bytes], go: int) -> None:
        set_up_logging(config.log_level, json_lines=config.log_format == "json")
        self._config = config
        self._gunicorn = gunicorn
        self._go = go
        self._servers = EmbeddedServers.for_config(config)
        self._signals: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._worker: subprocess.Popen[bytes] | None = None
        self._worker_due = 0.0
        self._is_ready = False

    def run(self) -> int:
        """Return the exit code: 0 after a signal, gunicorn's if it ended by itself."""
        require_free(self._config.bind)
        for number in STOPS:  # Until something serves, a signal only ends the start.
            signal.signal(number, signal.default_int_handler)
        try:
            with self._servers:
                self._config = with_urls(self._config, self._servers)
                self._migrate()
                return self._serve()
        except KeyboardInterrupt:
            return INTERRUPTED

    def _migrate(self) -> None:
        """Apply what is pending, as the owner; with a database of one's own only if asked (M22)."""
        config = self._config
        owner = config.migrate_database_url or config.database_url
        asked = config.migrate_on_boot
        if owner is None or asked == "false" or (asked == "auto" and not self._servers.postgres):
            return
        settings = MigrationSettings(
            database_url=owner.get_secret_value(),
            schema=config.migrate_schema,
            wait_s=config.migrate_wait_s,
            lock_timeout_ms=config.migrate_lock_timeout_ms,
            lock_retries=config.migrate_lock_retries,
            app_version=VERSION,
        )
        try:
            apply_all(settings)
        except MigrationError as error:
            click.echo(f"The database could not be migrated: {error}", err=True)
            sys.exit(error.exit_code)

    def _serve(self) -> int:
        for number in (*STOPS, signal.SIGCHLD):
            signal.signal(number, lambda number, _: self._signals.put(number))
        os.write(self._go, b"!")
        try:
            example = self._demo()
            while self._gunicorn.poll() is None and not self._stop_asked():
                if not self._is_ready and self._answers():
                    self._announce(example)
                self._look_after()
            ended_by_itself = self._gunicorn.poll()
        finally:
            self._stop(self._gunicorn)
            if self._worker:
                self._stop(self._worker)
        return abs(ended_by_itself or 0)

    # --- Children ---------------------------------------------------------------------------

    def _look_after(self) -> None:
        """Start again what died: the servers at once, the worker not more than once a second.

        The worker starts when gunicorn is ready, so that it does not take the CPU from it.
        """
        try:
            self._servers.ensure()
        except EmbeddedError as error:
            click.echo(str(error), err=True)
        is_gone = self._worker is None or self._worker.poll() is not None
        if is_gone and self._is_ready and time.monotonic() > self._worker_due:
            self._worker_due = time.monotonic() + RESTART_PAUSE_S
            self._worker = start_child("flask", "worker")

    def _stop(self, child: subprocess.Popen[bytes]) -> None:
        for number, seconds in STOP_STEPS:
            ends = time.monotonic() + seconds
            if child.poll() is None:
                child.send_signal(number)
            # A second Ctrl-C does not wait for the rest of a step.
            while child.poll() is None and time.monotonic() < ends and not self._stop_asked():
                pass

    def _stop_asked(self) -> bool:
        """Wait for a signal, or a moment; tell whether it was one that stops."""
        try:
            return self._signals.get(timeout=TICK_S if self._is_ready else READY_TICK_S) in STOPS
        except queue.Empty:
            return False

    # --- What is said -----------------------------------------------------------------------

    def _demo(self) -> str | None:
        """Make the demo at the first start with the embedded database; return its shell lines."""
        if self._servers.postgres is None:
            return None
        # It imports all services, which no later start needs.
        from commands import demo  # noqa: PLC0415

        if not self._servers.postgres.is_new and demo.read_demo(self._config):
            return None
        return demo.make_demo(self._config).example

    def _answers(self) -> bool:
        """Ask /readyz by hand: a library for one line would take longer than gunicorn."""
        host, _, port = self._config.bind.rpartition(":")
        address = port if host == "unix" else (host.strip("[]"), int(port))
        family = (
            socket.AF_UNIX if host == "unix" else socket.AF_INET6 if "[" in host else socket.AF_INET
        )
        with socket.socket(family) as conn:
            conn.settimeout(PROBE_S)
            try:
                conn.connect(address)
                conn.sendall(b"GET /readyz HTTP/1.0\r\nHost: localhost\r\n\r\n")
                return conn.recv(12)[9:10] in {b"2", b"4"}  # 4xx: ALLOWED_HOSTS has other names.
            except OSError:
                return False

    def _announce(self, example: str | None) -> None:
        self._is_ready = True
        url = self._config.public_url
        click.echo(f"\nStrongroom answers at {url} (its API: {url}/docs). Ctrl-C stops it.")
        if example:
            kept = self._config.var_dir / "demo.json"
            click.echo(
                f"Try it: paste this into another shell ({kept} keeps the key).\n\n{example}"
            )
        elif self._servers.postgres:
            click.echo("API keys: var/demo.json holds one, `flask api-keys create` makes others.")
