"""Batches of postings: each for itself, in groups, or all or none; in one call (LP9, LP10)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from itertools import groupby
from typing import TYPE_CHECKING, Any

from errors import AppError, BatchRejected, BatchTooLarge, GroupFailed
from services.posting_refusals import refusal, shape_fault
from services.posting_requests import Posting

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from uuid import UUID

    from repos.postings import ResultRow
    from services.ledger_writes import LedgerWrites
    from services.plain_postings import Named
    from services.postings import Order

# Of one batch, whose transactions may have 500 each (ledger page, section 14).
BATCH_LEGS_MAX = 20_000
MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchSettings:
    """How much one batch may hold, and one of its transactions."""

    transactions_max: int
    legs_max: int
    transaction_legs_max: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Faulty:
    """A transaction of a batch that could not be read; `group` as far as it could."""

    fault: AppError
    id: UUID | None = None
    group: str | None = None


@dataclass(slots=True, kw_only=True)
class Entry:
    """A transaction of a batch, and what has become of it. `party`: who stands or falls together.

    `outcome`: created, existing, rejected, conflict, invalid.
    """

    index: int
    posting: Posting | Faulty
    party: int | None = None
    outcome: str = "invalid"
    error: AppError | None = None
    posted_at: Any = None

    @property
    def data(self) -> dict[str, Any]:
        """As it is shown; pointers lead into the request."""
        return {
            "index": self.index,
            "id": self.posting.id,
            "outcome": self.outcome,
            "code": self.error and self.error.code,
            "posted_at": self.posted_at,
            "errors": self.faults,
        }

    @property
    def faults(self) -> list[Any]:
        """Where the fault is, from the root of the request."""
        if self.error is None:
            return []
        start = f"/transactions/{self.index}"
        found = self.error.errors or (
            {"pointer": "", "code": self.error.code, "detail": self.error.detail},
        )
        return [{**fault, "pointer": start + fault.get("pointer", "")} for fault in found]


class PostingBatches:
    """Use cases of batches. Every transaction has an id; idempotency keys are not read."""

    def __init__(self, writes: LedgerWrites, settings: BatchSettings) -> None:
        self._writes = writes
        self._settings = settings

    def post(
        self, order: Order, postings: Sequence[Posting | Faulty], *, is_whole: bool
    ) -> list[dict[str, Any]]:
        """Post as if one after another; return what became of each, in order.

        `is_whole`: all or none. Raises BatchTooLarge, and BatchRejected if `is_whole`.
        """
        self._check_size(postings)
        entries = [Entry(index=n, posting=posting) for n, posting in enumerate(postings)]
        _gather(entries, is_whole=is_whole)
        good = self._without_faults(entries)
        if good:
            self._decide(order, good)
        culprit = next((entry for entry in entries if _is_culprit(entry)), None)
        if is_whole and culprit is not None:
            raise BatchRejected(errors=tuple(culprit.faults))
        return [entry.data for entry in entries]

    def _check_size(self, postings: Sequence[Posting | Faulty]) -> None:
        if len(postings) > self._settings.transactions_max:
            raise BatchTooLarge(f"At most {self._settings.transactions_max} transactions.")
        legs = sum(len(each.legs) for each in postings if isinstance(each, Posting))
        if legs > self._settings.legs_max:
            raise BatchTooLarge(f"At most {self._settings.legs_max} legs in all.")

    def _without_faults(self, entries: Iterable[Entry]) -> list[Entry]:
        """Refuse what no book could take, with its party; return what is left to decide."""
        for entry in entries:
            entry.error = self._fault(entry.posting)
        failed = {entry.party for entry in entries if entry.error} - {None}
        for entry in entries:
            if entry.party in failed and entry.error is None:
                entry.error = GroupFailed()
        return [entry for entry in entries if entry.error is None]

    def _fault(self, posting: Posting | Faulty) -> AppError | None:
        if isinstance(posting, Faulty):
            return posting.fault
        return shape_fault(posting, self._settings.transaction_legs_max, hold_max_s=0)

    def _decide(self, order: Order, entries: Sequence[Entry]) -> None:
        named = [_named(entry) for entry in entries]
        if not order.dry_run and self._post_plain(order, entries, named):
            return
        request = self._writes.request(named, order.actor.subject, order.request_id)
        for entry, item in zip(entries, request["items"], strict=True):
            if entry.party is not None:
                item["party"] = entry.party
        if order.dry_run:
            request["dry_run"] = True
        results = self._writes.decide(order.actor.tenant_id, request)
        for entry, result in zip(entries, results, strict=True):
            _settle(entry, result, order.actor.scopes)

    def _post_plain(self, order: Order, entries: Sequence[Entry], named: Sequence[Named]) -> bool:
        """Post them in one go, if all of them can be posted so; most batches can."""
        actor = order.actor
        began = self._writes.post_plain(actor.tenant_id, named, actor.subject, order.request_id)
        if began is None:
            return False
        for place, entry in enumerate(entries):
            entry.outcome = "created"
            entry.posted_at = began + place * MICROSECOND
        return True


def _gather(entries: Sequence[Entry], *, is_whole: bool) -> None:
    """Give neighbours of one group the same party; all of them if it is all or none."""
    if is_whole:
        for entry in entries:
            entry.party = 0
        return
    for party, (group, members) in enumerate(groupby(entries, lambda each: each.posting.group)):
        if group is not None:
            for entry in members:
                entry.party = party


def _named(entry: Entry) -> tuple[Posting, UUID]:
    posting = entry.posting
    if isinstance(posting, Faulty) or posting.id is None:
        raise TypeError(f"Bug: transaction {entry.index} of a batch has no id")
    return posting, posting.id


def _settle(entry: Entry, result: ResultRow, scopes: frozenset[str]) -> None:
    entry.outcome = result.outcome
    entry.posted_at = result.posted_at
    if result.code is not None:
        entry.error = refusal(result.code, result.pointer, result.facts, scopes)


def _is_culprit(entry: Entry) -> bool:
    return entry.error is not None and not isinstance(entry.error, GroupFailed)
