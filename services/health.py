"""Health: is the process alive, may it be sent requests, how is everything (operations, 6)."""

from __future__ import annotations

import contextlib
import math
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from hashlib import sha256
from threading import Lock
from typing import TYPE_CHECKING, Any, Protocol

from errors import AppError
from observability import current
from repos import events, ops
from repos import jobs as job_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from persistence.db import Conn, Database
    from persistence.kv import Kv
    from repos.jobs import JobRow
    from repos.ops import FactsRow, LedgerStateRow

PASS, WARN, FAIL = "pass", "warn", "fail"
DATABASE_ANSWERS_MS = 250
SHARED_S = 1.0  # So often at most the stores are asked, however many ask us.
CLOCK_SKEW_MAX_MS = 2_000


class Schema(Protocol):
    """The schema against the files of this release; persistence.migration_check tells it (M22)."""

    @property
    def problem(self) -> str | None: ...
    @property
    def head(self) -> int: ...
    @property
    def required(self) -> int: ...
    @property
    def pending(self) -> tuple[str, ...]: ...
    @property
    def changed(self) -> tuple[str, ...]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """Each check's result; `reasons` says why one is not `pass`, by a code."""

    checks: dict[str, str]
    reasons: dict[str, str]

    @property
    def status(self) -> str:
        """The worst of the checks: with `fail` no request may be sent here."""
        results = set(self.checks.values())
        return FAIL if FAIL in results else WARN if WARN in results else PASS

    @property
    def is_ready(self) -> bool:
        """Tell whether requests may be sent here: warnings do not count."""
        return self.status != FAIL


@dataclass(frozen=True, slots=True, kw_only=True)
class _Look:
    """What one look at the database has seen; None: it could not."""

    error: str | None = None
    facts: FactsRow | None = None
    epoch: int | None = None
    epoch_is_stale: bool = False
    schema: Schema | None = None
    jobs: list[JobRow] | None = None
    latency_ms: float | None = None
    skew_ms: float = 0.0


class Health:
    """What the probes answer. `probe` is a Database with one connection, for this alone (AC7)."""

    def __init__(
        self,
        *,
        probe: Database,
        db: Database,
        kv: Kv,
        schema: Callable[[Conn], Schema],
        is_draining: Callable[[], bool],
        about: Mapping[str, object],
        wall: Callable[[], float] = time.time,
    ) -> None:
        """`about` holds version, commit, environment and flags, for /healthz."""
        self._probe, self._db, self._kv = probe, db, kv
        self._schema, self._is_draining, self._wall = schema, is_draining, wall
        self._about = {**about, "started_at": _iso(datetime.fromtimestamp(wall(), UTC))}
        self._lock = Lock()
        self._seen, self._seen_until = _Look(), 0.0

    def readyz(self) -> Readiness:
        """Say whether requests may come. Asks the stores at most once a second."""
        look = self._look()
        reasons = {
            "database": _database_reason(look),
            "schema": look.schema.problem if look.schema else "unknown",
            "epoch": _epoch_reason(look),
            "draining": "draining" if self._is_draining() else None,
            "redis": self._redis_reason(),
            "jobs": _jobs_reason(look),
            "clock": "skewed" if abs(look.skew_ms) > CLOCK_SKEW_MAX_MS else None,
        }
        deciding = {"database", "schema", "epoch", "draining"}
        return Readiness(
            checks={
                name: PASS if reason is None else FAIL if name in deciding else WARN
                for name, reason in reasons.items()
            },
            reasons={name: reason for name, reason in reasons.items() if reason},
        )

    def healthz(self) -> dict[str, Any]:
        """Everything that an operator asks first; never a host, a DSN or a secret."""
        ready, look = self.readyz(), self._look()
        return {
            "status": ready.status,
            **self._about,
            "checks": ready.checks,
            "reasons": ready.reasons,
            "database": {
                "version": look.facts.version if look.facts else None,
                "in_recovery": look.facts.in_recovery if look.facts else None,
                "epoch": look.epoch,
                "latency_ms": _rounded(look.latency_ms),
                "clock_skew_ms": _rounded(look.skew_ms),
                "pool": self._db.stats(),
            },
            "schema": _schema(look.schema) if look.schema else None,
            "redis": asdict(self._kv.facts),
            "ledger": _ledger(self.ledger()) if look.epoch else None,
            "jobs": [
                {
                    "job": row.job,
                    "outcome": row.outcome,
                    "last_success_at": _iso(row.succeeded_at) if row.succeeded_at else None,
                    "late": row.late,
                }
                for row in look.jobs or []
            ],
        }

    def event_feed_lag_s(self) -> float:
        """For how long the oldest committed event has waited to be served (E3); NaN: unknown."""
        try:
            with soon(), self._probe.read() as conn:
                return events.get_lag(conn) / 1000
        except AppError:
            return math.nan

    def ledger(self) -> LedgerStateRow | None:
        """How far seals and checks of the books are; None: nobody could say."""
        try:
            with soon(), self._probe.read() as conn:
                return ops.get_ledger_state(conn)
        except AppError:
            return None

    def _redis_reason(self) -> str | None:
        state = self._kv.facts.state
        return None if state in {"closed", "off"} else state

    def _look(self) -> _Look:
        """Look at the database, one thread at a time, or take the last look if it is fresh."""
        with self._lock:
            if time.monotonic() >= self._seen_until:
                self._seen = self._look_now()
                self._seen_until = time.monotonic() + SHARED_S
            return self._seen

    def _look_now(self) -> _Look:
        try:
            with soon(), self._probe.read() as conn:
                return self._ask(conn)
        except AppError as error:
            return _Look(error=error.code)

    def _ask(self, conn: Conn) -> _Look:
        asked_at, began = self._wall(), time.monotonic()
        facts = ops.facts(conn)
        latency_s = time.monotonic() - began
        skew_s = facts.clock.timestamp() - (asked_at + latency_s / 2)
        schema = self._schema(conn)
        is_whole = schema.problem is None
        return _Look(
            facts=facts,
            schema=schema,
            epoch=_epoch(conn) if is_whole else None,
            epoch_is_stale=is_whole and events.check_epoch(conn),
            jobs=job_rows.list_all(conn) if is_whole else None,
            latency_ms=latency_s * 1000,
            skew_ms=skew_s * 1000,
        )


def history(db: Database) -> str:
    """Name the history that the database holds, for keys in Redis (OK7): 12 hex digits.

    It changes with another server, a failover, a restore: what was kept before is not found again.
    """
    with soon(), db.read() as conn:
        facts, epoch = ops.facts(conn), _epoch(conn)
    told = f"{facts.system_identifier}/{facts.timeline}/{epoch}"
    return sha256(told.encode()).hexdigest()[:12]


@contextlib.contextmanager
def soon() -> Iterator[None]:
    """Give what health asks a deadline of its own, and the request its old one back."""
    context = current()
    before, context.deadline = context.deadline, time.monotonic() + DATABASE_ANSWERS_MS / 1000
    try:
        yield
    finally:
        context.deadline = before


def _epoch(conn: Conn) -> int:
    return ops.event_epoch(conn) or 1


def _database_reason(look: _Look) -> str | None:
    if look.facts is None:
        return look.error
    return "read_only" if look.facts.in_recovery or look.facts.read_only else None


def _epoch_reason(look: _Look) -> str | None:
    """E4: after a logical restore new events would be ordered before old ones."""
    return "event_epoch_stale" if look.epoch_is_stale else None


def _jobs_reason(look: _Look) -> str | None:
    if look.jobs is None:
        return "unknown"
    return "late" if any(row.late for row in look.jobs) else None


def _schema(schema: Schema) -> dict[str, Any]:
    return {
        "head": schema.head,
        "required": schema.required,
        "pending": list(schema.pending),
        "changed": list(schema.changed),
    }


def _ledger(state: LedgerStateRow | None) -> dict[str, Any] | None:
    if state is None:
        return None
    return {
        "sealed_through": _iso(state.sealed_through) if state.sealed_through else None,
        "seal_lag_s": state.seal_lag_ms / 1000,
        "verified_at": _iso(state.verified_at) if state.verified_at else None,
        "verified_ok": state.verified_ok,
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
