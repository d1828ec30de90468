"""The service with its ledger switched off, and on again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def silent_world(database: str, tmp_path: Path) -> Iterator[World]:
    """The service with the ledger switched off, as the specification starts it."""
    made = World(database, tmp_path, FEATURE_LEDGER_ENABLED="false")
    yield made
    made.close()


@pytest.fixture
def awake(silent_world: World, database: str, tmp_path: Path) -> Iterator[World]:
    """The same database, user and key, with the ledger switched on."""
    made = World(database, tmp_path)
    made.api_key, made.user_id = silent_world.api_key, silent_world.user_id
    yield made
    made.close()
