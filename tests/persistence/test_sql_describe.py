"""What a server says of a statement that it only prepares."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import psycopg
import pytest

from persistence.sql_describe import Column, Described, describe
from tests.persistence.db_world import World

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def world(empty_database: str, tmp_path: Path) -> Iterator[World]:
    with World(empty_database, tmp_path) as made:
        made.sql("CREATE TABLE t (id bigint PRIMARY KEY, note text)")
        yield made


def described(world: World, text: str, params: str = "none") -> Described:
    file = world.statement(text, params=params).file
    with contextlib.closing(world.database().connections.connect()) as raw:
        return describe(raw, file)


def test_columns_have_the_type_and_the_nulls_of_their_tables(world: World) -> None:
    """AQ8: also through a step of a chain; of an expression PostgreSQL cannot tell."""
    found = described(
        world, "WITH a AS (SELECT id, note FROM t) SELECT a.id, a.note, a.id + 1 AS next FROM a;"
    )
    assert found.columns == [
        Column(name="id", type="bigint", nullable=False),
        Column(name="note", type="text", nullable=True),
        Column(name="next", type="bigint", nullable=None),
    ]


def test_after_an_outer_join_nobody_knows(world: World) -> None:
    """AQ8."""
    found = described(world, "SELECT b.id, b.note FROM t AS a LEFT JOIN t AS b ON b.id = a.id;")
    assert [column.nullable for column in found.columns] == [None, True]


def test_a_view_of_the_server_tells_nothing_of_null(world: World) -> None:
    """AQ8."""
    (column,) = described(world, "SELECT s.name FROM pg_settings AS s;").columns
    assert column == Column(name="name", type="text", nullable=None)


def test_parameters_are_compared_with_the_header(world: World) -> None:
    """AQ3."""
    text = "SELECT :'a'::bigint, :'b'::text[];"
    found = described(world, text, "a bigint, b text[]")
    assert found.params == [("bigint", True), ("text[]", True)]


def test_nothing_is_run(world: World) -> None:
    described(world, "SELECT count(*) FROM generate_series(1, 1000000000000000);")


def test_a_statement_that_the_server_refuses_raises(world: World) -> None:
    with pytest.raises(psycopg.errors.UndefinedTable):
        described(world, "SELECT 1 FROM nowhere;")
