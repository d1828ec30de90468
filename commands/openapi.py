"""`flask openapi`: the API description as the service itself answers it."""

from __future__ import annotations

import json

import click
from flask import current_app


@click.command("openapi")
def openapi() -> None:
    """Print the API description (OpenAPI 3.1)."""
    answer = current_app.test_client().get("/openapi.json", buffered=True)
    click.echo(json.dumps(answer.json, indent=1, sort_keys=True))
