"""The table of API keys refuses what no key can be."""

from __future__ import annotations

import psycopg
import pytest

COLUMNS = (
    "tenant_id, id, principal_id, name, key_hash, scopes, allowed_cidrs, created_by, replaced_by,"
    " revoked_at, revoked_by"
)
KEY = (
    "('default', 'AAAAAAAAAAAA', gen_random_uuid(), 'shop', sha256('x'), '{ops:read}',"
    " '{192.0.2.0/24}', 'cli:ops', NULL, now(), 'cli:ops')"
)
INSERT = f"INSERT INTO api_keys ({COLUMNS}) VALUES "


@pytest.mark.parametrize(
    ("old", "new", "constraint"),
    [
        ("'default'", "'nobody'", "api_keys_tenant_fkey"),
        ("AAAAAAAAAAAA", "AAAA_AAAAAAA", "api_keys_id_check"),
        ("'shop'", "''", "api_keys_name_check"),
        ("sha256('x')", "'srk_default_x'", "api_keys_hash_check"),
        ("'{ops:read}'", "'{}'", "api_keys_scopes_check"),
        ("'{ops:read}'", "'{ops:read,NULL}'", "api_keys_scopes_check"),
        ("'{192.0.2.0/24}'", "'{}'", "api_keys_cidrs_check"),
        ("'{192.0.2.0/24}'", "'{NULL}'", "api_keys_cidrs_check"),
        ("'cli:ops', NULL", "'cli:ops', 'BBBBBBBBBBBB'", "api_keys_replaced_by_fkey"),
        ("now(), 'cli:ops'", "now(), NULL", "api_keys_revoked_check"),
    ],
)
def test_a_wrong_key_cannot_be_stored(
    database_owner: str, old: str, new: str, constraint: str
) -> None:
    with psycopg.connect(database_owner) as conn:
        conn.execute((INSERT + KEY).encode())
        conn.execute("DELETE FROM api_keys")
        with pytest.raises(psycopg.IntegrityError) as caught:
            conn.execute((INSERT + KEY.replace(old, new)).encode())
    assert caught.value.diag.constraint_name == constraint


def test_one_id_is_one_key_per_tenant(database_owner: str) -> None:
    with psycopg.connect(database_owner) as conn:
        conn.execute((INSERT + KEY).encode())
        with pytest.raises(psycopg.errors.UniqueViolation) as caught:
            conn.execute((INSERT + KEY).encode())
    assert caught.value.diag.constraint_name == "api_keys_pkey"


def test_a_live_key_is_proved_by_two_primary_keys(database_owner: str) -> None:
    """A41's price: one look-up of the key and one of its tenant, with the generic plan."""
    from repos.api_keys import AUTHENTICATE  # noqa: PLC0415 - the one user of the statement's text.

    with psycopg.connect(database_owner) as conn:
        conn.execute("SET plan_cache_mode = force_generic_plan")
        conn.execute("SET enable_seqscan = off")
        conn.execute(b"PREPARE proof AS " + AUTHENTICATE.query)
        lines = conn.execute("EXPLAIN EXECUTE proof ('default', 'AAAAAAAAAAAA')").fetchall()
    plan = "\n".join(line for (line,) in lines)
    assert "Index Scan using api_keys_pkey" in plan
    assert "tenants_pkey" in plan
    assert "Seq Scan" not in plan
