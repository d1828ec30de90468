"""Disputes: the payer's bank takes money back, for now or for good; it does not ask (section 5)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from repos import disputes
from services import payment_refusals as refusals
from services.payment_refusals import Wish

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from persistence.db import Conn
    from repos.disputes import DisputeRow
    from repos.payments import CommandFacts
    from services.idempotency import Answer
    from services.payment_commands import Command, PaymentCommands


class Disputes:
    """The use cases of disputes."""

    def __init__(self, commands: PaymentCommands) -> None:
        self._commands = commands

    def open(
        self,
        command: Command,
        payment_id: UUID,
        *,
        reason: str = "",
        reference: str = "",
        amount_minor: int = 0,
        evidence_due_at: datetime | None = None,
        currency: str | None = None,
    ) -> Answer:
        """Set `amount_minor` aside, 0: all that is left; the answer is the dispute.

        Raises InvalidState, AmountExceedsRefundable, DuplicateReference, CurrencyMismatch,
        VersionMismatch, NotFound, LedgerBehind, AccountFrozen, AccountClosed.
        """
        wish = Wish(
            ledger=self._commands.settings.ledger,
            if_match=command.if_match,
            amount_minor=amount_minor,
            currency=currency,
        )
        return self._commands.post(
            command,
            send=lambda conn, posting: disputes.open_(
                conn,
                payment_id=payment_id,
                if_match=command.if_match,
                amount_minor=amount_minor,
                reason=reason,
                reference=reference,
                evidence_due_at=evidence_due_at.isoformat() if evidence_due_at else None,
                currency=currency,
                dispute_id=self._commands.new_id(),
                **posting,
                **self._commands.shared(command),
            ),
            explain=partial(
                self._commands.facts, command, payment_id, kind="dispute", reference=reference
            ),
            refuse=lambda facts: refusals.not_disputed(facts, wish),
            status=201,
        )

    def resolve(
        self, command: Command, dispute_id: UUID, *, outcome: str = "", fee_minor: int = 0
    ) -> Answer:
        """End a dispute, won or lost; a lost one may be won later. `fee_minor`: what losing costs.

        Raises InvalidState, AmountOverflow, ValidationFailed, VersionMismatch, NotFound, and what
        the ledger refuses.
        """
        wish = Wish(
            ledger=self._commands.settings.ledger, if_match=command.if_match, fee_minor=fee_minor
        )

        def explain(conn: Conn, stripe: int) -> tuple[DisputeRow, CommandFacts] | None:
            dispute = disputes.get(
                conn,
                tenant_id=command.claim.tenant_id,
                dispute_id=dispute_id,
                owner_id=command.owner_id,
            )
            if dispute is None:
                return None
            return dispute, self._commands.facts(command, dispute.payment_id, conn, stripe)

        return self._commands.post(
            command,
            send=lambda conn, posting: disputes.resolve(
                conn,
                dispute_id=dispute_id,
                if_match=command.if_match,
                outcome=outcome,
                fee_minor=fee_minor,
                **posting,
                **self._commands.shared(command),
            ),
            explain=explain,
            refuse=lambda facts: refusals.not_resolved(facts, outcome, wish),
        )
