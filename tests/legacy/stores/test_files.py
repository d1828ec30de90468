"""Exports as stores: what is a row is one, what is not is named by its line (D42, D25)."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from legacy.store import LegacyError, LegacyUnavailable, RowsRejected, StoreRow, Unsupported
from legacy.stores.files import FileStore
from tests.legacy.maps import maps, shop

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HEADER = "id,mail,pw,name,verified,created,updated,is_active,more"
CREATED, UPDATED = "2024-01-01 00:00:00", "2024-01-02 00:00:00Z"


def _line(legacy_id: str, mail: str = "a@x.de", name: str = "Ada") -> str:
    return f"{legacy_id},{mail},,{name},true,{CREATED},{UPDATED},true,"


def _object(legacy_id: Any, **change: Any) -> str:
    row = {"id": legacy_id, "mail": "a@x.de", "pw": None, "name": "Ada", "verified": True}
    return json.dumps(
        {**row, "created": CREATED, "updated": UPDATED, "is_active": True, **change},
        ensure_ascii=False,
    )


@pytest.fixture
def store(tmp_path: Path) -> Callable[..., FileStore]:
    """Return a store of a file with these lines or bytes."""

    def make(
        adapter: str, *lines: str | bytes, domain: str = "users", end: str = "\n"
    ) -> FileStore:
        data = [line.encode() if isinstance(line, str) else line for line in lines]
        path = tmp_path / f"export.{adapter}"
        path.write_bytes(b"".join(line + end.encode() for line in data))
        return FileStore(maps(shop(f'adapter = "{adapter}"'))[domain], path)

    return make


def _rejects(store: FileStore) -> list[tuple[str, str]]:
    return [(each.id, each.code) for each in store.rejected]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_csv_is_read_by_its_rfc(store: Callable[..., FileStore], end: str) -> None:
    """D42: quotes, commas and line breaks in fields, either line end, empty fields are NULL."""
    name = '"Ada ""the"" first,\r\nCountess"'
    made = store("csv", HEADER, _line("1", name=name), _line("2", name=""), end=end)
    rows = made.get_many(["1", "2", "3"])
    assert [row.row["display_name"] for row in rows.values()] == [
        'Ada "the" first,\r\nCountess',
        None,
    ]
    assert (rows["1"].version, rows["1"].op_id, made.rejected) == (1, None, [])


def test_csv_may_begin_with_a_byte_order_mark(store: Callable[..., FileStore]) -> None:
    """D42: as spreadsheets write it."""
    made = store("csv", b"\xef\xbb\xbf" + HEADER.encode(), _line("1"))
    assert made.scan_ids(None, 5) == ["1"]


def test_json_is_a_row_a_line(store: Callable[..., FileStore]) -> None:
    """D42: empty lines say nothing; typed values are read like texts."""
    made = store("jsonl", _object(1), "", _object("2", mail="b@x.de", is_active="0"))
    assert [row.row["status"] for row in made.get_many(["1", "2"]).values()] == [
        "active",
        "disabled",
    ]


def test_amounts_of_json_are_exact(store: Callable[..., FileStore]) -> None:
    """D42: a number with a point keeps its digits, it never becomes a float."""
    row = '{"id": 1, "customer": 7, "amount": %s, "currency": "EUR", "state": "paid", '
    row += '"refunded": 0, "created": "2024-01-01 00:00:00Z"}'
    made = store(
        "jsonl",
        row % "9007199254740.93",
        (row % "10.999").replace('"id": 1', '"id": 2'),
        (row % "1e3").replace('"id": 1', '"id": 3'),
        domain="payments",
    )
    assert made.get_many(["1"])["1"].row["amount_minor"] == 900719925474093
    with pytest.raises(RowsRejected) as caught:
        made.get_many(["1", "2", "3"])
    assert [(each.id, each.code) for each in caught.value.rejected] == [
        ("2", "amount_fractional"),
        ("3", "amount_invalid"),
    ]
    assert list(caught.value.rows) == ["1"]


def test_lines_that_are_no_rows_are_named(store: Callable[..., FileStore]) -> None:
    """D25: by their number; the others come in."""
    lines = (_object(1), "{", "[]", "7", '{"mail": "x"}', '{"id": 1.5}x', '{"id": 8, "id": 9}')
    made = store("jsonl", *lines, '{"id": true}', _object(2, name="x" * 70_000), _object(3))
    assert _rejects(made) == [
        ("line 2", "line_invalid"),
        ("line 3", "line_invalid"),
        ("line 4", "line_invalid"),
        ("line 5", "id_invalid"),
        ("line 6", "line_invalid"),
        ("line 7", "line_invalid"),
        ("line 9", "line_too_long"),
    ]
    assert made.scan_ids(None, 9) == ["1", "3", "true"]


def test_records_of_another_length_are_named(store: Callable[..., FileStore]) -> None:
    """D25: a field too many or too few shifts every column."""
    made = store("csv", HEADER, _line("1"), "2,a@x.de", _line("3") + ",x", _line("4"), '"5"x,')
    assert [code for _, code in _rejects(made)] == ["line_invalid"] * 3
    assert made.scan_ids(None, 9) == ["1", "4"]


def test_neither_of_two_rows_of_one_id_is_taken(store: Callable[..., FileStore]) -> None:
    """D25: nobody says which of them is the right one."""
    made = store("csv", HEADER, _line("1"), _line("2"), _line("1", mail="b@x.de"))
    assert _rejects(made) == [("1", "duplicate_id")]
    assert made.get_many(["1", "2"]).keys() == {"2"}
    assert made.count().rows == 1


@pytest.mark.parametrize("adapter", ["csv", "jsonl"])
def test_foreign_encodings_are_rejected(store: Callable[..., FileStore], adapter: str) -> None:
    """D25: Latin-1 in one row does not stop the others, and is not guessed at."""
    good, bad = (
        (_line("1"), _line("2", name="René"))
        if adapter == "csv"
        else (
            _object(1),
            _object(2, name="René"),
        )
    )
    head = [HEADER] if adapter == "csv" else []
    made = store(adapter, *head, good, bad.encode("latin-1"))
    with pytest.raises(RowsRejected) as caught:
        made.get_many(["1", "2"])
    assert (caught.value.id, caught.value.code) == ("2", "encoding_invalid")
    assert caught.value.columns == ("display_name",)
    assert list(caught.value.rows) == ["1"]
    assert sum(count for count, _ in made.digest(b"").values()) == 2


def test_a_header_without_a_mapped_column_is_refused(store: Callable[..., FileStore]) -> None:
    """D42: and one that has it twice."""
    with pytest.raises(LegacyError, match="pw, name"):
        store("csv", HEADER.replace(",pw,name", ",name,name"), _line("1"))


def test_a_file_that_is_not_there_is_no_store(tmp_path: Path) -> None:
    """MF1: the operator is told which."""
    with pytest.raises(LegacyUnavailable, match=r"nowhere\.csv: No such file"):
        FileStore(maps(shop('adapter = "csv"'))["users"], tmp_path / "nowhere.csv")


def test_a_file_is_never_written(store: Callable[..., FileStore]) -> None:
    """D30, D42: read-only, by its capabilities and in deed."""
    made = store("csv", HEADER, _line("1"))
    later = datetime(2999, 1, 1, tzinfo=UTC)
    assert not made.capabilities.writes
    row = made.get_many(["1"])["1"]
    for call in (
        lambda: made.create(row.row, "op", later),
        lambda: made.replace(row.row, 1, "op", later),
        lambda: made.follow(StoreRow("1", 2, row.row, "op")),
        lambda: made.allocate_ids(1),
        lambda: made.tail(1),
        made.fence,
    ):
        with pytest.raises(Unsupported):
            call()


def test_numbers_are_ordered_as_numbers(store: Callable[..., FileStore]) -> None:
    """D27: so that a page goes on after the one before."""
    lines = [_line(each, mail=f"m{each}@x.de") for each in ("10", "9", "b", "100", "a", "é")]
    made = store("csv", HEADER, *lines)
    assert made.scan_ids(None, 9) == ["9", "10", "100", "a", "b", "é"]
    assert made.scan_ids("10", 2) == ["100", "a"]
    assert made.scan_ids("50", 1) == ["100"]
