"""Transactions from a file, a batch a commit; the same file again creates nothing (LX3).

A line is a transaction as a batch takes it, or one of our export's. In CSV neighbours with one id
are the legs of one transaction.
"""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass, field
from itertools import chain, groupby, islice
from typing import TYPE_CHECKING, Any

from errors import BatchRejected
from services.csv_records import plain
from services.export_lines import ExportDamaged, ExportLines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from services.posting_batches import Faulty, PostingBatches
    from services.posting_requests import Posting
    from services.postings import Order

    Read = Callable[[list[Any]], Sequence[Posting | Faulty]]

FAULTS_MAX = 100
LEG = ("debit", "credit", "currency", "amount_minor")
HEAD = ("id", "kind", "reference", "effective_at", "group", "metadata")
# What a leaf and an item call alike; of other kinds, only the service itself makes transactions.
IMPORTED = frozenset({"post", "adjust"})


class FileDamaged(Exception):
    """The file is not what it should be from some line on; the text names the line."""


@dataclass(slots=True, kw_only=True)
class ImportReport:
    """What has become of a file so far. `faults`: the first hundred refusals, with their lines."""

    read: int = 0
    created: int = 0
    existing: int = 0
    refused: int = 0
    faults: list[dict[str, Any]] = field(default_factory=list)

    @property
    def data(self) -> dict[str, Any]:
        """As it is shown."""
        names = ("read", "created", "existing", "refused", "faults")
        return {name: getattr(self, name) for name in names}


class LedgerImports:
    """Imports, for commands and requests alike."""

    def __init__(self, batches: PostingBatches, read: Read) -> None:
        """`read` makes postings of items, each for itself."""
        self._batches = batches
        self._read = read

    def run(
        self, order: Order, items: Iterable[tuple[int, Any]], batch: int, *, is_whole: bool
    ) -> Iterator[ImportReport]:
        """Post numbered items, `batch` a commit; yield the report after each.

        `is_whole`: a batch with a refusal posts nothing. Raises FileDamaged, and what the database
        raises: what was yielded before is committed, and the same file goes on from there.
        """
        report, left = ImportReport(), iter(items)
        while part := list(islice(left, batch)):
            report.read += len(part)
            numbers = [number for number, _ in part]
            postings = self._read([item for _, item in part])
            try:
                results = self._batches.post(order, postings, is_whole=is_whole)
            except BatchRejected as rejected:
                report.refused += len(part)
                for fault in rejected.errors:
                    _note(report, numbers, dict(fault))
            else:
                for result in results:
                    _count(report, numbers, result)
            yield report


def _count(report: ImportReport, numbers: Sequence[int], result: dict[str, Any]) -> None:
    if result["code"] is None:
        name = "existing" if result["outcome"] == "existing" else "created"
        setattr(report, name, getattr(report, name) + 1)
        return
    report.refused += 1
    for fault in result["errors"]:
        _note(report, numbers, {"code": result["code"], **fault})


def _note(report: ImportReport, numbers: Sequence[int], fault: dict[str, Any]) -> None:
    """Keep a fault with its line in place of its number in the batch."""
    _, _, index, *rest = fault.get("pointer", "").split("/")
    pointer = "".join(f"/{each}" for each in rest)
    if len(report.faults) < FAULTS_MAX:
        report.faults.append({**fault, "line": numbers[int(index)], "pointer": pointer})


# --- Files --------------------------------------------------------------------------------------


def ndjson_items(lines: Iterable[bytes]) -> Iterator[tuple[int, Any]]:
    """Yield each line's item with its number; an export is checked to its end."""
    left = iter(lines)
    first = next(left, b"")
    whole = chain([first], left)
    try:
        if first.startswith(b'{"leaf"'):
            for number, document in enumerate(ExportLines(whole), 1):
                yield number, _of_leaf(document)
            return
    except ExportDamaged as damaged:
        raise FileDamaged(str(damaged)) from damaged
    for number, line in enumerate(whole, 1):
        if line.strip():
            yield number, _parsed(number, line)


def _parsed(number: int, line: bytes) -> Any:
    try:
        return json.loads(line)
    except ValueError as fault:
        raise FileDamaged(f"line {number}: not JSON") from fault


def _of_leaf(document: dict[str, Any]) -> dict[str, Any]:
    """Return an exported transaction as an item; what was no posting is left to be refused."""
    leaf = document["leaf"]
    item = {
        "id": leaf.get("id"),
        "kind": leaf.get("kind") if leaf.get("status") == "applied" else "rejected",
        "legs": [
            {"debit": debit, "credit": credit, "currency": currency, "amount_minor": amount}
            for debit, credit, currency, amount in leaf.get("legs", ())
        ],
        "reference": leaf.get("reference"),
        "effective_at": leaf.get("effective_at"),
        "metadata": document.get("metadata"),
    }
    return {name: value for name, value in item.items() if value is not None}


def csv_items(lines: Iterable[bytes]) -> Iterator[tuple[int, Any]]:
    """Yield transactions of a CSV file with the lines where they begin."""
    reader = csv.DictReader(line.decode("utf-8") for line in lines)
    try:
        missing = {"id", *LEG} - set(reader.fieldnames or ())
        if missing:
            raise FileDamaged(f"line 1: no column {', '.join(sorted(missing))}")
        numbered = ((reader.line_num, row) for row in reader)
        for _, rows in groupby(numbered, key=lambda each: each[1]["id"]):
            legs = list(rows)
            yield legs[0][0], _of_rows([row for _, row in legs])
    except (csv.Error, UnicodeDecodeError) as fault:
        raise FileDamaged(f"line {reader.line_num + 1}: {fault}") from fault


def _of_rows(rows: list[dict[str, Any]]) -> dict[str, Any]:
    head = {name: plain(rows[0].get(name) or "") for name in HEAD}
    item: dict[str, Any] = {name: text for name, text in head.items() if text}
    if "metadata" in item:
        item["metadata"] = _parsed_or_text(item["metadata"])
    item["legs"] = [
        {name: _number(name, plain(row.get(name) or "")) for name in LEG} for row in rows
    ]
    return item


def _parsed_or_text(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text  # The model refuses it, and names the place.


def _number(name: str, text: str) -> Any:
    is_amount = name == "amount_minor" and text.isascii() and text.isdecimal()
    return int(text) if is_amount else text
