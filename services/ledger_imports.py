"""Transactions from a file, a batch a commit; the same file again creates nothing (LX3)."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Any

from errors import BatchRejected, FileDamaged
from services.posting_batches import BATCH_LEGS_MAX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from services.import_files import Item
    from services.posting_batches import Faulty, PostingBatches
    from services.posting_requests import Posting
    from services.postings import Order

    Read = Callable[[list[Any]], Sequence[Posting | Faulty]]

FAULTS_MAX = 100
BATCH, BATCH_MAX = 1_000, 8_190
# So much of a file is held at once, and one line more.
BATCH_MAX_BYTES = 8_388_608


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
        self,
        order: Order,
        items: Iterable[Item],
        report: ImportReport,
        *,
        most: int = BATCH,
        is_whole: bool = False,
    ) -> Iterator[None]:
        """Post items, at most `most` a commit; yield after each commit, with `report` brought up.

        `is_whole`: a batch with a refusal posts nothing. Raises FileDamaged, and what the database
        raises: what was reported before is committed, and the same file goes on from there.
        """
        for part in batches(items, most):
            report.read += len(part)
            numbers = [item.line for item in part]
            postings = self._read([item.content for item in part])
            try:
                results = self._batches.post(order, postings, is_whole=is_whole)
            except BatchRejected as rejected:
                report.refused += len(part)
                for fault in rejected.errors:
                    _note(report, numbers, dict(fault))
            else:
                for result in results:
                    _count(report, numbers, result)
            yield


@dataclass(slots=True)
class Pile:
    """Items that are posted together, and how much they are."""

    items: list[Item] = field(default_factory=list)
    legs: int = 0
    size: int = 0

    def add(self, other: Pile) -> None:
        """Put the other's items on top."""
        self.items += other.items
        self.legs += other.legs
        self.size += other.size

    def has_room(self, other: Pile, most: int) -> bool:
        """Tell whether both may be one batch."""
        return (
            len(self.items) + len(other.items) <= most
            and self.legs + other.legs <= BATCH_LEGS_MAX
            and self.size + other.size <= BATCH_MAX_BYTES
        )


def batches(items: Iterable[Item], most: int) -> Iterator[list[Item]]:
    """Yield items in batches that can be posted; only a group may have more than `most`."""
    pile = Pile()
    for party in _parties(items):
        if pile.items and not pile.has_room(party, most):
            yield pile.items
            pile = Pile()
        pile.add(party)
    if pile.items:
        yield pile.items


def _parties(items: Iterable[Item]) -> Iterator[Pile]:
    """Yield neighbours of one group together and all others alone. Raises FileDamaged."""
    for group, members in groupby(items, key=_group):
        alone = (Pile([item], _legs(item), item.size) for item in members)
        if group is None:
            yield from alone
            continue
        party = Pile()
        for each in alone:
            if party.items and not party.has_room(each, BATCH_MAX):
                raise FileDamaged(f"line {party.items[0].line}: its group is larger than a batch")
            party.add(each)
        yield party


def _group(item: Item) -> str | None:
    group = item.content.get("group") if isinstance(item.content, dict) else None
    return group if isinstance(group, str) else None


def _legs(item: Item) -> int:
    legs = item.content.get("legs") if isinstance(item.content, dict) else None
    return len(legs) if isinstance(legs, list) else 0


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
