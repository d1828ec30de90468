"""A book as lines of JSON, streamed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from persistence.statements import statement

if TYPE_CHECKING:
    from collections.abc import Iterator

    from persistence.db import Conn


@dataclass(frozen=True, slots=True, kw_only=True)
class EndRow:
    """The watermark in UTC, the first moment behind it, and the newest checkpoint."""

    sealed_through: str
    until: str
    note: str | None


LIST_TRANSACTIONS = statement("ledger_exports/list_transactions", str)
LIST_ENTRIES = statement("ledger_exports/list_entries", str)
LIST_ACCOUNTS = statement("ledger_exports/list_accounts", str)
LIST_BALANCES = statement("ledger_exports/list_balances", str)
GET_END = statement("ledger_exports/get_end", EndRow)


def list_transactions(
    conn: Conn, batch: int, *, tenant_id: str, posted_gte: str, posted_lt: str
) -> Iterator[str]:
    """Transactions by posting, `batch` a round trip."""
    return LIST_TRANSACTIONS.stream(
        conn, batch, tenant_id=tenant_id, posted_gte=posted_gte, posted_lt=posted_lt
    )


def list_entries(
    conn: Conn, batch: int, *, tenant_id: str, posted_gte: str, posted_lt: str
) -> Iterator[str]:
    """Entries, account by account."""
    return LIST_ENTRIES.stream(
        conn, batch, tenant_id=tenant_id, posted_gte=posted_gte, posted_lt=posted_lt
    )


def list_accounts(conn: Conn, batch: int, *, tenant_id: str) -> Iterator[str]:
    """Accounts by code."""
    return LIST_ACCOUNTS.stream(conn, batch, tenant_id=tenant_id)


def list_balances(conn: Conn, batch: int, *, tenant_id: str, posted_lt: str) -> Iterator[str]:
    """Balances by code, as of the moment before `posted_lt`."""
    return LIST_BALANCES.stream(conn, batch, tenant_id=tenant_id, posted_lt=posted_lt)


def get_end(conn: Conn, *, tenant_id: str) -> EndRow | None:
    """Up to where the book is final; None: nobody knows yet."""
    return GET_END.one_or_none(conn, tenant_id=tenant_id)
