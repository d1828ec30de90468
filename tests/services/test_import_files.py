"""Files as items, and items as batches: whole groups, bounded memory (LX3)."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from blueprints.reading import line
from errors import FileDamaged
from services.import_files import LINE_MAX_BYTES, Item, Lines, csv_items, ndjson_items
from services.ledger_imports import batches

HEAD = "id,kind,debit,credit,currency,amount_minor,metadata\r\n"


def ndjson(content: bytes) -> list[Item]:
    return list(ndjson_items(Lines(io.BytesIO(content).readline), line))


def of_csv(text: str | bytes) -> list[Item]:
    content = text if isinstance(text, bytes) else text.encode()
    return list(csv_items(Lines(io.BytesIO(content).readline), line))


def item(number: int, legs: int = 1, size: int = 10, **more: Any) -> Item:
    return Item(number, size, {"legs": [{}] * legs, **more})


def lines_of(found: list[list[Item]]) -> list[list[int]]:
    return [[each.line for each in part] for part in found]


def test_a_batch_has_at_most_so_many_items_legs_and_bytes() -> None:
    """LX3: what a posting would refuse as too large is never sent."""
    assert lines_of(list(batches((item(n) for n in range(5)), 2))) == [[0, 1], [2, 3], [4]]
    assert lines_of(list(batches((item(n, legs=9_000) for n in range(5)), 9))) == [
        [0, 1], [2, 3], [4],
    ]  # fmt: skip
    assert lines_of(list(batches((item(n, size=4_000_000) for n in range(5)), 9))) == [
        [0, 1], [2, 3], [4],
    ]  # fmt: skip
    assert list(batches([], 9)) == []


def test_neighbours_of_one_group_are_in_one_batch() -> None:
    """LX3: or it would not be posted together or not at all."""
    groups = [None, "a", "a", "a", "b", "b", None]
    items = [item(n, group=group) for n, group in enumerate(groups)]

    assert lines_of(list(batches(items, 2))) == [[0], [1, 2, 3], [4, 5], [6]]
    assert lines_of(list(batches(items, 4))) == [[0, 1, 2, 3], [4, 5, 6]]


@pytest.mark.parametrize(
    ("count", "legs", "size"), [(8_191, 1, 10), (3, 9_000, 10), (3, 1, 3_000_000)]
)
def test_a_group_that_no_batch_holds_is_damage(count: int, legs: int, size: int) -> None:
    """LX3: it is read no further than that is known."""
    endless = (item(n, legs, size, group="a") for n in range(10**9))
    with pytest.raises(FileDamaged, match="line 0: its group"):
        next(batches(endless, 2))
    assert count


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"{\n", "line 1: The body is not JSON."),
        (b'{"a": 1}\n\n{"a": 1, "a": 2}\n', "line 3: A name stands twice"),
        (b'{"a": "\\u0000"}\n', "line 1: A text holds"),
        (b'{"a": "\\ud800"}\n', "line 1: A text holds"),
        (b"[" * 100_000, "line 1: The body is nested"),
        (b'{"a": NaN}', "line 1: NaN"),
        (b'{"a": "' + b"a" * LINE_MAX_BYTES, "line 1: longer than"),
        (b'{"leaf":{}}\n{"end":true,"count":2}\n', "the lines are not those"),
        (b'{"leaf":{}}\n', "the file is cut off"),
        (b'{"leaf":{}}\n{"leaf":1}\n', "line 2: no transaction of an export"),
        (b'{"leaf":{}}\n{"else":1}\n', "line 2: no transaction of an export"),
        (b'{"leaf":{"legs":[[1,2]]}}\n', "line 1: no transaction of an export"),
    ],
)
def test_what_is_no_line_is_damage(content: bytes, said: str) -> None:
    """LX3: exit 5, 422 file_damaged; it names the line."""
    with pytest.raises(FileDamaged, match=f"^file_damaged: {said}"):
        ndjson(content)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "line 1: no column"),
        ("a,b\r\n", "line 1: no column"),
        (f"{HEAD}1,post,a,b,EUR,1,,50\r\n", "line 2: more cells"),
        (f"{HEAD}1,post,a,b,EUR,1,\0\r\n", "line 2: a character"),
        (HEAD.encode() + b"1,\xff\r\n", "line 2: 'utf-8'"),
        (f'{HEAD}1,"{"a" * 200_000}\r\n', "line 2: field larger"),
    ],
)
def test_what_is_no_record_is_damage(text: str | bytes, said: str) -> None:
    """LX3: a decimal comma is a cell more, not another amount."""
    with pytest.raises(FileDamaged, match=f"^file_damaged: {said}"):
        of_csv(text)


def test_cells_become_what_the_model_takes_or_refuses() -> None:
    """LX3: integers are digits and nothing else; what is no JSON stays text."""
    rows = [
        '1,post,a,b,EUR,5,"{""a"": ""b""}"',
        "2,,a,b,EUR,-5,{",
        "3,,'=a,b,EUR," + "9" * 5_000 + ',"{""a"": ""\\u0000""}"',
    ]
    found = [each.content for each in of_csv(b"\xef\xbb\xbf" + (HEAD + "\r\n".join(rows)).encode())]

    assert [each["legs"][0]["amount_minor"] for each in found] == [5, "-5", "9" * 5_000]
    assert [each["metadata"] for each in found] == [{"a": "b"}, "{", '{"a": "\\u0000"}']
    assert found[2]["legs"][0]["debit"] == "=a"


def test_what_an_export_rejected_is_refused() -> None:
    """LX3: it has moved nothing, and shall move nothing elsewhere; in both formats."""
    leaf = json.dumps({"leaf": {"kind": "post", "status": "rejected", "legs": []}})
    rows = of_csv(f"status,{HEAD}rejected,1,post,a,b,EUR,1,\r\napplied,2,post,a,b,EUR,1,\r\n")

    first = next(
        ndjson_items(
            Lines(io.BytesIO(leaf.replace('{"leaf": ', '{"leaf":').encode()).readline), line
        )
    )
    assert first.content["kind"] == "rejected"
    assert [each.content["kind"] for each in rows] == ["rejected", "post"]
