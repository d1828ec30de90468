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
    answer = current_app.test_client().get("/openapi.json", buffered=True)
    click.echo(json.dumps(answer.json, indent=1, sort_keys=True))
