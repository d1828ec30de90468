"""The switch: in which phase a domain is, its locks, and its moves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from legacy.rows import SQL
from persistence.statements import statement

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from persistence.db import Conn


@dataclass(frozen=True, slots=True, kw_only=True)
class StateRow:
    """Where a domain of a tenant stands. `finished_at` is set once there is no way back."""

    tenant_id: str
    domain: str
    phase: int
    finished_at: datetime | None
    since: datetime
    moved_by: str
    note: str | None
    adapter: str
    writers: str
    ledger_enabled: bool | None
    fenced_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveRow:
    """A step that was taken; 0 is before it was attached, 6 after it was finished."""

    id: UUID
    domain: str
    from_phase: int
    to_phase: int
    at: datetime
    moved_by: str
    reason: str
    gates: list[dict[str, Any]]
    waived: list[str]
    hold_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedRow:
    """What went with the way back."""

    marks_dropped: int
    hashes_cleared: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FactsRow:
    """What the gates ask. `drift_is_clean` None: no digest was finished in this phase."""

    phase: int | None
    other_phase: int | None
    in_phase_s: int
    backlog: int
    lag_s: int
    intents: int
    rejects: int
    backfill_is_done: bool
    backfill_finished_at: datetime | None
    backfill_rows: int
    triggers_are_enabled: bool
    has_rows: bool
    drift_is_clean: bool | None
    drift_age_s: int | None
    compared: int
    mismatched: int


GET = statement("phases/get", StateRow, root=SQL)
LIST_ATTACHED = statement("phases/list_attached", StateRow, root=SQL)
LIST_MOVES = statement("phases/list_moves", MoveRow, root=SQL)
FACTS = statement("gates/facts", FactsRow, root=SQL)
ATTACH = statement("phases/attach", int, root=SQL)
MOVE = statement("phases/move", int, root=SQL)
FINISH = statement("phases/finish", FinishedRow, root=SQL)
LOCK_GATE = statement("phases/lock_gate", bool, root=SQL)
SHARE_GATE = statement("phases/share_gate", bool, root=SQL)
TRY_GATE = statement("phases/try_gate", bool, root=SQL)
NOTE_FENCE = statement("phases/note_fence", root=SQL)
LOCK_SHARDS = statement("phases/lock_shards", int, root=SQL)
BEGIN_MIRROR = statement("phases/begin_mirror", str, root=SQL)
BEGIN_SWITCH = statement("phases/begin_switch", str, root=SQL)
CHANGE_TRIGGERS = statement("phases/change_triggers", bool, root=SQL)


def get(conn: Conn, *, tenant_id: str, domain: str) -> StateRow | None:
    """Return where a domain stands; None: it was never attached."""
    return GET.one_or_none(conn, tenant_id=tenant_id, domain=domain)


def list_attached(conn: Conn) -> list[StateRow]:
    """Every domain of every tenant that is on its way."""
    return LIST_ATTACHED.all(conn)


def list_moves(
    conn: Conn, *, tenant_id: str, domain: str, before_id: UUID, row_limit: int
) -> list[MoveRow]:
    """Steps of a domain, newest first, older than `before_id`."""
    return LIST_MOVES.all(
        conn, tenant_id=tenant_id, domain=domain, before_id=before_id, row_limit=row_limit
    )


def facts(conn: Conn, *, tenant_id: str, domain: str) -> FactsRow:
    """Return what the gates ask of the database."""
    return FACTS.one(conn, tenant_id=tenant_id, domain=domain)


def attach(conn: Conn, **move: Any) -> int | None:
    """Begin in phase 1; None: it is on its way already."""
    return ATTACH.one_or_none(conn, **move)


def move(conn: Conn, **move_: Any) -> int | None:
    """Take one step and return the phase; None: somebody else moved it."""
    return MOVE.one_or_none(conn, **move_)


def finish(conn: Conn, **move_: Any) -> FinishedRow | None:
    """End the move; None: it is not in phase 5."""
    return FINISH.one_or_none(conn, **move_)


def lock_gate(conn: Conn, *, tenant_id: str, domain: str) -> None:
    """Keep all writers out until the transaction ends."""
    LOCK_GATE.one(conn, tenant_id=tenant_id, domain=domain)


def share_gate(conn: Conn, *, tenant_id: str, domain: str) -> None:
    """Hold the phase still until the transaction ends; read it by the next statement (D6)."""
    SHARE_GATE.one(conn, tenant_id=tenant_id, domain=domain)


def try_gate(conn: Conn, *, tenant_id: str, domain: str) -> bool:
    """Hold the phase still until the transaction ends; False: it is being changed."""
    return TRY_GATE.one(conn, tenant_id=tenant_id, domain=domain)


def note_fence(conn: Conn, *, tenant_id: str, domain: str, fenced: bool) -> int:
    """Note that the legacy program is shut out, or let in again."""
    return NOTE_FENCE.count(conn, tenant_id=tenant_id, domain=domain, fenced=fenced)


def lock_shards(conn: Conn, *, tenant_id: str, domain: str) -> None:
    """Keep the mirror still until the transaction ends."""
    LOCK_SHARDS.one(conn, tenant_id=tenant_id, domain=domain)


def begin_mirror(conn: Conn) -> None:
    """Mark this transaction's writes as copies of what legacy has decided."""
    BEGIN_MIRROR.one(conn)


def begin_switch(conn: Conn, *, wait_ms: int) -> None:
    """Wait for no lock longer than this, in this transaction."""
    BEGIN_SWITCH.one(conn, wait_ms=wait_ms)


def change_triggers(conn: Conn, *, domain: str, enabled: bool) -> None:
    """Switch a table's triggers; as its owner."""
    CHANGE_TRIGGERS.one(conn, domain=domain, enabled=enabled)
