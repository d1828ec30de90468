"""Cancelling by key, for a client that never saw its answer (K9).

What the key has made ends; what it has not made yet, it never will: its late request gets 410.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from errors import Contention, FeatureDisabled, InvalidState, VersionMismatch
from repos import idempotency as keys
from services.idempotency import FINGERPRINT_VERSION, TRIES, Claim, fingerprint
from services.payment_commands import Command
from services.payment_states import allowed_actions

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from persistence.db import Database
    from repos.idempotency import KeyRow
    from services.actors import Actor
    from services.idempotency import Idempotency
    from services.payment_queries import PaymentQueries
    from services.payments import Payments

CREATE, CANCEL = "POST /v1/payments", "POST /v1/payments/cancel-by-key"
ENDED = frozenset({"cancelled", "failed", "voided", "expired"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancelled:
    """`outcome`: tombstoned, cancelled, voided, or ended (before); `payment` is what it is now."""

    outcome: str
    payment: dict[str, Any] | None = None


class KeyCancellation:
    """Ends what a key has begun; the key's primary key decides beside its running request."""

    def __init__(
        self,
        db: Database,
        idempotency: Idempotency,
        payments: Payments,
        queries: PaymentQueries,
        *,
        key_ttl_s: int | None,
        new_id: Callable[[], UUID],
    ) -> None:
        """`key_ttl_s`: how long a tombstone stays; None: keys are not read, so it would lie."""
        self._db = db
        self._idempotency = idempotency
        self._payments = payments
        self._queries = queries
        self._key_ttl_s = key_ttl_s
        self._new_id = new_id

    def cancel(
        self, actor: Actor, request_id: str, key: str, may_void: Callable[[], None]
    ) -> Cancelled:
        """Cancel what `key` of this actor has made, or will make.

        `may_void` raises if the actor may not void. Raises InvalidState (captured, or a key of
        something else), FeatureDisabled, Contention.
        """
        for _ in range(TRIES):
            stored, _ = self._idempotency.find(actor.tenant_id, actor.subject, key)
            if stored is None:
                if self._leave_tombstone(actor, request_id, key):
                    return Cancelled(outcome="tombstoned")
                continue  # Its first request has come in between.
            if stored.kind == "cancelled":
                return Cancelled(outcome="tombstoned")
            try:
                return self._end(actor, request_id, stored, may_void)
            except VersionMismatch:
                continue  # The payment has moved on in between.
        raise Contention(headers={"Retry-After": "1"})

    def _leave_tombstone(self, actor: Actor, request_id: str, key: str) -> bool:
        if self._key_ttl_s is None:
            raise FeatureDisabled("Keys are not read here: none can be cancelled before it came.")
        with self._db.write() as conn:
            made = keys.cancel(
                conn,
                tenant_id=actor.tenant_id,
                scope=actor.subject,
                key=key,
                operation=CANCEL,
                fingerprint=fingerprint([], {"idempotency_key": key}),
                fingerprint_version=FINGERPRINT_VERSION,
                ttl_s=self._key_ttl_s,
                request_id=request_id,
            )
        return made == 1

    def _end(
        self, actor: Actor, request_id: str, stored: KeyRow, may_void: Callable[[], None]
    ) -> Cancelled:
        if stored.operation != CREATE or stored.resource_id is None:
            raise InvalidState(
                "This key has not made a payment: see operation.", operation=stored.operation
            )
        payment = self._queries.get(actor, stored.resource_id)
        command = self._command(actor, request_id, payment["version"])
        if payment["status"] in ENDED:
            return Cancelled(outcome="ended", payment=payment)
        if payment["status"] == "created":
            answer = self._payments.end(command, stored.resource_id, "cancelled")
            return Cancelled(outcome="cancelled", payment=answer.data)
        if payment["status"] == "authorized":
            may_void()
            answer = self._payments.void(command, stored.resource_id)
            return Cancelled(outcome="voided", payment=answer.data)
        raise InvalidState(
            "Its money has moved: it can be given back, not cancelled.",
            payment_status=payment["status"],
            allowed_actions=allowed_actions(payment),
            resource_id=payment["id"],
        )

    def _command(self, actor: Actor, request_id: str, version: int) -> Command:
        """Return a command on what the payment is now, under a key made for this try alone."""
        claim = Claim(
            tenant_id=actor.tenant_id,
            scope=actor.subject,
            key=f"auto-{self._new_id()}",
            operation=CANCEL,
            fingerprint=fingerprint([], {}),
            fingerprint_version=FINGERPRINT_VERSION,
            request_id=request_id,
            generated=True,
        )
        return Command(actor=actor, claim=claim, if_match=version)
