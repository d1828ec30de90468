"""The check of one tenant's book, in one snapshot: passes that count, lists that name.

What is right is only ever counted by the database; rows come for what is wrong (LR2).
"""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from repos import replay
from repos.replay import FaultRow, RangeRow
from services.replay_report import Finding, LevelReport, TenantReport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from persistence.db import Conn
    from repos.replay import Picked, SumRow

    # What is being done, how many entries of how many are through.
    Progress = Callable[[str, int, int], None]

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


class BookCheck:
    """One run over one book; made for one `run`."""

    def __init__(
        self,
        conn: Conn,
        picked: Picked,
        levels: Iterable[str],
        findings_max: int,
        progress: Progress,
    ) -> None:
        """`findings_max`: of each level; `progress` is called after every range."""
        self._conn = conn
        self._picked = picked
        self._max = findings_max
        self._progress = progress
        self.report = TenantReport(
            tenant_id=picked.tenant_id, levels={name: LevelReport(level=name) for name in levels}
        )

    def run(self) -> TenantReport:
        """Do it; of a tenant that has none of the accounts asked for, the report counts none."""
        mark = replay.get_watermark(self._conn, tenant_id=self._picked.tenant_id)
        self.report.watermark = mark.sealed_through if mark else None
        ranges = self._ranges()
        self._walk(ranges)
        if self._wants("L3"):
            self._list("L3", replay.check_limits(self._conn, self._picked))
        if self._wants("L0") or self._wants("L1"):
            self._compare(ranges)
        return self.report

    def _ranges(self) -> list[RangeRow]:
        rows = replay.list_ranges(self._conn, self._picked, entries_max=ENTRIES_PER_RANGE)
        return _over_all(rows) if self._picked.everything else rows

    def _walk(self, ranges: list[RangeRow]) -> None:
        """Walk all entries in key order (L2), and add them up (L0, L3)."""
        total, done, report = sum(row.entries for row in ranges), 0, self.report
        net: Counter[tuple[str | None, str]] = Counter()
        self._progress("entries", 0, total)
        for each in ranges:
            rows = replay.check_range(
                self._conn, self._picked, first_id=each.first_id, last_id=each.last_id
            )
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

    def _name_stripe(self, row: SumRow) -> None:
        """Name what is wrong in a stripe that is not in order."""
        if row.misplaced and row.account_id is not None:
            faults = replay.list_misplaced(
                self._conn, self._picked, account_id=row.account_id, stripe=row.stripe or 0
            )
            for fault in faults:
                # A leg that stands twice is one that its header does not have.
                self._keep("L1" if fault.field == "leg" else "L2", fault)
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
                    self._keep("L1", _fault("entries", str(headers.sides), found=str(explained)))
        self._progress("headers", self.report.entries, self.report.entries)

    def _list_unfit(self, ranges: list[RangeRow]) -> int:
        """Name the entries that are not as their headers say; return how many have no leg."""
        unexplained = 0
        if self._picked.everything:
            counted = replay.check_entries(self._conn, self._picked)
            if not counted.unexplained + counted.changed:
                return 0
        for each in ranges:
            for fault in replay.list_unfit_entries(
                self._conn, self._picked, first_id=each.first_id, last_id=each.last_id
            ):
                unexplained += fault.field == "entry"
                if not self._keep("L1", fault):
                    return unexplained
        return unexplained

    def _wants(self, level: str) -> bool:
        return level in self.report.levels

    def _count(self, level: str, things: int) -> None:
        if self._wants(level):
            self.report.levels[level].checked += things

    def _list(self, level: str, faults: Iterable[FaultRow]) -> None:
        for fault in faults:
            if not self._keep(level, fault):
                break

    def _keep(self, level: str, fault: FaultRow) -> bool:
        """Keep a finding of a level that was asked for; tell whether one more may be kept."""
        kept = self.report.levels.get(level)
        if kept is None:
            return False
        if kept.mismatches == self._max:
            kept.listed_all = False
            return False
        kept.mismatches += 1
        finding = Finding(tenant_id=self._picked.tenant_id, level=level, row=fault)
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
    return _fault(f"{field} credits less debits", "0", currency=currency, found=str(amount))


def _sum_faults(row: SumRow) -> Iterator[FaultRow]:
    """Yield each column of a balance that is not the sum of its entries."""
    for name, expected, found in zip(COLUMNS, row.expected or (), row.found or (), strict=True):
        if expected != found:
            yield _fault(
                name,
                expected,
                found=found,
                account_id=row.account_id,
                code=row.code,
                currency=row.currency,
                stripe=row.stripe,
            )


def _fault(field: str, expected: str | None, **known: Any) -> FaultRow:
    nothing = dict.fromkeys(("account_id", "code", "currency", "stripe", "tx_id", "found"))
    return FaultRow(field=field, expected=expected, **{**nothing, **known})
