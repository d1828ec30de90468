"""The ledger's accounts: opened for payments, read over HTTP."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from persistence.statements import statement

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from persistence.db import Conn


@dataclass(frozen=True, slots=True, kw_only=True)
class BalanceRow:
    """An account as it is now, over all its stripes; `version` counts its entries."""

    currency: str
    posted_minor: int
    available_minor: int
    reachable_minor: int
    debits_posted_minor: int
    credits_posted_minor: int
    debits_pending_minor: int
    credits_pending_minor: int
    version: int
    as_of: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PastBalanceRow:
    """An account as it was; `final`: no entry can appear any more at or before that moment."""

    currency: str
    posted_minor: int
    version: int
    final: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryRow:
    """An entry of a statement, or the account alone: `tx_id` and what follows it is None.

    `matches` is how many accounts the code has (then there are no entries unless it is 1),
    `start_minor` the balance where the page begins. `is_edge`: the page looked no further.
    """

    matches: int
    currency: str
    start_minor: int
    final: bool
    is_shown: bool
    is_edge: bool
    posted_at: datetime | None
    effective_at: datetime | None
    version: int | None
    stripe: int | None
    tx_id: UUID | None
    leg: int | None
    kind: str | None
    side: int | None
    posted_minor: int | None
    pending_minor: int | None
    balance_after_minor: int | None
    balance_before_minor: int | None
    counterparty: str | None
    reference: str | None


OPEN_ACCOUNTS = statement("ledger/open_accounts")
GET_BALANCE = statement("ledger/get_balance", BalanceRow)
GET_BALANCE_AS_OF = statement("ledger/get_balance_as_of", PastBalanceRow)
LIST_ENTRIES = statement("ledger/list_entries", EntryRow)
LIST_ENTRIES_BACKWARDS = statement("ledger/list_entries_backwards", EntryRow)


def open_accounts(
    conn: Conn,
    *,
    tenant_id: str,
    currency: str,
    user_id: UUID,
    codes: list[str],
    house_stripes: int,
) -> int:
    """Open those of a payment's accounts that are missing; how many balance rows were made."""
    return OPEN_ACCOUNTS.count(
        conn,
        tenant_id=tenant_id,
        currency=currency,
        user_id=user_id,
        codes=codes,
        house_stripes=house_stripes,
    )


def get_balance(
    conn: Conn, *, tenant_id: str, code: str, currency: str | None, owner_id: str | None
) -> list[BalanceRow]:
    """Balances of the code's accounts: one, none, or two to say that there are several."""
    return GET_BALANCE.all(
        conn, tenant_id=tenant_id, code=code, currency=currency, owner_id=owner_id
    )


def get_balance_as_of(
    conn: Conn, *, tenant_id: str, code: str, currency: str | None, owner_id: str | None, as_of: str
) -> list[PastBalanceRow]:
    """As `get_balance`, at the moment `as_of` (ISO 8601 with offset)."""
    return GET_BALANCE_AS_OF.all(
        conn, tenant_id=tenant_id, code=code, currency=currency, owner_id=owner_id, as_of=as_of
    )


def list_entries(
    conn: Conn,
    *,
    tenant_id: str,
    code: str,
    currency: str | None,
    owner_id: str | None,
    side: int,
    start_at: str,
    start_version: int,
    start_stripe: int,
    end_at: str,
    scan_rows: int,
    row_limit: int,
) -> list[EntryRow]:
    """Entries after (start_at, start_version, start_stripe) and before end_at, oldest first."""
    return LIST_ENTRIES.all(
        conn,
        tenant_id=tenant_id,
        code=code,
        currency=currency,
        owner_id=owner_id,
        side=side,
        start_at=start_at,
        start_version=start_version,
        start_stripe=start_stripe,
        end_at=end_at,
        scan_rows=scan_rows,
        row_limit=row_limit,
    )


def list_entries_backwards(
    conn: Conn,
    *,
    tenant_id: str,
    code: str,
    currency: str | None,
    owner_id: str | None,
    side: int,
    start_at: str,
    start_version: int,
    start_stripe: int,
    end_at: str,
    scan_rows: int,
    row_limit: int,
) -> list[EntryRow]:
    """Entries before (start_at, start_version, start_stripe) down to end_at, newest first."""
    return LIST_ENTRIES_BACKWARDS.all(
        conn,
        tenant_id=tenant_id,
        code=code,
        currency=currency,
        owner_id=owner_id,
        side=side,
        start_at=start_at,
        start_version=start_version,
        start_stripe=start_stripe,
        end_at=end_at,
        scan_rows=scan_rows,
        row_limit=row_limit,
    )
