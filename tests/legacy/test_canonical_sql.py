"""PostgreSQL and Python agree on every row, good or bad (T10, V1, V3)."""

from __future__ import annotations

import json
import os
import random
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg import sql

from legacy import canonical_sql, digest_sql
from legacy.canonical import Digest, uuid8
from tests.legacy.maps import EXPONENTS, maps, shop

if TYPE_CHECKING:
    from collections.abc import Iterator

    from legacy.columns import ColumnMap, Raw

pytestmark = pytest.mark.database  # Runs on 16 too.

ROWS = int(os.environ.get("CANONICAL_ROWS", "3000"))
MAPS = maps(shop('adapter = "postgres"\ndsn_env = "DSN"'), {"DSN": "x"})
TEXTS = [
    "", " ", "Ada", "ada@example.org", "O'Neill", 'a"b', "back\\slash", "Grüße 😀", "e\u0301",
    "<null>", "NULL", "x" * 600, "\t", "line\nbreak", "0", "true", "t", "f", "1", "-1", "00",
    "-0", "1e2", "+5", "10.99", "10.990", "10.991", ".5", "5.", "\u0665", "007", "999999999999999",
    "9999999999999999", "123456789012345.99", "EUR", "eur", "KWD", "JPY", "XAU", "paid", "open",
    "Paid", "\ud7ff", "\ufeff",
]  # fmt: skip
MOMENTS = [
    "2024-01-02 03:04:05", "2024-01-02T03:04:05Z", "2024-01-02 03:04:05.1+02",
    "1969-12-31 23:59:59.9Z", "1901-05-05 00:00:00.000001+00", "2024-02-30 00:00:00Z",
    "2024-13-01 00:00:00", "2024-01-02 24:00:00Z", "2024-01-02 03:04:60Z", "infinity",
    "-infinity", "now", "2024-01-02", "0001-01-01 00:00:00+05", "0044-03-15 12:00:00Z",
    "9998-12-31 23:59:59.999999-15:59", "9999-12-31 00:00:00Z", "2024-10-27 02:30:00",
    "2024-03-31 02:30:00", "2024-03-31 02:30:00.123456", "1893-03-31 23:55:00",
    "2024-01-02 03:04:05.1234567Z", "2024-01-02 03:04:05+16", "2024-01-02  03:04:05",
    "1700-01-01 00:00:00", "2023-02-29 00:00:00", "2024-01-02 03:04:05+0130",
    "2024-01-02 03:04:05 +01", "1916-04-30 23:30:00",
]  # fmt: skip
METADATA = [
    "{}", '{"a":"b"}', '{"b":"1","a":"2","ä":"3","B":"4"}', '{"a":1}', '{"a":null}', "[]",
    "null", '"a"', "{", '{"a":"\\u0000"}', '{"a":"\\ud800"}', '{"a":"\\ud83d\\ude00"}',
    '{"a":{}}', '{"a":"x","a":"y"}', ' {"a" : "b"}\n', '{"a":NaN}', "\ufeff{}", '{"":""}',
    '{"a":"tab\\t"}', "{'a':'b'}", '{"😀":"😀","z":"","￿":""}',
]  # fmt: skip


@pytest.fixture
def conn(empty_database: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(empty_database, autocommit=True) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        yield connection


@pytest.fixture
def seeded() -> random.Random:
    seed = random.randrange(2**32)
    print(f"seed {seed}")  # noqa: T201 - shown if the test fails.
    return random.Random(seed)


def _any_value(mapped: Any, draw: random.Random) -> str | None:
    if draw.random() < 0.1:
        return None
    if mapped.how in {"minor", "decimal", "int"} and draw.random() < 0.7:
        amount = str(draw.randrange(-10, 10**12))
        return amount + draw.choice(["", "", ".5", ".50", ".99", ".990", ".999", ".0000"])
    pool = {"timestamp": MOMENTS, "metadata": METADATA}.get(mapped.how, TEXTS)
    if mapped.how == "timestamp" and draw.random() < 0.5:
        moment = datetime(1900, 1, 1, tzinfo=UTC) + timedelta(microseconds=draw.randrange(2**53))
        naive = draw.random() < 0.5
        return str(moment.replace(tzinfo=None) if naive else moment)
    if mapped.ours.kind == "currency" and draw.random() < 0.8:
        return draw.choice(list(EXPONENTS))
    return draw.choice(draw.choice([pool, TEXTS]))


def _rows(mapping: ColumnMap, draw: random.Random, count: int) -> list[Raw]:
    rows = []
    for number in range(count):
        raw: Raw = {
            mapped.source: _any_value(mapped, draw)
            for mapped in mapping.config.columns
            if mapped.source
        }
        rows.append({**raw, mapping.id_source: draw.choice(["", "x-", "ä"]) + str(number)})
    return rows


def _fill(conn: psycopg.Connection[Any], table: str, rows: list[Raw]) -> None:
    names = [sql.Identifier(name) for name in rows[0]]
    columns = sql.SQL(", ").join(names)
    typed = sql.SQL(", ").join(sql.SQL("{} text").format(name) for name in names)
    conn.execute(sql.SQL("CREATE TABLE {} ({})").format(sql.Identifier(table), typed))
    copy = sql.SQL("COPY {} ({}) FROM STDIN").format(sql.Identifier(table), columns)
    with conn.cursor().copy(copy) as rows_in:
        for row in rows:
            rows_in.write_row(list(row.values()))


@pytest.mark.parametrize("domain", ["users", "payments"])
def test_sql_and_python_hash_the_same_legacy_rows(
    conn: psycopg.Connection[Any], seeded: random.Random, domain: str
) -> None:
    """V1, V3: random rows of every transform, most of them broken somewhere (T10)."""
    mapping = MAPS[domain]
    rows = _rows(mapping, seeded, ROWS)
    _fill(conn, mapping.config.table, rows)
    found = dict(conn.execute(digest_sql.legacy_rows(mapping).encode()).fetchall())
    expected = {row[mapping.id_source]: mapping.hash_of_raw(row) for row in rows}
    different = [
        row for row in rows if found[row[mapping.id_source]] != expected[row[mapping.id_source]]
    ]
    assert (len(found), different[:3]) == (len(rows), [])


@pytest.mark.parametrize("prefix", [b"", b"\x07", b"\x07\x2a"])
def test_sql_and_python_digest_the_same(
    conn: psycopg.Connection[Any], seeded: random.Random, prefix: bytes
) -> None:
    """V1, V2: counts and signed sums by bucket."""
    mapping = MAPS["users"]
    rows = _rows(mapping, seeded, 2000)
    _fill(conn, mapping.config.table, rows)
    query = digest_sql.digest(digest_sql.legacy_rows(mapping), prefix)
    found = {bucket: (count, int(sum_)) for bucket, count, sum_ in conn.execute(query.encode())}
    digest = Digest(prefix)
    for row in rows:
        digest.add(row[mapping.id_source], mapping.hash_of_raw(row))
    assert found == digest.result()


@pytest.mark.parametrize("domain", ["users", "payments"])
def test_sql_and_python_count_the_same(
    conn: psycopg.Connection[Any], seeded: random.Random, domain: str
) -> None:
    """V1: per status and currency, with "?" for what cannot be read."""
    mapping = MAPS[domain]
    rows = _rows(mapping, seeded, 1000)
    _fill(conn, mapping.config.table, rows)
    found = conn.execute(canonical_sql.totals(mapping).encode()).fetchall()
    expected: dict[tuple[str, str], tuple[int, int]] = {}
    for row in rows:
        status, currency, amount = mapping.totals_key(row)
        count, sum_ = expected.get((status, currency), (0, 0))
        expected[status, currency] = count + 1, sum_ + amount
    assert {(s, c): (n, int(a)) for s, c, n, a in found} == expected


NATIVE = """
CREATE TABLE customers (
    id bigint, mail varchar(300), pw text, name text, verified boolean, created timestamp,
    updated timestamptz, is_active smallint
);
INSERT INTO customers VALUES
    (1, 'ada@x.de', NULL, 'Ada', true, '2024-10-27 02:30:00.1239', '2024-01-01 00:00Z', 1),
    (2, NULL, '', NULL, NULL, 'infinity', '-infinity', 0),
    (3, 'b', 'c', 'd', false, '0044-03-15 BC', '10000-01-01', 7),
    (5, 'b', 'c', 'd', true, '0001-12-31 23:59:59', '0001-12-31 23:59:59Z', 1),
    (6, 'b', 'c', 'd', true, '0002-01-01', '0002-01-01Z', 1),
    (7, 'b', 'c', 'd', true, '9998-12-31 23:59:59.999999', '9998-12-31 23:59:59.999999Z', 1),
    (8, 'b', 'c', 'd', true, '9999-01-01', '9999-01-01Z', 1),
    (-4, 'b', 'c', 'd', false, '1969-12-31 23:59:59', '1969-12-31 23:59:59.999999Z', NULL)
"""
TYPES = b"""
SELECT a.attname, format_type(a.atttypid, NULL) FROM pg_attribute AS a
WHERE a.attrelid = 'customers'::regclass AND a.attnum > 0
"""


def test_the_type_of_a_legacy_column_does_not_matter(conn: psycopg.Connection[Any]) -> None:
    """V1, V3: PostgreSQL's own types are read by their text, infinity and years BC too."""
    mapping = MAPS["users"]
    conn.execute(NATIVE)
    names = ", ".join(f'"{name}"::text' for name in mapping.sources)
    rows = conn.execute(f"SELECT {names} FROM customers".encode()).fetchall()
    raws = [dict(zip(mapping.sources, row, strict=True)) for row in rows]
    types = dict(conn.execute(TYPES).fetchall())
    for known in ({}, types, {**types, "is_active": "text"}):
        query = digest_sql.legacy_rows(mapping, known)
        found = dict(conn.execute(query.encode()).fetchall())
        assert found == {raw["id"]: mapping.hash_of_raw(raw) for raw in raws}
    # Two of them are the same: neither the year 1 nor the year 9999 can be read.
    assert len(set(found.values())) == len(raws) - 1


OUR_USER = """
INSERT INTO users (tenant_id, id, email, email_norm, legacy_password_hash, status, legacy_id,
    display_name, email_verified_at, created_at, updated_at)
VALUES ('default', %(id)s, %(email)s, lower(%(email)s), %(legacy_password_hash)s, %(status)s,
    %(legacy_id)s, %(display_name)s, CASE WHEN %(email_verified)s THEN now() END,
    %(created_at)s, %(updated_at)s)
"""
OUR_PAYMENT = """
INSERT INTO payments (tenant_id, id, user_id, legacy_id, reference, amount_minor, currency,
    gateway, description, metadata, status, end_reason, capture_before, authorized_minor,
    captured_minor, voided_minor, refunded_minor, created_at, updated_at)
VALUES ('default', %(id)s, %(user_id)s, %(legacy_id)s, %(reference)s, %(amount_minor)s,
    %(currency)s, 'shop', %(description)s, %(metadata)s, %(status)s, %(end_reason)s,
    %(capture_before)s, %(authorized_minor)s, %(captured_minor)s, %(voided_minor)s,
    %(refunded_minor)s, %(created_at)s, %(updated_at)s)
"""


def _good_user(number: int, draw: random.Random) -> Raw:
    return {
        "id": str(number),
        "mail": f"u{number}@example.org",
        "pw": draw.choice([None, "$2b$04$" + "." * 53]),
        "name": draw.choice([None, "Ada", "Grüße 😀"]),
        "verified": draw.choice(["true", "f"]),
        "created": draw.choice(["2024-10-27 02:30:00.123456", "1969-12-31 23:59:59.9999Z"]),
        "updated": "2024-01-02 03:04:05.000001Z",
        "is_active": draw.choice(["true", "0"]),
    }


def _good_payment(number: int, draw: random.Random) -> Raw:
    state = draw.choice(["open", "held", "paid", "void", "none", "bad"])
    return {
        "id": str(number),
        "customer": str(draw.randrange(20)),
        "order_no": draw.choice([None, number]),
        "amount": str(draw.randrange(1, 10**9)),
        "currency": draw.choice(["EUR", "JPY", "KWD"]),
        "what": draw.choice([None, "Tea", "😀"]),
        "extra": draw.choice([None, "{}", json.dumps({"b": "1", "ä": "", "A": "😀"})]),
        "refunded": "0",
        "until": draw.choice([None, "2024-01-02 03:04:05.999Z"]),
        "created": "2024-01-02 03:04:05.000001Z",
        "state": state,
    }


def test_our_rows_hash_as_the_legacy_rows_they_came_from(
    database_owner: str, seeded: random.Random
) -> None:
    """V3: brought to what legacy can hold, in SQL and in Python, both sides are the same."""
    raws = {
        "users": [_good_user(number, seeded) for number in range(100)],
        "payments": [_good_payment(number, seeded) for number in range(300)],
    }
    with psycopg.connect(database_owner, autocommit=True) as conn:
        conn.execute("SET TimeZone = 'UTC'")
        for domain, insert in (("users", OUR_USER), ("payments", OUR_PAYMENT)):
            mapping = MAPS[domain]
            rows = [mapping.read(raw) for raw in raws[domain]]
            for row in rows:
                texts = {**row, "metadata": json.dumps(row.get("metadata"))}
                conn.execute(insert.encode(), texts)
            query = digest_sql.our_rows(mapping, "'default'")
            found: dict[str, bytes] = dict(conn.execute(query.encode()).fetchall())
            assert found == {row["legacy_id"]: mapping.hash_of_row(row) for row in rows}
            assert found == {raw["id"]: mapping.hash_of_raw(raw) for raw in raws[domain]}
        conn.execute("DELETE FROM payments")


def test_our_ids_are_the_same_in_sql(conn: psycopg.Connection[Any]) -> None:
    """D26: UUIDv8 from sha256 of tenant, domain and id."""
    for legacy_id in ("1", "", "Grüße 😀", "x" * 200):
        named = canonical_sql.uuid8("'default'", "'users'", canonical_sql.quote(legacy_id))
        found = conn.execute(f"SELECT {named}".encode()).fetchone()
        assert found == (uuid8("default", "users", legacy_id),)
    assert uuid8("default", "users", "1").version == 8
