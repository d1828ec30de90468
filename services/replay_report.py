"""What a replay has found, its verdict, and how both are written (LR7, LR8)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from repos.replay import FaultRow

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime
    from uuid import UUID

    from repos.replay import BalanceRow
    from repos.replay_changes import ChangeRow

# Levels whose faults say that the book itself is wrong; L3 is about what is computed from it, L5
# about what the payments say.
DAMAGE = frozenset({"L0", "L1", "L2", "L4"})
CLEAN, PROJECTION, UNFINISHED, DAMAGED, PAYMENTS = 0, 3, 4, 5, 6
CODES = {
    "clean": CLEAN,
    "projection": PROJECTION,
    "refused": PROJECTION,
    "unfinished": UNFINISHED,
    "payments": PAYMENTS,
    "damaged": DAMAGED,
}
# If several apply, the first of these.
WORST_FIRST = (DAMAGED, PAYMENTS, UNFINISHED, PROJECTION, CLEAN)


def fault(field: str, expected: str | None, **known: Any) -> FaultRow:
    """Return a fault; what is not named of account, transaction and `found` is None."""
    nothing = dict.fromkeys(("account_id", "code", "currency", "stripe", "tx_id", "found"))
    return FaultRow(field=field, expected=expected, **{**nothing, **known})


def worst(codes: Iterable[int]) -> int:
    """Return the exit code that goes before the others (LR8)."""
    return min(codes, key=WORST_FIRST.index, default=CLEAN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong, in one tenant's book; `action`: what was done about it."""

    tenant_id: str
    level: str
    row: FaultRow | ChangeRow
    action: str | None = None

    @property
    def data(self) -> dict[str, Any]:
        """As it is shown: the numeric account id stays inside (LA1)."""
        row = self.row
        return {
            "tenant": self.tenant_id,
            "level": self.level,
            "account": row.code,
            "currency": row.currency,
            "stripe": row.stripe,
            "tx_id": str(row.tx_id) if row.tx_id else None,
            "field": row.field,
            "expected": row.expected,
            "found": row.found,
            "action": self.action,
        }

    def stored(self, n: int) -> dict[str, Any]:
        """As the audit keeps it, the `n`th of its run; a part of a hot account is named."""
        row = self.row
        return {
            "n": n,
            "level": self.level,
            "account_id": row.account_id,
            "tx_id": str(row.tx_id) if row.tx_id else None,
            "field": f"{row.field} (stripe {row.stripe})" if row.stripe else row.field,
            "expected": row.expected,
            "found": row.found,
            "action": self.action,
        }


@dataclass(slots=True, kw_only=True)
class LevelReport:
    """One level: how many things were looked at, how many of them are wrong.

    `listed_all` is False if there were more findings than wanted: then `mismatches` is a minimum.
    """

    level: str
    checked: int = 0
    mismatches: int = 0
    listed_all: bool = True

    @property
    def is_ok(self) -> bool:
        """Whether nothing is wrong."""
        return self.mismatches == 0

    @property
    def data(self) -> dict[str, Any]:
        """As it is shown."""
        return {
            "level": self.level,
            "ok": self.is_ok,
            "checked": self.checked,
            "mismatches": self.mismatches,
            "listed_all": self.listed_all,
        }


@dataclass(slots=True, kw_only=True)
class TenantReport:
    """One tenant's book."""

    tenant_id: str
    levels: dict[str, LevelReport]
    watermark: datetime | None = None
    accounts: int = 0
    transactions: int = 0
    entries: int = 0
    findings: list[Finding] = field(default_factory=list)
    # Leaves that a good signature covers.
    proven: int = 0
    changed: int = 0
    balances: list[BalanceRow] = field(default_factory=list)
    # Why the check has no end, or a change was not made.
    error: str | None = None
    refusal: str | None = None

    @property
    def verdict(self) -> str:
        """`clean`, `projection` (L3 only), `payments`, `damaged`, `unfinished`, `refused`."""
        wrong = {level.level for level in self.levels.values() if level.mismatches}
        if wrong & DAMAGE:
            return "damaged"
        if "L5" in wrong:
            return "payments"
        if self.error:
            return "unfinished"
        if wrong:
            return "projection"
        return "refused" if self.refusal else "clean"

    @property
    def exit_code(self) -> int:
        """LR8."""
        return CODES[self.verdict]

    @property
    def mismatches(self) -> int:
        """Of all levels."""
        return sum(level.mismatches for level in self.levels.values())

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The findings as ledger_replay_findings keeps them."""
        return [finding.stored(n) for n, finding in enumerate(self.findings, 1)]

    @property
    def data(self) -> dict[str, Any]:
        """As it is shown."""
        return {
            "tenant": self.tenant_id,
            "levels": [level.data for level in self.levels.values()],
            "verdict": self.verdict,
            "changed": self.changed,
            "error": self.error,
            "refusal": self.refusal,
            "balances": [
                {name: getattr(row, name) for name in row.__slots__} for row in self.balances
            ],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A whole run. `unrecorded`: why there is no audit row, or None."""

    run_id: UUID
    tenants: list[TenantReport]
    unrecorded: str | None

    @property
    def exit_code(self) -> int:
        """LR8: damage before what is only computed."""
        return worst(tenant.exit_code for tenant in self.tenants)

    @property
    def findings(self) -> list[Finding]:
        """Of all tenants."""
        return [finding for tenant in self.tenants for finding in tenant.findings]

    @property
    def watermark(self) -> datetime | None:
        """The moment up to which every book that was read is final; None: not known of all."""
        marks = [tenant.watermark for tenant in self.tenants]
        return None if None in marks else min(filter(None, marks), default=None)

    @property
    def data(self) -> dict[str, Any]:
        """The one JSON object of LR7."""
        return {
            "run_id": str(self.run_id),
            "tenants": [tenant.data for tenant in self.tenants],
            "findings": [finding.data for finding in self.findings],
            "changed": sum(tenant.changed for tenant in self.tenants),
            "watermark": self.watermark.isoformat() if self.watermark else None,
            "recorded": self.unrecorded is None,
            "exit_code": self.exit_code,
        }
