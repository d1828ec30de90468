"""The check of one tenant's book, in one snapshot: passes that count, lists that name.

What is right is only ever counted by the database; rows come for what is wrong (LR2).
"""

from __future__ import annotations

import queue
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import TYPE_CHECKING, TypeVar

from repos import replay
from repos.replay import RangeRow
from services.canonical_json import digest
from services.replay_report import Finding, LevelReport, TenantReport, fault
from services.replay_tree import TreeCheck

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from persistence.db import Conn
    from repos.replay import FaultRow, Picked, SumRow
    from services.checkpoints import SealKeys
    from services.replay_tree import Signed

    # What is being done, how many entries of how many are through.
    Progress = Callable[[str, int, int], None]

T = TypeVar("T")
R = TypeVar("R")

# Half a second of work: often enough for a progress bar, seldom enough to cost nothing.
ENTRIES_PER_RANGE = 250_000
SMALLEST_ID, LARGEST_ID = -(2**63), 2**63 - 1
COLUMNS = (
    "debits_posted",
    "credits_posted",
    "debits_pending",
    "credits_pending",
    "version",
    "last_posted_at",
)
COLUMNS_SINCE = ("balance", "version", "last_posted_at")
BALANCES_MAX = 1_000


class BookCheck:
    """One run over one book; made for one `run`."""

    def __init__(
        self,
        conns: Sequence[Conn],
        picked: Picked,
        levels: Iterable[str],
        findings_max: int,
        progress: Progress,
    ) -> None:
        """`conns`: all of one snapshot, ranges are shared among them; `findings_max`: a level."""
        self._conn = conns[0]
        self._conns = conns
        self._picked = picked
        self._max = findings_max
        self._progress = progress
        self.report = TenantReport(
            tenant_id=picked.tenant_id, levels={name: LevelReport(level=name) for name in levels}
        )

    def run(self) -> TenantReport:
        """Do it; of a tenant that has none of the accounts asked for, the report counts none."""
        ranges = self._ranges()
        self._walk(ranges)
        if self._wants("L3"):
            self._list("L3", replay.check_limits(self._conn, self._picked))
            self._list("L3", replay.list_wrong_holds(self._conn, self._picked))
        if self._wants("L0") or self._wants("L1"):
            self._compare(ranges)
        if self._wants("L1") and self._picked.everything:
            self._list("L1", self._metadata())
        if self._picked.as_of != "infinity":
            self.report.balances = replay.list_balances(
                self._conn, self._picked, row_limit=BALANCES_MAX
            )
        return self.report

    def check_tree(self, keys: SealKeys, size: int, notes: Sequence[Signed], start: int) -> None:
        """Check the sealed tree of `size` leaves from leaf `start` on (L4)."""
        tree = TreeCheck(self._conn, self._picked.tenant_id, keys, size, self._progress)
        self._list("L4", tree.run(notes, start))
        self._count("L4", tree.leaves)
        self.report.proven = tree.proven

    def check_payments(self, *, strict: bool) -> None:
        """Compare payments with what is posted of them (L5); `strict`: what waits is a fault."""
        tenant_id = self._picked.tenant_id
        self._count("L5", replay.count_payments(self._conn, tenant_id=tenant_id))
        self._list("L5", replay.list_payment_faults(self._conn, tenant_id=tenant_id))
        self._list("L5", replay.list_payment_sums(self._conn, tenant_id=tenant_id))
        waiting = replay.list_unposted(self._conn, tenant_id=tenant_id)
        if strict:
            self._list("L5", waiting)
            return
        for _, row in zip(range(self._max), waiting, strict=False):
            note = "waits for ledger-catch-up"
            found = Finding(tenant_id=tenant_id, level="L5", row=row, action=note)
            self.report.findings.append(found)

    def _ranges(self) -> list[RangeRow]:
        rows = replay.list_ranges(self._conn, self._picked, entries_max=ENTRIES_PER_RANGE)
        return _over_all(rows) if self._picked.everything else rows

    def _walk(self, ranges: list[RangeRow]) -> None:
        """Walk all entries in key order (L2), and add them up (L0, L3)."""
        total, done, report = sum(row.entries for row in ranges), 0, self.report
        net: Counter[tuple[str | None, str]] = Counter()
        self._progress("entries", 0, total)
        for each, rows in zip(ranges, self._spread(self._range, ranges), strict=True):
            for row in rows:
                if row.account_id is None:
                    report.entries += row.entries
                    report.accounts += row.accounts
                    self._count("L3", row.stripes)
                    net[row.currency, "posted"] += int(row.posted)
                    net[row.currency, "pending"] += int(row.pending)
                else:
                    self._name_stripe(row)
            done += each.entries
            self._progress("entries", done, total)
        self._count("L2", report.entries)
        self._list("L0", (_net_fault(*key, amount) for key, amount in net.items() if amount))

    def _range(self, conn: Conn, each: RangeRow) -> list[SumRow]:
        everything = self._picked.since == "-infinity"
        check = replay.check_range if everything else replay.check_range_since
        return check(conn, self._picked, first_id=each.first_id, last_id=each.last_id)

    def _spread(self, work: Callable[[Conn, T], R], items: Sequence[T]) -> Iterator[R]:
        """Yield the results in the order of the items, made by as many threads as connections."""
        if len(self._conns) == 1:
            yield from (work(self._conn, item) for item in items)
            return
        free: queue.SimpleQueue[Conn] = queue.SimpleQueue()
        for conn in self._conns:
            free.put(conn)

        def task(item: T) -> R:
            conn = free.get()
            try:
                return work(conn, item)
            finally:
                free.put(conn)

        pool = ThreadPoolExecutor(len(self._conns))
        try:
            yield from pool.map(task, items)
        finally:
            pool.shutdown(cancel_futures=True)

    def _metadata(self) -> Iterator[FaultRow]:
        """Yield the transactions whose metadata is not what its hash says."""
        for row in replay.list_metadata(self._conn, self._picked):
            try:
                found = digest(row.metadata).hex()
            except ValueError as wrong:
                found = str(wrong)
            expected = row.metadata_hash.hex() if row.metadata_hash else "a hash"
            if found != expected:
                yield fault("metadata", expected, found=found, tx_id=row.id)

    def _name_stripe(self, row: SumRow) -> None:
        """Name what is wrong in a stripe that is not in order."""
        if row.misplaced and row.account_id is not None:
            faults = replay.list_misplaced(
                self._conn, self._picked, account_id=row.account_id, stripe=row.stripe or 0
            )
            for each in faults:
                # A leg that stands twice is one that its header does not have.
                self._keep("L1" if each.field == "leg" else "L2", each)
        self._list("L3", _sum_faults(row))

    def _compare(self, ranges: list[RangeRow]) -> None:
        """Compare headers and entries (L1), and the two sides of each leg (L0)."""
        self._progress("headers", 0, self.report.entries)
        headers = replay.check_headers(self._conn, self._picked)
        self.report.transactions = headers.headers
        self._count("L0", headers.headers)
        if headers.mixed:
            self._list("L0", replay.list_mixed_legs(self._conn, self._picked))
        if self._wants("L1"):
            self._count("L1", self.report.entries)
            explained = self.report.entries - self._list_unfit(ranges)
            if headers.sides != explained:
                self._list("L1", replay.list_missing_legs(self._conn, self._picked))
                if not self.report.levels["L1"].mismatches:
                    self._keep("L1", fault("entries", str(headers.sides), found=str(explained)))
        self._progress("headers", self.report.entries, self.report.entries)

    def _list_unfit(self, ranges: list[RangeRow]) -> int:
        """Name the entries that are not as their headers say; return how many have no leg."""
        unexplained = 0
        if self._picked.everything:
            counted = replay.check_entries(self._conn, self._picked)
            if not counted.unexplained + counted.changed:
                return 0
        for each in ranges:
            for row in replay.list_unfit_entries(
                self._conn, self._picked, first_id=each.first_id, last_id=each.last_id
            ):
                unexplained += row.field == "entry"
                if not self._keep("L1", row):
                    return unexplained
        return unexplained

    def _wants(self, level: str) -> bool:
        return level in self.report.levels

    def _count(self, level: str, things: int) -> None:
        if self._wants(level):
            self.report.levels[level].checked += things

    def _list(self, level: str, rows: Iterable[FaultRow]) -> None:
        for row in rows:
            if not self._keep(level, row):
                break

    def _keep(self, level: str, row: FaultRow) -> bool:
        """Keep a finding of a level that was asked for; tell whether one more may be kept."""
        kept = self.report.levels.get(level)
        if kept is None:
            return False
        if kept.mismatches == self._max:
            kept.listed_all = False
            return False
        kept.mismatches += 1
        finding = Finding(tenant_id=self._picked.tenant_id, level=level, row=row)
        self.report.findings.append(finding)
        return True


def _over_all(rows: list[RangeRow]) -> list[RangeRow]:
    """Widen ranges until no id lies outside: an entry may belong to no account."""
    firsts = [SMALLEST_ID, *(row.first_id for row in rows[1:]), LARGEST_ID + 1]
    entries = [row.entries for row in rows] or [0]
    return [
        RangeRow(first_id=first, last_id=after - 1, entries=count)
        for (first, after), count in zip(pairwise(firsts), entries, strict=True)
    ]


def _net_fault(currency: str | None, field: str, amount: int) -> FaultRow:
    return fault(f"{field} credits less debits", "0", currency=currency, found=str(amount))


def _sum_faults(row: SumRow) -> Iterator[FaultRow]:
    """Yield each column of a balance that is not the sum of its entries."""
    names = COLUMNS if len(row.found or ()) == len(COLUMNS) else COLUMNS_SINCE
    for name, expected, found in zip(names, row.expected or (), row.found or (), strict=True):
        if expected != found:
            yield fault(
                name,
                expected,
                found=found,
                account_id=row.account_id,
                code=row.code,
                currency=row.currency,
                stripe=row.stripe,
            )
