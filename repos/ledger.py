"""The ledger's accounts: opened for payments, read over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING

from persistence.statements import statement

if TYPE_CHECKING:
    from uuid import UUID

    from persistence.db import Conn

OPEN_ACCOUNTS = statement("ledger/open_accounts")


def open_accounts(
    conn: Conn,
    *,
    tenant_id: str,
    currency: str,
    user_id: UUID,
    available: str,
    clearing: str,
    fees: str,
    house_stripes: int,
) -> int:
    """Open what a payment needs and is missing; returns how many balance rows were made."""
    return OPEN_ACCOUNTS.count(
        conn,
        tenant_id=tenant_id,
        currency=currency,
        user_id=user_id,
        available=available,
        clearing=clearing,
        fees=fees,
        house_stripes=house_stripes,
    )
