"""Transactions out of a file, NDJSON or CSV, a line at a time (LX3).

A line is a transaction as a batch takes it, or one of our export's. In CSV neighbours with one id
are the legs of one transaction. A file is read once, and never held.
"""

from __future__ import annotations

import csv
from itertools import chain, groupby, islice
from typing import TYPE_CHECKING, Any, NamedTuple

from errors import FileDamaged, InvalidJson
from services.csv_records import plain
from services.export_lines import ExportDamaged, ExportLines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Parse = Callable[[bytes], Any]
    ReadLine = Callable[[int], bytes]

# Holds a transaction of 500 legs with the longest codes, and fewer legs than a batch may have.
LINE_MAX_BYTES = 1_048_576
# Of a transaction; what has more is refused, and need not be held whole to know that.
ROWS_MAX = 10_001
LEG = ("debit", "credit", "currency", "amount_minor")
HEAD = ("id", "kind", "reference", "effective_at", "group", "metadata")
BOM = b"\xef\xbb\xbf"
# How an export's first line begins.
OF_EXPORT = (b'{"leaf"', b'{"end"')
# More digits than any amount, and few enough for Python to read.
DIGITS_MAX = 19


class Item(NamedTuple):
    """One transaction of a file: the line where it begins, its bytes, itself."""

    line: int
    size: int
    content: Any


class Lines:
    """The lines of a file, none longer than LINE_MAX_BYTES."""

    def __init__(self, read_line: ReadLine) -> None:
        """`read_line` returns a line of at most so many bytes, b"" at the end."""
        self._read_line = read_line
        self._size = 0

    def __iter__(self) -> Iterator[bytes]:
        number = 0
        while line := self._read_line(LINE_MAX_BYTES + 1):
            number += 1
            self._size += len(line)
            if len(line) > LINE_MAX_BYTES:
                raise FileDamaged(f"line {number}: longer than {LINE_MAX_BYTES} bytes")
            yield line

    def taken(self) -> int:
        """Return how many bytes were read since this was asked last."""
        size, self._size = self._size, 0
        return size


def ndjson_items(lines: Lines, parse: Parse) -> Iterator[Item]:
    """Yield each line's item; an export is checked to its end. Raises FileDamaged.

    `parse` reads JSON, and raises InvalidJson.
    """
    left = iter(lines)
    first = next(left, b"")
    whole = chain([first], left)
    try:
        if first.startswith(OF_EXPORT):
            for number, document in enumerate(ExportLines(whole, parse), 1):
                yield Item(number, lines.taken(), _of_export(number, document))
            return
    except ExportDamaged as damaged:
        raise FileDamaged(str(damaged)) from damaged
    for number, line in enumerate(whole, 1):
        if line.strip():
            yield Item(number, lines.taken(), _parsed(number, line, parse))


def _parsed(number: int, line: bytes, parse: Parse) -> Any:
    try:
        return parse(line)
    except InvalidJson as fault:
        raise FileDamaged(f"line {number}: {fault.detail}") from fault


def _of_export(number: int, document: dict[str, Any]) -> dict[str, Any]:
    """Return an exported transaction as an item; what was no posting is left to be refused."""
    try:
        return _of_leaf(document["leaf"], document.get("metadata"))
    except (AttributeError, KeyError, TypeError, ValueError) as fault:
        raise FileDamaged(f"line {number}: no transaction of an export") from fault


def _of_leaf(leaf: dict[str, Any], metadata: Any) -> dict[str, Any]:
    item = {
        "id": leaf.get("id"),
        "kind": leaf.get("kind") if leaf.get("status") == "applied" else "rejected",
        "legs": [
            {"debit": debit, "credit": credit, "currency": currency, "amount_minor": amount}
            for debit, credit, currency, amount in leaf.get("legs", ())
        ],
        "reference": leaf.get("reference"),
        "effective_at": leaf.get("effective_at"),
        "metadata": metadata,
    }
    return {name: value for name, value in item.items() if value is not None}


def csv_items(lines: Lines, parse: Parse) -> Iterator[Item]:
    """Yield transactions of a CSV file. Raises FileDamaged."""
    reader = csv.DictReader(_texts(lines))
    try:
        missing = {"id", *LEG} - set(reader.fieldnames or ())
        if missing:
            raise FileDamaged(f"line 1: no column {', '.join(sorted(missing))}")
        numbered = ((reader.line_num, row) for row in reader)
        for _, rows in groupby(numbered, key=lambda each: each[1]["id"]):
            legs = list(islice(rows, ROWS_MAX))
            for number, row in legs:
                if None in row:
                    raise FileDamaged(f"line {number}: more cells than columns")
            item = _of_rows([row for _, row in legs], parse)
            yield Item(legs[0][0], lines.taken(), item)
    except (csv.Error, UnicodeDecodeError) as fault:
        raise FileDamaged(f"line {reader.line_num + 1}: {fault}") from fault


def _texts(lines: Lines) -> Iterator[str]:
    """Decode lines; spreadsheets begin a file with a mark, and no text column holds NUL."""
    for number, line in enumerate(lines, 1):
        if b"\x00" in line:
            raise FileDamaged(f"line {number}: a character that no text may hold")
        yield (line.removeprefix(BOM) if number == 1 else line).decode("utf-8")


def _of_rows(rows: list[dict[str, Any]], parse: Parse) -> dict[str, Any]:
    head = {name: plain(rows[0].get(name) or "") for name in HEAD}
    item: dict[str, Any] = {name: text for name, text in head.items() if text}
    if (rows[0].get("status") or "applied") != "applied":
        item["kind"] = "rejected"  # Of an export: it has moved nothing, and shall move nothing.
    if "metadata" in item:
        item["metadata"] = _parsed_or_text(item["metadata"], parse)
    item["legs"] = [
        {name: _number(name, plain(row.get(name) or "")) for name in LEG} for row in rows
    ]
    return item


def _parsed_or_text(text: str, parse: Parse) -> Any:
    try:
        return parse(text.encode())
    except InvalidJson:
        return text  # The model refuses it, and names the place.


def _number(name: str, text: str) -> Any:
    is_digits = text.isascii() and text.isdecimal() and len(text) <= DIGITS_MAX
    return int(text) if name == "amount_minor" and is_digits else text
