"""Disputes: money that the payer's bank has taken back, for now or for good."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from persistence.statements import statement
from repos.idempotency import DoneRow

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from persistence.db import Conn


@dataclass(frozen=True, slots=True, kw_only=True)
class DisputeRow:
    """One dispute, in the currency of its payment. `fee_minor`: what losing it has cost.

    `status` is open, won or lost.
    """

    id: UUID
    payment_id: UUID
    reference: str
    amount_minor: int
    currency: str
    fee_minor: int
    reason: str
    status: str
    evidence_due_at: datetime | None
    created_at: datetime
    updated_at: datetime


GET = statement("disputes/get", DisputeRow)
LIST_BY_PAYMENT = statement("disputes/list_by_payment", DisputeRow)
OPEN = statement("disputes/open", DoneRow)
RESOLVE = statement("disputes/resolve", DoneRow)


def get(conn: Conn, *, tenant_id: str, dispute_id: UUID, owner_id: str | None) -> DisputeRow | None:
    """Read one dispute; `owner_id` narrows the reach to that user's."""
    return GET.one_or_none(conn, tenant_id=tenant_id, dispute_id=dispute_id, owner_id=owner_id)


def list_by_payment(
    conn: Conn,
    *,
    tenant_id: str,
    payment_id: UUID,
    owner_id: str | None,
    before_id: UUID,
    row_limit: int,
) -> list[DisputeRow]:
    """Read disputes of one payment before `before_id`, newest first."""
    return LIST_BY_PAYMENT.all(
        conn,
        tenant_id=tenant_id,
        payment_id=payment_id,
        owner_id=owner_id,
        before_id=before_id,
        row_limit=row_limit,
    )


def open_(
    conn: Conn,
    *,
    payment_id: UUID,
    if_match: int,
    amount_minor: int,
    reason: str,
    reference: str,
    evidence_due_at: str | None,
    currency: str | None,
    dispute_id: UUID,
    **command: Any,
) -> DoneRow | None:
    """Set `amount_minor` aside, 0: all that is left.

    `command` is what all commands share (repos/payments.py), and of the posting: transaction_id,
    ledger, stripe.
    """
    return OPEN.one_or_none(
        conn,
        payment_id=payment_id,
        if_match=if_match,
        amount_minor=amount_minor,
        reason=reason,
        reference=reference,
        evidence_due_at=evidence_due_at,
        currency=currency,
        dispute_id=dispute_id,
        **command,
    )


def resolve(
    conn: Conn, *, dispute_id: UUID, if_match: int, outcome: str, fee_minor: int, **command: Any
) -> DoneRow | None:
    """End a dispute as `outcome` says, won or lost; `fee_minor` is what losing it costs."""
    return RESOLVE.one_or_none(
        conn,
        dispute_id=dispute_id,
        if_match=if_match,
        outcome=outcome,
        fee_minor=fee_minor,
        **command,
    )
