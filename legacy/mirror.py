"""The mirror: copies dirty keys from the store that decides to the one that follows (D20 to D25).

A mark names a key; the row is read after it, so whatever order marks come in, twice or late, the
follower ends with what the truth has. Killed anywhere, its marks are still there.
"""

from __future__ import annotations

from collections import defaultdict
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from time import monotonic
from typing import TYPE_CHECKING, Any
from uuid import UUID

from psycopg import IntegrityError

from errors import AppError
from legacy import capture
from legacy.apply import apply
from legacy.links import LEGACY_ONLY, NEW_ONLY, NEW_READS, NoLink
from legacy.merging import NotApplied, Target
from legacy.rows import (
    backfills,
    legacy_rejects,
    mirror_marks,
    mirrored_payments,
    mirrored_users,
    phases,
)
from legacy.store import Duplicate, LegacyUnavailable, RowRejected, StoreRow
from observability import log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from legacy.links import Link, Links
    from legacy.rows.mirror_marks import MarkRow
    from legacy.rows.phases import StateRow
    from persistence.db import Conn, Database

# As many keys as a slow store answers for within the limit of an idle transaction.
BATCH = 100
COPIES = {"users": mirrored_users, "payments": mirrored_payments}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """One domain of one tenant, as it stands."""

    state: StateRow
    link: Link
    target: Target

    @property
    def named(self) -> dict[str, str]:
        """Who it is, as every statement wants it."""
        return {"tenant_id": self.state.tenant_id, "domain": self.state.domain}

    @property
    def direction(self) -> str:
        """Where rows go in this phase."""
        return "to_legacy" if self.state.phase >= NEW_READS else "to_new"


class Trouble(Exception):
    """A row that cannot be copied: a code, our columns at fault, and whether it only waits."""

    def __init__(self, code: str, columns: Sequence[str] = (), *, waits: bool = False) -> None:
        self.code = code
        self.columns = tuple(columns)
        self.waits = waits
        super().__init__(code)


@contextmanager
def troubles() -> Iterator[None]:
    """Raise Trouble for what is wrong with a row; what is wrong with a store goes through."""
    try:
        yield
    except NotApplied as error:
        raise Trouble(error.code, error.columns, waits=error.waits) from error
    except RowRejected as error:
        raise Trouble(error.code, error.columns) from error
    except Duplicate as error:
        raise Trouble(f"duplicate_{error.field}", (error.field,)) from error
    except IntegrityError as error:
        raise Trouble("rule_broken", (error.diag.constraint_name or "",)) from error
    except AppError as error:
        if error.retryable:
            raise
        raise Trouble(error.code) from error


class Mirror:
    """Copies keys. Any number of processes may run it: each shard has one at a time."""

    def __init__(self, db: Database, links: Links, *, ledger: bool, id_pool: int = 0) -> None:
        """`ledger`: this process' FEATURE_LEDGER_ENABLED, where a state does not say it.

        `id_pool`: how many ids of a store that hands them out are kept at hand (D26).
        """
        self._db = db
        self._links = links
        self._ledger = ledger
        self._id_pool = id_pool
        # Rolls forward the writes of processes that died; legacy.parts puts it here.
        self.recover: Callable[[Scope], int] = lambda _: 0

    # --- Rounds ---------------------------------------------------------------------------------

    def run_once(self) -> int:
        """Copy what is due in every domain; return how many marks were dealt with."""
        with self._db.read() as conn:
            states = phases.list_attached(conn)
        return sum(self._round(state) for state in states)

    def _round(self, state: StateRow) -> int:
        try:
            scope = self.scope(state)
            self._lift_stale_fence(scope)
            captured = self.take_captured(scope)
            capture.fill_pool(self._db, scope, self._id_pool)
            if state.phase < NEW_READS:
                captured += self.recover(scope)
            if state.phase in {LEGACY_ONLY, NEW_ONLY}:
                return captured
            return captured + sum(self._shard(scope, shard) for shard in self._shards(scope))
        except NoLink:
            return 0
        except (LegacyUnavailable, AppError) as error:
            # Nothing is lost: the marks are where they were.
            log.warning("legacy.mirror_waits", domain=state.domain, error=str(error))
            return 0

    def open(self, tenant_id: str, domain: str) -> Link:
        """Return a domain's link, opened if that has not been done; NoLink."""
        return self._links.get(tenant_id, domain)

    def scope(self, state: StateRow) -> Scope:
        """Return a domain with its store; NoLink."""
        link = self._links.get(state.tenant_id, state.domain)
        ledger = self._ledger if state.ledger_enabled is None else state.ledger_enabled
        target = Target(tenant_id=state.tenant_id, domain=state.domain, link=link, ledger=ledger)
        return Scope(state=state, link=link, target=target)

    def _shards(self, scope: Scope) -> list[int]:
        with self._db.read() as conn:
            return mirror_marks.list_shards(conn, **scope.named)

    def _shard(self, scope: Scope, shard: int) -> int:
        """Copy a batch of a shard; what stops it is found by copying key by key."""
        try:
            if scope.direction == "to_legacy":
                with self._db.transaction() as conn:
                    marks = self._take(conn, scope, shard)
                    self._give_ids(conn, scope, marks)
            # Another transaction: before its call of the store it has written nothing (D22).
            with self._db.transaction() as conn:
                return self._copy(conn, scope, self._take(conn, scope, shard))
        except Trouble:
            return self._one_by_one(scope, shard)

    def _take(self, conn: Conn, scope: Scope, shard: int) -> list[MarkRow]:
        """Return the marks of a shard, read under its lock; none if the phase has moved on."""
        if not mirror_marks.try_shard(conn, **scope.named, shard=shard):
            return []
        if phases.get(conn, **scope.named) != scope.state:
            return []
        return mirror_marks.list_due(conn, **scope.named, shard=shard, row_limit=BATCH)

    def _one_by_one(self, scope: Scope, shard: int) -> int:
        done = 0
        with self._db.transaction() as conn:
            keys = _by_key(self._take(conn, scope, shard))
        for entity_id, marks in keys.items():
            done += self._alone(scope, shard, entity_id, marks)
        return done

    def _alone(self, scope: Scope, shard: int, entity_id: str, marks: list[MarkRow]) -> int:
        try:
            with self._db.transaction() as conn:
                if not mirror_marks.try_shard(conn, **scope.named, shard=shard):
                    return 0
                if phases.get(conn, **scope.named) != scope.state:
                    return 0
                return self._copy(conn, scope, marks)
        except Trouble as trouble:
            with self._db.transaction() as conn:
                self._set_aside(conn, scope, entity_id, marks, trouble)
            return len(marks)

    def _set_aside(
        self, conn: Conn, scope: Scope, entity_id: str, marks: list[MarkRow], trouble: Trouble
    ) -> None:
        """Note what cannot be copied, and try again later and later (D25)."""
        if not trouble.waits:
            legacy_rejects.put(
                conn,
                **scope.named,
                entity_id=entity_id,
                direction=scope.direction,
                code=trouble.code,
                columns=trouble.columns,
            )
        mirror_marks.put_off(
            conn,
            **scope.named,
            mark_ids=[mark.mark_id for mark in marks],
            entity_id=entity_id,
            attempts=max(mark.attempts for mark in marks),
            last_error=trouble.code,
        )

    # --- For a phase change, which holds all locks ----------------------------------------------

    def drain(self, conn: Conn, scope: Scope, until: float) -> int:
        """Copy all marks in the caller's transaction; return how many are left.

        What cannot be copied, or not before `until`, is left. Raises LegacyUnavailable.
        """
        while monotonic() < until:
            marks = mirror_marks.list_all(conn, **scope.named, row_limit=BATCH)
            if not marks:
                return 0
            try:
                self._give_ids(conn, scope, marks)
                self._copy(conn, scope, marks)
            except Trouble:
                return len(marks)
        return len(mirror_marks.list_all(conn, **scope.named, row_limit=BATCH))

    # --- The legacy program (D30, D31) ----------------------------------------------------------

    def take_captured(self, scope: Scope) -> int:
        """Turn what the legacy program wrote into marks."""
        return capture.take(self._db, scope)

    def _lift_stale_fence(self, scope: Scope) -> None:
        """Lift a fence that a crashed phase change has left behind (D31)."""
        if scope.state.phase >= NEW_READS or scope.state.fenced_at is None:
            return
        with self._db.transaction() as conn:
            if not phases.try_gate(conn, **scope.named):
                return  # A phase change is under way: the fence is its own.
            state = phases.get(conn, **scope.named)
            if state is not None and state.phase < NEW_READS:
                scope.link.store.unfence()
                phases.note_fence(conn, **scope.named, fenced=False)

    # --- Copying --------------------------------------------------------------------------------

    def _copy(self, conn: Conn, scope: Scope, marks: Sequence[MarkRow]) -> int:
        """Copy the rows of these marks and take exactly the marks away (D21)."""
        if not marks:
            return 0
        keys = list(_by_key(marks))
        copy = self._to_legacy if scope.direction == "to_legacy" else self._to_new
        kept = copy(conn, scope, keys)
        gone = [mark.mark_id for mark in marks if mark.entity_id not in kept]
        mirror_marks.delete(conn, **scope.named, mark_ids=gone)
        legacy_rejects.resolve(conn, **scope.named, entity_ids=keys)
        return len(marks)

    def _to_new(self, conn: Conn, scope: Scope, keys: list[str]) -> set[str]:
        """Apply rows of legacy; return the keys whose marks stay (D28)."""
        mirror_marks.release_snapshot(conn)
        with troubles():
            found = scope.link.store.get_many(keys)
        gone = [key for key in keys if key not in found]
        kept = set(gone) if gone and not _backfill_is_done(conn, scope) else set()
        phases.begin_mirror(conn)
        for key in keys:
            if key not in kept:
                with troubles():
                    apply(conn, scope.target, key, found.get(key))
        return kept

    def _to_legacy(self, conn: Conn, scope: Scope, keys: list[str]) -> set[str]:
        """Send rows of new; the store takes those that are newer than its own (D23)."""
        rows = read_new(conn, scope, keys)
        mirror_marks.release_snapshot(conn)
        for row in rows:
            with troubles():
                sent = self._store_row(scope, row)
                scope.link.store.follow(sent)
        return set()

    def _give_ids(self, conn: Conn, scope: Scope, marks: Sequence[MarkRow]) -> None:
        """Give rows that were made here an id over there: once, so that a retry uses it (D26)."""
        if scope.direction == "to_new" or not marks:
            return
        nameless = [r for r in read_new(conn, scope, list(_by_key(marks))) if r.legacy_id is None]
        if not nameless:
            return
        copies = COPIES[scope.state.domain]
        if scope.link.store.capabilities.ids:
            ids = capture.take_ids(conn, scope, len(nameless))
        else:
            ids = [str(row.id) for row in nameless]
        name = "user_id" if scope.state.domain == "users" else "payment_id"
        for row, legacy_id in zip(nameless, ids, strict=True):
            given: dict[str, Any] = {name: row.id, "legacy_id": legacy_id}
            copies.set_legacy_id(conn, tenant_id=scope.state.tenant_id, **given)

    def _store_row(self, scope: Scope, row: Any) -> StoreRow:
        given = store_terms(row)
        if given["legacy_id"] is None:
            raise NotApplied("legacy_id_missing", "id", waits=True)
        if scope.state.domain == "payments" and given["user_legacy_id"] is None:
            raise NotApplied("user_missing", "user_id", waits=True)
        deleted = given["status"] == "deleted"
        body = {"legacy_id": given["legacy_id"]} if deleted else given
        return StoreRow(given["legacy_id"], row.version, body, None, deleted)


def store_terms(row: Any) -> dict[str, Any]:
    """Return a row of new as a store is given it: ids as text, without the version."""
    given = {k: str(v) if isinstance(v, UUID) else v for k, v in asdict(row).items()}
    del given["version"]
    return given


def read_new(conn: Conn, scope: Scope, keys: Sequence[str]) -> list[Any]:
    """Return the rows of new that these keys name: by legacy id, or by our own."""
    own = [UUID(key) for key in keys if _is_uuid(key)]
    name = "user_ids" if scope.state.domain == "users" else "payment_ids"
    copies: Any = COPIES[scope.state.domain]
    rows: list[Any] = copies.read(
        conn, tenant_id=scope.state.tenant_id, legacy_ids=list(keys), **{name: own}
    )
    return rows


def _is_uuid(key: str) -> bool:
    try:
        return str(UUID(key)) == key
    except ValueError:
        return False


def _by_key(marks: Sequence[MarkRow]) -> dict[str, list[MarkRow]]:
    keys: defaultdict[str, list[MarkRow]] = defaultdict(list)
    for mark in marks:
        keys[mark.entity_id].append(mark)
    return dict(keys)


def _backfill_is_done(conn: Conn, scope: Scope) -> bool:
    cursor = backfills.get(conn, **scope.named)
    return cursor is not None and cursor.finished_at is not None
