"""Services that wait longer for locks and connections than those of other tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.world import PATIENT, World

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def world(database: str, tmp_path: Path) -> Iterator[World]:
    """The service over a fresh database, without Redis."""
    made = World(database, tmp_path, **PATIENT)
    yield made
    made.close()


@pytest.fixture
def cached_world(database: str, kv_url: str, tmp_path: Path) -> Iterator[World]:
    """The service over a fresh database, with Redis."""
    made = World(database, tmp_path, kv_url, REDIS_TIMEOUT_MS="5000", **PATIENT)
    made.services.kv.open()
    assert made.services.kv.wait_for("closed", 30)
    yield made
    made.close()
