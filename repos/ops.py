"""What the database server says of itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from persistence.statements import statement

if TYPE_CHECKING:
    from datetime import datetime

    from persistence.db import Conn


@dataclass(frozen=True, slots=True, kw_only=True)
class FactsRow:
    """The server now. `timeline` counts its failovers, `epoch` our logical restores."""

    version: str
    in_recovery: bool
    read_only: bool
    clock: datetime
    system_identifier: int
    timeline: int
    epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettingRow:
    """A setting of the server, as text."""

    name: str
    setting: str


FACTS = statement("ops/facts", FactsRow)
SERVER_SETTINGS = statement("ops/server_settings", ServerSettingRow)


def facts(conn: Conn) -> FactsRow:
    """Who answers, and what history it holds."""
    return FACTS.one(conn)


def server_settings(conn: Conn, *, names: list[str]) -> list[ServerSettingRow]:
    """Those of `names` that this server knows."""
    return SERVER_SETTINGS.all(conn, names=names)
