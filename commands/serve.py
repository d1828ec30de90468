"""`flask serve`: all of Strongroom in one command; `make run` ends in it.

The parent of gunicorn and the worker: it starts, migrates, watches, and stops in order (OE8).
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import threading
import time
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import click

from commands.demo import make_demo, read_demo
from commands.servers import clear_failure, with_urls
from config import Config
from observability import set_up_logging
from persistence.embedded import EmbeddedError, EmbeddedServers
from persistence.embedded_process import require_free
from persistence.migrator import MigrationError, MigrationSettings, apply_all
from version import VERSION

ROOT = Path(__file__).resolve().parent.parent
STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
STOP_S = 40.0  # gunicorn gives requests in flight 30 s.
PROBE_S, TICK_S = 0.05, 0.5
RESTART_PAUSE_S = 1.0


@click.command("serve")
def serve_command() -> None:
    """Start servers, gunicorn and the worker; Ctrl-C stops all of them."""
    config = Config.load()
    set_up_logging(config.log_level, json_lines=config.log_format == "json")
    with clear_failure():
        require_free(config.bind)
        with EmbeddedServers.for_config(config) as servers:
            code = Supervisor(with_urls(config, servers), servers).run()
    sys.exit(code)


class Supervisor:
    """Serves from stores that run, until a signal or until gunicorn ends."""

    def __init__(self, config: Config, servers: EmbeddedServers) -> None:
        self._config = config
        self._servers = servers
        self._stop_asked = threading.Event()
        self._worker: subprocess.Popen[bytes] | None = None
        self._worker_started = 0.0

    def run(self) -> int:
        """Return the exit code: 0 after a signal, gunicorn's if it ended by itself."""
        for number in STOPS:
            signal.signal(number, lambda *_: self._stop_asked.set())
        self._migrate()
        example = self._demo()
        gunicorn = _start("gunicorn", "-c", "gunicorn.conf.py", "wsgi:app")
        try:
            while gunicorn.poll() is None and not self._answers() and not self._stop_asked.is_set():
                self._stop_asked.wait(PROBE_S)
            if gunicorn.poll() is None:
                self._announce(example)
            while gunicorn.poll() is None and not self._stop_asked.is_set():
                self._look_after()
                self._stop_asked.wait(TICK_S)
            return abs(gunicorn.poll() or 0)
        finally:
            _stop(gunicorn)
            if self._worker:
                _stop(self._worker)

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

    def _demo(self) -> str | None:
        """Make the demo at the first start with the embedded database; return its shell lines."""
        postgres = self._servers.postgres
        if postgres is None or (not postgres.is_new and read_demo(self._config)):
            return None
        return make_demo(self._config).example

    def _look_after(self) -> None:
        """Start again what died: the servers at once, the worker not more than once a second."""
        try:
            self._servers.ensure()
        except EmbeddedError as error:
            click.echo(str(error), err=True)
        is_due = time.monotonic() > self._worker_started + RESTART_PAUSE_S
        if is_due and (self._worker is None or self._worker.poll() is not None):
            self._worker_started = time.monotonic()
            self._worker = _start("flask", "worker")

    def _answers(self) -> bool:
        """Ask /livez of gunicorn; behind a Unix socket it is nginx that asks."""
        if self._config.bind.startswith("unix:"):
            return True
        conn = HTTPConnection(self._config.bind, timeout=1)
        with contextlib.closing(conn), contextlib.suppress(OSError, HTTPException):
            conn.request("GET", "/livez")
            return conn.getresponse().status > 0
        return False

    def _announce(self, example: str | None) -> None:
        url = self._config.public_url
        click.echo(f"\nStrongroom answers at {url} (its API: {url}/docs). Ctrl-C stops it.")
        if example:
            kept = self._config.var_dir / "demo.json"
            click.echo(
                f"Try it: paste this into another shell ({kept} keeps the key).\n\n{example}"
            )
        elif self._servers.postgres:
            click.echo("API keys: var/demo.json holds one, `flask api-keys create` makes others.")


def _start(module: str, *arguments: str) -> subprocess.Popen[bytes]:
    """Start `python -m module` in a process group of its own: Ctrl-C comes to us, for the order."""
    return subprocess.Popen(  # noqa: S603 - the argument list is ours, no shell reads it.
        [sys.executable, "-m", module, *arguments], cwd=ROOT, process_group=0
    )


def _stop(child: subprocess.Popen[bytes]) -> None:
    child.terminate()
    try:
        child.wait(STOP_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


if __name__ == "__main__":  # `make run`: it needs no database yet, which the flask command does.
    serve_command()
