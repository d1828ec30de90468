"""A book that is written as an export says, into an empty tenant."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from persistence.statements import statement

if TYPE_CHECKING:
    from uuid import UUID

    from persistence.db import Conn

GET_BOOK = statement("ledger_restore/get_book", bool)
CREATE_ACCOUNTS = statement("ledger_restore/create_accounts")
RECORD_TRANSACTIONS = statement("ledger_restore/record_transactions", str)
RECORD_ENTRIES = statement("ledger_restore/record_entries", int)


def get_book(conn: Conn, *, tenant_id: str) -> bool:
    """Whether there are accounts or transactions."""
    return GET_BOOK.one(conn, tenant_id=tenant_id)


def create_accounts(conn: Conn, *, tenant_id: str, accounts: list[dict[str, Any]]) -> int:
    """Open accounts with empty balances; return how many balances."""
    return CREATE_ACCOUNTS.count(conn, tenant_id=tenant_id, accounts=accounts)


def record_transactions(conn: Conn, *, tenant_id: str, lines: list[dict[str, Any]]) -> list[str]:
    """Write transactions and their leaves; return the line of each as it is stored.

    `lines` are those of an export; their member `late` goes into the leaf's row.
    """
    return RECORD_TRANSACTIONS.all(conn, tenant_id=tenant_id, lines=lines)


def record_entries(conn: Conn, *, tenant_id: str, tx_ids: list[UUID]) -> int:
    """Write the entries of transactions and move balances; return how many entries."""
    return RECORD_ENTRIES.one(conn, tenant_id=tenant_id, tx_ids=tx_ids)
