"""Moves between phases: one step at a time, judged by gates, one transaction each (D3 to D9)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from legacy.attaching import Attaching
from legacy.gates import Gate, Look, gates_of
from legacy.links import NEW_ONLY, NEW_READS, VERIFYING
from legacy.refusals import GateFailed, NotOneStep, PhaseChanged
from legacy.rows import phases
from legacy.steps import NAMES, Ask, Moved, refuse, waived
from legacy.switching import Switch, attached
from services.health import Schema  # noqa: TC001 - named by a type that is read at run time.

if TYPE_CHECKING:
    from collections.abc import Callable

    from legacy.links import Links
    from legacy.mirror import Mirror
    from legacy.rows.phases import FactsRow, FinishedRow, StateRow
    from legacy.settings import LegacySettings
    from legacy.switching import Also
    from persistence.db import Conn, Database

__all__ = ["NAMES", "Ask", "Moved", "Phases"]


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
        self._settings = settings
        self._schema = schema
        self._flags = flags
        self._attaching = Attaching(db, links, settings)
        self._switch = Switch(db, links, mirror, settings, ledger=ledger)

    # --- Looking --------------------------------------------------------------------------------

    def state(self, tenant_id: str, domain: str) -> StateRow | None:
        """Return where a domain stands; None: never attached."""
        with self._db.read() as conn:
            return phases.get(conn, tenant_id=tenant_id, domain=domain)

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
        return waived(gates_of(move, look), ask.waive)

    def schema(self) -> Schema:
        """Return the schema against the files of this release."""
        with self._db.read() as conn:
            return self._schema(conn)

    # --- Attaching and finishing, as the owner of the tables ------------------------------------

    def attach(self, ask: Ask, *, resume: bool = False) -> Moved:
        """As Attaching.attach."""
        return self._attaching.attach(ask, resume=resume)

    def finish(self, ask: Ask) -> FinishedRow:
        """As Attaching.finish."""
        return self._attaching.finish(ask)

    # --- One step -------------------------------------------------------------------------------

    def next_phase(self, state: StateRow) -> int:
        """Return the phase after this one: past 4, which writes, where a store is only read."""
        passes = state.phase == VERIFYING and not self._is_written(state.tenant_id, state.domain)
        return NEW_ONLY if passes else state.phase + 1

    def advance(self, ask: Ask, *, no_way_back: bool = False) -> Moved:
        """Take one step forward. GateFailed, PhaseChanged, MigrationSwitching, LegacyDown."""
        state = self._attached(ask)
        to = self.next_phase(state)
        if to - state.phase > 1 and not no_way_back:
            raise GateFailed("This store is read-only: there is no way back (--no-way-back).")
        return self.move(ask, state.phase, to)

    def step_back(self, ask: Ask) -> Moved:
        """Take one step back; it works whatever the flags say (D9). As `advance`."""
        state = self._attached(ask)
        return self.move(ask, state.phase, state.phase - 1)

    def move(self, ask: Ask, from_phase: int, to_phase: int, also: Also | None = None) -> Moved:
        """Move a domain, if it is in `from_phase` still. As `advance`; NotOneStep.

        `also` is done in the transaction of the step.
        """
        is_written = self._is_written(ask.tenant_id, ask.domain)
        passes = (from_phase, to_phase) == (VERIFYING, NEW_ONLY) and not is_written
        if abs(to_phase - from_phase) != 1 and not passes:
            raise NotOneStep
        if not 1 <= to_phase <= len(NAMES):
            raise NotOneStep("There is no such phase.")
        if to_phase == NEW_READS and not is_written:
            raise GateFailed("This store is read-only: phase 4 would write to it.")
        if self._attached(ask).phase != from_phase:
            raise PhaseChanged
        gates = self.judged(ask, (from_phase, to_phase))
        refuse(gates)
        if ask.dry_run:
            return Moved(
                domain=ask.domain,
                from_phase=from_phase,
                to_phase=to_phase,
                gates=gates,
                hold_ms=0,
                done=False,
            )
        return self._switch.take(ask, from_phase, to_phase, gates, also)

    def _is_written(self, tenant_id: str, domain: str) -> bool:
        return self._links.get(tenant_id, domain).store.capabilities.writes

    def _attached(self, ask: Ask) -> StateRow:
        return attached(self.state(ask.tenant_id, ask.domain))
