"""The backfill: brings to new what legacy has had all along (D27 to D29).

By keyset over legacy ids it inserts what is missing and marks the rest for the mirror; it never
updates, since what the live path wrote is newer. Cursor and batch commit together, so a run that
was killed goes on where it was.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

from legacy.apply_payments import insert_payments, new_payment
from legacy.apply_users import user_row
from legacy.links import DUAL_WRITE, VERIFYING
from legacy.merging import NotApplied
from legacy.mirror import COPIES
from legacy.refusals import LegacyDown, PhaseChanged
from legacy.rows import backfills, legacy_rejects, mirror_marks, mirrored_users, phases
from legacy.store import LegacyUnavailable, RowsRejected
from legacy.stores import rejected_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from legacy.mirror import Mirror, Scope
    from legacy.store import RowRejected, StoreRow
    from persistence.db import Conn, Database

LINES_MAX = 1_000_000
BATCH_ROWS, BATCH_MIN, BATCH_MAX = 500, 50, 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """Which domain, and how: `batch` None: steered; `max_rows` None: all."""

    tenant_id: str
    domain: str
    batch: int | None = None
    sleep_ms: int = 0
    max_rows: int | None = None
    restarts: bool = False
    dry_run: bool = False

    @property
    def named(self) -> dict[str, str]:
        """Who it is, as every statement wants it."""
        return {"tenant_id": self.tenant_id, "domain": self.domain}


@dataclass(slots=True, kw_only=True)
class Batch:
    """What became of a batch: ids by fate, and rejects by id with code and columns."""

    seen: int = 0
    inserted: int = 0
    marked: int = 0
    rejected: dict[str, NotApplied] = field(default_factory=dict)
    is_last: bool = False


class Backfill:
    """Runs the backfill of a domain."""

    def __init__(self, db: Database, mirror: Mirror, *, target_ms: int = 500) -> None:
        """`target_ms`: how long a batch should take; its size is steered towards that."""
        self._db = db
        self._mirror = mirror
        self._target_ms = target_ms

    def run(self, ask: Ask, stop: Callable[[], bool] = lambda: False) -> Iterator[Batch]:
        """Do batch after batch, to the end or to `max_rows`. PhaseChanged, LegacyDown.

        A dry run reads and maps every row, and writes nothing.
        """
        # Opened first: to read a column map takes a connection, and a batch holds its own.
        lines = rejected_lines(self._mirror.open(ask.tenant_id, ask.domain).store)
        if not ask.dry_run:
            self._begin(ask)
        if lines:
            yield self._set_lines_aside(ask, lines)
        size, rows, after = ask.batch or BATCH_ROWS, 0, None
        while not stop():
            began = monotonic()
            limit = size if ask.max_rows is None else min(size, ask.max_rows - rows)
            batch, after = self._batch(ask, after, limit)
            rows += batch.seen
            yield batch
            if batch.is_last or (ask.max_rows is not None and rows >= ask.max_rows):
                return
            size = ask.batch or _steered(size, monotonic() - began, self._target_ms / 1000)
            sleep(ask.sleep_ms / 1000)

    def _begin(self, ask: Ask) -> None:
        with self._db.write() as conn:
            cursor = backfills.begin(conn, **ask.named, restarts=ask.restarts)
        if cursor.finished_at is not None:
            # Finished once: another run begins anew, and finds what is missing since.
            with self._db.write() as conn:
                backfills.begin(conn, **ask.named, restarts=True)
        with self._db.transaction() as conn:
            known = legacy_rejects.list_open(conn, **ask.named, after_id="", row_limit=LINES_MAX)
            stale = [each.entity_id for each in known if each.entity_id.startswith("line ")]
            legacy_rejects.resolve(conn, **ask.named, entity_ids=stale)

    def _set_lines_aside(self, ask: Ask, lines: list[RowRejected]) -> Batch:
        """Note the lines of a file that are no row; those of an older file are over."""
        batch = Batch(seen=len(lines))
        batch.rejected = {each.id: NotApplied(each.code, *each.columns) for each in lines}
        if not ask.dry_run:
            with self._db.transaction() as conn:
                _set_aside(conn, ask.named, batch)
        return batch

    def _batch(self, ask: Ask, after: str | None, limit: int) -> tuple[Batch, str | None]:
        try:
            with self._db.transaction() as conn:
                # The gate keeps the phase still until this batch is committed.
                phases.share_gate(conn, **ask.named)
                state = phases.get(conn, **ask.named)
                if state is None or state.phase not in {DUAL_WRITE, VERIFYING}:
                    raise PhaseChanged("A backfill runs in phases 2 and 3.")
                scope = self._mirror.scope(state)
                if ask.dry_run:
                    return self._rehearse(scope, after, limit)
                return self._do(conn, scope, limit), None
        except LegacyUnavailable as error:
            raise LegacyDown(headers={"Retry-After": "5"}) from error

    def _rehearse(self, scope: Scope, after: str | None, limit: int) -> tuple[Batch, str | None]:
        ids = scope.link.store.scan_ids(after, limit)
        batch = Batch(seen=len(ids), is_last=len(ids) < limit)
        _mapped(scope, ids, batch)
        return batch, ids[-1] if ids else after

    def _do(self, conn: Conn, scope: Scope, limit: int) -> Batch:
        cursor = backfills.lock(conn, **scope.named)
        if cursor is None:
            raise RuntimeError("Bug: a backfill without its cursor")
        ids = scope.link.store.scan_ids(cursor.after_id, limit)
        batch = Batch(seen=len(ids), is_last=len(ids) < limit)
        rows = _mapped(scope, ids, batch)
        present = _present(conn, scope, list(rows))
        phases.begin_mirror(conn)
        missing = {key: row for key, row in rows.items() if key not in present}
        _insert(conn, scope, missing, batch)
        # What stood here before phase 2 may be older, and what waits for its user comes later.
        waiting = [key for key, error in batch.rejected.items() if error.waits]
        self._mark(conn, scope, [*present, *waiting])
        for key in waiting:
            del batch.rejected[key]
        batch.marked = len(present) + len(waiting)
        taken = missing.keys() - batch.rejected.keys()
        legacy_rejects.resolve(conn, **scope.named, entity_ids=[*taken])
        _set_aside(conn, scope.named, batch)
        backfills.advance(
            conn,
            **scope.named,
            after_id=ids[-1] if ids else None,
            done=len(ids),
            rejected=len(batch.rejected),
            is_last=batch.is_last,
        )
        return batch

    @staticmethod
    def _mark(conn: Conn, scope: Scope, keys: list[str]) -> None:
        if keys:
            mirror_marks.mark(conn, **scope.named, entity_ids=keys, origin="backfill")


def _mapped(scope: Scope, ids: list[str], batch: Batch) -> dict[str, StoreRow]:
    """Return the rows that keep our rules; the others are noted in the batch."""
    try:
        return scope.link.store.get_many(ids)
    except RowsRejected as error:
        for each in error.rejected:
            batch.rejected[each.id] = NotApplied(each.code, *each.columns)
        return error.rows


def _present(conn: Conn, scope: Scope, keys: list[str]) -> set[str]:
    copies: Any = COPIES[scope.state.domain]
    return set(copies.list_present(conn, tenant_id=scope.state.tenant_id, legacy_ids=keys))


def _insert(conn: Conn, scope: Scope, rows: dict[str, StoreRow], batch: Batch) -> None:
    """Insert what is missing; what is then still not there hit another unique key (D29)."""
    insert = _insert_users if scope.state.domain == "users" else _insert_payments
    tried = insert(conn, scope, [row for row in rows.values() if not row.deleted], batch)
    left = set(tried) - _present(conn, scope, tried)
    batch.inserted = len(tried) - len(left)
    for key in left:
        batch.rejected[key] = _why_not(conn, scope, rows[key])


def _insert_users(conn: Conn, scope: Scope, rows: list[StoreRow], batch: Batch) -> list[str]:
    made = []
    for row in rows:
        try:
            made.append({**user_row(scope.target, row.id, row.row, None), "version": row.version})
        except NotApplied as error:
            batch.rejected[row.id] = error
    mirrored_users.insert(conn, tenant_id=scope.state.tenant_id, rows=made)
    return [row["legacy_id"] for row in made]


def _insert_payments(conn: Conn, scope: Scope, rows: list[StoreRow], batch: Batch) -> list[str]:
    good = []
    for row in rows:
        try:
            new_payment(scope.target, row)
            good.append(row)
        except NotApplied as error:
            batch.rejected[row.id] = error
    insert_payments(conn, scope.target, good)
    return [row.id for row in good]


def _why_not(conn: Conn, scope: Scope, row: StoreRow) -> NotApplied:
    if scope.state.domain == "users":
        return NotApplied("email_taken", "email")
    payer = mirrored_users.read(
        conn,
        tenant_id=scope.state.tenant_id,
        legacy_ids=[row.row["user_legacy_id"]],
        user_ids=[],
    )
    if not payer:
        return NotApplied("user_missing", "user_id", waits=True)
    return NotApplied("duplicate_reference", "reference")


def _set_aside(conn: Conn, named: dict[str, str], batch: Batch) -> None:
    for key, error in batch.rejected.items():
        legacy_rejects.put(
            conn,
            **named,
            entity_id=key,
            direction="to_new",
            code=error.code,
            columns=error.columns,
        )


def _steered(size: int, took_s: float, target_s: float) -> int:
    """Return the size of the next batch: towards the time that one should take."""
    factor = min(max(target_s / max(took_s, 0.001), 0.5), 2.0)
    return int(min(max(size * factor, BATCH_MIN), BATCH_MAX))
