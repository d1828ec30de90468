"""Refunds: money that was captured is given back, with the fee or without (P10, P12, P31)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from repos import refunds
from services import payment_refusals as refusals
from services.payment_refusals import Wish

if TYPE_CHECKING:
    from uuid import UUID

    from services.idempotency import Answer
    from services.payment_commands import Command, PaymentCommands


class Refunds:
    """The use case of refunds; several may share what was captured, never more than that."""

    def __init__(self, commands: PaymentCommands) -> None:
        self._commands = commands

    def create(
        self,
        command: Command,
        payment_id: UUID,
        *,
        amount_minor: int = 0,
        fee_minor: int = 0,
        reason: str | None = None,
        reference: str | None = None,
        currency: str | None = None,
        allow_negative: bool = False,
    ) -> Answer:
        """Give back `amount_minor`, 0: all that is left; the answer is the refund with its payment.

        `allow_negative`: the user may then owe it. Raises InvalidState, AmountExceedsRefundable,
        FeeExceedsAmount, DuplicateReference, CurrencyMismatch, VersionMismatch, NotFound, and what
        the ledger refuses: InsufficientFunds, LedgerBehind, AccountFrozen, AccountClosed.
        """
        wish = Wish(
            ledger=self._commands.settings.ledger,
            if_match=command.if_match,
            amount_minor=amount_minor,
            fee_minor=fee_minor,
            currency=currency,
            forced=allow_negative,
        )
        return self._commands.post(
            command,
            send=lambda conn, posting: refunds.create(
                conn,
                payment_id=payment_id,
                if_match=command.if_match,
                amount_minor=amount_minor,
                fee_minor=fee_minor,
                reason=reason,
                reference=reference,
                currency=currency,
                forced=allow_negative,
                refund_id=self._commands.new_id(),
                **posting,
                **self._commands.shared(command),
            ),
            explain=partial(
                self._commands.facts, command, payment_id, kind="refund", reference=reference
            ),
            refuse=lambda facts: refusals.not_refunded(facts, wish),
            status=201,
        )
