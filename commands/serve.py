"""`flask serve`: all of Strongroom in one command; `make run` ends in it.

It starts the embedded servers that no URL replaces, migrates, starts gunicorn and the worker, and
stops them all in the order of OE8. What dies on its own is started again, except gunicorn.
"""

from __future__ import annotations

import http.client
import os
import queue
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import click

from commands.servers import clear_failure, with_urls
from config import Config
from persistence.embedded import EmbeddedError, EmbeddedServers
from persistence.embedded_process import require_free
from persistence.migrator import MigrationError, MigrationSettings, apply_all

ROOT = Path(__file__).resolve().parent.parent
STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# gunicorn gives requests in flight 30 s; then it is told to be quick, then it is killed.
STOP_STEPS = ((signal.SIGTERM, 35.0), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0))
READY_TICK_S, TICK_S = 0.02, 0.5
RESTART_PAUSE_S = 1.0
INTERRUPTED = 130


class Supervisor:
    """The parent of gunicorn and the worker, and a user of the embedded servers."""

    def __init__(self, config: Config) -> None:
        self._servers = EmbeddedServers.for_config(config)
        self._config = config
        self._signals: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._is_ready = False
        self._worker_restart_at = 0.0

    def run(self) -> int:
        """Serve until a signal or until gunicorn ends; return the exit code."""
        require_free(self._config.bind)
        for number in STOPS:  # Until there are children, a signal only ends the start.
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
        )
        try:
            apply_all(settings)
        except MigrationError as error:
            click.echo(f"The database could not be migrated: {error}", err=True)
            sys.exit(error.exit_code)

    def _serve(self) -> int:
        for number in (*STOPS, signal.SIGCHLD):
            signal.signal(number, lambda number, _: self._signals.put(number))
        gunicorn = self._start("gunicorn", "-c", str(ROOT / "gunicorn.conf.py"), "wsgi:app")
        worker = self._start("flask", "worker")
        try:
            example = self._demo()
            while gunicorn.poll() is None and not self._stop_asked():
                if not self._is_ready and self._answers():
                    self._announce(example)
                worker = self._look_after(worker)
            ended_by_itself = gunicorn.poll() is not None
        finally:
            for child in (gunicorn, worker):
                self._stop(child)
        return abs(gunicorn.returncode) if ended_by_itself else 0

    # --- Children ---------------------------------------------------------------------------

    def _start(self, module: str, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a child in a process group of its own: Ctrl-C comes here first, for the order."""
        # Should this process be killed, its children end too: gunicorn would keep the port.
        setpriv = shutil.which("setpriv")
        tied = [setpriv, "--pdeathsig", "TERM"] if setpriv else []
        return subprocess.Popen(  # noqa: S603 - the argument list is ours, no shell reads it.
            [*tied, sys.executable, "-m", module, *arguments],
            cwd=ROOT,
            env={**os.environ, **self._servers.environment()},
            process_group=0,
            pass_fds=self._servers.handles,
        )

    def _look_after(self, worker: subprocess.Popen[bytes]) -> subprocess.Popen[bytes]:
        """Start again what died: the servers at once, the worker not more than once a second."""
        try:
            self._servers.ensure()
        except EmbeddedError as error:
            click.echo(str(error), err=True)
        if worker.poll() is not None and time.monotonic() > self._worker_restart_at:
            self._worker_restart_at = time.monotonic() + RESTART_PAUSE_S
            return self._start("flask", "worker")
        return worker

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
        host, _, port = self._config.bind.rpartition(":")
        if host == "unix":
            return Path(port).exists()
        conn = http.client.HTTPConnection(host.strip("[]"), int(port), timeout=1)
        try:
            conn.request("GET", "/readyz")
            return conn.getresponse().status != http.client.SERVICE_UNAVAILABLE
        except OSError:
            return False
        finally:
            conn.close()

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
            click.echo("An API key: see var/demo.json, or `flask api-keys create`; `flask demo`.")


@click.command("serve")
def serve_command() -> None:
    """Start servers, gunicorn and the worker; Ctrl-C stops all of them."""
    with clear_failure():
        sys.exit(Supervisor(Config.load()).run())


if __name__ == "__main__":  # `make run` comes here: the flask command would load the whole app.
    serve_command()
