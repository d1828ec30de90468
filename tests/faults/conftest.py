"""Servers that a module's tests share, where none of them kills what another needs."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from persistence.embedded import EmbeddedServers, EmbeddedSettings
from persistence.migrator import MigrationSettings, apply_all
from tests.conftest import PG_MAJOR

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def shared_servers(
    made_var_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[EmbeddedServers]:
    """Durable servers of the module's own, with a migrated database."""
    path = tmp_path_factory.mktemp("shared") / "var"
    subprocess.run(["cp", "-a", str(made_var_dir), str(path)], check=True)
    with EmbeddedServers(EmbeddedSettings(path, pg_major=PG_MAJOR)) as servers:
        assert servers.owner_url is not None
        apply_all(MigrationSettings(database_url=servers.owner_url))
        yield servers
    servers.reset()
