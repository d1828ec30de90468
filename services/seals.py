"""Sealing: the watermark moves, transactions become leaves, the tree's root is signed (LM3 to LM6).

Nobody waits for it and no row is rewritten: a round locks the tenant's ledger_seal_state row alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from uuid_utils.compat import uuid7

from errors import NotFound
from observability import ledger_late_rows_total, ledger_seal_stops_total, ledger_seals_total, log
from repos import seals
from services.seal_signing import Contradiction, SealSigning
from services.seal_tiles import Tiles, TreeBroken
from services.watermark import NEVER, advance, behind, moment_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime
    from uuid import UUID

    from persistence.db import Conn, Database
    from repos.seals import ClaimedRow, StateRow, TickRow, UnsealedRow
    from services.checkpoint_copies import Copies
    from services.checkpoints import SealKeys

# A book in which nothing happens has its watermark moved so seldom: each move costs an id.
IDLE_S = 60
COUNT_MAX = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """What a round did. `has_more`: a full batch, so the next one should follow at once.

    `stopped`: why nothing is signed from now on, if this round has found it.
    """

    leaves: int = 0
    late: int = 0
    size: int = 0
    sealed_through: datetime | None = None
    has_more: bool = False
    is_signed: bool = False
    stopped: str | None = None


class Seals:
    """The sealing of all tenants' books, a round at a time."""

    def __init__(
        self,
        db: Database,
        keys: SealKeys,
        copies: Copies,
        *,
        sign_every_s: int = 10,
        new_id: Callable[[], UUID] = uuid7,
    ) -> None:
        """`sign_every_s`: no checkpoint is signed sooner after the one before."""
        self._db = db
        self._signing = SealSigning(keys)
        self._copies = copies
        self._sign_every_s = sign_every_s
        self._new_id = new_id

    def state(self, tenant_id: str) -> StateRow:
        """Return how far a book is sealed; its row is made if there is none."""
        with self._db.read() as conn:
            state = seals.get_state(conn, tenant_id=tenant_id)
        if state is not None:
            return state
        with self._db.write() as conn:
            seals.open_state(conn, tenant_id=tenant_id)
        return self.state(tenant_id)

    def waiting(self, tenant_id: str) -> int:
        """Return how many transactions are not sealed yet, as far as it is worth counting."""
        with self._db.read() as conn:
            return seals.count_unsealed(conn, tenant_id=tenant_id, row_limit=COUNT_MAX)

    def seal(self, tenant_id: str, batch: int, *, at_once: bool = False) -> Sealed | None:
        """Do one round, of about `batch` leaves; None: another worker is at it.

        `at_once`: though the book is idle, and though a checkpoint was signed just now.
        """
        state = self.state(tenant_id)
        may_sign = self._may_sign(state, at_once=at_once)
        if not (at_once or _moves(state) or (may_sign and state.tree_size > state.signed_size)):
            self._publish(tenant_id, state.signed_size)
            return Sealed(size=state.tree_size, sealed_through=state.sealed_through)
        try:
            # Read before the tree is: what was published is of a tree that was stored before.
            copy = self._copies.newest(tenant_id) if may_sign else None
        except OSError as error:
            log.warning("checkpoint.unreadable", tenant_id=tenant_id, error=str(error))
            may_sign, copy = False, None
        sealed = self._run(tenant_id, batch, may_sign=may_sign, copy=copy)
        if sealed is not None:
            self._publish(tenant_id, sealed.size if sealed.is_signed else state.signed_size)
        return sealed

    def seal_late(self, tenant_id: str, batch: int) -> Sealed | None:
        """Look through the whole book for what was left behind the watermark, and seal it."""
        state = self.state(tenant_id)
        until = moment_text(state.sealed_through)
        with self._db.snapshot() as conn:
            late = seals.list_late(
                conn, tenant_id=tenant_id, after_at=NEVER, until_at=until, row_limit=batch
            )
        return self._run(tenant_id, batch, late=late)

    def resume(self, tenant_id: str) -> str | None:
        """Let a stopped tree be signed again, if all agrees now; else return what does not."""
        copy = self._copies.newest(tenant_id)
        with self._db.snapshot() as conn:
            state = seals.get_state(conn, tenant_id=tenant_id)
            size = state.tree_size if state else 0
            try:
                self._signing.agree(conn, tenant_id, Tiles(conn, tenant_id, size), size, copy)
            except Contradiction as reason:
                return str(reason)
        with self._db.write() as write:
            seals.set_stopped(write, tenant_id=tenant_id, reason=None)
        return None

    def redact(self, tenant_id: str, tx_id: UUID, subject: str, reason: str) -> bool:
        """Empty a transaction's metadata, audited; False: there was none. NotFound, OwnerNeeded."""
        with self._db.write() as conn:
            was_there = seals.redact_metadata(
                conn,
                tenant_id=tenant_id,
                tx_id=tx_id,
                audit_id=self._new_id(),
                subject=subject,
                reason=reason,
            )
        if was_there is None:
            raise NotFound("There is no such transaction.")
        return was_there

    # --- A round --------------------------------------------------------------------------------

    def _may_sign(self, state: StateRow, *, at_once: bool) -> bool:
        is_time = state.signed_size == 0 or state.signed_ago_s >= self._sign_every_s
        can_sign = self._signing.keys.can_sign and state.stopped_reason is None
        return can_sign and (at_once or is_time)

    def _run(self, tenant_id: str, batch: int, **how: Any) -> Sealed | None:
        """Run a round; a tree that cannot be read stops the signing."""
        try:
            sealed = self._db.rerun(partial(self._round, tenant_id, batch, **how))
        except (Contradiction, TreeBroken) as found:
            return self._stop(tenant_id, str(found))
        if sealed is not None:
            ledger_late_rows_total.inc(sealed.late)
            ledger_seals_total.inc(sealed.is_signed)
        return sealed

    def _round(
        self,
        tenant_id: str,
        batch: int,
        *,
        may_sign: bool = False,
        copy: str | None = None,
        late: list[UnsealedRow] | None = None,
    ) -> Sealed | None:
        with self._db.transaction() as conn:
            tick = seals.read_tick(conn, tenant_id=tenant_id)
            state = seals.claim_state(conn, tenant_id=tenant_id)
            if state is None:
                return None
            mark, is_over = advance(state, tick)
            rows = _late(conn, tenant_id, state, tick, batch) if late is None else late
            new = seals.list_unsealed(
                conn,
                tenant_id=tenant_id,
                after_at=moment_text(state.sealed_through),
                until_at=moment_text(mark),
                row_limit=batch,
            )
            has_more = len(new) >= batch
            reached = new[-1].posted_at if has_more else mark
            tiles = Tiles(conn, tenant_id, state.tree_size)
            size = _append(conn, tenant_id, tiles, state.tree_size, (rows, new))
            # A tick stays until it has passed, and until all at or before it is sealed.
            renews = is_over and not has_more
            seals.set_state(
                conn,
                tenant_id=tenant_id,
                sealed_through=moment_text(reached),
                tree_size=size,
                tick_at=moment_text(tick.tick_at if renews else state.tick_at),
                tick_xid=tick.tick_xid if renews else state.tick_xid,
                tick_node=tick.node,
            )
            # Not in the middle of a catching up: its last round signs for all.
            is_signed = (
                may_sign
                and not has_more
                and self._signing.sign(conn, tenant_id, tiles, size, reached, copy)
            )
        return Sealed(
            leaves=len(rows) + len(new),
            late=len(rows),
            size=size,
            sealed_through=reached,
            has_more=has_more,
            is_signed=is_signed,
        )

    def _publish(self, tenant_id: str, size: int) -> None:
        if self._copies.lacks(tenant_id, size):
            with self._db.read() as conn:
                seal = seals.get_seal(conn, tenant_id=tenant_id, at_most=size)
            if seal is not None:
                self._copies.publish(tenant_id, seal.tree_size, seal.note, seal.created_at)

    def _stop(self, tenant_id: str, reason: str) -> Sealed:
        """Keep the reason, and ring once."""
        with self._db.write() as conn:
            is_new = seals.set_stopped(conn, tenant_id=tenant_id, reason=reason)
        if not is_new:
            return Sealed()
        ledger_seal_stops_total.inc()
        log.error("ledger.seal_stopped", tenant_id=tenant_id, reason=reason)
        return Sealed(stopped=reason)


def _moves(state: StateRow) -> bool:
    """Tell whether the watermark is to be moved: an idle book's seldom, it costs an id a time."""
    return state.has_more or state.sealed_through is None or state.lag_s >= IDLE_S


def _late(
    conn: Conn, tenant_id: str, state: ClaimedRow, tick: TickRow, batch: int
) -> list[UnsealedRow]:
    after = behind(state, tick)
    if after is None:
        return []
    until = moment_text(state.sealed_through)
    return seals.list_late(
        conn, tenant_id=tenant_id, after_at=after.isoformat(), until_at=until, row_limit=batch
    )


def _append(
    conn: Conn, tenant_id: str, tiles: Tiles, size: int, parts: Sequence[list[UnsealedRow]]
) -> int:
    """Give the late ones their places, then the new ones; return the size of the tree."""
    full = tiles.append(row.hash for rows in parts for row in rows)
    for late, rows in zip((True, False), parts, strict=True):
        if rows:
            ids = [row.id for row in rows]
            seals.record_leaves(conn, tenant_id=tenant_id, first_idx=size, tx_ids=ids, late=late)
            size += len(rows)
    if full:
        seals.record_tiles(
            conn,
            tenant_id=tenant_id,
            levels=[tile.level for tile in full],
            ns=[tile.n for tile in full],
            hashes=[tile.hashes for tile in full],
            roots=[tile.root for tile in full],
        )
    return size
