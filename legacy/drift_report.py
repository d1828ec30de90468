"""What is asked of a comparison, and what it found (V6)."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from legacy.links import NEW_READS

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

ITEMS_MAX = 10_000
COUNTS = (
    "rows_truth", "rows_follower", "missing_in_new", "missing_in_legacy", "different", "unsettled",
    "in_flight", "repaired",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """Which domain, how deep (0 to 3), and whether what is found is repaired.

    Instead of all rows: `sample`, so many of each side at random; `since`, those that changed on
    either side; `keys`, these. `grace_ms`: None is the setting's.
    """

    tenant_id: str
    domain: str
    by: str
    trigger: str = "command"
    level: int = 3
    sample: int | None = None
    since: datetime | None = None
    keys: tuple[str, ...] | None = None
    grace_ms: int | None = None
    repair: bool = False
    max_rows: int = 1_000
    allow_delete: bool = False

    @property
    def named(self) -> dict[str, str]:
        """Who it is, as every statement wants it."""
        return {"tenant_id": self.tenant_id, "domain": self.domain}

    def again(self, items: list[Item]) -> Ask:
        """Return what is asked after a repair: the same rows, and of a sample those repaired."""
        keys = tuple(item.entity_id for item in items) if self.sample is not None else self.keys
        return replace(self, repair=False, sample=None, keys=keys)


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A key that drifted: missing_in_new, missing_in_legacy or different, and in which columns."""

    entity_id: str
    kind: str
    columns: list[str]
    truth_version: int | None
    follower_version: int | None
    repaired: bool = False


@dataclass(slots=True, kw_only=True)
class Report:
    """What a run found; `counts` are those of V6."""

    run_id: UUID
    tenant_id: str
    domain: str
    phase: int
    level: int
    counts: Counter[str] = field(default_factory=Counter)
    items: list[Item] = field(default_factory=list)
    duration_ms: int = 0

    @property
    def truth(self) -> str:
        """Return which store decides."""
        return "new" if self.phase >= NEW_READS else "legacy"

    @property
    def clean(self) -> bool:
        """Tell whether both say the same; what could not be settled is not clean."""
        found = ("missing_in_new", "missing_in_legacy", "different", "unsettled")
        return not any(self.counts[name] for name in found)

    def count_rows(self, legacy: int, new: int) -> None:
        """Note how many rows either side has, or gave."""
        truth, follower = (legacy, new) if self.truth == "legacy" else (new, legacy)
        self.counts.update(rows_truth=truth, rows_follower=follower)

    def as_json(self) -> dict[str, Any]:
        """Return it as `--json` prints it (V6)."""
        counts = {name: self.counts[name] for name in COUNTS}
        rows = {"truth": counts.pop("rows_truth"), "follower": counts.pop("rows_follower")}
        return {
            "run_id": str(self.run_id),
            "tenant": self.tenant_id,
            "domain": self.domain,
            "phase": self.phase,
            "truth": self.truth,
            "level": self.level,
            "clean": self.clean,
            "rows": rows,
            **counts,
            "items": [asdict(item) for item in self.items[:ITEMS_MAX]],
            "truncated": len(self.items) > ITEMS_MAX,
            "duration_ms": self.duration_ms,
        }
