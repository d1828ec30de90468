"""The first step of a move and the last: attaching a domain, and finishing it (2.2).

Both change triggers, and so need the database as the owner of the tables.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from uuid_utils.compat import uuid7

from legacy.gates import Gate
from legacy.refusals import GateFailed, PhaseChanged
from legacy.rows import phases
from legacy.steps import Moved, move_columns, refuse, waived
from legacy.store import LegacyError, RowsRejected

if TYPE_CHECKING:
    from collections.abc import Iterator

    from legacy.links import Link, Links
    from legacy.rows.phases import FinishedRow
    from legacy.settings import LegacySettings
    from legacy.steps import Ask
    from persistence.db import Database

SAMPLE_ROWS = 1_000


class Attaching:
    """Use cases of an operator with the owner's rights."""

    def __init__(self, db: Database, links: Links, settings: LegacySettings) -> None:
        self._db = db
        self._links = links
        self._settings = settings

    def attach(self, ask: Ask, *, resume: bool = False) -> Moved:
        """Begin in phase 1: legacy decides from here on. GateFailed, PhaseChanged.

        The database must be that of the tables' owner: the triggers are enabled with it.
        """
        link = self._links.get(ask.tenant_id, ask.domain)
        gates = waived([*self._attach_gates(ask, link, resume=resume)], ask.waive)
        refuse(gates)
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
                **move_columns(ask, gates, 0),
                adapter=link.adapter,
                writers=link.writers,
            )
            if attached is None:
                raise PhaseChanged("It is attached already.")
        return made

    def _attach_gates(self, ask: Ask, link: Link, *, resume: bool) -> Iterator[Gate]:
        yield from _store_gates(link)
        with self._db.read() as conn:
            facts = phases.facts(conn, **ask.named)
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
