"""What replay-ledger changes: projections only, under locks, each change with its audit row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from persistence.statements import statement

if TYPE_CHECKING:
    from uuid import UUID

    from persistence.db import Conn


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldRow:
    """The two accounts of a hold."""

    debit_account: int
    credit_account: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeRow:
    """A balance that was made anew; `is_frozen`: or nothing tells what its limits were."""

    account_id: int
    stripe: int
    is_frozen: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class IdRow:
    """The id of a hold, or of a transaction."""

    id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeRow:
    """A row that was changed: as the entries or headers say, and as it was; None: no row."""

    account_id: int | None
    code: str | None
    currency: str | None
    stripe: int | None
    tx_id: UUID | None
    field: str
    expected: str | None
    found: str | None


LOCK_BALANCES = statement("replay_changes/lock_balances", int)
LOCK_HOLDS = statement("replay_changes/lock_holds", HeldRow)
SET_BALANCES = statement("replay_changes/set_balances", ChangeRow)
CREATE_BALANCES = statement("replay_changes/create_balances", MadeRow)
SET_HOLDS = statement("replay_changes/set_holds", ChangeRow)
LIST_WRONG_ACCOUNTS = statement("replay_changes/list_wrong_accounts", int)
LIST_WRONG_HOLDS = statement("replay_changes/list_wrong_holds", IdRow)
LIST_UNPROVEN = statement("replay_changes/list_unproven", IdRow)
DELETE_WRONG_ENTRIES = statement("replay_changes/delete_wrong_entries", ChangeRow)
CREATE_ENTRIES = statement("replay_changes/create_entries", ChangeRow)
RECORD_CHANGES = statement("replay_changes/record_changes")


def lock_balances(conn: Conn, *, tenant_id: str, account_ids: list[int] | None) -> list[int]:
    """Lock the balances of some accounts, or all; nobody posts to them until the commit."""
    return LOCK_BALANCES.all(
        conn, tenant_id=tenant_id, account_ids=account_ids or [], everything=account_ids is None
    )


def lock_holds(conn: Conn, *, tenant_id: str, hold_ids: list[UUID]) -> list[HeldRow]:
    """Lock the rows of holds that are there."""
    return LOCK_HOLDS.all(conn, tenant_id=tenant_id, hold_ids=hold_ids)


def set_balances(conn: Conn, *, tenant_id: str, account_ids: list[int]) -> list[ChangeRow]:
    """Set balances to the sums of their entries; return those that differed."""
    return SET_BALANCES.all(conn, tenant_id=tenant_id, account_ids=account_ids)


def create_balances(conn: Conn, *, tenant_id: str) -> list[MadeRow]:
    """Make the balance rows that are missing, empty."""
    return CREATE_BALANCES.all(conn, tenant_id=tenant_id)


def set_holds(
    conn: Conn, *, tenant_id: str, hold_ids: list[UUID], make_missing: bool
) -> list[ChangeRow]:
    """Set holds to what their transactions say; return those that differed."""
    return SET_HOLDS.all(conn, tenant_id=tenant_id, hold_ids=hold_ids, make_missing=make_missing)


def list_wrong_accounts(conn: Conn, *, tenant_id: str) -> list[int]:
    """Accounts with a balance that is not the sum of its entries."""
    return LIST_WRONG_ACCOUNTS.all(conn, tenant_id=tenant_id)


def list_wrong_holds(conn: Conn, *, tenant_id: str) -> list[UUID]:
    """Holds with another rest than their transactions leave."""
    return [row.id for row in LIST_WRONG_HOLDS.all(conn, tenant_id=tenant_id)]


def list_unproven(conn: Conn, *, tenant_id: str, tx_ids: list[UUID], tree_size: int) -> list[UUID]:
    """Transactions of which the signed tree says nothing."""
    rows = LIST_UNPROVEN.all(conn, tenant_id=tenant_id, tx_ids=tx_ids, tree_size=tree_size)
    return [row.id for row in rows]


def delete_wrong_entries(conn: Conn, *, tenant_id: str, account_ids: list[int]) -> list[ChangeRow]:
    """Delete the accounts' entries that are not as the headers say; as the owner."""
    return DELETE_WRONG_ENTRIES.all(conn, tenant_id=tenant_id, account_ids=account_ids)


def create_entries(conn: Conn, *, tenant_id: str, account_ids: list[int]) -> list[ChangeRow]:
    """Write the accounts' entries that are missing; as the owner."""
    return CREATE_ENTRIES.all(conn, tenant_id=tenant_id, account_ids=account_ids)


def record_changes(
    conn: Conn, *, tenant_id: str, run_id: UUID, findings: list[dict[str, Any]]
) -> int:
    """Note changes in the audit rows of a run."""
    return RECORD_CHANGES.count(conn, tenant_id=tenant_id, run_id=run_id, findings=findings)
