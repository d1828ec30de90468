"""The services as everybody knows them, each call by the path that the phase says (D5, D8, MF3).

Where legacy decides, a command is rehearsed: its own SQL runs over legacy's row in a transaction
that is rolled back. So the rules of payments stand in one place only; what they decided is then
written to legacy by an intent.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from threading import local
from typing import TYPE_CHECKING, Any, Self
from uuid import UUID

from uuid_utils.compat import uuid7

from errors import DuplicateReference, IdempotencyInProgress, NotFound
from legacy.apply import apply
from legacy.intents import Intents, Write
from legacy.links import NEW_READS, NoLink
from legacy.merging import NotApplied
from legacy.mirror import store_terms
from legacy.refusals import DomainFollowsLegacy, LegacyDown
from legacy.rows import migration_intents, mirrored_payments, mirrored_users, phases
from legacy.store import LegacyUnavailable, RowRejected, StoreRow
from repos import idempotency as keys
from services.idempotency import Answer, Idempotency, IdempotencySettings, replay
from services.payment_commands import GENERATED_KEY_TTL_S, PaymentCommands
from services.rate_limits import FREE
from services.stripes import thread_stripe

if TYPE_CHECKING:
    from collections.abc import Callable

    from legacy.mirror import Mirror, Scope
    from legacy.rows.phases import StateRow
    from persistence.db import Conn, Database
    from services import Services
    from services.idempotency import Claim
    from services.payment_commands import Command, PaymentSettings

AGAIN = {"Retry-After": "1"}


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
        mirror: Mirror,
        intents: Intents,
        held: Services,
        settings: PaymentSettings,
    ) -> None:
        self._db = db
        self._mirror = mirror
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
        state = self._state(command.claim.tenant_id)
        if state is None:
            try:
                return straight(command, *args, **given)
            except DomainFollowsLegacy:
                state = self._state(command.claim.tenant_id)
                if state is None:
                    raise
        try:
            scope = self._mirror.scope(state)
            if scope.link.writers == "legacy":
                raise DomainFollowsLegacy  # D30.
            rehearse = partial(self._rehearsed, scope, make, name, command, args, given)
            return self._by_intent(scope, resource_type, command, rehearse)
        except (LegacyUnavailable, NoLink) as error:
            raise LegacyDown(headers=AGAIN) from error

    def _state(self, tenant_id: str) -> StateRow | None:
        """Return where payments stand if legacy decides about them, else None (D8)."""
        return truth_in_legacy(self._db, tenant_id, "payments")

    # --- The other path -------------------------------------------------------------------------

    def _by_intent(
        self,
        scope: Scope,
        resource_type: str,
        command: Command,
        rehearse: Callable[[], tuple[Answer, Write]],
    ) -> Answer:
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
            payer = self._user_key(scope, given.get("user_id") or command.actor.owner_id)
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
                raise _RolledBack(answer, row)  # noqa: TRY301 - nothing of this is to stay.
        except _RolledBack as done:
            return done.answer, _write(name, legacy_id, before, done.row)
        except NotApplied as error:
            raise DomainFollowsLegacy(f"This row cannot be taken over: {error.code}.") from error
        except _Aborted as error:
            raise DuplicateReference from error

    def _commands(self, conn: Conn, new_id: Callable[[], UUID]) -> PaymentCommands:
        db: Any = _RehearsalDb(conn)
        held = self._held
        once = Idempotency(db, held.kv, held.rate_limits, IdempotencySettings(), b"rehearsal")
        return PaymentCommands(db, once, self._settings, new_id=new_id, stripe=thread_stripe)

    def _payment(self, scope: Scope, payment_id: UUID) -> StoreRow:
        """Return legacy's row of a payment of ours. NotFound."""
        with self._db.read() as conn:
            rows = mirrored_payments.read(
                conn, tenant_id=scope.state.tenant_id, legacy_ids=[], payment_ids=[payment_id]
            )
        return _of_legacy(scope, payment_id, rows)

    def _user_key(self, scope: Scope, user_id: Any) -> str | None:
        """Return the legacy id of a user of ours; None: there is no such user."""
        if user_id is None:
            return None
        with self._db.read() as conn:
            rows = mirrored_users.read(
                conn,
                tenant_id=scope.state.tenant_id,
                legacy_ids=[],
                user_ids=[UUID(str(user_id))],
            )
        if rows and rows[0].legacy_id is not None:
            return rows[0].legacy_id
        users = self._users(scope)
        if users is None:
            return None
        try:
            return _of_legacy(users, UUID(str(user_id)), rows).id
        except NotFound:
            return None

    def _user(self, scope: Scope, legacy_id: str | None) -> tuple[Scope, StoreRow] | None:
        """Return the payer as legacy has it, if legacy decides about users too."""
        users = self._users(scope)
        if users is None or legacy_id is None:
            return None
        row = users.link.store.get_many([legacy_id]).get(legacy_id)
        return None if row is None else (users, row)

    def _users(self, scope: Scope) -> Scope | None:
        state = truth_in_legacy(self._db, scope.state.tenant_id, "users")
        return None if state is None else self._mirror.scope(state)


def truth_in_legacy(db: Database, tenant_id: str, domain: str) -> StateRow | None:
    """Return where a domain stands if legacy decides about it, else None (D8)."""
    with db.read() as conn:
        state = phases.get(conn, tenant_id=tenant_id, domain=domain)
    if state is None or state.finished_at is not None or state.phase >= NEW_READS:
        return None
    return state


def _of_legacy(scope: Scope, our_id: UUID, rows: list[Any]) -> StoreRow:
    """Return legacy's row of this id of ours; `rows`: what new has of it. NotFound."""
    store = scope.link.store
    try:
        known = rows[0].legacy_id if rows else str(our_id)
        found = store.get_many([known]).get(known) or store.find("id", str(our_id))
    except RowRejected as error:
        raise DomainFollowsLegacy(f"This row breaks a rule: {error.code}.") from error
    if found is None or found.deleted:
        raise NotFound
    return found


def _new_ids(scope: Scope) -> tuple[str, UUID]:
    """Return the legacy id of a row to be made, and ours (D26)."""
    if not scope.link.store.capabilities.ids:
        made = uuid7()
        return str(made), made
    (legacy_id,) = scope.link.store.allocate_ids(1)
    return legacy_id, UUID(scope.link.compare.our_id(legacy_id))


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


class _RolledBack(Exception):
    def __init__(self, answer: Answer, row: Any) -> None:
        self.answer = answer
        self.row = row
        super().__init__("rehearsed")


class _Aborted(Exception):
    pass


class _RehearsalDb:
    """A database whose every handle is the rehearsal's transaction."""

    def __init__(self, conn: Conn) -> None:
        self._conn = conn

    def read(self) -> _Borrowed:
        """Lend the transaction."""
        return _Borrowed(self._conn)

    write = transaction = read


class _Borrowed:
    def __init__(self, conn: Conn) -> None:
        self._conn = conn

    def __enter__(self) -> Conn:
        return self._conn

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, DuplicateReference):
            raise _Aborted from error  # The transaction is over: nobody can ask it why.


# --- Logging in ---------------------------------------------------------------------------------

_now = local()


class keeps_hash:  # noqa: N801 - used as a with block.
    """While legacy decides about users a log-in stores no better hash (D40)."""

    def __enter__(self) -> Self:
        _now.keeps_hash = True
        return self

    def __exit__(self, *_: object) -> None:
        _now.keeps_hash = False


def without_upgrade(verify: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap Passwords.verify, so that it proposes no new hash where that could not be stored."""

    def verified(stored: str | None, password: str) -> Any:
        found = verify(stored, password)
        return replace(found, new_hash=None) if getattr(_now, "keeps_hash", False) else found

    return verified


class DualSignIn:
    """Log-in while legacy decides: its row is applied first, and nothing is rehashed (D15)."""

    def __init__(self, inner: Any, db: Database, mirror: Mirror) -> None:
        self._inner = inner
        self._db = db
        self._mirror = mirror

    def __getattr__(self, name: str) -> Any:
        """Return what is not wrapped."""
        return getattr(self._inner, name)

    def log_in(self, tenant_id: str, ask: Any, caller: Any) -> Any:
        """As SignIn.log_in; LegacyDown."""
        state = truth_in_legacy(self._db, tenant_id, "users")
        if state is None:
            return self._inner.log_in(tenant_id, ask, caller)
        self._apply(state, ask.email)
        with keeps_hash():
            return self._inner.log_in(tenant_id, ask, caller)

    def reauthenticate(self, tenant_id: str, *args: Any) -> Any:
        """As SignIn.reauthenticate."""
        if truth_in_legacy(self._db, tenant_id, "users") is None:
            return self._inner.reauthenticate(tenant_id, *args)
        with keeps_hash():
            return self._inner.reauthenticate(tenant_id, *args)

    def _apply(self, state: StateRow, email: str) -> None:
        try:
            scope = self._mirror.scope(state)
            found = scope.link.store.find("email", email)
        except (LegacyUnavailable, NoLink) as error:
            raise LegacyDown(headers=AGAIN) from error
        except RowRejected:
            return
        if found is None:
            return
        try:
            with self._db.transaction() as conn:
                phases.begin_mirror(conn)
                apply(conn, scope.target, found.id, found)
        except NotApplied:
            return  # Whoever new knows by this address may log in; the mirror says what is wrong.
