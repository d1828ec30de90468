"""Payments: one method per command, one statement per command (payments page, sections 3 to 6).

A command is sent, and only if it changed nothing is it asked why. All times are the database's.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from errors import AppError, ValidationFailed
from repos import ledger as accounts
from repos import payments
from services import payment_refusals as refusals
from services.payment_refusals import (
    AccountsMissing,
    CapturesAtOnce,
    CaptureWish,
    account_codes,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from uuid import UUID

    from persistence.db import Conn, Database
    from repos.idempotency import DoneRow
    from repos.payments import CommandFacts
    from services.actors import Actor
    from services.idempotency import Answer, Claim, Idempotency
    from services.payment_queries import PaymentQueries

# House accounts take part in every posting; so many writers do not queue for one row.
HOUSE_STRIPES = 16
# Nobody but this client knows a key that the server made; it is kept for a day (K3).
GENERATED_KEY_TTL_S = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentSettings:
    """Lives of things, in seconds, and whether payments post to the ledger."""

    ledger: bool
    key_ttl_s: int
    authorization_ttl_s: int
    duplicate_window_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """Who asks, under which key, if the payment is still at `if_match` (0: whatever it is).

    `fault` is what is wrong with the body: raised once the key is known to be new (K1).
    """

    actor: Actor
    claim: Claim
    if_match: int = 0
    fault: AppError | None = None


class Payments:
    """The use cases of payments."""

    def __init__(
        self,
        db: Database,
        idempotency: Idempotency,
        queries: PaymentQueries,
        settings: PaymentSettings,
        *,
        new_id: Callable[[], UUID],
        stripe: Callable[[], int],
    ) -> None:
        """`new_id` makes UUIDs of version 7; `stripe` tells which row of a hot account to use."""
        self._db = db
        self._idempotency = idempotency
        self._queries = queries
        self._settings = settings
        self._new_id = new_id
        self._stripe = stripe

    # --- Commands -------------------------------------------------------------------------------

    def create(
        self,
        command: Command,
        *,
        user_id: UUID | None = None,
        amount_minor: int = 0,
        currency: str = "",
        capture_method: str = "manual",
        reference: str | None = None,
        description: str | None = None,
        metadata: dict[str, str] | None = None,
    ) -> Answer:
        """Promise a payment. Raises UserNotFound, CurrencyUnsupported, DuplicateReference."""
        facts: dict[str, Any] = {
            "user_id": user_id or command.actor.owner_id,
            "currency": currency,
            "reference": reference,
        }
        tenant_id = command.claim.tenant_id
        return self._idempotency.run(
            command.claim,
            command.fault or (None if facts["user_id"] else _no_user()),
            send=lambda conn: payments.create(
                conn,
                payment_id=self._new_id(),
                amount_minor=amount_minor,
                capture_method=capture_method,
                description=description,
                metadata=json.dumps(metadata or {}),
                duplicate_window_s=self._settings.duplicate_window_s,
                **facts,
                **self._shared(command),
            ),
            explain=lambda conn: payments.explain_create(conn, tenant_id=tenant_id, **facts),
            refuse=refusals.not_created,
            status=201,
        )

    def authorize(
        self,
        command: Command,
        payment_id: UUID,
        *,
        amount_minor: int = 0,
        capture_before: datetime | None = None,
        gateway_reference: str | None = None,
    ) -> Answer:
        """Note what the payer's bank has promised; an automatic payment is captured with it.

        Raises InvalidState, AmountExceedsAuthorizable, and as `capture`.
        """
        try:
            return self._run(
                command,
                payment_id,
                send=lambda conn: payments.authorize(
                    conn,
                    payment_id=payment_id,
                    if_match=command.if_match,
                    amount_minor=amount_minor,
                    capture_before=capture_before.isoformat() if capture_before else None,
                    gateway_reference=gateway_reference,
                    authorization_ttl_s=self._settings.authorization_ttl_s,
                    **self._shared(command),
                ),
                refuse=lambda facts: refusals.not_authorized_alone(
                    facts, command.if_match, amount_minor
                ),
            )
        except CapturesAtOnce:
            return self._capture(command, payment_id, self._wish(amount_minor), authorize=True)

    def capture(
        self,
        command: Command,
        payment_id: UUID,
        *,
        amount_minor: int = 0,
        fee_minor: int = 0,
        final: bool | None = None,
        reference: str | None = None,
        currency: str | None = None,
    ) -> Answer:
        """Take money that was authorised, 0: all that is left; of a created payment: a sale.

        Raises InvalidState, PaymentExpired, AmountExceedsCapturable, FeeExceedsAmount,
        DuplicateReference, CurrencyMismatch, VersionMismatch, NotFound, and what the ledger
        refuses: LedgerBehind, AccountFrozen, AccountClosed, AmountOverflow, CeilingExceeded.
        """
        wish = self._wish(amount_minor, fee_minor, final, currency)
        return self._capture(command, payment_id, wish, reference=reference)

    def void(self, command: Command, payment_id: UUID) -> Answer:
        """Give back what was authorised and not captured. Raises InvalidState, NotFound, ..."""
        return self._run(
            command,
            payment_id,
            send=lambda conn: payments.void(
                conn, payment_id=payment_id, if_match=command.if_match, **self._shared(command)
            ),
            refuse=lambda facts: refusals.not_voided(facts, command.if_match),
        )

    def end(
        self,
        command: Command,
        payment_id: UUID,
        end_reason: str,
        *,
        failure_code: str | None = None,
        failure_message: str | None = None,
    ) -> Answer:
        """Cancel or fail a payment that was not authorised. Raises InvalidState, NotFound, ..."""
        return self._run(
            command,
            payment_id,
            send=lambda conn: payments.end(
                conn,
                payment_id=payment_id,
                if_match=command.if_match,
                end_reason=end_reason,
                failure_code=failure_code,
                failure_message=failure_message,
                **self._shared(command),
            ),
            refuse=lambda facts: refusals.not_ended(facts, command.if_match),
        )

    # --- How a command runs ---------------------------------------------------------------------

    def _capture(
        self,
        command: Command,
        payment_id: UUID,
        wish: CaptureWish,
        *,
        authorize: bool = False,
        reference: str | None = None,
    ) -> Answer:
        stripe = self._stripe()
        refuse = refusals.not_authorized_at_once if authorize else refusals.not_captured
        run = partial(
            self._run,
            command,
            payment_id,
            send=lambda conn: payments.capture(
                conn,
                payment_id=payment_id,
                if_match=command.if_match,
                authorize=authorize,
                amount_minor=wish.amount_minor,
                fee_minor=wish.fee_minor,
                final=None if wish.final is None else str(wish.final).lower(),
                reference=reference,
                currency=wish.currency,
                capture_id=self._new_id(),
                transaction_id=self._new_id(),
                ledger=wish.ledger,
                stripe=stripe,
                authorization_ttl_s=self._settings.authorization_ttl_s,
                **self._shared(command),
            ),
            refuse=lambda facts: refuse(facts, command.if_match, wish),
            reference=reference,
            stripe=stripe,
        )
        try:
            return run()
        except AccountsMissing:
            self._open_accounts(command, payment_id)
            return run()

    def _run(
        self,
        command: Command,
        payment_id: UUID,
        *,
        send: Callable[[Conn], DoneRow | None],
        refuse: Callable[[CommandFacts], AppError | None],
        reference: str | None = None,
        stripe: int = 0,
    ) -> Answer:
        return self._idempotency.run(
            command.claim,
            command.fault,
            send=send,
            explain=lambda conn: payments.explain(
                conn,
                tenant_id=command.claim.tenant_id,
                payment_id=payment_id,
                reference=reference,
                ledger=self._settings.ledger,
                stripe=stripe,
            ),
            refuse=refuse,
            status=200,
        )

    def _shared(self, command: Command) -> dict[str, Any]:
        """Return the parameters that every command's statement has."""
        claim = command.claim
        return {
            "tenant_id": claim.tenant_id,
            "scope": claim.scope,
            "key": claim.key,
            "operation": claim.operation,
            "fingerprint": claim.fingerprint,
            "fingerprint_version": claim.fingerprint_version,
            "ttl_s": GENERATED_KEY_TTL_S if claim.generated else self._settings.key_ttl_s,
            "actor": command.actor.subject,
            "request_id": claim.request_id,
        }

    def _wish(
        self,
        amount_minor: int,
        fee_minor: int = 0,
        final: bool | None = None,
        currency: str | None = None,
    ) -> CaptureWish:
        return CaptureWish(
            amount_minor=amount_minor,
            fee_minor=fee_minor,
            final=final,
            currency=currency,
            ledger=self._settings.ledger,
        )

    def _open_accounts(self, command: Command, payment_id: UUID) -> None:
        payment = self._queries.get(command.actor, payment_id)
        available, clearing, fees = account_codes(payment["user_id"], payment["gateway"])
        with self._db.write() as conn:
            accounts.open_accounts(
                conn,
                tenant_id=command.claim.tenant_id,
                currency=payment["currency"],
                user_id=payment["user_id"],
                available=available,
                clearing=clearing,
                fees=fees,
                house_stripes=HOUSE_STRIPES,
            )


def _no_user() -> AppError:
    detail = "An API key pays for nobody by itself: name a user."
    return ValidationFailed(errors=({"pointer": "/user_id", "code": "missing", "detail": detail},))
