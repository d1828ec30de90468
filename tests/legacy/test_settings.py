"""The LEGACY_ settings: all faults at once (2.7, D4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from config import ConfigError
from legacy.settings import LegacySettings

if TYPE_CHECKING:
    from pathlib import Path


def test_settings_are_read_from_the_environment(tmp_path: Path) -> None:
    """2.7: a secret that `dsn_env` names is none of them."""
    file = tmp_path / "legacy.toml"
    file.touch()
    given = {"LEGACY_CONFIG": str(file), "LEGACY_SOAK_S": "60", "LEGACY_DSN": "secret"}
    read = LegacySettings.load({**given, "LEGACY_MIRROR_IN_WORKER": "false"})
    assert (read.config, read.soak_s, read.mirror_in_worker) == (file, 60, False)


def test_all_faults_are_told_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    """AG2: name and range, never the value; exit 2."""
    given = {
        "LEGACY_CONFIG": "/nowhere",
        "LEGACY_SOAK_S": "1.5",
        "LEGACY_SWITCH_TIMEOUT_MS": "99999",
        "LEGACY_MIRROR_IN_WORKER": "yes",
    }
    with pytest.raises(ConfigError) as caught:
        LegacySettings.load(given)
    assert (caught.value.code, len(caught.value.faults)) == (2, 4)
    assert "99999" not in capsys.readouterr().err
