"""Statements: rows become objects, wrong use is a bug before anything is sent."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from persistence import sql_files, statements
from tests.persistence.db_world import World

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ID = UUID("01890a5d-ac96-774b-bcce-b302099a8057")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    id: UUID
    amount_minor: int
    at: datetime
    metadata: dict[str, Any]
    note: str | None = None


@pytest.fixture
def world(empty_database: str, tmp_path: Path) -> Iterator[World]:
    with World(empty_database, tmp_path) as made:
        yield made


def test_a_row_is_what_its_columns_are(world: World) -> None:
    """AQ8: uuid, bigint, timestamptz in UTC and jsonb as Python has them."""
    get = world.statement(
        "SELECT :'id'::uuid AS id, 1::bigint AS amount_minor,"
        " '2026-01-02 03:04+01'::timestamptz AS at, '{\"a\": [1]}'::jsonb AS metadata,"
        " NULL::text AS note;",
        params="id uuid",
        row=Row,
    )
    with world.database().read() as conn:
        row = get.one(conn, id=ID)
    at = datetime(2026, 1, 2, 2, 4, tzinfo=UTC)
    assert row == Row(id=ID, amount_minor=1, at=at, metadata={"a": [1]}, note=None)
    assert row.at.tzinfo is UTC


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("'x'::text", "x"),
        ("9007199254740993::bigint", 9007199254740993),
        (f"'{ID}'::uuid", ID),
        ("true", True),
        ("'2026-01-01Z'::timestamptz", datetime(2026, 1, 1, tzinfo=UTC)),
        ("'\\x0001'::bytea", b"\x00\x01"),
        ("'{\"a\": 1}'::jsonb", {"a": 1}),
        ("NULL::text", None),
    ],
)
def test_one_column_is_its_value(world: World, column: str, value: Any) -> None:
    """AQ8: a scalar."""
    get = world.statement(f"SELECT {column};", row=type(value))
    with world.database().read() as conn:
        assert get.one(conn) == value


@pytest.mark.parametrize(
    ("type_", "sent", "got"),
    [
        ("text", "it's 100 %", "it's 100 %"),
        ("text", None, None),
        ("uuid", ID, ID),
        ("bigint", 2**62, 2**62),
        ("smallint", 7, 7),
        ("boolean", False, False),
        ("bytea", b"\x00", b"\x00"),
        ("timestamptz", datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC)),
        ("text[]", ["a", "b"], ["a", "b"]),
        ("bigint[]", [1, 2**40], [1, 2**40]),
        ("bigint[]", [], []),
        ("jsonb", {"a": None}, {"a": None}),
        ("jsonb", [1, 2], [1, 2]),
        ("jsonb", '{"text": "as it is"}', {"text": "as it is"}),
        ("jsonb", None, None),
    ],
)
def test_a_parameter_arrives_as_it_was_sent(world: World, type_: str, sent: Any, got: Any) -> None:
    echo = world.statement(f"SELECT :'a'::{type_};", params=f"a {type_}?", row=Any)
    with world.database().read() as conn:
        assert echo.one(conn, a=sent) == got


def test_many_parameters_arrive_in_their_places(world: World) -> None:
    echo = world.statement(
        "SELECT :'b'::text || :'a'::text || :'b'::text;", params="a text, b text", row=str
    )
    with world.database().read() as conn:
        assert echo.one(conn, a="1", b="2") == "212"


def test_rows_are_counted_as_the_header_says(world: World) -> None:
    """AQ4: one, 0..1, many, count."""
    world.sql("CREATE TABLE t (id bigint)")
    series = "SELECT g FROM generate_series(1, :'n'::bigint) AS g;"
    one = world.statement(series, params="n bigint")
    maybe = world.statement(series, params="n bigint", returns="0..1")
    many = world.statement(series, params="n bigint", returns="many")
    insert = world.statement(
        "INSERT INTO t SELECT g FROM generate_series(1, :'n'::bigint) AS g;",
        params="n bigint",
        kind="write",
        returns="count",
    )
    database = world.database()
    with database.read() as conn:
        assert (one.one(conn, n=1), maybe.one_or_none(conn, n=1)) == (1, 1)
        assert maybe.one_or_none(conn, n=0) is None
        assert (many.all(conn, n=0), many.all(conn, n=3)) == ([], [1, 2, 3])
        with pytest.raises(RuntimeError, match="Bug: t/s0 gave 0 rows, not one"):
            one.one(conn, n=0)
        with pytest.raises(RuntimeError, match="Bug: t/s1 gave 2 rows, not one or none"):
            maybe.one_or_none(conn, n=2)
    with database.write() as conn:
        assert insert.count(conn, n=3) == 3


def test_a_result_of_any_size_is_read_and_read_again(world: World) -> None:
    """A cursor with many rows is not kept, one with few is."""
    many = world.statement(
        "SELECT g FROM generate_series(1, :'n'::bigint) AS g;", params="n bigint", returns="many"
    )
    with world.database().read() as conn:
        assert [len(many.all(conn, n=n)) for n in (1000, 1000, 3, 100, 101, 0)] == [
            1000, 1000, 3, 100, 101, 0,
        ]  # fmt: skip


def test_asking_otherwise_than_the_header_is_a_bug(world: World) -> None:
    """AQ4."""
    one = world.statement("SELECT 1;")
    with (
        world.database().read() as conn,
        pytest.raises(RuntimeError, match="Bug: t/s0 returns one, it was asked many"),
    ):
        one.all(conn)
    assert world.context.db_statements == 0


@pytest.mark.parametrize("params", [{}, {"a": 1, "b": 2}, {"b": 2}])
def test_missing_and_unknown_parameters_raise_before_anything_is_sent(
    world: World, params: dict[str, int]
) -> None:
    """Section 4."""
    one = world.statement("SELECT :'a'::bigint;", params="a bigint")
    with (
        world.database().read() as conn,
        pytest.raises(TypeError, match="Bug: t/s0: missing or unknown parameters"),
    ):
        one.one(conn, **params)
    assert world.context.db_statements == 0


@pytest.mark.parametrize(
    ("columns", "row"),
    [("1 AS id, 2 AS b", int), ("1 AS id", Row), ("1 AS amount_minor, 2 AS id", Row)],
)
def test_columns_other_than_the_row_types_are_a_bug(world: World, columns: str, row: Any) -> None:
    """AQ8: by name and order."""
    get = world.statement(f"SELECT {columns};", row=row)
    with world.database().read() as conn, pytest.raises(RuntimeError, match="Bug: t/s0 gives"):
        get.one(conn)


def test_a_row_type_is_frozen_slotted_and_keyword_only(world: World) -> None:
    """AQ8."""

    @dataclass(frozen=True, slots=True)
    class Positional:
        id: int

    @dataclass(slots=True, kw_only=True)
    class Changing:
        id: int

    @dataclass(frozen=True, kw_only=True)
    class Open:
        id: int

    for row in (Positional, Changing, Open):
        with pytest.raises(TypeError, match="is not a frozen, slotted, keyword-only dataclass"):
            world.statement("SELECT 1 AS id;", row=row)


def test_activity_names_the_file(world: World) -> None:
    """AQ5."""
    query = "SELECT query FROM pg_stat_activity WHERE pid = pg_backend_pid();"
    get = world.statement(query, row=str)
    with world.database().read() as conn:
        assert get.one(conn).startswith("-- t/s0: a test's.\n")


def test_a_statement_of_the_catalogue_is_registered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`flask check-sql` and the contract tests know the row types from there."""
    monkeypatch.setattr(statements, "REGISTRY", {})
    name = sql_files.names()[0]
    made = statements.statement(name)
    assert statements.REGISTRY[name] is made
    (tmp_path / "t").mkdir()
    header = "-- t/x: x.\n-- why: x\n-- params: none\n-- kind: read | returns: one\n"
    (tmp_path / "t" / "x.sql").write_text(f"{header}SELECT 1;")
    assert statements.statement("t/x", root=tmp_path).name not in statements.REGISTRY
