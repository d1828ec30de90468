"""DriftVerifier: whether both stores say the same, down to the column, under traffic (2.5).

Digests first, then the buckets that differ, then rows. A key counts only if it differs while the
truth stands still and nothing is on its way to it: traffic never makes false drift (V4).
"""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

from uuid_utils.compat import uuid7

from legacy.links import NEW_READS
from legacy.merging import ACTOR
from legacy.mirror import read_new, store_terms
from legacy.ours_in_sql import OurSide
from legacy.refusals import LegacyDown, PhaseChanged
from legacy.rows import drift_runs, mirror_marks, mirrored_payments, mirrored_users, phases
from legacy.store import LegacyUnavailable, RowRejected, VersionStale
from observability import current

if TYPE_CHECKING:
    from collections.abc import Iterator
    from uuid import UUID

    from legacy.mirror import Mirror, Scope
    from legacy.store import StoreRow
    from persistence.db import Conn, Database

TRIES = 5
ITEMS_MAX = 10_000
KEYS_AT_ONCE = 500
WRITE_S = 10
COUNTS = (
    "rows_truth", "rows_follower", "missing_in_new", "missing_in_legacy", "different", "unsettled",
    "in_flight", "repaired",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """Which domain, how deep (0 to 3), and whether what is found is repaired."""

    tenant_id: str
    domain: str
    by: str
    trigger: str = "command"
    level: int = 3
    repair: bool = False
    max_rows: int = 1_000

    @property
    def named(self) -> dict[str, str]:
        """Who it is, as every statement wants it."""
        return {"tenant_id": self.tenant_id, "domain": self.domain}


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A key that drifted: missing_in_new, missing_in_legacy or different, and in which columns."""

    entity_id: str
    kind: str
    columns: list[str]
    truth_version: int | None
    follower_version: int | None
    repaired: bool = False


@dataclass(slots=True, kw_only=True)
class Report:
    """What a run found; `counts` are those of V6."""

    run_id: UUID
    tenant_id: str
    domain: str
    phase: int
    truth: str
    level: int
    counts: Counter[str] = field(default_factory=Counter)
    items: list[Item] = field(default_factory=list)
    duration_ms: int = 0

    @property
    def clean(self) -> bool:
        """Tell whether both say the same; what could not be settled is not clean."""
        found = ("missing_in_new", "missing_in_legacy", "different", "unsettled")
        return not any(self.counts[name] for name in found)

    def as_json(self) -> dict[str, Any]:
        """Return it as `--json` prints it (V6)."""
        counts = {name: self.counts[name] for name in COUNTS}
        rows = {"truth": counts.pop("rows_truth"), "follower": counts.pop("rows_follower")}
        return {
            "run_id": str(self.run_id),
            "tenant": self.tenant_id,
            "domain": self.domain,
            "phase": self.phase,
            "truth": self.truth,
            "level": self.level,
            "clean": self.clean,
            "rows": rows,
            **counts,
            "items": [asdict(item) for item in self.items[:ITEMS_MAX]],
            "truncated": len(self.items) > ITEMS_MAX,
            "duration_ms": self.duration_ms,
        }


class Verifier:
    """Compares, notes what it finds, and repairs by marking keys for the mirror (V5)."""

    def __init__(self, db: Database, mirror: Mirror, *, grace_ms: int) -> None:
        """`grace_ms`: how long a key that differs is given before it is looked at again."""
        self._db = db
        self._mirror = mirror
        self._grace_s = grace_ms / 1000

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
            truth="new" if state.phase >= NEW_READS else "legacy",
            level=ask.level,
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

    # --- Digests --------------------------------------------------------------------------------

    def _compare(self, ask: Ask, scope: Scope, report: Report) -> None:
        ours = OurSide(self._db, scope.link.compare, ask.tenant_id)
        theirs, mine = scope.link.store.digest(b""), ours.digest(b"")
        counted = sum(n for n, _ in theirs.values()), sum(n for n, _ in mine.values())
        truth, follower = counted if report.truth == "legacy" else counted[::-1]
        report.counts.update(rows_truth=truth, rows_follower=follower)
        buckets = [n for n in range(256) if theirs.get(n) != mine.get(n)]
        if ask.level < 2:  # noqa: PLR2004 - levels are numbers.
            report.counts["different"] += len(buckets)
            return
        for bucket in buckets:
            prefix = bytes([bucket])
            their_rows, my_rows = scope.link.store.hashes(prefix), ours.hashes(prefix)
            keys = their_rows.keys() | my_rows.keys()
            differing = sorted(k for k in keys if their_rows.get(k) != my_rows.get(k))
            for start in range(0, len(differing), KEYS_AT_ONCE):
                self._look_again(ask, scope, report, differing[start : start + KEYS_AT_ONCE])

    # --- Keys -----------------------------------------------------------------------------------

    def _look_again(self, ask: Ask, scope: Scope, report: Report, keys: list[str]) -> None:
        """Look at keys until each is settled: the same, on its way, or drift (V4)."""
        left = keys
        for _ in range(TRIES):
            if not left:
                return
            sleep(self._grace_s)
            found = [*self._settled(scope, left)]
            settled = {key for key, _ in found}
            items = [item for _, item in found if item is not None]
            self._note(ask, scope, report, items)
            left = [key for key in left if key not in settled]
        with self._db.read() as conn:
            busy = set(drift_runs.list_busy(conn, **ask.named, entity_ids=left))
        report.counts.update(in_flight=len(busy), unsettled=len(left) - len(busy))

    def _settled(self, scope: Scope, keys: list[str]) -> Iterator[tuple[str, Item | None]]:
        """Yield the keys that stand still, with what differs: truth, follower, truth again."""
        with self._db.read() as conn:
            busy = set(drift_runs.list_busy(conn, **scope.named, entity_ids=keys))
        quiet = [key for key in keys if key not in busy]
        if scope.state.phase < NEW_READS:
            before, ours = _theirs(scope, quiet), self._ours(scope, quiet)
            theirs = after = _theirs(scope, quiet)
        else:
            before, theirs = self._ours(scope, quiet), _theirs(scope, quiet)
            ours = after = self._ours(scope, quiet)
        stood = {key for key in quiet if before.get(key) == after.get(key)}
        with self._db.read() as conn:
            busy = set(drift_runs.list_busy(conn, **scope.named, entity_ids=quiet))
        for key in stood - busy:
            yield key, _item(scope, key, theirs.get(key), ours.get(key))

    def _ours(self, scope: Scope, keys: list[str]) -> dict[str, Any]:
        with self._db.read() as conn:
            rows = read_new(conn, scope, keys)
        return {row.legacy_id or str(row.id): row for row in rows}

    def _note(self, ask: Ask, scope: Scope, report: Report, items: list[Item]) -> None:
        report.counts.update(item.kind for item in items)
        room = ask.max_rows - report.counts["repaired"] if ask.repair else 0
        mended = items[: max(room, 0)]
        if mended:
            self._repair(scope, mended)
            report.counts["repaired"] += len(mended)
        names = {item.entity_id for item in mended}
        report.items += [
            Item(**{**asdict(item), "repaired": item.entity_id in names}) for item in items
        ]

    def _repair(self, scope: Scope, items: list[Item]) -> None:
        """Let the mirror copy, truth to follower, by a mark (V5).

        A follower at the truth's version or above it takes nothing: the truth's is raised first.
        """
        same = [i.entity_id for i in items if _is_not_newer(i)]
        if same and scope.state.phase < NEW_READS:
            _raise_theirs(scope, same)
        with self._db.transaction() as conn:
            if same and scope.state.phase >= NEW_READS:
                _raise_ours(conn, scope, same)
            keys = [item.entity_id for item in items]
            mirror_marks.mark(conn, **scope.named, entity_ids=keys, origin="repair")


def _is_not_newer(item: Item) -> bool:
    if item.truth_version is None or item.follower_version is None:
        return False
    return item.truth_version <= item.follower_version


def _raise_ours(conn: Conn, scope: Scope, keys: list[str]) -> None:
    named = {"tenant_id": scope.state.tenant_id, "legacy_ids": keys}
    if scope.state.domain == "users":
        mirrored_users.touch(conn, **named)  # type: ignore[arg-type]
    else:
        by = {"actor": ACTOR, "request_id": current().request_id}
        mirrored_payments.touch(conn, **named, **by)  # type: ignore[arg-type]


def _raise_theirs(scope: Scope, keys: list[str]) -> None:
    """Write rows of legacy as they are; what somebody writes meanwhile is newer anyway."""
    store = scope.link.store
    for row in store.get_many(keys).values():
        until = datetime.now(UTC) + timedelta(seconds=WRITE_S)
        with suppress(VersionStale):
            store.replace(row.row, row.version, str(uuid7()), until)


def _theirs(scope: Scope, keys: list[str]) -> dict[str, Any]:
    """Return rows by id; None: one that breaks our rules, so that it differs from all of ours."""
    found: dict[str, Any] = {}
    for key in keys:
        try:
            found.update(scope.link.store.get_many([key]))
        except RowRejected:
            found[key] = None
    return found


def _item(scope: Scope, key: str, theirs: StoreRow | None, ours: Any) -> Item | None:
    """Return what differs; None: nothing does."""
    is_gone = theirs is None or theirs.deleted
    has_none = ours is None or ours.status == "deleted"
    if is_gone and has_none:
        return None
    columns: list[str] = []
    if is_gone or ours is None:
        kind = "missing_in_legacy" if is_gone else "missing_in_new"
    else:
        assert theirs is not None  # noqa: S101 - `is_gone` says so.
        kind, columns = "different", scope.link.compare.differing(theirs.row, store_terms(ours))
        if not columns:
            return None
    versions = (theirs.version if theirs else None, ours.version if ours else None)
    truth, follower = versions if scope.state.phase < NEW_READS else versions[::-1]
    return Item(
        entity_id=key,
        kind=kind,
        columns=columns,
        truth_version=truth,
        follower_version=follower,
    )
