"""Writes while legacy decides, to a store that cannot hold our outbox (2.3): intents.

Noted under the gate, sent, settled: a crash anywhere is rolled forward by whoever comes next, by
the `op_id` that legacy keeps. Intents only roll forward (D10).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from uuid_utils.compat import uuid7

from errors import Contention, DuplicateReference, EmailTaken, OutcomeUnknown
from legacy.apply import apply
from legacy.links import DUAL_WRITE, VERIFYING
from legacy.merging import NotApplied
from legacy.refusals import LegacyDown, MigrationSwitching, WriteInProgress
from legacy.rows import migration_intents, mirror_marks, phases
from legacy.store import (
    Duplicate,
    LegacyUnavailable,
    RowRejected,
    StoreRow,
    TooLate,
    VersionStale,
)
from observability import log

if TYPE_CHECKING:
    from collections.abc import Callable

    from errors import AppError
    from legacy.mirror import Mirror, Scope
    from legacy.rows.migration_intents import IntentRow
    from legacy.settings import LegacySettings
    from legacy.store import LegacyStore
    from persistence.db import Conn, Database

    Land = Callable[[Conn, StoreRow], object]

MOMENTS = ("created_at", "updated_at", "capture_before", "email_verified_at")
AGAIN = {"Retry-After": "1"}


class Refused(Exception):
    """Legacy has definitely not taken a write, and never will: `code`."""

    def __init__(self, code: str) -> None:
        self.code = code
        super().__init__(code)


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """A write as it was decided: the row after it, the version before it (0: none), its answer.

    `key_row`: what the idempotency key will hold; None: there is no key.
    """

    entity_id: str
    op: str
    expected_version: int
    row_after: dict[str, Any]
    answer: dict[str, Any]
    key_row: dict[str, Any] | None = None


class Intents:
    """Sends writes to the legacy store, and recovers those of processes that died."""

    def __init__(self, db: Database, mirror: Mirror, settings: LegacySettings) -> None:
        self._db = db
        self._mirror = mirror
        self._lease = {
            "lease_ms": settings.intent_lease_ms,
            # Sent late, it must not land after somebody else has taken it over (D12).
            "timeout_ms": settings.intent_lease_ms // 2,
        }

    # --- A write --------------------------------------------------------------------------------

    def run(self, scope: Scope, write: Write, land: Land | None = None) -> None:
        """Send a write and settle it. WriteInProgress, OutcomeUnknown, or what refused it.

        `land` does what is to be done here, in every phase; without it new gets a copy.
        """
        intent = self._begin(scope, write)
        try:
            sent = self._send(scope, intent)
        except LegacyUnavailable as error:
            raise OutcomeUnknown(headers=AGAIN) from error  # The mirror goes on with it (D11).
        except Refused as error:
            self._settle(scope, intent, "refused", error.code)
            raise _refusal(error.code) from error
        if not self._applied(scope, intent, sent, land) and land is not None:
            raise OutcomeUnknown(headers=AGAIN)  # Whoever took it over knows the row alone.

    def _begin(self, scope: Scope, write: Write) -> IntentRow:
        """tx1: note the write under the gate, which keeps the phase as it is."""
        try:
            with self._db.transaction() as conn:
                phases.share_gate(conn, **scope.named)
                state = phases.get(conn, **scope.named)
                if state is None or state.phase != scope.state.phase:
                    raise MigrationSwitching(headers=AGAIN)
                intent = self._noted(conn, scope, write)
        except Contention as error:
            raise MigrationSwitching(headers=AGAIN) from error
        if intent is None:
            raise WriteInProgress(headers=AGAIN)
        return intent

    def _noted(self, conn: Conn, scope: Scope, write: Write) -> IntentRow | None:
        key = write.key_row or {}
        return migration_intents.begin(
            conn,
            **scope.named,
            intent_id=uuid7(),
            entity_id=write.entity_id,
            op=write.op,
            expected_version=write.expected_version,
            row_after=_json(write.row_after),
            answer=write.answer,
            key_row=key,
            idem_scope=key.get("scope"),
            idem_key=key.get("key"),
            lease_token=uuid7(),
            **self._lease,
        )

    def _send(self, scope: Scope, intent: IntentRow) -> StoreRow:
        store, row, op_id = scope.link.store, _row(intent.row_after), str(intent.intent_id)
        try:
            if row.get("status") == "deleted":
                return _buried(store, intent)
            if intent.expected_version == 0:
                return store.create(row, op_id, intent.not_after)
            return store.replace(row, intent.expected_version, op_id, intent.not_after)
        except TooLate as error:
            raise Refused("too_late") from error
        except VersionStale as error:
            raise Refused("version_stale") from error
        except Duplicate as error:
            raise Refused(f"duplicate_{error.field}") from error
        except RowRejected as error:
            raise Refused(error.code) from error

    def _applied(
        self, scope: Scope, intent: IntentRow, sent: StoreRow, land: Land | None = None
    ) -> bool:
        """tx2: the copy, the answer under its key, and the end of the intent (D13: no gate).

        False: somebody has taken it over, and does the rest.
        """
        try:
            with self._db.transaction() as conn:
                if not self._settled(conn, scope, intent, "applied", None):
                    return False
                if land is not None:
                    land(conn, sent)
                elif scope.state.phase in {DUAL_WRITE, VERIFYING}:
                    self._copy(conn, scope, intent, sent)
        except NotApplied:
            # Legacy has it: what keeps it from new, a user who is to come, is the mirror's matter.
            with self._db.transaction() as conn:
                self._settled(conn, scope, intent, "applied", None)
                mirror_marks.mark(
                    conn, **scope.named, entity_ids=[intent.entity_id], origin="intent"
                )
        return True

    def _copy(self, conn: Conn, scope: Scope, intent: IntentRow, sent: StoreRow) -> None:
        key = intent.key_row or {}
        is_refund = key.get("resource_type") == "refund"
        row = _row(intent.row_after)
        # As it was decided, and not as a coarser store gives it back (V3).
        link = replace(scope.link, columns=frozenset(row))
        phases.begin_mirror(conn)
        apply(
            conn,
            replace(scope.target, link=link, is_exact=True),
            intent.entity_id,
            replace(sent, row=row),
            UUID(key["resource_id"]) if is_refund else None,
        )
        if key:
            migration_intents.keep_answer(conn, tenant_id=scope.state.tenant_id, key_row=key)

    def _settle(self, scope: Scope, intent: IntentRow, status: str, code: str | None) -> None:
        with self._db.transaction() as conn:
            self._settled(conn, scope, intent, status, code)

    @staticmethod
    def _settled(conn: Any, scope: Scope, intent: IntentRow, status: str, code: str | None) -> int:
        return migration_intents.settle(
            conn,
            tenant_id=scope.state.tenant_id,
            intent_id=intent.intent_id,
            lease_token=intent.lease_token,
            status=status,
            refused_code=code,
        )

    # --- Of processes that died -----------------------------------------------------------------

    def recover(self, scope: Scope) -> int:
        """Roll forward what was not settled in time; return how many that were (D10)."""
        done = 0
        while intent := self._taken(scope):
            try:
                sent = self._found(scope, intent) or self._send(scope, intent)
                self._applied(scope, intent, sent)
            except Refused as error:
                self._settle(scope, intent, "refused", error.code)
            except LegacyUnavailable as error:
                log.warning("legacy.intent_waits", error=str(error))
                return done
            done += 1
        return done

    def _taken(self, scope: Scope) -> IntentRow | None:
        with self._db.write() as conn:
            return migration_intents.take_over(
                conn, **scope.named, lease_token=uuid7(), **self._lease
            )

    def _found(self, scope: Scope, intent: IntentRow) -> StoreRow | None:
        """Return our row if the first call did land; Refused if somebody else's has."""
        found = scope.link.store.get_many([intent.entity_id]).get(intent.entity_id)
        if found is None or found.version == intent.expected_version:
            return None
        if found.op_id == str(intent.intent_id):
            return found
        with self._db.write() as conn:
            mirror_marks.mark(conn, **scope.named, entity_ids=[intent.entity_id], origin="intent")
        raise Refused("version_stale")


def _buried(store: LegacyStore, intent: IntentRow) -> StoreRow:
    """Leave a tombstone of a user who was erased (D25). VersionStale."""
    version = intent.expected_version + 1
    gone = {"legacy_id": intent.entity_id}
    row = StoreRow(intent.entity_id, version, gone, str(intent.intent_id), deleted=True)
    if not store.follow(row):
        raise VersionStale(store.get_many([intent.entity_id]).get(intent.entity_id))
    return row


def _refusal(code: str) -> AppError:
    known: dict[str, Callable[[], AppError]] = {
        "duplicate_email": EmailTaken,
        "duplicate_reference": DuplicateReference,
        "too_late": lambda: LegacyDown(headers=AGAIN),
    }
    return known.get(code, lambda: WriteInProgress(headers=AGAIN))()


def _json(row: dict[str, Any]) -> dict[str, Any]:
    return {k: v.isoformat() if isinstance(v, datetime) else v for k, v in row.items()}


def _row(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row as a store is given it: moments are moments again."""
    moments = {name for name in MOMENTS if isinstance(row.get(name), str)}
    return {k: datetime.fromisoformat(v) if k in moments else v for k, v in row.items()}
