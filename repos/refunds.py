"""Refunds: money that was captured and is given back, in whole or in part."""

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
class RefundRow:
    """One refund, in the currency of its payment. `fee_minor`: the part of the fee given back."""

    id: UUID
    payment_id: UUID
    reference: str | None
    amount_minor: int
    currency: str
    fee_minor: int
    reason: str | None
    status: str
    created_at: datetime


CREATE = statement("refunds/create", DoneRow)
GET = statement("refunds/get", RefundRow)
LIST_BY_PAYMENT = statement("refunds/list_by_payment", RefundRow)


def create(
    conn: Conn,
    *,
    payment_id: UUID,
    if_match: int,
    amount_minor: int,
    fee_minor: int,
    reason: str | None,
    reference: str | None,
    currency: str | None,
    forced: bool,
    refund_id: UUID,
    **command: Any,
) -> DoneRow | None:
    """Refund `amount_minor`, 0: all that is left. `forced`: the user may owe it.

    `command` is what all commands share (repos/payments.py), and of the posting: transaction_id,
    ledger, stripe.
    """
    return CREATE.one_or_none(
        conn,
        payment_id=payment_id,
        if_match=if_match,
        amount_minor=amount_minor,
        fee_minor=fee_minor,
        reason=reason,
        reference=reference,
        currency=currency,
        forced=forced,
        refund_id=refund_id,
        **command,
    )


def get(conn: Conn, *, tenant_id: str, refund_id: UUID, owner_id: str | None) -> RefundRow | None:
    """Read one refund; `owner_id` narrows the reach to that user's."""
    return GET.one_or_none(conn, tenant_id=tenant_id, refund_id=refund_id, owner_id=owner_id)


def list_by_payment(
    conn: Conn,
    *,
    tenant_id: str,
    payment_id: UUID,
    owner_id: str | None,
    before_id: UUID,
    row_limit: int,
) -> list[RefundRow]:
    """Read refunds of one payment before `before_id`, newest first."""
    return LIST_BY_PAYMENT.all(
        conn,
        tenant_id=tenant_id,
        payment_id=payment_id,
        owner_id=owner_id,
        before_id=before_id,
        row_limit=row_limit,
    )
