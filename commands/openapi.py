"""`flask openapi`: the API description as the service itself answers it."""

from __future__ import annotations

import json
import sys

import click
from flask import current_app

from observability import set_up_logging


@click.command("openapi")
def openapi() -> None:
    """Print the API description (OpenAPI 3.1)."""
    set_up_logging(file=sys.stderr)
    document, _ = current_app.extensions["strongroom.description"]()
    click.echo(json.dumps(document, indent=1, sort_keys=True))
