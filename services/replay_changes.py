"""What `replay-ledger` may change: balances, holds and, as the owner, entries (LR3 to LR6).

A header is never changed. Every change is made under the locks of a posting, decided again under
them, and committed with its audit row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from repos import replay_changes
from services.replay_report import DAMAGE, Finding

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from uuid import UUID

    from persistence.db import Conn, Database
    from repos.replay_changes import ChangeRow
    from services.replay_report import TenantReport

T = TypeVar("T")

MODES = ("fix", "rebuild", "repair")
# Accounts a transaction: writers wait for one such batch at a time.
ACCOUNTS_PER_BATCH = 20
HOLDS_PER_BATCH = 100


class ReplayChanges:
    """The changes of one run to one tenant's book, after a check of all of it."""

    def __init__(self, db: Database, run_id: UUID, before: TenantReport) -> None:
        self._db = db
        self._run_id = run_id
        self._before = before
        self._tenant_id = before.tenant_id
        self.made: list[Finding] = []
        # Why nothing was changed, or not all.
        self.refusal: str | None = None

    def run(self, mode: str) -> None:
        """Change what `mode` may; sets `refusal` where it may not. Raises OwnerNeeded."""
        before = self._before
        wrong = {finding.level for finding in before.findings if finding.level in DAMAGE}
        if before.error or not all(level.listed_all for level in before.levels.values()):
            self.refusal = "The check did not come to its end, or found more than it may list."
        elif mode == "repair":
            self._repair(wrong)
        elif wrong:
            self.refusal = f"{', '.join(sorted(wrong))} failed: the entries cannot be trusted."
        elif mode == "fix":
            self._set(_accounts(before), _holds(before), make_missing=False)
        else:
            self._rebuild()

    def _set(self, accounts: list[int], holds: list[UUID], *, make_missing: bool) -> None:
        """Set holds, then balances, a batch a transaction (LP2: holds go first)."""
        for hold_ids in _batches(holds, HOLDS_PER_BATCH):
            with self._db.transaction(patient=True) as conn:
                self._set_holds(conn, hold_ids, make_missing=make_missing)
        for ids in _batches(accounts, ACCOUNTS_PER_BATCH):
            with self._db.transaction(patient=True) as conn:
                self._set_balances(conn, ids)

    def _set_holds(self, conn: Conn, hold_ids: list[UUID], *, make_missing: bool) -> None:
        held = replay_changes.lock_holds(conn, tenant_id=self._tenant_id, hold_ids=hold_ids)
        accounts = {row.debit_account for row in held} | {row.credit_account for row in held}
        replay_changes.lock_balances(conn, tenant_id=self._tenant_id, account_ids=sorted(accounts))
        rows = replay_changes.set_holds(
            conn, tenant_id=self._tenant_id, hold_ids=hold_ids, make_missing=make_missing
        )
        self._record(conn, "L3", rows, "set")

    def _set_balances(self, conn: Conn, account_ids: list[int]) -> None:
        replay_changes.lock_balances(conn, tenant_id=self._tenant_id, account_ids=account_ids)
        rows = replay_changes.set_balances(conn, tenant_id=self._tenant_id, account_ids=account_ids)
        self._record(conn, "L3", rows, "set")

    def _rebuild(self) -> None:
        """Compute all beside the live rows, make what is missing, and set what differs (LR4)."""
        with self._db.transaction(patient=True) as conn:
            made = replay_changes.create_balances(conn, tenant_id=self._tenant_id)
            rows = replay_changes.set_balances(
                conn, tenant_id=self._tenant_id, account_ids=[row.account_id for row in made]
            )
            frozen = {(row.account_id, row.stripe) for row in made if row.is_frozen}
            for row in rows:
                lost = (row.account_id, row.stripe) in frozen
                self._record(
                    conn, "L3", [row], "made, frozen: its limits are lost" if lost else "made"
                )
        with self._db.snapshot() as snapshot:
            accounts = replay_changes.list_wrong_accounts(snapshot, tenant_id=self._tenant_id)
            holds = replay_changes.list_wrong_holds(snapshot, tenant_id=self._tenant_id)
        also = sorted({*holds, *_holds(self._before)})
        self._set(accounts, also, make_missing=True)

    def _repair(self, wrong: set[str]) -> None:
        """Make entries anew from proven headers (LR5)."""
        findings = self._before.findings
        if "L4" in wrong or any(_is_of_headers(finding) for finding in findings):
            self.refusal = "The transactions themselves are not proven: a person has to look."
            return
        damaged = [finding.row for finding in findings if finding.level in {"L1", "L2"}]
        tx_ids = sorted({row.tx_id for row in damaged if row.tx_id})
        accounts = sorted({row.account_id for row in damaged if row.account_id})
        with self._db.snapshot() as conn:
            unproven = replay_changes.list_unproven(
                conn, tenant_id=self._tenant_id, tx_ids=tx_ids, tree_size=self._before.proven
            )
        if unproven or not self._before.proven:
            named = ", ".join(map(str, unproven[:10]))
            self.refusal = f"No signed checkpoint proves which side is right: {named or 'no seal'}."
            return
        if accounts:
            self._make_anew(accounts)
        self._rebuild()

    def _make_anew(self, accounts: list[int]) -> None:
        with self._db.transaction(patient=True) as conn:
            replay_changes.lock_balances(conn, tenant_id=self._tenant_id, account_ids=None)
            gone = replay_changes.delete_wrong_entries(
                conn, tenant_id=self._tenant_id, account_ids=accounts
            )
            self._record(conn, "L1", gone, "deleted")
            made = replay_changes.create_entries(
                conn, tenant_id=self._tenant_id, account_ids=accounts
            )
            self._record(conn, "L1", made, "made")
            self._record(
                conn,
                "L3",
                replay_changes.set_balances(conn, tenant_id=self._tenant_id, account_ids=accounts),
                "set",
            )

    def _record(self, conn: Conn, level: str, rows: Iterable[ChangeRow], action: str) -> None:
        """Keep what was done, in the transaction that does it."""
        done = [
            Finding(tenant_id=self._tenant_id, level=level, row=row, action=action) for row in rows
        ]
        if done:
            # After those of the check, which are written when the run ends.
            first = len(self._before.findings) + len(self.made) + 1
            replay_changes.record_changes(
                conn,
                tenant_id=self._tenant_id,
                run_id=self._run_id,
                findings=[finding.stored(n) for n, finding in enumerate(done, first)],
            )
            self.made += done


def _accounts(report: TenantReport) -> list[int]:
    """Return the accounts with a wrong balance; a row that is lost is made by a rebuild."""
    found = (finding.row for finding in report.findings if finding.level == "L3")
    return sorted({row.account_id for row in found if row.account_id is not None})


def _holds(report: TenantReport) -> list[UUID]:
    """Return the holds whose row is wrong."""
    found = (finding.row for finding in report.findings if finding.level == "L3")
    return sorted({row.tx_id for row in found if row.tx_id is not None})


def _is_of_headers(finding: Finding) -> bool:
    """Tell whether a finding is about a transaction, not about what follows from it."""
    row = finding.row
    in_l0 = finding.level == "L0" and row.tx_id is not None
    return in_l0 or (finding.level == "L1" and row.field in {"metadata", "entries"})


def _batches(items: list[T], size: int) -> Iterator[list[T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
