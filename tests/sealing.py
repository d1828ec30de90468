"""Sealing a test's book: with keys of its own, until a moment is final."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from services.checkpoint_copies import Copies
from services.checkpoints import SealKeys
from services.seals import Seals
from tests.book import TENANT

if TYPE_CHECKING:
    from persistence.db import Database
    from repos.seals import StateRow

ORIGIN = "pay.example.com"
KEYS = SealKeys(origin=ORIGIN, seeds=(bytes(range(32)),))
NO_KEYS = SealKeys(origin=ORIGIN)
BATCH = 1_000
LONGEST_S = 60


def sealing(db: Database, keys: SealKeys = KEYS, copies: Copies | None = None) -> Seals:
    """Return a sealer that signs whenever it may."""
    return Seals(db, keys, copies or Copies(), sign_every_s=0)


def seal_all(
    seals: Seals, tenant_id: str = TENANT, *, through: datetime | None = None, batch: int = BATCH
) -> StateRow:
    """Seal rounds until a moment, without one now, is final.

    The server's other tests run transactions too, which the watermark waits for.
    """
    wanted = through or datetime.now(UTC)
    until = time.monotonic() + LONGEST_S
    while True:
        seals.seal(tenant_id, batch, at_once=True)
        state = seals.state(tenant_id)
        if state.sealed_through is not None and state.sealed_through >= wanted:
            return state
        assert time.monotonic() < until, "The watermark does not move: who runs for so long?"
        time.sleep(0.002)
