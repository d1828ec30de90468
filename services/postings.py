"""Postings: one at a time, by the client's id or under an idempotency key (LP1 to LP14).

A posting of one leg has a statement of its own; whatever that cannot do, and all other kinds, are
decided by a function in the database. Both are one round trip and one commit.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from errors import AppError, DuplicateReference
from repos import postings
from repos.idempotency import DoneRow
from services.idempotency import Answer
from services.ledger_writes import TRIES
from services.posting_refusals import refusal, shape_fault
from services.posting_requests import json_text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    from persistence.db import Conn, Database
    from repos.postings import ResultRow, TransferRow
    from services.actors import Actor
    from services.idempotency import Claim, Idempotency
    from services.ledger_writes import LedgerWrites
    from services.posting_requests import Posting

CREATED, EXISTING = 201, 200
# Nobody but this client knows a key that the server made; it is kept for a day (K3).
GENERATED_KEY_TTL_S = 86_400
# What a transaction without a key sends in the key's place.
NO_CLAIM: dict[str, Any] = {
    "scope": "",
    "key": None,
    "operation": "",
    "fingerprint": b"",
    "fingerprint_version": 0,
    "ttl_s": 0,
    "answer": "{}",
}

# What an answer repeats from the transaction itself.
STORED = (
    "final",
    "posted_at",
    "effective_at",
    "expires_at",
    "legs",
    "released_minor",
    "actor",
    "request_id",
    "balances",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PostingSettings:
    """Limits, and lives of things in seconds."""

    legs_max: int
    hold_default_s: int
    hold_max_s: int
    key_ttl_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """Who asks, and how. Without a `claim` the posting's id decides, or it is a dry run.

    `fault` is what is wrong with the body: raised once the key is known to be new (K1).
    """

    actor: Actor
    request_id: str
    claim: Claim | None = None
    fault: AppError | None = None
    dry_run: bool = False


@dataclass(slots=True, kw_only=True)
class Attempt:
    """A posting on its way: what it is sent as, and what the last call has answered."""

    order: Order
    posting: Posting
    id: UUID
    base: dict[str, Any]
    request: dict[str, Any]
    is_transfer: bool
    result: ResultRow | None = field(default=None)


class Postings:
    """Use cases of postings, holds and reversals, one at a time."""

    def __init__(
        self,
        db: Database,
        writes: LedgerWrites,
        idempotency: Idempotency,
        settings: PostingSettings,
    ) -> None:
        self._db = db
        self._writes = writes
        self._idempotency = idempotency
        self._settings = settings

    def post(self, order: Order, posting: Posting | None) -> Answer:
        """Post it, or repeat what became of it; None goes with a fault.

        201 is new, 200 the stored outcome of an id, or of a dry run. Raises what the ledger page
        lists in section 9; a stored refusal of an id is raised again, with Idempotent-Replayed.
        """
        if posting is None:
            return self._with_fault(order)
        fault = shape_fault(posting, self._settings.legs_max, self._settings.hold_max_s)
        if fault is not None and order.claim is None:
            raise fault
        attempt = self._attempt(order, posting)
        if order.claim is None:
            return self._by_id(attempt)
        return self._idempotency.run(
            order.claim,
            fault,
            send=lambda conn: self._send(conn, attempt),
            explain=lambda _: attempt,
            refuse=self._refuse,
            status=CREATED,
            tries=TRIES,
        )

    # --- By id ----------------------------------------------------------------------------------

    def _by_id(self, attempt: Attempt) -> Answer:
        if attempt.is_transfer:
            row = self._transfer(attempt)
            if row is not None:
                return _made(attempt, row.facts)
        (result,) = self._writes.decide(attempt.order.actor.tenant_id, attempt.request)
        if result.outcome == "existing":
            return self._repeated(attempt, result)
        if result.outcome != "created":
            raise _refused(attempt, result)
        return _made(attempt, result.facts)

    def _repeated(self, attempt: Attempt, result: ResultRow) -> Answer:
        """Return what became of an id, by the code that shows it first."""
        if result.code is not None:
            error = _refused(attempt, result)
            error.headers["Idempotent-Replayed"] = "true"
            raise error
        tenant_id = attempt.order.actor.tenant_id
        with self._db.read() as conn:
            row = postings.get(conn, tenant_id=tenant_id, transaction_id=attempt.id)
        stored = {name: getattr(row, name) for name in STORED}
        return Answer(status=EXISTING, data={**attempt.base, **stored}, replayed=True)

    def _transfer(self, attempt: Attempt) -> TransferRow | None:
        try:
            with self._db.write() as conn:
                return self._send_transfer(conn, attempt)
        except DuplicateReference:
            return None

    # --- Under a key ----------------------------------------------------------------------------

    def _with_fault(self, order: Order) -> Answer:
        if order.fault is None or order.claim is None:
            raise order.fault or RuntimeError("Bug: neither a posting nor a fault")
        return self._idempotency.run(
            order.claim,
            order.fault,
            send=lambda _: None,
            explain=lambda _: None,
            refuse=lambda _: None,
            status=CREATED,
        )

    def _send(self, conn: Conn, attempt: Attempt) -> DoneRow | None:
        """Send it as a transfer first, if it is one; no row has no reason yet, so it goes on."""
        if attempt.is_transfer:
            attempt.is_transfer = False
            row = self._send_transfer(conn, attempt)
            return None if row is None else _done(attempt, row)
        tenant_id = attempt.order.actor.tenant_id
        (result,) = postings.record(conn, tenant_id=tenant_id, request=json_text(attempt.request))
        attempt.result = result
        return _done(attempt, result) if result.outcome == "created" else None

    def _refuse(self, attempt: Attempt) -> AppError | None:
        """Name the reason, or make it ready to be sent again."""
        result, attempt.result = attempt.result, None
        if result is None or result.outcome == "used":
            return None
        tenant_id = attempt.order.actor.tenant_id
        if self._writes.is_unfinished(tenant_id, attempt.request, [result]):
            return None
        return _refused(attempt, result)

    # --- Parts ----------------------------------------------------------------------------------

    def _attempt(self, order: Order, posting: Posting) -> Attempt:
        tx_id = posting.id or self._writes.new_id()
        if posting.kind == "hold" and posting.expires_in_s is None:
            posting = replace(posting, expires_in_s=self._settings.hold_default_s)
        request = self._writes.request([(posting, tx_id)], order.actor.subject, order.request_id)
        base = _base(order, posting, tx_id)
        request["detail"] = True
        if order.dry_run:
            request["dry_run"] = True
        if order.claim is not None:
            request["key"] = {**self._claimed(order.claim), "answer": base}
        return Attempt(
            order=order,
            posting=posting,
            id=tx_id,
            base=base,
            request=request,
            is_transfer=_is_transfer(posting) and not order.dry_run,
        )

    def _claimed(self, claim: Claim) -> dict[str, Any]:
        return {
            "scope": claim.scope,
            "key": claim.key,
            "operation": claim.operation,
            "fingerprint": "\\x" + claim.fingerprint.hex(),
            "fingerprint_version": claim.fingerprint_version,
            "ttl_s": GENERATED_KEY_TTL_S if claim.generated else self._settings.key_ttl_s,
        }

    def _send_transfer(self, conn: Conn, attempt: Attempt) -> TransferRow | None:
        order, posting, claim = attempt.order, attempt.posting, attempt.order.claim
        (leg,) = posting.legs
        claimed = NO_CLAIM
        if claim is not None:
            claimed = {
                **self._claimed(claim),
                "fingerprint": claim.fingerprint,
                "answer": json_text(attempt.base),
            }
        return postings.transfer(
            conn,
            tenant_id=order.actor.tenant_id,
            id=attempt.id,
            kind=posting.kind,
            debit=leg.debit,
            credit=leg.credit,
            currency=leg.currency,
            amount_minor=leg.amount_minor,
            stripe=attempt.request["stripe"],
            reference=posting.reference,
            metadata=json_text(dict(posting.metadata)) if posting.metadata else None,
            metadata_hash=posting.metadata_hash,
            request_hash=posting.request_hash,
            actor=order.actor.subject,
            request_id=order.request_id,
            **claimed,
        )


def _base(order: Order, posting: Posting, tx_id: UUID) -> dict[str, Any]:
    """Return what of the answer is known before the database is asked, as JSON takes it."""
    hold_id = tx_id if posting.kind == "hold" else posting.hold_id
    return {
        "id": str(tx_id),
        "kind": posting.kind,
        "status": "applied",
        "reason": None,
        "reference": posting.reference,
        "hold_id": hold_id and str(hold_id),
        "reverses": posting.reverses and str(posting.reverses),
        "final": True,
        "forced": False,
        "legs": [
            {
                "debit": leg.debit,
                "credit": leg.credit,
                "amount_minor": leg.amount_minor,
                "currency": leg.currency,
            }
            for leg in posting.legs
        ],
        "released_minor": None,
        "metadata": dict(posting.metadata or {}),
        "actor": order.actor.subject,
        "request_id": order.request_id,
        "dry_run": order.dry_run,
    }


def _is_transfer(posting: Posting) -> bool:
    is_plain = posting.kind in {"post", "adjust"} and len(posting.legs) == 1
    return is_plain and posting.effective_at is None and not posting.expect


def _made(attempt: Attempt, facts: Mapping[str, Any]) -> Answer:
    status = EXISTING if attempt.order.dry_run else CREATED
    return Answer(status=status, data={**attempt.base, **facts}, replayed=False)


def _done(attempt: Attempt, row: ResultRow | TransferRow) -> DoneRow:
    if row.expires_at is None:
        raise RuntimeError("Bug: a posting under a key that was not claimed")
    return DoneRow(answer={**attempt.base, **row.facts}, expires_at=row.expires_at)


def _refused(attempt: Attempt, result: ResultRow) -> AppError:
    if result.code is None:
        raise RuntimeError(f"Bug: {result.outcome} without a code")
    return refusal(result.code, result.pointer, result.facts, attempt.order.actor.scopes)
