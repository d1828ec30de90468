"""Jobs: what is due, who runs it, how it ended; and what the jobs of the installation delete."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from persistence.statements import statement

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from persistence.db import Conn


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRow:
    """A job and its last run. `holder` is None if nobody runs it now; `outcome` as in the table."""

    tenant_id: str
    job: str
    every_ms: int
    next_run_at: datetime
    paused: bool
    holder: str | None
    started_at: datetime | None
    finished_at: datetime | None
    succeeded_at: datetime | None
    outcome: str | None
    error: str | None
    rows: int
    failures: int
    late: bool


REGISTER = statement("jobs/register")
LIST_ALL = statement("jobs/list_all", JobRow)
LIST_DUE = statement("jobs/list_due", str)
CLAIM = statement("jobs/claim", int)
RENEW = statement("jobs/renew")
FINISH = statement("jobs/finish")
SET_PAUSED = statement("jobs/set_paused")
DELETE_EXPIRED_KEYS = statement("jobs/delete_expired_keys")
COUNT_EXPIRED_KEYS = statement("jobs/count_expired_keys", int)


def register(conn: Conn, *, jobs: list[str], every_ms: list[int]) -> int:
    """Make the jobs known; how many are new or have another interval."""
    return REGISTER.count(conn, jobs=jobs, every_ms=every_ms)


def list_all(conn: Conn) -> list[JobRow]:
    """Every job, by name."""
    return LIST_ALL.all(conn)


def list_due(conn: Conn, *, jobs: list[str]) -> list[str]:
    """Those of `jobs` that are due and free, the longest due first."""
    return LIST_DUE.all(conn, jobs=jobs)


def claim(
    conn: Conn, *, job: str, forced: bool, lease_token: UUID, lease_ms: int, holder: str
) -> int | None:
    """Take the job: how often it has failed in a row, or None if it is not to be had."""
    return CLAIM.one_or_none(
        conn, job=job, forced=forced, lease_token=lease_token, lease_ms=lease_ms, holder=holder
    )


def renew(conn: Conn, *, job: str, lease_token: UUID, lease_ms: int) -> int:
    """Keep the lease; 0: it is lost."""
    return RENEW.count(conn, job=job, lease_token=lease_token, lease_ms=lease_ms)


def finish(
    conn: Conn,
    *,
    job: str,
    lease_token: UUID,
    outcome: str,
    error: str | None,
    rows: int,
    failures: int,
    delay_ms: int,
) -> int:
    """Record a run and give the lease back; 0: it was lost."""
    return FINISH.count(
        conn,
        job=job,
        lease_token=lease_token,
        outcome=outcome,
        error=error,
        rows=rows,
        failures=failures,
        delay_ms=delay_ms,
    )


def set_paused(conn: Conn, *, job: str, paused: bool) -> int:
    """Pause or resume; 0: there is no such job."""
    return SET_PAUSED.count(conn, job=job, paused=paused)


def delete_expired_keys(conn: Conn, *, tenant_id: str, batch: int) -> int:
    """Delete at most `batch` idempotency keys of the tenant; how many went."""
    return DELETE_EXPIRED_KEYS.count(conn, tenant_id=tenant_id, batch=batch)


def count_expired_keys(conn: Conn, *, tenant_id: str) -> int:
    """How many idempotency keys of the tenant have expired."""
    return COUNT_EXPIRED_KEYS.one(conn, tenant_id=tenant_id)
