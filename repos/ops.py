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
    """The server now. `timeline` counts its failovers."""

    version: str
    in_recovery: bool
    read_only: bool
    clock: datetime
    system_identifier: int
    timeline: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettingRow:
    """A setting of the server, as text."""

    name: str
    setting: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerStateRow:
    """All books together. `sealed_through`, `verified_at`: of the book that is longest behind.

    None: none ever was sealed, or checked.
    """

    sealed_through: datetime | None
    seal_lag_ms: int
    verified_ok: bool
    verified_at: datetime | None


FACTS = statement("ops/facts", FactsRow)
EVENT_EPOCH = statement("ops/event_epoch", int)
GET_LEDGER_STATE = statement("ops/get_ledger_state", LedgerStateRow)
SERVER_SETTINGS = statement("ops/server_settings", ServerSettingRow)


def facts(conn: Conn) -> FactsRow:
    """Who answers, and what history it holds."""
    return FACTS.one(conn)


def event_epoch(conn: Conn) -> int | None:
    """The number of this installation's history; None: the first."""
    return EVENT_EPOCH.one_or_none(conn)


def get_ledger_state(conn: Conn) -> LedgerStateRow:
    """How far seals and checks of the books are."""
    return GET_LEDGER_STATE.one(conn)


def server_settings(conn: Conn, *, names: list[str]) -> list[ServerSettingRow]:
    """Those of `names` that this server knows."""
    return SERVER_SETTINGS.all(conn, names=names)
