"""Which servers a boot refuses, and what PgBouncer leaves to the role."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

from persistence.db import Database, DbSettings
from services.server_fit import boot_faults

if TYPE_CHECKING:
    from config import Config
    from tests.world import World

ROLES = Path(__file__).resolve().parents[2] / "deploy/roles.sql"
SET = re.compile(r"ALTER ROLE strongroom_app SET (\w+) = (.+);")


def changed(world: World, **settings: str) -> Config:
    return world.services.config.model_copy(update=settings)


def test_production_refuses_a_server_that_may_lose_answers(world: World) -> None:
    """OS6: the suite's server is fast, not safe; development may have such a one."""
    found = boot_faults(changed(world, environment="production"), world.services.db)
    assert "fsync is off: an answer may be lost" in found
    assert boot_faults(changed(world, db_pooler="none"), world.services.db) == []


def test_a_role_without_timeouts_is_refused_behind_a_pooler(
    database_admin: str, world: World
) -> None:
    """OD3: each with its number; with deploy/roles.sql there is nothing to say."""
    with psycopg.connect(database_admin, autocommit=True) as conn:
        here = f"IN DATABASE {conn.info.dbname} SET lock_timeout"
        conn.execute(f"ALTER ROLE strongroom_app {here} = '7s'".encode())
        db = Database(world.services.db.connections.url, DbSettings(pooler="pgbouncer"))
        found = boot_faults(changed(world, db_pooler="pgbouncer"), db)
    assert "lock_timeout is 7000, DB_LOCK_TIMEOUT_MS 1000" in found


def test_a_server_that_is_away_refuses_no_boot(world: World, tmp_path: Path) -> None:
    """OS6: it may come back; /readyz says that it is away."""
    db = Database(f"postgresql://u@/db?host={tmp_path}", DbSettings(pool_timeout_ms=100))
    assert boot_faults(changed(world, environment="production"), db) == []
    db.close()


def test_roles_keep_what_a_session_is_given(world: World) -> None:
    """OD3: deploy/roles.sql has every setting of a session of the service's own, no other."""
    kept = {name: value.strip("'") for name, value in SET.findall(ROLES.read_text("utf-8"))}
    if world.services.config.db_pooler != "none":
        pytest.fail("Run without a pooler: only then a session is given anything.")
    db = Database(world.services.db.connections.url, DbSettings(pool_size=1))
    with db.read() as conn:
        assert conn._raw is not None
        rows = conn._raw.execute(
            "SELECT lower(name), setting || coalesce(unit, '') FROM pg_settings"
            " WHERE source = 'session' AND name <> 'synchronous_commit'"
        ).fetchall()
    db.close()
    given = dict(rows)
    given.pop("transaction_timeout", None)  # From 17 on, in both.
    kept.pop("transaction_timeout")
    assert kept == given
