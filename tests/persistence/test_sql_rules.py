"""Rules that the text of a statement shows: each is broken once, and once nearly."""

from __future__ import annotations

import pytest

from persistence.sql_files import SqlFile
from persistence.sql_rules import faults


def file(text: str, kind: str = "write") -> SqlFile:
    return SqlFile(
        name="t/x",
        query=text,
        params=(),
        kind=kind,
        returns="one",
        scan=None,
        claims=None,
        present=frozenset(),
    )


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("SELECT * FROM t;", "AQ6"),
        ("select distinct * from t;", "AQ6"),
        ("SELECT a, * FROM t;", "AQ6"),
        ("SELECT t.* FROM t;", "AQ6"),
        ("UPDATE t SET a = 1 RETURNING *;", "AQ6"),
        ("SELECT sum(a)::numeric FROM t;", "AQ9"),
        ("SELECT a::double  precision FROM t;", "AQ9"),
        ("SELECT a::float8 FROM t;", "AQ9"),
        ("SELECT a:: money FROM t;", "AQ9"),
        ("INSERT INTO t VALUES (current_timestamp);", "AQ12"),
        ("INSERT INTO t VALUES (statement_timestamp());", "AQ12"),
        ("INSERT INTO t (at) VALUES (clock_timestamp());", "AQ12"),
        ("SELECT pg_try_advisory_lock(1);", "DB_POOLER"),
    ],
)
def test_a_broken_rule_is_named(text: str, rule: str) -> None:
    """AQ6, AQ9, AQ12."""
    (fault,) = faults(file(text))
    assert rule in fault


@pytest.mark.parametrize(
    "text",
    [
        "SELECT count(*), a * b, 2 *c FROM t;",
        "SELECT 'SELECT *, x::numeric' -- t.* clock_timestamp()\n /* * */ FROM t;",
        'SELECT "a.*" FROM t;',
        "SELECT a::numeric_code FROM t;",
        "INSERT INTO t (at) VALUES (now());",
        "INSERT INTO t (posted_at) VALUES (clock_timestamp());",
        "SELECT pg_advisory_xact_lock(1);",
    ],
)
def test_what_only_looks_like_a_broken_rule_is_none(text: str) -> None:
    """AQ6, AQ9, AQ12."""
    assert faults(file(text)) == []


def test_a_read_may_look_at_the_clock() -> None:
    """AQ12 is about times that are recorded."""
    assert faults(file("SELECT clock_timestamp();", kind="read")) == []
