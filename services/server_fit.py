"""Whether the database server is what the settings ask for: at boot, by `check-config --db`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from errors import AppError
from repos import ops

if TYPE_CHECKING:
    from config import Config
    from persistence.db import Database

OLDEST_SERVER = 160_000
# What the session is asked for, by the setting that asks.
_ASKED = {
    "lock_timeout": "db_lock_timeout_ms",
    "statement_timeout": "db_statement_timeout_ms",
    "transaction_timeout": "db_transaction_timeout_ms",
    "idle_in_transaction_session_timeout": "db_idle_transaction_timeout_ms",
    "client_connection_check_interval": "db_client_check_interval_ms",
}
_DURABLE = ("fsync", "full_page_writes", "synchronous_commit")
_ROOM = ("max_connections", "reserved_connections", "superuser_reserved_connections")


def misfits(config: Config, db: Database) -> list[str]:
    """Return a sentence for each thing in which the server is not what the settings ask for."""
    found = _found(db)
    said = _not_durable(found)
    if int(found["server_version_num"]) < OLDEST_SERVER:
        said.append("the server is older than PostgreSQL 16")
    said += _other_limits(config, found)
    free = int(found["max_connections"]) - sum(int(found.get(name, 0)) for name in _ROOM[1:])
    needed = config.web_concurrency * (config.db_pool_size + 1) + config.worker_threads + 1
    if config.db_pooler == "none" and needed > free:
        said.append(f"max_connections leaves {free}, workers and their pools need {needed}")
    return said


def boot_faults(config: Config, db: Database) -> list[str]:
    """Return why no request may be served by this server (OS6, OD3).

    Nothing if it cannot be asked now: it may come back, and /readyz says that it is away.
    """
    try:
        found = _found(db)
    except AppError:
        return []
    said = _not_durable(found) if config.environment == "production" else []
    return said + (_other_limits(config, found) if config.db_pooler != "none" else [])


def _found(db: Database) -> dict[str, str]:
    with db.read() as conn:
        names = ["server_version_num", *_ASKED, *_DURABLE, *_ROOM]
        return {row.name: row.setting for row in ops.server_settings(conn, names=names)}


def _not_durable(found: dict[str, str]) -> list[str]:
    return [f"{name} is off: an answer may be lost" for name in _DURABLE if found[name] == "off"]


def _other_limits(config: Config, found: dict[str, str]) -> list[str]:
    """Behind a pooler they are the role's: deploy/roles.sql (OD3)."""
    return [
        f"{name} is {found[name]}, {setting.upper()} {getattr(config, setting)}"
        for name, setting in _ASKED.items()
        if name in found and int(found[name]) != getattr(config, setting)
    ]
