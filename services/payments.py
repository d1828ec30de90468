"""Payments: one method per command, one statement per command (payments page, sections 3 to 6).

A command is sent, and only if it changed nothing is it asked why. All times are the database's.
"""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

from errors import AppError, NotFound, ValidationFailed
from repos import payments
from services import payment_refusals as refusals
from services.payment_refusals import CapturesAtOnce, Wish

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from services.idempotency import Answer
    from services.payment_commands import Command, PaymentCommands


class Payments:
    """The use cases of payments."""

    def __init__(self, commands: PaymentCommands) -> None:
        self._commands = commands

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
        return self._commands.idempotency.run(
            command.claim,
            command.fault or _wrong_user(command, facts["user_id"]),
            send=lambda conn: payments.create(
                conn,
                payment_id=self._commands.new_id(),
                amount_minor=amount_minor,
                capture_method=capture_method,
                description=description,
                metadata=json.dumps(metadata or {}),
                duplicate_window_s=self._commands.settings.duplicate_window_s,
                **facts,
                **self._commands.shared(command),
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
        currency: str | None = None,
        capture_before: datetime | None = None,
        gateway_reference: str | None = None,
    ) -> Answer:
        """Note what the payer's bank has promised; an automatic payment is captured with it.

        Raises InvalidState, AmountExceedsAuthorizable, and as `capture`.
        """
        wish = self._wish(command, amount_minor=amount_minor, currency=currency)
        try:
            return self._commands.change(
                command,
                payment_id,
                send=lambda conn: payments.authorize(
                    conn,
                    payment_id=payment_id,
                    if_match=command.if_match,
                    amount_minor=amount_minor,
                    currency=currency,
                    capture_before=capture_before.isoformat() if capture_before else None,
                    gateway_reference=gateway_reference,
                    authorization_ttl_s=self._commands.settings.authorization_ttl_s,
                    **self._commands.shared(command),
                ),
                refuse=lambda facts: refusals.not_authorized_alone(facts, wish),
            )
        except CapturesAtOnce:
            return self._capture(command, payment_id, wish, authorize=True)

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
        wish = self._wish(
            command,
            amount_minor=amount_minor,
            fee_minor=fee_minor,
            final=final,
            currency=currency,
        )
        return self._capture(command, payment_id, wish, reference=reference)

    def void(self, command: Command, payment_id: UUID) -> Answer:
        """Give back what was authorised and not captured. Raises InvalidState, NotFound, ..."""
        return self._commands.change(
            command,
            payment_id,
            send=lambda conn: payments.void(
                conn,
                payment_id=payment_id,
                if_match=command.if_match,
                **self._commands.shared(command),
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
        return self._commands.change(
            command,
            payment_id,
            send=lambda conn: payments.end(
                conn,
                payment_id=payment_id,
                owner_id=command.owner_id,
                if_match=command.if_match,
                end_reason=end_reason,
                failure_code=failure_code,
                failure_message=failure_message,
                **self._commands.shared(command),
            ),
            refuse=lambda facts: refusals.not_ended(facts, command.if_match),
        )

    def update(self, command: Command, payment_id: UUID, patch: dict[str, Any]) -> Answer:
        """Merge `description` and `metadata` as RFC 7396 says; what is left out stays (P14).

        Raises ValidationFailed if the metadata would grow too large, VersionMismatch, NotFound.
        """
        metadata: dict[str, str | None] | None = patch.get("metadata", {})
        return self._commands.change(
            command,
            payment_id,
            send=lambda conn: payments.update(
                conn,
                payment_id=payment_id,
                owner_id=command.owner_id,
                if_match=command.if_match,
                sets_description="description" in patch,
                description=patch.get("description"),
                metadata=None if metadata is None else json.dumps(metadata),
                **self._commands.shared(command),
            ),
            refuse=lambda facts: refusals.not_updated(facts, command.if_match, metadata),
        )

    def _capture(
        self,
        command: Command,
        payment_id: UUID,
        wish: Wish,
        *,
        authorize: bool = False,
        reference: str | None = None,
    ) -> Answer:
        refuse = refusals.not_authorized_at_once if authorize else refusals.not_captured
        return self._commands.post(
            command,
            send=lambda conn, posting: payments.capture(
                conn,
                payment_id=payment_id,
                if_match=command.if_match,
                authorize=authorize,
                amount_minor=wish.amount_minor,
                fee_minor=wish.fee_minor,
                final=None if wish.final is None else str(wish.final).lower(),
                reference=reference,
                currency=wish.currency,
                capture_id=self._commands.new_id(),
                authorization_ttl_s=self._commands.settings.authorization_ttl_s,
                **posting,
                **self._commands.shared(command),
            ),
            explain=partial(
                self._commands.facts, command, payment_id, kind="capture", reference=reference
            ),
            refuse=lambda facts: refuse(facts, wish),
        )

    def _wish(self, command: Command, **asked: Any) -> Wish:
        return Wish(ledger=self._commands.settings.ledger, if_match=command.if_match, **asked)


def _wrong_user(command: Command, user_id: UUID | None) -> AppError | None:
    """Say what is wrong with who shall pay; a user may name only itself (P41)."""
    if user_id is None:
        detail = "An API key pays for nobody by itself: name a user."
        return ValidationFailed(
            errors=({"pointer": "/user_id", "code": "missing", "detail": detail},)
        )
    return NotFound() if command.actor.owner_id not in {None, user_id} else None
