"""Exports as read-only stores: JSONL, and CSV by RFC 4180 with a header line.

The whole file is read when the store is made. A line that is no row, and every row of an id that
is there twice, stands in `rejected`; the rest goes on. An empty field of a CSV file is NULL.
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from typing import TYPE_CHECKING, Any, NoReturn

from legacy.store import Capabilities, LegacyError, LegacyUnavailable, RowRejected, Unsupported
from legacy.stores.local import LocalRows
from legacy.stores.reading import Held
from legacy.transforms import Unreadable, spelt

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime
    from pathlib import Path

    from legacy.columns import ColumnMap, Raw
    from legacy.store import Row, StoreRow

LINE_MAX_BYTES = 64 * 1024
Numbered = tuple[int, "Raw | str"]  # The line, and the row or the code of what is wrong with it.


class FileStore(LocalRows):
    """Rows of a file at the time it was read; `rejected` are those that no id can be asked for."""

    def __init__(self, mapping: ColumnMap, path: Path) -> None:
        """Raise LegacyUnavailable if the file cannot be read, LegacyError if columns lack."""
        super().__init__(mapping)
        self.rejected: list[RowRejected] = []
        try:
            with path.open("r", encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
                read = _csv_rows if mapping.config.adapter == "csv" else _jsonl_rows
                self._load(read(file, mapping))
        except OSError as exc:
            raise LegacyUnavailable(f"{path.name}: {exc.strerror}") from None

    def _load(self, rows: Iterable[Numbered]) -> None:
        seen: Counter[str] = Counter()
        for number, raw in rows:
            legacy_id = None if isinstance(raw, str) else self._id_of(raw)
            if isinstance(raw, str) or legacy_id is None:
                code = raw if isinstance(raw, str) else "id_invalid"
                self.rejected.append(RowRejected(f"line {number}", code, ("id",)))
                continue
            seen[legacy_id] += 1
            self._hold(Held(legacy_id, {name: raw.get(name) for name in self._map.sources}))
        # Which of two is the right one is not for us to say: neither is taken.
        for legacy_id in [each for each, count in seen.items() if count > 1]:
            del self._held[legacy_id]
            self.rejected.append(RowRejected(legacy_id, "duplicate_id", ("id",)))
        self._order = None

    def _id_of(self, raw: Raw) -> str | None:
        value = raw.get(self._map.id_source)
        try:
            return None if value is None else spelt(value)
        except Unreadable:
            return None

    @property
    def capabilities(self) -> Capabilities:
        """It only reads."""
        return Capabilities(writes=False)

    def create(self, row: Row, op_id: str, not_after: datetime) -> StoreRow:
        """Raise Unsupported."""
        del row, op_id, not_after
        _refuse()

    def replace(self, row: Row, expected_version: int, op_id: str, not_after: datetime) -> StoreRow:
        """Raise Unsupported."""
        del row, expected_version, op_id, not_after
        _refuse()

    def follow(self, row: StoreRow) -> bool:
        """Raise Unsupported."""
        del row
        _refuse()

    def allocate_ids(self, n: int) -> list[str]:
        """Raise Unsupported."""
        del n
        _refuse()


def _refuse() -> NoReturn:
    raise Unsupported("a file is only read")


def _jsonl_rows(file: Iterable[str], mapping: ColumnMap) -> Iterator[Numbered]:
    del mapping  # A name that a line lacks is a NULL there.
    for number, line in enumerate(file, 1):
        if line.strip():
            yield number, _object(line)


def _object(line: str) -> Raw | str:
    if len(line) > LINE_MAX_BYTES:
        return "line_too_long"
    try:
        # A number with a point keeps its digits: a float would have others.
        found = json.loads(line, parse_float=str, parse_constant=str, object_pairs_hook=_names)
    except (ValueError, RecursionError):
        return "line_invalid"
    return found if isinstance(found, dict) else "line_invalid"


def _names(pairs: list[tuple[str, Any]]) -> Raw:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a name is there twice")
    return dict(pairs)


def _csv_rows(file: Iterable[str], mapping: ColumnMap) -> Iterator[Numbered]:
    reader = csv.reader(file, strict=True)
    header = next(reader, [])
    if lacking := [name for name in mapping.sources if header.count(name) != 1]:
        raise LegacyError(f"the header has not exactly one of each: {', '.join(lacking)}")
    while True:
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error:
            yield reader.line_num, "line_invalid"
            continue
        if fields:
            yield reader.line_num, _record(header, fields)


def _record(header: list[str], fields: list[str]) -> Raw | str:
    if len(fields) != len(header):
        return "line_invalid"
    if sum(map(len, fields)) > LINE_MAX_BYTES:
        return "line_too_long"
    return {name: field or None for name, field in zip(header, fields, strict=True)}
