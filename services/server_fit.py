"""Whether the database server is what the settings ask for: `flask check-config --db`."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
    names = ["server_version_num", *_ASKED, *_DURABLE, *_ROOM]
    with db.read() as conn:
        rows = ops.server_settings(conn, names=names)
    found = {row.name: row.setting for row in rows}
    said = [f"{name} is off: an answer may be lost" for name in _DURABLE if found[name] == "off"]
    if int(found["server_version_num"]) < OLDEST_SERVER:
        said.append("the server is older than PostgreSQL 16")
    for name, setting in _ASKED.items():  # Behind a pooler they are the role's (OD3).
        if name in found and int(found[name]) != getattr(config, setting):
            said.append(f"{name} is {found[name]}, {setting.upper()} {getattr(config, setting)}")
    free = int(found["max_connections"]) - sum(int(found.get(name, 0)) for name in _ROOM[1:])
    needed = config.web_concurrency * (config.db_pool_size + 1) + config.worker_threads + 1
    if config.db_pooler == "none" and needed > free:
        said.append(f"max_connections leaves {free}, workers and their pools need {needed}")
    return said
