"""The services as everybody knows them, each call by the path that the phase says (D5, D8, MF3).

Where legacy decides, a command is rehearsed: its own SQL runs over legacy's row in a transaction
that is rolled back. So the rules of payments stand in one place only; what they decided is then
written to legacy by an intent.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import UUID

from uuid_utils.compat import uuid7

from errors import DuplicateReference, IdempotencyInProgress
from legacy import names
from legacy.apply import apply
from legacy.intents import Intents, Write
from legacy.merging import NotApplied
from legacy.mirror import store_terms
from legacy.refusals import DomainFollowsLegacy
from legacy.rehearsal import Aborted, RehearsalDb, RolledBack
from legacy.rows import migration_intents, mirrored_payments, phases
from legacy.truth import AGAIN, of_legacy, reached, user_key
from repos import idempotency as keys
from services.idempotency import Answer, Idempotency, IdempotencySettings, replay
from services.payment_commands import GENERATED_KEY_TTL_S, PaymentCommands
from services.rate_limits import FREE
from services.stripes import thread_stripe

if TYPE_CHECKING:
    from collections.abc import Callable

    from legacy.mirror import Scope
    from legacy.store import StoreRow
    from legacy.truth import Truth
    from persistence.db import Conn, Database
    from services import Services
    from services.idempotency import Claim
    from services.payment_commands import Command, PaymentSettings


class Dual:
    """A service of payments: its commands by the path of the phase, all else as it is."""

    def __init__(self, inner: Any, moving: Moving, *, resource_type: str = "payment") -> None:
        self._inner = inner
        self._moving = moving
        self._resource_type = resource_type

    def __getattr__(self, name: str) -> Callable[..., Answer]:
        """Return a command of the service."""
        straight = getattr(self._inner, name)
        make = type(self._inner)
        return partial(self._moving.run, straight, make, name, self._resource_type)


class Moving:
    """Runs commands on payments while a move is under way."""

    def __init__(
        self,
        db: Database,
        truth: Truth,
        intents: Intents,
        held: Services,
        settings: PaymentSettings,
    ) -> None:
        self._db = db
        self._truth = truth
        self._intents = intents
        self._held = held
        self._settings = settings

    def run(
        self,
        straight: Callable[..., Answer],
        make: Callable[[PaymentCommands], Any],
        name: str,
        resource_type: str,
        command: Command,
        *args: Any,
        **given: Any,
    ) -> Answer:
        """Run a command where the truth is; LG001 says that it has just moved: once more."""
        scope = self._truth.legacy(command.claim.tenant_id, "payments")
        if scope is None:
            try:
                return straight(command, *args, **given)
            except DomainFollowsLegacy:
                scope = self._truth.legacy(command.claim.tenant_id, "payments")
                if scope is None:
                    raise
        if scope.link.writers == "legacy":
            raise DomainFollowsLegacy  # D30.
        with reached():
            rehearse = partial(self._rehearsed, scope, make, name, command, args, given)
            return self._by_intent(scope, resource_type, command, rehearse)

    # --- The other path -------------------------------------------------------------------------

    def _by_intent(
        self,
        scope: Scope,
        resource_type: str,
        command: Command,
        rehearse: Callable[[], tuple[Answer, Write]],
    ) -> Answer:
        self._held.rate_limits.charge(command.claim.quota)
        found = self._stored(command.claim)
        if found is not None:
            return found
        if command.fault is not None:
            raise command.fault
        answer, write = rehearse()
        key = self._key_row(command.claim, answer, resource_type)
        self._intents.run(scope, replace(write, key_row=key, answer=answer.data))
        return answer

    def _stored(self, claim: Claim) -> Answer | None:
        """Return the answer of this key; IdempotencyInProgress while its write is on its way."""
        with self._db.read() as conn:
            row = keys.get(conn, tenant_id=claim.tenant_id, scope=claim.scope, key=claim.key)
            intent = migration_intents.get_by_key(
                conn, tenant_id=claim.tenant_id, idem_scope=claim.scope, idem_key=claim.key
            )
        if row is not None:
            return replay(claim, row)
        if intent is None or intent.answer is None:
            return None
        if intent.status == "pending":
            raise IdempotencyInProgress(headers=AGAIN)
        return replay(claim, _as_key_row(intent.key_row or {}))

    def _key_row(self, claim: Claim, answer: Answer, resource_type: str) -> dict[str, Any]:
        ttl_s = GENERATED_KEY_TTL_S if claim.generated else self._settings.key_ttl_s
        return {
            "scope": claim.scope,
            "key": claim.key,
            "operation": claim.operation,
            "fingerprint": claim.fingerprint.hex(),
            "fingerprint_version": claim.fingerprint_version,
            "status": answer.status,
            "answer": answer.data,
            "resource_type": resource_type,
            "resource_id": str(answer.data["id"]),
            "request_id": claim.request_id,
            "ttl_s": ttl_s,
        }

    # --- The rehearsal --------------------------------------------------------------------------

    def _rehearsed(
        self,
        scope: Scope,
        make: Callable[[PaymentCommands], Any],
        name: str,
        command: Command,
        args: tuple[Any, ...],
        given: dict[str, Any],
    ) -> tuple[Answer, Write]:
        """Return the answer and the write that a command comes to over legacy's row."""
        if args:
            before = self._payment(scope, args[0])
            legacy_id, payment_id = before.id, UUID(before.row["id"])
            payer = before.row["user_legacy_id"]
        else:
            before, (legacy_id, payment_id) = None, _new_ids(scope)
            payer = self._payer(scope, given.get("user_id") or command.actor.owner_id)
        user = self._user(scope, payer)
        ids = iter([payment_id] if before is None else [])
        claim = replace(command.claim, generated=True, quota=FREE)
        try:
            with self._db.transaction() as conn:
                phases.begin_mirror(conn)
                if user is not None:
                    apply(conn, user[0].target, user[1].id, user[1])
                if before is not None:
                    apply(conn, scope.target, legacy_id, before)
                service = make(self._commands(conn, lambda: next(ids, None) or uuid7()))
                answer = getattr(service, name)(replace(command, claim=claim), *args, **given)
                row = _read(conn, scope, legacy_id, payment_id)
                raise RolledBack(answer, row)  # noqa: TRY301 - nothing of this is to stay.
        except RolledBack as done:
            return done.answer, _write(name, legacy_id, before, done.row)
        except NotApplied as error:
            raise DomainFollowsLegacy(f"This row cannot be taken over: {error.code}.") from error
        except Aborted as error:
            raise DuplicateReference from error

    def _commands(self, conn: Conn, new_id: Callable[[], UUID]) -> PaymentCommands:
        db: Any = RehearsalDb(conn)
        held = self._held
        once = Idempotency(db, held.kv, held.rate_limits, IdempotencySettings(), b"rehearsal")
        return PaymentCommands(db, once, self._settings, new_id=new_id, stripe=thread_stripe)

    def _payment(self, scope: Scope, payment_id: UUID) -> StoreRow:
        """Return legacy's row of a payment of ours. NotFound."""
        with self._db.read() as conn:
            rows = mirrored_payments.read(
                conn, tenant_id=scope.state.tenant_id, legacy_ids=[], payment_ids=[payment_id]
            )
        return of_legacy(scope, payment_id, rows)

    def _payer(self, scope: Scope, user_id: Any) -> str | None:
        return None if user_id is None else user_key(self._truth, scope, UUID(str(user_id)))

    def _user(self, scope: Scope, legacy_id: str | None) -> tuple[Scope, StoreRow] | None:
        """Return the payer as legacy has it, if legacy decides about users too."""
        users = self._users(scope)
        if users is None or legacy_id is None:
            return None
        row = users.link.store.get_many([legacy_id]).get(legacy_id)
        return None if row is None else (users, row)

    def _users(self, scope: Scope) -> Scope | None:
        return self._truth.legacy(scope.state.tenant_id, "users")


def _new_ids(scope: Scope) -> tuple[str, UUID]:
    """Return the legacy id of a row to be made, and ours (D26)."""
    if not scope.link.store.capabilities.ids:
        made = uuid7()
        return str(made), made
    (legacy_id,) = scope.link.store.allocate_ids(1)
    made = UUID(scope.link.compare.our_id(legacy_id))
    names.note(scope.link, str(made), legacy_id)
    return legacy_id, made


def _read(conn: Conn, scope: Scope, legacy_id: str, payment_id: UUID) -> Any:
    (row,) = mirrored_payments.read(
        conn,
        tenant_id=scope.state.tenant_id,
        legacy_ids=[legacy_id],
        payment_ids=[payment_id],
    )
    return row


def _write(op: str, legacy_id: str, before: StoreRow | None, row: Any) -> Write:
    after = {**store_terms(row), "legacy_id": legacy_id}
    version = 0 if before is None else before.version
    return Write(entity_id=legacy_id, op=op, expected_version=version, row_after=after, answer={})


def _as_key_row(kept: dict[str, Any]) -> Any:
    """Return what an intent keeps of its key as the row that it would be."""
    return _KeyRow(
        kind="completed",
        operation=kept["operation"],
        fingerprint=bytes.fromhex(kept["fingerprint"]),
        fingerprint_version=kept["fingerprint_version"],
        status=kept["status"],
        answer=kept["answer"],
    )


class _KeyRow:
    def __init__(self, **given: Any) -> None:
        self.__dict__.update(given)
