"""T9: planted differences of every kind among many rows: exactly those are found and mended."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from legacy.drift import Ask, Report, Verifier
from legacy.stores.postgres import PostgresStore
from tests.legacy.maps import maps, shop

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.legacy.conftest import Move

# PLANTED_ROWS=1000000 takes minutes.
ROWS = int(os.environ.get("PLANTED_ROWS", "2000"))
SHOP = """
CREATE SCHEMA shop;
CREATE TABLE shop.customers (
    id bigint, mail text, pw text, name text, verified boolean, created timestamp,
    updated timestamptz, is_active boolean
);
INSERT INTO shop.customers
SELECT n, 'u' || n || '@example.org', CASE WHEN n % 3 > 0 THEN '$2b$04$' || repeat('x', 53) END,
    'Name ' || n, n % 2 = 0, timestamp '2020-01-01' + n * interval '1 s',
    timestamptz '2021-01-01Z' + n * interval '1 s', n % 10 > 0
FROM generate_series(1, {rows}) AS n;
CREATE INDEX ON shop.customers (id);
"""
OURS = """
INSERT INTO users (tenant_id, id, legacy_id, email, email_norm, legacy_password_hash, status,
    display_name, email_verified_at, created_at, updated_at)
SELECT 'default', gen_random_uuid(), id::text, mail, mail, pw,
    CASE WHEN is_active THEN 'active' ELSE 'disabled' END, name,
    CASE WHEN verified THEN updated END, created AT TIME ZONE 'Europe/Berlin', updated
FROM shop.customers
"""
# By column of ours: a change on the follower, at the key of its place in this list.
CHANGES = {
    "email": "email = 'x@y.org', email_norm = 'x@y.org'",
    "legacy_password_hash": "legacy_password_hash = '$2b$04$' || repeat('y', 53)",
    "display_name": "display_name = 'name 4'",
    "status": "status = 'disabled'",
    "email_verified": "email_verified_at = NULL",
    "created_at": "created_at = created_at + interval '1 ms'",
    "updated_at": "updated_at = updated_at + interval '1 us'",
}
KEYS = dict(zip(CHANGES, ("1", "2", "4", "5", "8", "10", "11"), strict=True))
NULL_FOR_EMPTY, SWAPPED, MISSING, EXTRA, TWICE = "21", ("31", "32"), "41", "51", "61"
SWAP = """
UPDATE users SET display_name = CASE legacy_id WHEN '31' THEN 'Name 32' ELSE 'Name 31' END
WHERE legacy_id IN ('31', '32')
"""
PLANTS = [
    *(f"UPDATE users SET {CHANGES[name]} WHERE legacy_id = '{KEYS[name]}'" for name in CHANGES),
    f"UPDATE users SET legacy_password_hash = '' WHERE legacy_id = '{NULL_FOR_EMPTY}'",
    SWAP,
    f"DELETE FROM users WHERE legacy_id = '{MISSING}'",
    f"DELETE FROM shop.customers WHERE id = {EXTRA}",
    f"INSERT INTO shop.customers SELECT * FROM shop.customers WHERE id = {TWICE}",
]  # fmt: skip
EXPECTED = sorted(
    [
        *((KEYS[name], "different", [name]) for name in CHANGES),
        (NULL_FOR_EMPTY, "different", ["legacy_password_hash"]),
        *((key, "different", ["display_name"]) for key in SWAPPED),
        (MISSING, "missing_in_new", []),
        (EXTRA, "missing_in_legacy", []),
        (TWICE, "different", ["id"]),
    ]
)


@pytest.fixture
def planted(move: Move) -> Iterator[Move]:
    """Users in phase 3 over a table in PostgreSQL, equal but for what was planted."""
    head = 'adapter = "postgres"\ndsn_env = "SHOP_DSN"'
    text = shop(head, ("shop.customers", "shop.orders")).partition("[payments]")[0]
    mapping = maps(text, {"SHOP_DSN": move.url})["users"]
    store: Any = PostgresStore(mapping, timeout_ms=60_000)
    with psycopg.connect(move.url, autocommit=True) as conn:
        conn.execute(SHOP.format(rows=ROWS).encode())
        conn.execute(store.prepare_sql().encode())
        conn.execute(OURS.encode())
        conn.execute("ANALYZE users")
        conn.execute("ANALYZE shop.customers")
    move.relink("users", store=store, compare=mapping, columns=frozenset(mapping.by_name))
    move.attaching.attach(move.ask("users"), resume=True)
    move.force("users", 3)
    move.backfilled()
    for plant in PLANTS:
        move.copied(plant)
    yield move
    store.close()


def verify(move: Move, **given: Any) -> Report:
    ask = Ask(tenant_id="default", domain="users", by="cli:test", **given)
    began = time.monotonic()
    report = Verifier(move.db, move.mirror, grace_ms=0).run(ask)
    print(f"{ROWS} rows a side: {time.monotonic() - began:.1f} s")  # noqa: T201 - shown with -s.
    return report


def found(report: Report) -> list[tuple[str, str, list[str]]]:
    return sorted((item.entity_id, item.kind, item.columns) for item in report.items)


def test_exactly_what_was_planted_is_found_and_mended(planted: Move) -> None:
    """T9, V2, V5: of every column and kind; nothing else is touched."""
    report = verify(planted, repair=True, allow_delete=True)
    assert found(report) == EXPECTED
    assert report.counts["repaired"] == len(EXPECTED) - 1
    planted.copy_all()
    assert found(verify(planted)) == [(TWICE, "different", ["id"])]
    planted.sql(
        "DELETE FROM shop.customers WHERE ctid = (SELECT max(ctid) FROM shop.customers"
        f" WHERE id = {TWICE})"
    )
    assert verify(planted).clean
    keys = {key for key, _, _ in EXPECTED} - {TWICE}
    touched = planted.sql("SELECT legacy_id FROM users WHERE version > 1 ORDER BY 1")
    assert {key for (key,) in touched} <= keys
    written = planted.sql("SELECT entity_id FROM shop.strongroom_mirror")
    assert {key for (key,) in written} <= keys
    assert planted.sql("SELECT count(*)::int FROM users") == [(ROWS,)]
