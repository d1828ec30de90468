"""DriftVerifier: whether both stores say the same, down to the column, under traffic (2.5).

Digests first, then the buckets that differ, then rows. A key counts only if it differs while the
truth stands still and nothing is on its way to it: traffic never makes false drift (V4).
"""

from __future__ import annotations

import random
from dataclasses import asdict, replace
from time import monotonic, sleep
from typing import TYPE_CHECKING

from uuid_utils.compat import uuid7

from legacy import drift_digests
from legacy.drift_digests import both, doubled, pair_of, unequal
from legacy.drift_keys import busy, settled
from legacy.drift_repair import can_repair, repair
from legacy.drift_report import COUNTS, ITEMS_MAX, Ask, Item, Report
from legacy.ours_in_sql import OurSide
from legacy.refusals import LegacyDown, PhaseChanged
from legacy.rows import drift_runs, phases
from legacy.store import LegacyUnavailable
from legacy.stores import changed_ids

if TYPE_CHECKING:
    from legacy.mirror import Mirror, Scope
    from legacy.store import LegacyStore, Totals
    from persistence.db import Database

__all__ = ["Ask", "Item", "Report", "Verifier"]

TRIES = 5
KEYS_AT_ONCE = 500
IDS_AT_ONCE = 10_000
TOTALS, BUCKETS, PAIRS, ROWS = range(4)


class Verifier:
    """Compares, notes what it finds, and repairs by marking keys for the mirror (V5)."""

    def __init__(self, db: Database, mirror: Mirror, *, grace_ms: int) -> None:
        """`grace_ms`: how long a key that differs is given before it is looked at again."""
        self._db = db
        self._mirror = mirror
        self._grace_ms = grace_ms

    def run(self, ask: Ask) -> Report:
        """Compare a domain. PhaseChanged: not attached, or it is being compared; LegacyDown."""
        with self._db.read() as conn:
            state = phases.get(conn, **ask.named)
        if state is None or state.finished_at is not None:
            raise PhaseChanged("It is not attached.")
        scope = self._mirror.scope(state)
        report = Report(
            run_id=uuid7(),
            tenant_id=ask.tenant_id,
            domain=ask.domain,
            phase=state.phase,
            # Of some rows only: this is no run that a gate may count.
            level=ask.level if _is_whole(ask) else TOTALS,
        )
        self._begin(ask, report)
        began, error = monotonic(), None
        try:
            self._compare(ask, scope, report)
        except LegacyUnavailable as caught:
            error = str(caught)
            raise LegacyDown(headers={"Retry-After": "5"}) from caught
        except BaseException as caught:
            error = type(caught).__name__
            raise
        finally:
            report.duration_ms = round((monotonic() - began) * 1000)
            self._finish(report, error)
        return report

    def _begin(self, ask: Ask, report: Report) -> None:
        with self._db.write() as conn:
            begun = drift_runs.begin(
                conn,
                **ask.named,
                run_id=report.run_id,
                level=report.level,
                phase=report.phase,
                truth=report.truth,
                trigger=ask.trigger,
                run_by=ask.by,
            )
        if not begun:
            raise PhaseChanged("It is being compared already.")

    def _finish(self, report: Report, error: str | None) -> None:
        status = "failed" if error else "clean" if report.clean else "drift"
        with self._db.write() as conn:
            drift_runs.finish(
                conn,
                tenant_id=report.tenant_id,
                run_id=report.run_id,
                status=status,
                counts={name: report.counts[name] for name in COUNTS},
                items=[asdict(item) for item in report.items[:ITEMS_MAX]],
                truncated=len(report.items) > ITEMS_MAX,
                error=error,
            )

    # --- What is looked at ----------------------------------------------------------------------

    def _compare(self, ask: Ask, scope: Scope, report: Report) -> None:
        ours = OurSide(self._db, scope.link.compare, ask.tenant_id)
        if not _is_whole(ask):
            theirs, mine = self._chosen(ask, scope.link.store, ours)
            report.count_rows(len(theirs), len(mine))
            self._look_again(ask, scope, report, sorted(theirs | mine))
        elif ask.level == TOTALS:
            self._compare_totals(ask, scope, report, ours)
        else:
            self._compare_digests(ask, scope, report, ours)

    def _chosen(self, ask: Ask, store: LegacyStore, ours: OurSide) -> tuple[set[str], set[str]]:
        if ask.keys is not None:
            return set(ask.keys), set(ask.keys)
        if ask.since is not None:
            return set(changed_ids(store, ask.since)), set(ours.changed(ask.since))
        return set(_drawn(store, ask.sample or 0)), set(ours.sample(ask.sample or 0))

    def _compare_totals(self, ask: Ask, scope: Scope, report: Report, ours: OurSide) -> None:
        """Compare counts and sums until they are the same, or stand still and differ (V4)."""
        before: tuple[Totals, Totals] | None = None
        for _ in range(TRIES):
            found = theirs, mine = both(scope.link.store.count, ours.count)
            report.counts.clear()
            report.count_rows(theirs.rows, mine.rows)
            differing = _differing(theirs, mine, versions=scope.link.follows_versions)
            if not differing:
                return
            if found == before and not self._is_busy(ask):
                report.counts["different"] = differing
                return
            before = found
            self._wait(ask)
        report.counts["unsettled"] = differing

    def _is_busy(self, ask: Ask) -> bool:
        with self._db.read() as conn:
            facts = phases.facts(conn, **ask.named)
        return facts.backlog + facts.intents > 0

    def _compare_digests(self, ask: Ask, scope: Scope, report: Report, ours: OurSide) -> None:
        found = drift_digests.compare(scope.link.store, ours)
        report.count_rows(*found.rows)
        self._look_again(ask, scope, report, found.keys)
        if found.twice:
            self._look_for_doubles(ask, scope, report, found.twice)
        if ask.level < ROWS:
            _coarsen(report)

    # --- Keys -----------------------------------------------------------------------------------

    def _look_again(self, ask: Ask, scope: Scope, report: Report, keys: list[str]) -> None:
        """Look at keys until each is settled: the same, on its way, or drift (V4)."""
        left = keys
        for _ in range(TRIES):
            if not left:
                return
            self._wait(ask)
            done: set[str] = set()
            for some in _chunks(left):
                found = [*settled(self._db, scope, some)]
                done.update(key for key, _ in found)
                self._note(ask, scope, report, [item for _, item in found if item is not None])
            left = [key for key in left if key not in done]
        on_their_way = sum(len(busy(self._db, scope, some)) for some in _chunks(left))
        report.counts.update(in_flight=on_their_way, unsettled=len(left) - on_their_way)

    def _look_for_doubles(self, ask: Ask, scope: Scope, report: Report, pairs: set[int]) -> None:
        """Note the ids that legacy has twice, if it has them twice still (V2)."""
        self._wait(ask)
        twice = doubled(key for key, _ in scope.link.store.hashes_in(pairs))
        items = [
            Item(
                entity_id=key,
                kind="different",
                columns=["id"],
                truth_version=None,
                follower_version=None,
            )
            for key in twice
            if key not in {item.entity_id for item in report.items}
        ]
        self._note(ask, scope, report, items)

    def _note(self, ask: Ask, scope: Scope, report: Report, items: list[Item]) -> None:
        report.counts.update(item.kind for item in items)
        room = ask.max_rows - report.counts["repaired"] if ask.repair else 0
        mended = [item for item in items if can_repair(ask, scope, item)][: max(room, 0)]
        if mended:
            repair(self._db, scope, mended)
            report.counts["repaired"] += len(mended)
        names = {item.entity_id for item in mended}
        report.items += [replace(item, repaired=item.entity_id in names) for item in items]

    def _wait(self, ask: Ask) -> None:
        grace_ms = self._grace_ms if ask.grace_ms is None else ask.grace_ms
        sleep(grace_ms / 1000)


def _is_whole(ask: Ask) -> bool:
    return ask.keys is None and ask.since is None and ask.sample is None


def _differing(theirs: Totals, mine: Totals, *, versions: bool) -> int:
    found = len(unequal(theirs.by, mine.by))
    return found + int(versions and theirs.version_max != mine.version_max)


def _coarsen(report: Report) -> None:
    """Leave of the keys that differ only in how many buckets they are (levels 1 and 2)."""
    keys = [item.entity_id for item in report.items]
    shift = 8 if report.level == BUCKETS else 0
    for kind in ("missing_in_new", "missing_in_legacy"):
        del report.counts[kind]
    report.counts["different"] = len({pair_of(key) >> shift for key in keys})
    report.items = []


def _chunks(keys: list[str]) -> list[list[str]]:
    return [keys[start : start + KEYS_AT_ONCE] for start in range(0, len(keys), KEYS_AT_ONCE)]


def _drawn(store: LegacyStore, size: int) -> list[str]:
    """Return up to so many ids of a store, each as likely as any other."""
    drawn: list[str] = []
    seen, after = 0, None
    while ids := store.scan_ids(after, IDS_AT_ONCE):
        for legacy_id in ids:
            seen += 1
            if len(drawn) < size:
                drawn.append(legacy_id)
            elif (place := random.randrange(seen)) < size:  # noqa: S311 - no secret.
                drawn[place] = legacy_id
        after = ids[-1]
    return drawn
