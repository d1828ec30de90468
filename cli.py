"""Every command of the service, on one screen: `flask --help` shows the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from commands.auth import api_keys, tenants, users
from commands.currencies import currencies

if TYPE_CHECKING:
    from flask import Flask

ALL = (api_keys, currencies, tenants, users)


def register_all(app: Flask) -> None:
    """Add every command to `flask`."""
    for command in ALL:
        app.cli.add_command(command)
