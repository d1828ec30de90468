"""The ledger's accounts: opened for payments; their balances, statements, events, closing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from persistence.statements import statement

if TYPE_CHECKING:
    from datetime import date, datetime
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


@dataclass(frozen=True, slots=True, kw_only=True)
class SumRow:
    """Accounts under one code, cut at a depth; `net_minor` is credits less debits.

    `totals` is of all that was asked for, on each row; without any account the rest is None.
    """

    totals: list[dict[str, Any]]
    final: bool
    code: str | None
    currency: str | None
    accounts: int | None
    net_minor: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosingRow:
    """Through which day nothing may be dated any more; None: never closed."""

    closed_through: date | None
    updated_at: datetime
    updated_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TransactionEventRow:
    """A transaction at its place in the log; `late`: it came behind the watermark."""

    idx: int
    late: bool
    id: UUID
    kind: str
    status: str
    reason: str | None
    reference: str | None
    hold_id: UUID | None
    reverses: UUID | None
    final: bool
    forced: bool
    posted_at: datetime
    effective_at: datetime
    expires_at: datetime | None
    legs: list[dict[str, Any]]
    released_minor: int | None
    metadata: dict[str, Any] | None
    actor: str
    request_id: str


OPEN_ACCOUNTS = statement("ledger/open_accounts")
GET_BALANCE = statement("ledger/get_balance", BalanceRow)
GET_BALANCE_AS_OF = statement("ledger/get_balance_as_of", PastBalanceRow)
GET_BALANCE_EFFECTIVE = statement("ledger/get_balance_effective", PastBalanceRow)
LIST_BALANCES = statement("ledger/list_balances", SumRow)
GET_CLOSING = statement("ledger/get_closing", ClosingRow)
SET_CLOSING = statement("ledger/set_closing", ClosingRow)
LIST_EVENTS = statement("ledger/list_events", TransactionEventRow)
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


def get_balance_effective(
    conn: Conn,
    *,
    tenant_id: str,
    code: str,
    currency: str | None,
    owner_id: str | None,
    effective_at: str,
    known_at: str,
) -> list[PastBalanceRow]:
    """As `get_balance_as_of`, by what counted at `effective_at`, as it was known at `known_at`."""
    return GET_BALANCE_EFFECTIVE.all(
        conn,
        tenant_id=tenant_id,
        code=code,
        currency=currency,
        owner_id=owner_id,
        effective_at=effective_at,
        known_at=known_at,
    )


def list_balances(
    conn: Conn,
    *,
    tenant_id: str,
    code_from: str,
    code_to: str,
    currency: str | None,
    depth: int,
    as_of: str,
    after_code: str,
    after_currency: str,
    row_limit: int,
) -> list[SumRow]:
    """Balances by code cut at `depth` segments, at `as_of` (`infinity` is now)."""
    return LIST_BALANCES.all(
        conn,
        tenant_id=tenant_id,
        code_from=code_from,
        code_to=code_to,
        currency=currency,
        depth=depth,
        as_of=as_of,
        after_code=after_code,
        after_currency=after_currency,
        row_limit=row_limit,
    )


def get_closing(conn: Conn, *, tenant_id: str) -> ClosingRow | None:
    """Through which day the book is closed."""
    return GET_CLOSING.one_or_none(conn, tenant_id=tenant_id)


def set_closing(
    conn: Conn,
    *,
    tenant_id: str,
    closed_through: str | None,
    reopen: bool,
    audit_id: UUID,
    subject: str,
) -> ClosingRow | None:
    """Close through a day (ISO 8601); None: it would move back, and `reopen` does not say so."""
    return SET_CLOSING.one_or_none(
        conn,
        tenant_id=tenant_id,
        closed_through=closed_through,
        reopen=reopen,
        audit_id=audit_id,
        subject=subject,
    )


def list_events(
    conn: Conn, *, tenant_id: str, after_idx: int, row_limit: int
) -> list[TransactionEventRow]:
    """Transactions after a place of the log, in its order."""
    return LIST_EVENTS.all(conn, tenant_id=tenant_id, after_idx=after_idx, row_limit=row_limit)
