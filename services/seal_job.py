"""The job `ledger-seal`: every second, each tenant's book as far as it is final (LM3)."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from repos import tenants
from services.jobs import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator
    from threading import Event

    from persistence.db import Database
    from repos.seals import StateRow
    from services.jobs import Run
    from services.seals import Seals

# How often a command looks whether the transactions that it waits for are over.
LOOK_EVERY_S = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Once:
    """What sealing by hand has come to. `is_done`: all that was there at its start is sealed."""

    tenant_id: str
    leaves: int
    state: StateRow
    is_done: bool


class SealJob:
    """Seals by the clock, or once by hand."""

    def __init__(self, db: Database, seals: Seals) -> None:
        self._db = db
        self._seals = seals

    def work(self, run: Run) -> Iterator[int]:
        """Seal what is final, a batch a yield; Finding for a tree that has just been stopped."""
        stopped = []
        for tenant_id in [run.ask.tenant_id] if run.ask.tenant_id else self.tenants():
            if run.ask.dry_run:
                yield self._seals.waiting(tenant_id)
                continue
            has_more = True
            while has_more:
                sealed = self._seals.seal(tenant_id, run.batch)
                has_more = sealed is not None and sealed.has_more
                stopped += [f"{tenant_id}: {sealed.stopped}"] if sealed and sealed.stopped else []
                yield sealed.leaves if sealed else 0
        if stopped:
            raise Finding("; ".join(stopped))

    def tenants(self) -> list[str]:
        """Every tenant's id."""
        with self._db.read() as conn:
            return [row.tenant_id for row in tenants.list_all(conn)]

    def once(self, tenant_id: str, batch: int, max_s: float, stop: Event) -> Once:
        """Seal all that is committed now; transactions that run are waited for, `max_s` seconds."""
        until, leaves = time.monotonic() + max_s, 0
        began = self._seals.state(tenant_id).read_at
        while True:
            sealed = self._seals.seal(tenant_id, batch, at_once=True)
            leaves += sealed.leaves if sealed else 0
            state = self._seals.state(tenant_id)
            is_done = state.sealed_through is not None and state.sealed_through >= began
            if is_done or time.monotonic() >= until or stop.is_set():
                return Once(tenant_id=tenant_id, leaves=leaves, state=state, is_done=is_done)
            if sealed is None or not sealed.has_more:
                stop.wait(LOOK_EVERY_S)
