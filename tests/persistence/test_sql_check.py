"""What check-sql finds: each kind of finding made once, on a real schema."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from datetime import date  # noqa: TC003 - row types are looked at.
from typing import TYPE_CHECKING, Any

import pytest

from persistence import sql_check, statements
from tests.persistence.db_world import CheckedWorld

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from uuid import UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    id: UUID
    seen: date | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Present:
    seen: date


@dataclass(frozen=True, slots=True, kw_only=True)
class Absent:
    id: UUID | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Json:
    a: dict[str, Any]
    b: list[dict[str, Any]] | None
    c: Any


@pytest.fixture
def world(
    empty_database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[CheckedWorld]:
    monkeypatch.setattr(statements, "REGISTRY", {})
    with CheckedWorld(empty_database, tmp_path) as made, contextlib.closing(made.raw):
        yield made


def test_a_statement_that_agrees_has_no_finding(world: CheckedWorld) -> None:
    """AQ3, AQ8."""
    found = world.findings(
        "SELECT t.id, t.seen FROM t WHERE t.tenant_id = :'tenant_id'::text AND t.id = :'id'::uuid;",
        params="tenant_id text, id uuid",
        returns="0..1",
        row=Row,
        plans=True,
    )
    assert found == []


@pytest.mark.parametrize(
    ("column", "row"),
    [
        ("1::bigint", int),
        ("'x'::char(3)", str),
        ("'{}'::jsonb", dict),
        ("'{}'::jsonb", Any),
        ("'{1}'::bigint[]", list[int]),
        ("'{x,NULL}'::text[]", list[str | None]),
        ("NULL::text[]", list[str] | None),
        ("NULL::text", str | None),
    ],
)
def test_a_scalar_of_its_type_has_no_finding(world: CheckedWorld, column: str, row: Any) -> None:
    """AQ8."""
    assert world.findings(f"SELECT {column} AS any_name;", row=row) == []


def test_json_is_a_dict_a_list_or_anything(world: CheckedWorld) -> None:
    """AQ8."""
    text = "SELECT '{}'::jsonb AS a, '[]'::json AS b, '1'::jsonb AS c;"
    assert world.findings(text, row=Json) == []


@pytest.mark.parametrize(
    ("text", "row", "finding"),
    [
        ("SELECT 1.5 AS a;", int, "column a is numeric, its row type says <class 'int'>"),
        ("SELECT sum(1::bigint) AS a;", int, "column a is numeric"),
        ("SELECT 1 AS a;", str, "column a is integer, its row type says <class 'str'>"),
        ("SELECT pg_current_xact_id() AS a;", int, "column a is xid8"),
        ("SELECT '{1}'::bigint[] AS a;", list[str], "column a is bigint[]"),
        ("SELECT '{1}'::bigint[] AS a;", list, "column a is bigint[]"),
        ("SELECT seen FROM t;", Row, "its columns are ['seen'], its row type has ['id', 'seen']"),
        ("SELECT seen, id FROM t;", Row, "its columns are ['seen', 'id']"),
        ("SELECT 1 AS a, 2 AS b;", int, "its columns are ['a', 'b'], its row type has ['a']"),
        ("DELETE FROM t WHERE false;", int, "its columns are [], its row type has ['']"),
        ("SELECT seen FROM t;", Present, "column seen may be NULL, its row type says never"),
        ("SELECT id FROM t;", Absent, "column id is never NULL, its row type says it may be"),
    ],
)
def test_a_row_type_that_disagrees_is_found(
    world: CheckedWorld, text: str, row: Any, finding: str
) -> None:
    """AQ8, AQ9: types, names, order and NULLs."""
    (found,) = world.findings(text, row=row)
    assert found.startswith(finding)


def test_an_outer_join_may_make_any_column_null(world: CheckedWorld) -> None:
    """AQ8: there PostgreSQL cannot tell."""
    join = "SELECT t.id FROM (SELECT 1 AS one) AS o LEFT JOIN t ON true;"
    assert world.findings(join, row=Absent) == []
    assert world.findings(join.replace("t.id", "t.seen"), row=Present) != []


def test_a_header_may_say_that_a_column_is_present(world: CheckedWorld) -> None:
    """AQ8: what a condition excludes, DESCRIBE does not know."""
    text = "-- present: seen\nSELECT t.seen FROM t WHERE t.seen IS NOT NULL;"
    assert world.findings(text, row=Present) == []


def test_a_count_gives_no_rows(world: CheckedWorld) -> None:
    """AQ4."""
    delete = "DELETE FROM coins WHERE code = 'X'"
    assert world.findings(f"{delete};", kind="write", returns="count") == []
    assert world.findings(f"{delete} RETURNING name;", kind="write", returns="count") == [
        "it gives rows, its header says count (AQ4)"
    ]


def test_a_parameter_of_two_types_is_found(world: CheckedWorld) -> None:
    """AQ3: the header's type stands behind the name, and yet the server takes another."""
    text = "SELECT :'a'::timestamp with time zone IS NULL;"
    assert world.findings(text, params="a timestamp", row=bool) == [
        "a is timestamp in the header, timestamp with time zone to the server (AQ3)"
    ]


def test_what_the_server_refuses_is_found(world: CheckedWorld) -> None:
    assert world.findings("SELECT nothing FROM t;") == [
        'the server refuses it: 42703 column "nothing" does not exist'
    ]


def test_a_file_that_breaks_rules_is_found(world: CheckedWorld, tmp_path: Path) -> None:
    """AQ1 to AQ6: text and header."""
    assert world.findings("SELECT * FROM coins WHERE false;", row=Row)[0].endswith("(AQ6)")
    (tmp_path / "t" / "bad.sql").write_text("SELECT 1")
    found = sql_check.check(world.raw, "t/bad", plans=True, root=tmp_path)
    assert len(found) == 6


def test_a_file_without_a_repo_function_is_found(world: CheckedWorld, tmp_path: Path) -> None:
    """AI8."""
    made = world.statement("SELECT 1;")
    (found,) = sql_check.check(world.raw, made.name, plans=False, root=tmp_path)
    assert found.text == "no repo function uses it (AI8)"
