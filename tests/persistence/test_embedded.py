"""The embedded servers, really started, killed and adopted."""

from __future__ import annotations

import os

import psycopg
import redis


def test_the_suite_runs_the_postgresql_it_claims(database: str) -> None:
    """AT9: the job for 16 must not run on 18."""
    with psycopg.connect(database) as conn:
        assert conn.info.server_version // 10000 == int(os.environ.get("TEST_PG_MAJOR", "18"))


def test_the_application_is_no_superuser(database: str) -> None:
    """OE2."""
    with psycopg.connect(database) as conn:
        found = conn.execute(
            "SELECT rolname, rolsuper, rolcreatedb, rolcreaterole FROM pg_roles"
            " WHERE rolname = current_user"
        ).fetchone()
    assert found == ("strongroom_app", False, False, False)


def test_valkey_answers_with_a_password_only(kv_url: str) -> None:
    """OE2."""
    with redis.Redis.from_url(kv_url) as client:
        assert client.ping()
