"""What a command answers: a text for people, or one JSON object with --json."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import click


def show(data: dict[str, Any], text: str, as_json: bool) -> None:
    """Print `text`, or `data` as one JSON object whose times are in UTC with a Z."""
    click.echo(json.dumps(data, default=_json_value) if as_json else text)


def _json_value(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return str(value)
