"""Moves between phases: one step at a time, judged by gates, one transaction each (D3 to D9).

Nobody is ever in another phase than the database says: writers wait while it changes, and see the
new one. What fails leaves everything as it was.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

from uuid_utils.compat import uuid7

from errors import Contention
from legacy.gates import LOCKED, WAIVABLE, Gate, Look, gates_of
from legacy.links import NEW_ONLY, VERIFYING
from legacy.refusals import GateFailed, LegacyDown, MigrationSwitching, NotOneStep, PhaseChanged
from legacy.rows import phases
from legacy.store import LegacyError, LegacyUnavailable, RowsRejected
from services.health import Schema  # noqa: TC001 - named by a type that is read at run time.

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from legacy.links import Link, Links
    from legacy.mirror import Mirror, Scope
    from legacy.rows.phases import FactsRow, FinishedRow, StateRow
    from legacy.settings import LegacySettings
    from persistence.db import Conn, Database

SAMPLE_ROWS = 1_000
POLL_S = 0.02
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


class Phases:
    """Use cases of the switch."""

    def __init__(
        self,
        db: Database,
        links: Links,
        mirror: Mirror,
        settings: LegacySettings,
        *,
        schema: Callable[[Conn], Schema],
        flags: dict[str, bool],
        ledger: bool,
    ) -> None:
        """`flags`: FEATURE_DUAL_WRITE_* by domain; `ledger`: FEATURE_LEDGER_ENABLED."""
        self._db = db
        self._links = links
        self._mirror = mirror
        self._settings = settings
        self._schema = schema
        self._flags = flags
        self._ledger = ledger

    # --- Looking --------------------------------------------------------------------------------

    def state(self, tenant_id: str, domain: str) -> StateRow | None:
        """Return where a domain stands; None: never attached."""
        with self._db.read() as conn:
            return phases.get(conn, tenant_id=tenant_id, domain=domain)

    def attached(self) -> list[StateRow]:
        """Every domain that is on its way."""
        with self._db.read() as conn:
            return phases.list_attached(conn)

    def facts(self, tenant_id: str, domain: str) -> FactsRow:
        """Return the numbers that gates and status show."""
        with self._db.read() as conn:
            return phases.facts(conn, tenant_id=tenant_id, domain=domain)

    def judged(self, ask: Ask, move: tuple[int, int]) -> list[Gate]:
        """Return what the gates of a move say now; raises NoLink."""
        link = self._links.get(ask.tenant_id, ask.domain)
        with self._db.read() as conn:
            look = Look(
                domain=ask.domain,
                facts=phases.facts(conn, **ask.named),
                link=link,
                settings=self._settings,
                flag=self._flags[ask.domain],
                schema=self._schema(conn).problem,
                writers_stopped=ask.writers_stopped,
            )
        return _waived(gates_of(move, look), ask.waive)

    # --- Attaching and finishing, as the owner of the tables ------------------------------------

    def attach(self, ask: Ask, *, resume: bool = False) -> Moved:
        """Begin in phase 1: legacy decides from here on. GateFailed, PhaseChanged.

        The database must be that of the tables' owner: the triggers are enabled with it.
        """
        link = self._links.get(ask.tenant_id, ask.domain)
        gates = _waived([*self._attach_gates(ask, link, resume=resume)], ask.waive)
        _refuse(gates)
        made = Moved(domain=ask.domain, from_phase=0, to_phase=1, gates=gates, hold_ms=0)
        if ask.dry_run:
            return replace(made, done=False)
        with self._db.transaction() as conn:
            phases.begin_switch(conn, wait_ms=ask.wait_ms or self._settings.switch_timeout_ms)
            phases.change_triggers(conn, domain=ask.domain, enabled=True)
            phases.lock_gate(conn, **ask.named)
            if phases.facts(conn, **ask.named).has_rows and not resume:
                raise GateFailed("Rows were made meanwhile: attach with --resume.")
            attached = phases.attach(
                conn,
                **_move_columns(ask, gates, 0),
                adapter=link.adapter,
                writers=link.writers,
            )
            if attached is None:
                raise PhaseChanged("It is attached already.")
        return made

    def _attach_gates(self, ask: Ask, link: Link, *, resume: bool) -> Iterator[Gate]:
        yield from _store_gates(link)
        facts = self.facts(ask.tenant_id, ask.domain)
        empty = "new has no rows" if not facts.has_rows else "new has rows"
        yield Gate(name="empty", ok=resume or not facts.has_rows, detail=empty)
        if ask.domain == "payments":
            ok = facts.other_phase is not None
            yield Gate(name="users_first", ok=ok, detail=f"users are in phase {facts.other_phase}")

    def finish(self, ask: Ask) -> FinishedRow:
        """End the move for good: parked marks and bcrypt hashes go. PhaseChanged.

        The database must be that of the tables' owner; its triggers are disabled with the last.
        """
        with self._db.transaction() as conn:
            phases.begin_switch(conn, wait_ms=ask.wait_ms or self._settings.switch_timeout_ms)
            phases.lock_gate(conn, **ask.named)
            ids = {"move_id": uuid7(), "audit_id": uuid7()}
            done = phases.finish(conn, **ask.named, moved_by=ask.by, reason=ask.reason, **ids)
            if done is None:
                raise PhaseChanged("Only what is in phase 5 can be finished.")
            left = {state.domain for state in phases.list_attached(conn)}
            if ask.domain not in left:
                phases.change_triggers(conn, domain=ask.domain, enabled=False)
        return done

    # --- One step -------------------------------------------------------------------------------

    def advance(self, ask: Ask, *, no_way_back: bool = False) -> Moved:
        """Take one step forward. GateFailed, PhaseChanged, MigrationSwitching, LegacyDown."""
        state = self._attached(ask)
        link = self._links.get(ask.tenant_id, ask.domain)
        to = state.phase + 1
        if state.phase == VERIFYING and not link.store.capabilities.writes:
            if not no_way_back:
                raise GateFailed("This store is read-only: there is no way back (--no-way-back).")
            to = NEW_ONLY
        return self.move(ask, state.phase, to)

    def step_back(self, ask: Ask) -> Moved:
        """Take one step back; it works whatever the flags say (D9). As `advance`."""
        state = self._attached(ask)
        return self.move(ask, state.phase, state.phase - 1)

    def move(self, ask: Ask, from_phase: int, to_phase: int) -> Moved:
        """Move a domain, if it is in `from_phase` still. As `advance`; NotOneStep."""
        if abs(to_phase - from_phase) != 1 and (from_phase, to_phase) != (VERIFYING, NEW_ONLY):
            raise NotOneStep
        if not 1 <= to_phase <= len(NAMES):
            raise NotOneStep("There is no such phase.")
        if self._attached(ask).phase != from_phase:
            raise PhaseChanged
        gates = self.judged(ask, (from_phase, to_phase))
        _refuse(gates)
        if ask.dry_run:
            return Moved(
                domain=ask.domain,
                from_phase=from_phase,
                to_phase=to_phase,
                gates=gates,
                hold_ms=0,
                done=False,
            )
        with self._fenced(ask, from_phase, to_phase):
            return self._switch(ask, from_phase, to_phase, gates)

    def _attached(self, ask: Ask) -> StateRow:
        state = self.state(ask.tenant_id, ask.domain)
        if state is None or state.finished_at is not None:
            raise PhaseChanged("It is not attached.")
        return state

    # --- The switch itself ----------------------------------------------------------------------

    def _switch(self, ask: Ask, from_phase: int, to_phase: int, gates: list[Gate]) -> Moved:
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
                _refuse(found)
                hold_ms = round((monotonic() - began) * 1000)
                moved = phases.move(
                    conn,
                    **_move_columns(ask, [*gates, *found], hold_ms),
                    from_phase=from_phase,
                    to_phase=to_phase,
                    ledger=self._ledger,
                )
                if moved is None:
                    raise PhaseChanged
        except Contention as error:
            raise MigrationSwitching(
                "Writers did not make way in time: nothing was changed.",
                headers={"Retry-After": "1"},
            ) from error
        except LegacyUnavailable as error:
            raise LegacyDown(headers={"Retry-After": "5"}) from error
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
            gates += _fence_gates(scope)
        if "marks" in wanted:
            left = self._mirror.drain(conn, scope, until)
            gates.append(Gate(name="marks", ok=left == 0, detail=f"{left} keys are not copied"))
        return gates

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
                # What it wrote last is marked before writers have to wait.
                self._mirror.take_captured(self._mirror.scope(self._attached(ask)))
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


def _fence_gates(scope: Scope) -> Iterator[Gate]:
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


def _store_gates(link: Link) -> Iterator[Gate]:
    try:
        link.store.ping()
        ids = link.store.scan_ids(None, SAMPLE_ROWS)
    except LegacyError as error:
        yield Gate(name="adapter", ok=False, detail=str(error))
        return
    yield Gate(name="adapter", ok=True, detail="it answers")
    try:
        link.store.get_many(ids)
    except RowsRejected as error:
        bad = f"{len(error.rejected)} of {len(ids)} rows break a rule, the first: {error.code}"
        yield Gate(name="rejects", ok=False, detail=bad)
        return
    yield Gate(name="rejects", ok=True, detail=f"{len(ids)} rows map")


def _waived(gates: list[Gate], waive: frozenset[str]) -> list[Gate]:
    return [
        replace(gate, ok=True, detail=f"{gate.detail} (waived)")
        if not gate.ok and gate.name in waive & WAIVABLE
        else gate
        for gate in gates
    ]


def _refuse(gates: list[Gate]) -> None:
    """Raise GateFailed with every gate that is closed."""
    closed = [gate for gate in gates if not gate.ok]
    if closed:
        raise GateFailed(
            errors=tuple(
                {"pointer": f"/gates/{gate.name}", "code": "gate_failed", "detail": gate.detail}
                for gate in closed
            )
        )


def _move_columns(ask: Ask, gates: list[Gate], hold_ms: int) -> dict[str, Any]:
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
