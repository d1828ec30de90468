"""The small application of things.py, and what it logs."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest

import observability
from tests.blueprints.things import Framed, build

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """What is logged during the test."""
    written = io.StringIO()
    observability.set_up_logging(file=written)
    yield written
    observability.set_up_logging()


@pytest.fixture
def framed(log: io.StringIO) -> Framed:
    """The application with the default settings."""
    return build(log)
