"""`flask serve`: all of Strongroom in one command; `make run` ends in it.

gunicorn is started before anything else: what it imports takes as long as the stores take to
start. It waits for a byte from here before it reads its settings and serves.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import click

ROOT = Path(__file__).resolve().parent.parent
GO = "STRONGROOM_GO_FD"


def start_child(
    module: str, *arguments: str, inherited: dict[str, int] | None = None
) -> subprocess.Popen[bytes]:
    """Start `python -m module` in a process group of its own: Ctrl-C comes to us, for the order.

    `inherited` are descriptors that the child may use, by the variables that tell it of them.
    """
    # Should this process be killed, its children end too: gunicorn would keep the port.
    setpriv = shutil.which("setpriv")
    tied = [setpriv, "--pdeathsig", "TERM"] if setpriv else []
    given = inherited or {}
    return subprocess.Popen(  # noqa: S603 - the argument list is ours, no shell reads it.
        [*tied, sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        env={**os.environ, **{name: str(handle) for name, handle in given.items()}},
        pass_fds=tuple(given.values()),
        process_group=0,
    )


@click.command("serve")
def serve_command() -> None:
    """Start servers, gunicorn and the worker; Ctrl-C stops all of them."""
    waits, go = os.pipe()
    gunicorn = start_child(
        "gunicorn", "-c", str(ROOT / "gunicorn.conf.py"), "wsgi:app", inherited={GO: waits}
    )
    os.close(waits)
    # These imports take most of the start: gunicorn makes its own meanwhile.
    from commands.servers import clear_failure  # noqa: PLC0415
    from commands.supervisor import Supervisor  # noqa: PLC0415
    from config import Config  # noqa: PLC0415

    try:
        with clear_failure():
            sys.exit(Supervisor(Config.load(), gunicorn, go).run())
    finally:
        if gunicorn.poll() is None:  # It never served.
            gunicorn.kill()
            gunicorn.wait()


if __name__ == "__main__":  # `make run` comes here: the flask command would load the whole app.
    serve_command()
