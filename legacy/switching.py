"""The switch itself: gate and shards, wait and drain, judge, write (D7).

Nobody is ever in another phase than the database says: writers wait while it changes, and see the
new one. What fails leaves everything as it was.
"""

from __future__ import annotations

from contextlib import contextmanager
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

from errors import Contention
from legacy import drift_digests
from legacy.gates import LOCKED, Gate
from legacy.links import VERIFYING
from legacy.metrics import switch_hold_seconds
from legacy.ours_in_sql import OurSide
from legacy.refusals import LegacyDown, MigrationSwitching, PhaseChanged
from legacy.rows import mirror_marks, phases
from legacy.steps import Moved, move_columns, refuse
from legacy.store import LegacyError, LegacyUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from uuid import UUID

    from legacy.links import Links
    from legacy.mirror import Mirror, Scope
    from legacy.rows.phases import StateRow
    from legacy.settings import LegacySettings
    from legacy.steps import Ask
    from persistence.db import Conn, Database

    Also = Callable[[Conn, str, UUID], None]

POLL_S = 0.02


class Switch:
    """Changes phases."""

    def __init__(
        self, db: Database, links: Links, mirror: Mirror, settings: LegacySettings, *, ledger: bool
    ) -> None:
        self._db = db
        self._links = links
        self._mirror = mirror
        self._settings = settings
        self._ledger = ledger

    def take(
        self,
        ask: Ask,
        from_phase: int,
        to_phase: int,
        gates: list[Gate],
        also: Also | None = None,
    ) -> Moved:
        """Take a step whose other gates are open; `also` joins its transaction.

        GateFailed, PhaseChanged, MigrationSwitching, LegacyDown.
        """
        with self._fenced(ask, from_phase, to_phase):
            return self._switched(ask, from_phase, to_phase, gates, also)

    def _switched(
        self,
        ask: Ask,
        from_phase: int,
        to_phase: int,
        gates: list[Gate],
        also: Also | None,
    ) -> Moved:
        """D7: gate and shards, wait and drain, judge, write; past the limit nothing changed."""
        wait_ms = ask.wait_ms or self._settings.switch_timeout_ms
        until = monotonic() + wait_ms / 1000
        try:
            with self._db.transaction() as conn:
                phases.begin_switch(conn, wait_ms=wait_ms)
                phases.lock_gate(conn, **ask.named)
                began = monotonic()
                phases.lock_shards(conn, **ask.named)
                state = phases.get(conn, **ask.named)
                if state is None or state.phase != from_phase or state.finished_at is not None:
                    raise PhaseChanged
                found = self._settled(conn, self._mirror.scope(state), to_phase, until)
                refuse(found)
                hold_ms = round((monotonic() - began) * 1000)
                columns = move_columns(ask, [*gates, *found], hold_ms)
                moved = phases.move(
                    conn,
                    **columns,
                    from_phase=from_phase,
                    to_phase=to_phase,
                    ledger=self._ledger,
                )
                if moved is None:
                    raise PhaseChanged
                if also is not None:
                    also(conn, ask.domain, columns["move_id"])
        except Contention as error:
            raise MigrationSwitching(
                "Writers did not make way in time: nothing was changed.",
                headers={"Retry-After": "1"},
            ) from error
        except LegacyUnavailable as error:
            raise LegacyDown(headers={"Retry-After": "5"}) from error
        switch_hold_seconds.observe(hold_ms / 1000)
        return Moved(
            domain=ask.domain,
            from_phase=from_phase,
            to_phase=to_phase,
            gates=[*gates, *found],
            hold_ms=hold_ms,
        )

    def _settled(self, conn: Conn, scope: Scope, to_phase: int, until: float) -> list[Gate]:
        """Wait for intents, copy what is left, and judge what only holds while all stand still."""
        wanted = LOCKED.get((scope.state.phase, to_phase), ())
        gates = []
        if "intents" in wanted:
            left = _intents(conn, scope, until)
            gates.append(Gate(name="intents", ok=left == 0, detail=f"{left} pending"))
        if "fence" in wanted:
            gates += fence_gates(scope)
        if "marks" in wanted:
            left = self._mirror.drain(conn, scope, until)
            gates.append(Gate(name="marks", ok=left == 0, detail=f"{left} keys are not copied"))
        if "compared" in wanted and scope.link.is_polled:
            gates.append(self._compared(conn, scope, until))
        return gates

    def _compared(self, conn: Conn, scope: Scope, until: float) -> Gate:
        """Compare all rows where nothing tells what was deleted, and copy what differs (D30)."""
        ours = OurSide(self._db, scope.link.compare, scope.state.tenant_id, conn)
        found = drift_digests.compare(scope.link.store, ours)
        if found.keys:
            mirror_marks.mark(conn, **scope.named, entity_ids=found.keys, origin="switch")
            self._mirror.drain(conn, scope, until)
            found = drift_digests.compare(scope.link.store, ours)
        left = len(found.keys) + len(found.twice)
        return Gate(name="compared", ok=left == 0, detail=f"{found.rows[0]} rows, {left} differ")

    @contextmanager
    def _fenced(self, ask: Ask, from_phase: int, to_phase: int) -> Iterator[None]:
        """Shut the legacy program out before 4, let it in after 3; as it was if the move fails."""
        store = self._links.get(ask.tenant_id, ask.domain).store
        closes = from_phase == VERIFYING < to_phase
        opens = to_phase == VERIFYING < from_phase
        if not store.capabilities.fence or not (closes or opens):
            yield
            return
        try:
            if closes:
                self._note_fence(ask, fenced=True)
                store.fence()
                scope = self._mirror.scope(self._attached(ask))
                if not scope.link.is_polled:
                    # What it wrote last is marked before writers have to wait.
                    self._mirror.take_captured(scope)
            yield
        except BaseException:
            if closes:
                self._lift(ask, store)
            raise
        if opens:
            self._lift(ask, store)

    def _lift(self, ask: Ask, store: Any) -> None:
        try:
            store.unfence()
        except LegacyError:
            return  # The note stays, so the mirror lifts it.
        self._note_fence(ask, fenced=False)

    def _note_fence(self, ask: Ask, *, fenced: bool) -> None:
        with self._db.write() as conn:
            phases.note_fence(conn, **ask.named, fenced=fenced)

    def _attached(self, ask: Ask) -> StateRow:
        with self._db.read() as conn:
            return attached(phases.get(conn, **ask.named))


def attached(state: StateRow | None) -> StateRow:
    """Return a state that is on its way. PhaseChanged."""
    if state is None or state.finished_at is not None:
        raise PhaseChanged("It is not attached.")
    return state


def fence_gates(scope: Scope) -> Iterator[Gate]:
    """The legacy program is out, and nothing that it wrote is unmarked (D31)."""
    store = scope.link.store
    if store.capabilities.fence:
        ok = scope.state.fenced_at is not None
        yield Gate(name="fenced", ok=ok, detail="yes" if ok else "the fence was lifted")
    if store.capabilities.capture == "trigger":
        empty = not store.tail(1)
        yield Gate(name="captured", ok=empty, detail="none" if empty else "the queue is not empty")


def _intents(conn: Conn, scope: Scope, until: float) -> int:
    """Wait until no write is on its way; no new one can begin, as the gate is held (D13)."""
    while True:
        left = phases.facts(conn, **scope.named).intents
        if not left or monotonic() >= until:
            return left
        sleep(POLL_S)
