"""The LEGACY_ settings: read once, all faults at once (2.7, D4)."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from config import ConfigError, Fault

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def _number(default: int, low: int, high: int) -> Any:
    return field(default=default, metadata={"range": (low, high)})


@dataclass(frozen=True, slots=True, kw_only=True)
class LegacySettings:
    """Units last. `config`: the TOML file of the column map; None: no store is configured."""

    config: Path | None = None
    timeout_ms: int = _number(500, 10, 60_000)
    intent_lease_ms: int = _number(10_000, 1_000, 600_000)
    switch_timeout_ms: int = _number(3_000, 100, 3_500)
    mirror_workers: int = _number(2, 1, 16)
    mirror_in_worker: bool = True
    batch_target_ms: int = _number(500, 50, 3_000)
    id_pool: int = _number(1_000, 0, 100_000)
    poll_overlap_s: int = _number(300, 1, 86_400)
    grace_ms: int = _number(2_000, 0, 60_000)
    verify_every_s: int = _number(900, 60, 86_400)
    verify_max_age_s: int = _number(3_600, 60, 604_800)
    shadow_percent: int = _number(1, 0, 100)
    shadow_min_reads: int = _number(1_000, 0, 10**9)
    soak_s: int = _number(86_400, 0, 31_536_000)

    @classmethod
    def load(cls, environ: Mapping[str, str] | None = None) -> LegacySettings:
        """Read LEGACY_* from the environment; ConfigError, exit 2, with every fault."""
        given = os.environ if environ is None else environ
        mine = {name: text for name, text in given.items() if name.startswith("LEGACY_") and text}
        read, faults = _read(mine)
        if faults:
            raise ConfigError(faults)
        return cls(**read)


def _read(given: Mapping[str, str]) -> tuple[dict[str, Any], list[Fault]]:
    # By name, since `environ` holds secrets of adapters too (`dsn_env`), under any name.
    read: dict[str, Any] = {}
    faults: list[Fault] = []
    for each in fields(LegacySettings):
        text = given.get(f"LEGACY_{each.name.upper()}")
        if text is None:
            continue
        faults += _faults(each.name, text, each.metadata.get("range"))
        read[each.name] = _value(each.name, text)
    return ({} if faults else read), faults


def _faults(name: str, text: str, limits: tuple[int, int] | None) -> Iterator[Fault]:
    shown = f"LEGACY_{name.upper()}"
    if limits is not None:
        low, high = limits
        if not (re.fullmatch(r"\d{1,12}", text) and low <= int(text) <= high):
            yield Fault(shown, "not a whole number within the range", f"{low} to {high}")
    elif name == "config":
        if not Path(text).is_file():
            yield Fault(shown, "no such file", "path of a TOML file")
    elif text not in {"true", "false"}:
        yield Fault(shown, "neither true nor false", "true or false")


def _value(name: str, text: str) -> Path | bool | int:
    if name == "config":
        return Path(text)
    return int(text) if text.isdigit() else text == "true"
