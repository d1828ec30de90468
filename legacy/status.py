"""Where a domain stands, as `flask legacy status` and GET /v1/ops/migration show it (2.7)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from legacy.links import DOMAINS, NEW_ONLY, NEW_READS, NoLink
from legacy.phases import NAMES, Ask
from legacy.rows import backfills, drift_runs
from legacy.store import LegacyError

if TYPE_CHECKING:
    from legacy.parts import Parts
    from legacy.rows.phases import FactsRow, MoveRow, StateRow

NEWEST = UUID(int=2**128 - 1)  # No UUIDv7 is larger.


def domains(parts: Parts, tenant_id: str) -> list[dict[str, Any]]:
    """Return every domain of a tenant that was ever attached."""
    found = [(domain, parts.phases.state(tenant_id, domain)) for domain in DOMAINS]
    return [_domain(parts, state) for _, state in found if state is not None]


def _domain(parts: Parts, state: StateRow) -> dict[str, Any]:
    named = {"tenant_id": state.tenant_id, "domain": state.domain}
    facts = parts.phases.facts(**named)
    flag = parts.flags[state.domain]
    over = state.finished_at is not None
    return {
        "domain": state.domain,
        "phase": state.phase,
        "name": "finished" if over else NAMES[state.phase],
        "since": state.since,
        "by": state.moved_by,
        "truth": "new" if state.phase >= NEW_READS or over else "legacy",
        "flag": flag,
        "flag_conflict": has_flag_conflict(state, flag=flag),
        "adapter": state.adapter,
        "writers": state.writers,
        "backlog": facts.backlog,
        "lag_s": facts.lag_s,
        "intents_pending": facts.intents,
        "rejects": facts.rejects,
        "backfill": _backfill(parts, facts, named),
        "shadow": {"compared": facts.compared, "mismatched": facts.mismatched},
        "drift": _drift(parts, state),
        "next": None if over or state.phase == NEW_ONLY else _next(parts, state),
    }


def has_flag_conflict(state: StateRow, *, flag: bool) -> bool:
    """Tell whether this process lacks the permission for what the fleet does (D3)."""
    return state.finished_at is None and 1 < state.phase < NEW_ONLY and not flag


def _backfill(parts: Parts, facts: FactsRow, named: dict[str, str]) -> dict[str, Any]:
    with parts.db.read() as conn:
        cursor = backfills.get(conn, **named)
    done = facts.backfill_rows
    total = done if facts.backfill_is_done else _rows(parts, named)
    return {
        "rows_done": done,
        "percent": None if not total else min(100, done * 100 // total),
        "finished_at": cursor.finished_at if cursor else None,
    }


def _rows(parts: Parts, named: dict[str, str]) -> int:
    """Return how many rows legacy has; 0: it does not say."""
    try:
        return parts.links.get(**named).store.count().rows
    except (LegacyError, NoLink):
        return 0


def _drift(parts: Parts, state: StateRow) -> dict[str, Any] | None:
    with parts.db.read() as conn:
        last = drift_runs.get_last(conn, tenant_id=state.tenant_id, domain=state.domain)
    if last is None:
        return None
    return {"run_id": last.run_id, "at": last.started_at, "clean": last.status == "clean"}


def _next(parts: Parts, state: StateRow) -> dict[str, Any] | None:
    ask = Ask(tenant_id=state.tenant_id, domain=state.domain, by="-", reason="-")
    try:
        to = parts.phases.next_phase(state)
        gates = parts.phases.judged(ask, (state.phase, to))
    except (LegacyError, NoLink):
        return None
    return {"to": to, "gates": [gate.as_json() for gate in gates]}


def move_json(row: MoveRow) -> dict[str, Any]:
    """Return a step as the API shows it, and keeps it under a key."""
    return {
        "id": str(row.id),
        "domain": row.domain,
        "from": row.from_phase,
        "to": row.to_phase,
        "at": row.at.isoformat(),
        "by": row.moved_by,
        "reason": row.reason,
        "gates": row.gates,
        "waived": row.waived,
        "hold_ms": row.hold_ms,
    }
