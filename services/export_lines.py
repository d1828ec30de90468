"""An export as lines of JSON, read back: whole or refused, a line at a time (LX2)."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from errors import InvalidJson

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator


class ExportDamaged(Exception):
    """The file is cut off, was changed, or is none of ours; the text names the line."""


class ExportLines:
    """The lines before the last one; `end` is the last one, known when all have been read."""

    def __init__(self, lines: Iterable[bytes], parse: Callable[[bytes], Any] = json.loads) -> None:
        """`lines` end with a newline each; `parse` reads JSON."""
        self._lines = lines
        self._parse = parse
        self.end: dict[str, Any] = {}

    def __iter__(self) -> Iterator[dict[str, Any]]:
        hashed, count = sha256(), 0
        for number, line in enumerate(self._lines, 1):
            document = self._document(number, line)
            if self.end:
                raise ExportDamaged(f"line {number}: something follows the end")
            if document.get("end") is True:
                self.end = document
                continue
            hashed.update(line)
            count += 1
            yield document
        if not self.end:
            raise ExportDamaged("the file is cut off: its last line says no end")
        if self.end.get("count") != count or self.end.get("sha256") != hashed.hexdigest():
            raise ExportDamaged("the lines are not those that were exported")

    def _document(self, number: int, line: bytes) -> dict[str, Any]:
        try:
            document = self._parse(line)
        except (ValueError, RecursionError, InvalidJson) as fault:
            raise ExportDamaged(f"line {number}: not JSON") from fault
        if not isinstance(document, dict):
            raise ExportDamaged(f"line {number}: not an object")
        return document
