"""Shadow reads: a share of reads is made from the other store too, and compared (D32).

Beside the request, on one thread, at a bounded cost: what cannot be looked at soon is dropped and
counted. A difference counts if it is still there a while later, at the same version.
"""

from __future__ import annotations

import queue
import random
from collections import Counter
from dataclasses import dataclass
from threading import Lock, Thread
from time import monotonic
from typing import TYPE_CHECKING, Any

from errors import AppError
from legacy.links import NEW_READS, VERIFYING, NoLink
from legacy.metrics import shadow_total
from legacy.mirror import read_new, store_terms
from legacy.rows import drift_runs, shadows
from legacy.store import LegacyUnavailable, RowRejected
from observability import Context, begin, log

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from legacy.mirror import Scope
    from legacy.rows.phases import StateRow
    from legacy.store import StoreRow
    from legacy.truth import Truth

QUEUE_MAX = 100
BUDGET_MS = 50
IDLE_S = 1.0
RESULTS = ("compared", "matched", "mismatched", "ignored", "failed", "dropped")


@dataclass(frozen=True, slots=True)
class Key:
    """A row that was read: by our id."""

    tenant_id: str
    domain: str
    our_id: UUID


@dataclass(frozen=True, slots=True)
class Difference:
    """A row that is not the same on both sides; hashes are those of canonical rows (V1)."""

    entity_id: str
    columns: tuple[str, ...]
    version: int | None
    truth_hash: bytes
    follower_hash: bytes


class Shadow:
    """Takes keys from requests, and compares them on a thread of its own."""

    def __init__(
        self,
        truth: Truth,
        *,
        percent: int,
        grace_ms: int,
        budget_ms: int | None = None,
        is_threaded: bool = True,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """`percent`: of reads; `grace_ms`: before the second look; `budget_ms`: for each look."""
        self._truth = truth
        self._percent = percent
        self._grace_s = grace_ms / 1000
        self._budget_s = (BUDGET_MS if budget_ms is None else budget_ms) / 1000
        self._is_threaded = is_threaded
        self._chance = chance
        self._queue: queue.Queue[Key] = queue.Queue(QUEUE_MAX)
        self._later: list[tuple[float, Key, Difference]] = []
        self._counted: Counter[tuple[str, str, str]] = Counter()
        self._lock = Lock()
        self._thread: Thread | None = None

    def offer(self, state: StateRow | None, our_id: UUID) -> None:
        """Have a row that was just read compared, perhaps; costs the request next to nothing."""
        if state is None or state.phase not in {VERIFYING, NEW_READS}:
            return
        if self._chance() * 100 >= self._percent:
            return
        key = Key(state.tenant_id, state.domain, our_id)
        try:
            self._queue.put_nowait(key)
        except queue.Full:
            self._count(key, "dropped")
        if self._is_threaded:
            self._start()

    def _start(self) -> None:
        # At the first read, and so after the fork.
        with self._lock:
            if self._thread is None:
                self._thread = Thread(target=self._serve, name="legacy-shadow", daemon=True)
                self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                self.work(IDLE_S)
            except Exception as error:  # noqa: BLE001 - the thread outlives every fault.
                log.warning("legacy.shadow_failed", error=type(error).__name__)

    # --- On the thread --------------------------------------------------------------------------

    def work(self, wait_s: float = 0) -> None:
        """Look at a key that comes within `wait_s`, and again at those whose grace is over."""
        try:
            key = self._queue.get(timeout=wait_s) if wait_s else self._queue.get_nowait()
        except queue.Empty:
            pass
        else:
            self._first_look(key)
        now = monotonic()
        due = [each for each in self._later if each[0] <= now]
        self._later = [each for each in self._later if each[0] > now]
        for _, key, before in due:
            self._second_look(key, before)
        self._flush()

    def _first_look(self, key: Key) -> None:
        found = self._looked(key)
        if isinstance(found, Difference):
            self._later.append((monotonic() + self._grace_s, key, found))
        else:
            self._count(key, found)

    def _second_look(self, key: Key, before: Difference) -> None:
        found = self._looked(key)
        if isinstance(found, str):
            self._count(key, found)
        elif found.version != before.version:
            self._count(key, "ignored")  # It moves: the next read will tell.
        else:
            self._count(key, "mismatched")
            self._note(key, found)

    def _looked(self, key: Key) -> str | Difference:
        """Return how the two sides compare, or why nobody can say."""
        began = monotonic()
        begin(Context(actor="legacy:shadow", deadline=began + self._budget_s))
        try:
            found = self._compared(key)
        except (AppError, LegacyUnavailable) as error:
            log.debug("legacy.shadow_failed", error=type(error).__name__)
            return "failed"
        except (RowRejected, NoLink):
            return "ignored"  # It is told otherwise.
        finally:
            begin(Context(actor="legacy:shadow"))
        return found if monotonic() - began <= self._budget_s else "failed"

    def _compared(self, key: Key) -> str | Difference:
        state = self._truth.state(key.tenant_id, key.domain)
        if state is None or state.phase not in {VERIFYING, NEW_READS}:
            return "ignored"
        scope = self._truth.mirror.scope(state)
        ours = self._ours(scope, key)
        legacy_id = ours.legacy_id if ours else scope.link.names.get(str(key.our_id))
        if legacy_id is None or self._is_busy(scope, legacy_id, str(key.our_id)):
            return "ignored"
        theirs = scope.link.store.get_many([legacy_id]).get(legacy_id)
        if self._is_busy(scope, legacy_id, str(key.our_id)):
            return "ignored"
        return _difference(scope, legacy_id, theirs, ours)

    def _ours(self, scope: Scope, key: Key) -> Any:
        with self._truth.db.read() as conn:
            rows = read_new(conn, scope, [str(key.our_id)])
        return rows[0] if rows else None

    def _is_busy(self, scope: Scope, *keys: str) -> bool:
        with self._truth.db.read() as conn:
            return bool(drift_runs.list_busy(conn, **scope.named, entity_ids=keys))

    # --- What came of it ------------------------------------------------------------------------

    def _count(self, key: Key, result: str) -> None:
        shadow_total.labels(result).inc()
        with self._lock:
            self._counted[key.tenant_id, key.domain, result] += 1
            if result in {"matched", "mismatched"}:
                self._counted[key.tenant_id, key.domain, "compared"] += 1

    def _flush(self) -> None:
        with self._lock:
            counted, self._counted = self._counted, Counter()
        domains = {(tenant_id, domain) for tenant_id, domain, _ in counted}
        try:
            for tenant_id, domain in sorted(domains):
                results = {name: counted.pop((tenant_id, domain, name), 0) for name in RESULTS}
                with self._truth.db.write() as conn:
                    shadows.count(conn, tenant_id=tenant_id, domain=domain, **results)
        except AppError:
            with self._lock:
                self._counted.update(counted)

    def _note(self, key: Key, found: Difference) -> None:
        log.warning("legacy.shadow_mismatch", domain=key.domain, columns=found.columns)
        with self._truth.db.write() as conn:
            shadows.note(
                conn,
                tenant_id=key.tenant_id,
                domain=key.domain,
                entity_id=found.entity_id,
                columns=found.columns,
                truth_hash=found.truth_hash,
                follower_hash=found.follower_hash,
            )


def _difference(
    scope: Scope, legacy_id: str, theirs: StoreRow | None, ours: Any
) -> str | Difference:
    their_row = None if theirs is None or theirs.deleted else theirs.row
    my_row = None if ours is None or ours.status == "deleted" else store_terms(ours)
    if their_row is None and my_row is None:
        return "matched"
    compare = scope.link.compare
    columns: tuple[str, ...] = ()
    if their_row is not None and my_row is not None:
        columns = tuple(compare.differing(their_row, my_row))
        if not columns:
            return "matched"
    versions = (theirs.version if theirs else None, ours.version if ours else None)
    hashes = [b"" if row is None else compare.hash_of_row(row) for row in (their_row, my_row)]
    at = 0 if scope.state.phase < NEW_READS else 1
    return Difference(legacy_id, columns, versions[at], hashes[at], hashes[1 - at])
