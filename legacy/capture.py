"""What the legacy program wrote becomes marks (D30), and ids are taken from it in advance (D26)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from legacy.links import DUAL_WRITE, NEW_READS, VERIFYING
from legacy.rows import legacy_id_pool, mirror_marks
from legacy.store import LegacyUnavailable

if TYPE_CHECKING:
    from legacy.mirror import Scope
    from persistence.db import Conn, Database

TAKEN_AT_ONCE = 500
IDS_AT_ONCE = 1_000


def take(db: Database, scope: Scope) -> int:
    """Turn entries of the capture queue into marks: these are committed before those go."""
    store = scope.link.store
    if scope.state.phase not in {DUAL_WRITE, VERIFYING} or store.capabilities.capture is None:
        return 0
    taken = 0
    while batch := store.tail(TAKEN_AT_ONCE):
        keys = sorted({each.legacy_id for each in batch})
        with db.write() as conn:
            mirror_marks.mark(conn, **scope.named, entity_ids=keys, origin="legacy")
        store.ack(batch)
        taken += len(keys)
    return taken


def fill_pool(db: Database, scope: Scope, size: int) -> None:
    """Keep `size` ids of the legacy side at hand: new makes rows while that is away (D26)."""
    if scope.state.phase not in {VERIFYING, NEW_READS} or not scope.link.store.capabilities.ids:
        return
    with db.read() as conn:
        held = legacy_id_pool.count_free(conn, **scope.named)
    if held > size // 2:
        return
    while held < size:
        try:
            ids = scope.link.store.allocate_ids(min(size - held, IDS_AT_ONCE))
        except LegacyUnavailable:
            return  # What has to be copied does not wait for it.
        with db.write() as conn:
            legacy_id_pool.queue(conn, **scope.named, legacy_ids=ids)
        held += len(ids)


def take_ids(conn: Conn, scope: Scope, wanted: int) -> list[str]:
    """Return so many ids: of the pool, and what it lacks from the store. LegacyUnavailable."""
    ids = legacy_id_pool.give(conn, **scope.named, wanted=wanted)
    lacking = wanted - len(ids)
    return ids + (scope.link.store.allocate_ids(lacking) if lacking else [])
