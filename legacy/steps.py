"""A step of a move: who asks for it, what came of it, and how closed gates are told."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from uuid_utils.compat import uuid7

from legacy.gates import WAIVABLE, Gate
from legacy.refusals import GateFailed

NAMES = {
    1: "legacy only", 2: "dual write", 3: "verifying", 4: "new reads", 5: "new only",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """Who moves which domain, why, and what is waived. `dry_run`: judge the gates only."""

    tenant_id: str
    domain: str
    by: str
    reason: str
    waive: frozenset[str] = frozenset()
    writers_stopped: bool = False
    dry_run: bool = False
    wait_ms: int | None = None

    @property
    def named(self) -> dict[str, str]:
        """Who it is, as every statement wants it."""
        return {"tenant_id": self.tenant_id, "domain": self.domain}


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """A step: from where to where, what its gates said, and how long writers waited."""

    domain: str
    from_phase: int
    to_phase: int
    gates: list[Gate]
    hold_ms: int
    done: bool = True


def waived(gates: list[Gate], waive: frozenset[str]) -> list[Gate]:
    """Return gates, those open that are closed and may be waived, and are (D9)."""
    return [
        replace(gate, ok=True, detail=f"{gate.detail} (waived)")
        if not gate.ok and gate.name in waive & WAIVABLE
        else gate
        for gate in gates
    ]


def refuse(gates: list[Gate]) -> None:
    """Raise GateFailed with every gate that is closed."""
    closed = [gate for gate in gates if not gate.ok]
    if closed:
        raise GateFailed(
            errors=tuple(
                {
                    "pointer": f"/gates/{gate.name}",
                    "code": "gate_failed",
                    "detail": f"{gate.name}: {gate.detail}",
                }
                for gate in closed
            )
        )


def move_columns(ask: Ask, gates: list[Gate], hold_ms: int) -> dict[str, Any]:
    """Return what a step keeps of who took it, why, and what its gates said."""
    return {
        **ask.named,
        "moved_by": ask.by,
        "reason": ask.reason,
        "gates": [gate.as_json() for gate in gates],
        "waived": sorted(ask.waive & WAIVABLE),
        "hold_ms": hold_ms,
        "move_id": uuid7(),
        "audit_id": uuid7(),
    }
