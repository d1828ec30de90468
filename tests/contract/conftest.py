"""The application as it is, for what can be seen without a database."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from app import create_app
from config import Config

if TYPE_CHECKING:
    from pathlib import Path

    from flask import Flask


@pytest.fixture
def app(tmp_path: Path) -> Flask:
    """Every route, and a database that nobody may ask: its URL leads nowhere."""
    environ = {"DATABASE_URL": "postgresql://nowhere/", "REDIS_URL": "off"}
    environ["RATE_LIMIT_ENABLED"] = "false"  # What was set for a tenant is asked of the database.
    return create_app(Config.load({**environ, "VAR_DIR": str(tmp_path), "LOG_LEVEL": "error"}))
