"""Records of CSV (RFC 4180) that no spreadsheet computes."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

# What a spreadsheet takes for the beginning of a formula (OWASP, CSV injection), wide forms too.
FORMULAS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def recorder() -> Callable[[Iterable[str]], bytes]:
    """Return what makes a record of cells: csv writes to files only."""
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer)

    def record(cells: Iterable[str]) -> bytes:
        buffer.seek(0)
        buffer.truncate()
        writer.writerow(cells)
        return buffer.getvalue().encode()

    return record


def cell(value: Any) -> str:
    """Write a value as text that no spreadsheet computes; null is empty, lists are words."""
    if value is None:
        return ""
    if isinstance(value, list):
        return " ".join(value)
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, str) and value.startswith(FORMULAS):
        return f"'{value}"
    return str(value)


def plain(text: str) -> str:
    """Return what `cell` was made of: the apostrophe before a formula goes."""
    return text[1:] if text.startswith("'") and text[1:].startswith(FORMULAS) else text
