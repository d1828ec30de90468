"""Readiness while a move is under way: a process that cannot obey the phase gets no requests (D3).

So a wrong roll-out stops at its first process, and cannot split the fleet.
"""

from __future__ import annotations

from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING, Any

from errors import AppError
from legacy import metrics
from legacy.links import NEW_ONLY
from legacy.rows import drift_runs, phases
from services.health import FAIL, PASS, SHARED_S, Health, Readiness, soon

if TYPE_CHECKING:
    from collections.abc import Mapping

    from legacy.rows.phases import StateRow
    from persistence.db import Conn, Database

CHECK = "legacy"


class MoveHealth:
    """Health, with a check of its own as soon as anything was attached."""

    def __init__(
        self,
        inner: Health,
        probe: Database,
        flags: Mapping[str, bool],
        *,
        is_configured: bool,
        ledger: bool,
    ) -> None:
        """`flags`: FEATURE_DUAL_WRITE_* by domain; `is_configured`: LEGACY_CONFIG is set."""
        self._inner = inner
        self._probe = probe
        self._flags = flags
        self._is_configured = is_configured
        self._ledger = ledger
        self._lock = Lock()
        self._seen: list[StateRow] = []
        self._seen_until = 0.0

    def __getattr__(self, name: str) -> Any:
        """Return what is not wrapped."""
        return getattr(self._inner, name)

    def readyz(self) -> Readiness:
        """As Health.readyz."""
        ready = self._inner.readyz()
        if FAIL in {ready.checks["database"], ready.checks["schema"]}:
            return ready  # Nobody can say.
        states = self._states()
        if not states:
            return ready
        reason = next(filter(None, map(self._reason, states)), None)
        return Readiness(
            checks={**ready.checks, CHECK: PASS if reason is None else FAIL},
            reasons={**ready.reasons, **({CHECK: reason} if reason else {})},
        )

    def healthz(self) -> dict[str, Any]:
        """As Health.healthz; what the move tells of itself is measured with it."""
        ready = self.readyz()
        self._measure()
        told = {"status": ready.status, "checks": ready.checks, "reasons": ready.reasons}
        return {**self._inner.healthz(), **told, **self._moves()}

    def _moves(self) -> dict[str, Any]:
        """Phases, and when both sides were last found alike, by tenant/domain; {}: no move."""
        states = self._states()
        if not states:
            return {}
        phases_now = {f"{each.tenant_id}/{each.domain}": each.phase for each in states}
        return {"phases": phases_now, "drift": self._standing()}

    def _standing(self) -> dict[str, Any] | None:
        try:
            with soon(), self._probe.read() as conn:
                rows = drift_runs.list_standing(conn)
        except AppError:
            return None  # Nobody can say.
        return {
            f"{row.tenant_id}/{row.domain}": {
                "mismatches": row.mismatches,
                "at": row.finished_at,
                "clean_at": row.clean_at,
                "clean_age_s": row.clean_age_s,
            }
            for row in rows
        }

    def _reason(self, state: StateRow) -> str | None:
        if state.phase < NEW_ONLY and not self._is_configured:
            return "legacy_config_missing"  # D4.
        if 1 < state.phase < NEW_ONLY and not self._flags[state.domain]:
            return "legacy_flag_conflict"  # D3.
        if state.ledger_enabled not in {None, self._ledger}:
            return "legacy_ledger_conflict"  # D4.
        return None

    def _states(self) -> list[StateRow]:
        """Return what is on its way, looked up once a second at most."""
        with self._lock:
            if monotonic() >= self._seen_until:
                self._seen = self._asked()
                self._seen_until = monotonic() + SHARED_S
            return self._seen

    def _asked(self) -> list[StateRow]:
        try:
            with soon(), self._probe.read() as conn:
                return phases.list_attached(conn)
        except AppError:
            return self._seen

    # --- Metrics --------------------------------------------------------------------------------

    def _measure(self) -> None:
        for state in self._states():
            try:
                with self._probe.read() as conn:
                    _measure(conn, state)
            except AppError:
                return  # Old numbers stay until somebody can say.


def _measure(conn: Conn, state: StateRow) -> None:
    named = {"tenant_id": state.tenant_id, "domain": state.domain}
    labels = state.tenant_id, state.domain
    facts = phases.facts(conn, **named)
    metrics.phase.labels(*labels).set(state.phase)
    metrics.mirror_backlog.labels(*labels).set(facts.backlog)
    metrics.mirror_lag_seconds.labels(*labels).set(facts.lag_s)
    metrics.intents_pending.labels(*labels).set(facts.intents)
    metrics.rejects.labels(*labels).set(facts.rejects)
    last = drift_runs.get_last(conn, **named)
    for kind in ("missing_in_new", "missing_in_legacy", "different"):
        metrics.drift_rows.labels(*labels, kind).set(getattr(last, kind) if last else 0)
