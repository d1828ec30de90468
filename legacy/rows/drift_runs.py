"""Comparisons of the two stores, and what they found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from legacy.rows import SQL
from persistence.statements import statement

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    from persistence.db import Conn


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRow:
    """A comparison. `truth`: legacy or new; `status`: running, clean, drift or failed."""

    run_id: UUID
    domain: str
    level: int
    phase: int
    truth: str
    status: str
    rows_truth: int
    rows_follower: int
    missing_in_new: int
    missing_in_legacy: int
    different: int
    unsettled: int
    in_flight: int
    repaired: int
    truncated: bool
    trigger: str
    run_by: str
    started_at: datetime
    finished_at: datetime | None
    error: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemRow:
    """A row that differed: missing_in_new, missing_in_legacy or different, and in which columns."""

    entity_id: str
    kind: str
    columns: list[str]
    truth_version: int | None
    follower_version: int | None
    repaired_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StandingRow:
    """How a domain stands: its last comparison, and the last clean one. None: there was none."""

    tenant_id: str
    domain: str
    mismatches: int | None
    finished_at: datetime | None
    clean_at: datetime | None
    clean_age_s: int | None


BEGIN = statement("drift_runs/begin", root=SQL)
FINISH = statement("drift_runs/finish", root=SQL)
LIST_RUNS = statement("drift_runs/list_runs", RunRow, root=SQL)
GET = statement("drift_runs/get", RunRow, root=SQL)
GET_LAST = statement("drift_runs/get_last", RunRow, root=SQL)
LIST_STANDING = statement("drift_runs/list_standing", StandingRow, root=SQL)
LIST_ITEMS = statement("drift_runs/list_items", ItemRow, root=SQL)
LIST_BUSY = statement("drift_runs/list_busy", str | None, root=SQL)


def begin(conn: Conn, **run: Any) -> int:
    """Note that a comparison begins; 0: another one of this domain is under way."""
    return BEGIN.count(conn, **run)


def finish(conn: Conn, **found: Any) -> int:
    """Note what a comparison has found."""
    return FINISH.count(conn, **found)


def list_runs(conn: Conn, *, tenant_id: str, before_id: UUID, row_limit: int) -> list[RunRow]:
    """Comparisons, newest first, older than `before_id`."""
    return LIST_RUNS.all(conn, tenant_id=tenant_id, before_id=before_id, row_limit=row_limit)


def get(conn: Conn, *, tenant_id: str, run_id: UUID) -> RunRow | None:
    """Return a comparison; None: there is none such."""
    return GET.one_or_none(conn, tenant_id=tenant_id, run_id=run_id)


def get_last(conn: Conn, *, tenant_id: str, domain: str) -> RunRow | None:
    """Return the last comparison of a domain that ended; None: there was none."""
    return GET_LAST.one_or_none(conn, tenant_id=tenant_id, domain=domain)


def list_standing(conn: Conn) -> list[StandingRow]:
    """Return how every domain stands that is on its way."""
    return LIST_STANDING.all(conn)


def list_items(
    conn: Conn, *, tenant_id: str, run_id: UUID, after_id: str, row_limit: int
) -> list[ItemRow]:
    """Rows that a comparison found, by legacy id."""
    return LIST_ITEMS.all(
        conn, tenant_id=tenant_id, run_id=run_id, after_id=after_id, row_limit=row_limit
    )


def list_busy(
    conn: Conn, *, tenant_id: str, domain: str, entity_ids: Sequence[str]
) -> list[str | None]:
    """Return which of these keys are on their way."""
    return LIST_BUSY.all(conn, tenant_id=tenant_id, domain=domain, entity_ids=list(entity_ids))
