"""Accounts of the ledger: opened, read, listed, changed. Balances are over all stripes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from persistence.statements import statement

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from persistence.db import Conn


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountRow:
    """An account as it is now. `version` counts its changes, `entries` those of its balance."""

    code: str
    currency: str
    name: str | None
    normal_side: int
    status: str
    floor_minor: int | None
    ceiling_minor: int | None
    stripes: int
    owner_user_id: UUID | None
    metadata: dict[str, Any]
    version: int
    created_at: datetime
    updated_at: datetime
    posted_minor: int
    available_minor: int
    reachable_minor: int
    entries: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedRow:
    """An account that the page looked at. `is_edge`: it has looked no further."""

    code: str
    currency: str
    name: str | None
    normal_side: int
    status: str
    floor_minor: int | None
    ceiling_minor: int | None
    stripes: int
    owner_user_id: UUID | None
    metadata: dict[str, Any]
    version: int
    created_at: datetime
    updated_at: datetime
    posted_minor: int
    available_minor: int
    reachable_minor: int
    entries: int
    is_shown: bool
    is_edge: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateFacts:
    """Why an account was not opened, unless it was there before."""

    currency_supported: bool
    owner_active: bool


CHANGE = statement("ledger_accounts/change")
CREATE = statement("ledger_accounts/create")
EXPLAIN_CREATE = statement("ledger_accounts/explain_create", CreateFacts)
GET = statement("ledger_accounts/get", AccountRow)
LIST = statement("ledger_accounts/list", ListedRow)


def create(
    conn: Conn,
    *,
    tenant_id: str,
    code: str,
    currency: str,
    name: str | None,
    normal_side: int,
    stripes: int,
    floor: str | None,
    ceiling: str | None,
    owner_user_id: str | None,
    metadata: str,
) -> int | None:
    """Open an account, return its version; `metadata` is JSON text. None: explain_create."""
    return CREATE.one_or_none(
        conn,
        tenant_id=tenant_id,
        code=code,
        currency=currency,
        name=name,
        normal_side=normal_side,
        stripes=stripes,
        floor=floor,
        ceiling=ceiling,
        owner_user_id=owner_user_id,
        metadata=metadata,
    )


def explain_create(
    conn: Conn, *, tenant_id: str, currency: str, owner_user_id: str | None
) -> CreateFacts:
    """Read why an account was not opened."""
    return EXPLAIN_CREATE.one(
        conn, tenant_id=tenant_id, currency=currency, owner_user_id=owner_user_id
    )


def get(
    conn: Conn, *, tenant_id: str, code: str, currency: str | None, owner_id: str | None
) -> list[AccountRow]:
    """Read the code's accounts: one, none, or two to say that there are several."""
    return GET.all(conn, tenant_id=tenant_id, code=code, currency=currency, owner_id=owner_id)


def list_(conn: Conn, **filters: Any) -> list[ListedRow]:
    """Read a page of accounts; the filters are the parameters of the file."""
    return LIST.all(conn, **filters)


def change(
    conn: Conn,
    *,
    tenant_id: str,
    code: str,
    currency: str,
    version: int,
    name: str | None,
    status: str,
    floor: str | None,
    ceiling: str | None,
    stripes: int,
    owner_user_id: str | None,
    metadata: str,
    transaction_id: UUID,
    is_logged: bool,
    logged: str,
    logged_hash: bytes,
    actor: str,
    request_id: str,
) -> int | None:
    """Set an account that is still at `version`; return the new one, None if it may not be so.

    `is_logged`: status or limits change, so a transaction with the metadata `logged` is written.
    """
    return CHANGE.one_or_none(
        conn,
        tenant_id=tenant_id,
        code=code,
        currency=currency,
        version=version,
        name=name,
        status=status,
        floor=floor,
        ceiling=ceiling,
        stripes=stripes,
        owner_user_id=owner_user_id,
        metadata=metadata,
        transaction_id=transaction_id,
        is_logged=is_logged,
        logged=logged,
        logged_hash=logged_hash,
        actor=actor,
        request_id=request_id,
    )
