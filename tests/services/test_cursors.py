"""Cursors: what was signed comes back, and nothing else is taken (P45)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from errors import CursorInvalid
from services.cursors import Cursors

SECRET = b"s" * 32
POSITION = [datetime(2026, 1, 31, 12, 0, 0, 1, tzinfo=UTC), UUID(int=7), 3, "text"]
BOUND: dict[str, Any] = {"tenant_id": "acme", "owner_id": None, "status": ["captured"]}


@pytest.fixture
def cursors() -> Cursors:
    return Cursors(SECRET)


def test_a_position_comes_back_exactly(cursors: Cursors) -> None:
    """P45: to the microsecond."""
    cursor = cursors.sign("payments", POSITION, BOUND)

    at, id_, number, text = cursors.read("payments", cursor, BOUND)

    assert [datetime.fromisoformat(at), UUID(id_), number, text] == POSITION


def test_a_cursor_fits_a_url(cursors: Cursors) -> None:
    """P45: it goes into a query string as it is, within the 1,024 characters that one may have."""
    cursor = cursors.sign("payments", [*POSITION, "a" * 255], BOUND)

    assert set(cursor) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.")
    assert len(cursor) < 1024


@pytest.mark.parametrize("place", [0, 10, -1])
def test_an_altered_cursor_is_refused(cursors: Cursors, place: int) -> None:
    """P45: one character is enough."""
    cursor = list(cursors.sign("payments", POSITION, BOUND))
    cursor[place] = "A" if cursor[place] != "A" else "B"

    with pytest.raises(CursorInvalid):
        cursors.read("payments", "".join(cursor), BOUND)


@pytest.mark.parametrize("text", ["", ".", "x", "é", "a.b.c", "\ud800".encode("utf-8", "replace")])
def test_nonsense_is_refused(cursors: Cursors, text: Any) -> None:
    """P45: 400 cursor_invalid, whatever came."""
    with pytest.raises(CursorInvalid):
        cursors.read("payments", text, BOUND)


def test_a_cursor_of_another_list_is_refused(cursors: Cursors) -> None:
    """P45: a salt per list."""
    with pytest.raises(CursorInvalid):
        cursors.read("entries", cursors.sign("payments", POSITION, BOUND), BOUND)


@pytest.mark.parametrize(
    "other",
    [
        {**BOUND, "tenant_id": "other"},
        {**BOUND, "owner_id": UUID(int=7)},
        {**BOUND, "status": ["captured", "voided"]},
        {},
    ],
    ids=["tenant", "reach", "filters", "nothing"],
)
def test_a_cursor_for_something_else_is_refused(cursors: Cursors, other: dict[str, Any]) -> None:
    """P45: tenant, reach and filters are part of it."""
    with pytest.raises(CursorInvalid):
        cursors.read("payments", cursors.sign("payments", POSITION, BOUND), other)


def test_a_secret_can_be_changed_without_losing_cursors() -> None:
    """P45: the new secret signs, the old one still reads."""
    cursor = Cursors(b"old" * 11).sign("payments", [1], BOUND)

    both = Cursors(SECRET, b"old" * 11)

    assert both.read("payments", cursor, BOUND) == [1]
    assert Cursors(SECRET).read("payments", both.sign("payments", [2], BOUND), BOUND) == [2]
