"""Exports are read whole or refused (LX2)."""

from __future__ import annotations

import json
from hashlib import sha256

import pytest

from services.export_lines import ExportDamaged, ExportLines

LINES = [b'{"n": 1}\n', b'{"n": 2}\n']


def end(lines: list[bytes], **more: object) -> bytes:
    """Return the last line of an export of these."""
    hashed = sha256(b"".join(lines)).hexdigest()
    return json.dumps({"end": True, "count": len(lines), "sha256": hashed, **more}).encode() + b"\n"


def test_a_whole_export_is_read_to_its_end() -> None:
    """LX2: the last line is told apart."""
    reader = ExportLines([*LINES, end(LINES, sealed_through="x")])
    assert list(reader) == [{"n": 1}, {"n": 2}]
    assert reader.end["sealed_through"] == "x"
    assert list(ExportLines([end([])])) == []


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ([], "cut off"),
        (LINES, "cut off"),
        ([LINES[0], end(LINES)], "not those"),
        ([*reversed(LINES), end(LINES)], "not those"),
        ([LINES[0], b'{"n":2}\n', end(LINES)], "not those"),
        ([*LINES, end(LINES), LINES[0]], "line 4: something follows"),
        ([LINES[0], b'{"n": \n'], "line 2: not JSON"),
        ([b"\xff\n"], "line 1: not JSON"),
        ([b"[1]\n"], "line 1: not an object"),
    ],
)
def test_a_damaged_export_is_refused(lines: list[bytes], says: str) -> None:
    """LX2: cut off, changed, put in another order, added to."""
    with pytest.raises(ExportDamaged, match=says):
        list(ExportLines(lines))
