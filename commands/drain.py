"""`flask drain`: take this host out of rotation before it is stopped (OS5).

Exit codes: 0 done; 2 the mark cannot be written.
"""

from __future__ import annotations

import json
import sys
import time

import click

from commands.arguments import json_option
from config import Config

USAGE = 2


@click.command("drain")
@click.option("--wait", "wait_s", type=click.IntRange(0, 3600), default=0, help="Seconds to stay.")
@click.option("--undo", is_flag=True, help="Back into rotation.")
@json_option
def drain(wait_s: int, undo: bool, as_json: bool) -> None:
    """Let /readyz answer 503, while everything else is served; then wait."""
    mark = Config.load().var_dir / "run" / "drain"
    try:
        if undo:
            mark.unlink(missing_ok=True)
        else:
            mark.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            mark.touch()
    except OSError as error:
        click.echo(f"{mark} cannot be written: {error.strerror}", err=True)
        sys.exit(USAGE)
    if not undo:
        time.sleep(wait_s)
    shown = {"draining": not undo, "waited_s": 0 if undo else wait_s}
    click.echo(json.dumps(shown) if as_json else ("in rotation" if undo else "draining"))
