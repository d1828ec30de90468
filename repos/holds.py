"""Holds: money that is reserved. They are placed and resolved by postings; here they are read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from persistence.statements import statement

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from persistence.db import Conn


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldRow:
    """A hold, by the transaction that made it. `expires_at` None: of an older release."""

    id: UUID
    debit: str
    credit: str
    currency: str
    amount_minor: int
    captured_minor: int
    remaining_minor: int
    status: str
    expires_at: datetime | None
    reference: str | None
    metadata: dict[str, Any] | None
    posted_at: datetime
    actor: str
    request_id: str
    resolved_by: UUID | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenHoldRow:
    """An open hold that a page looked at; one that is not shown is its edge."""

    id: UUID
    debit: str
    credit: str
    currency: str
    amount_minor: int
    captured_minor: int
    remaining_minor: int
    status: str
    expires_at: datetime
    reference: str | None
    metadata: dict[str, Any] | None
    posted_at: datetime
    actor: str
    request_id: str
    is_shown: bool
    is_edge: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class OverdueRow:
    """A hold whose time has passed."""

    hold_id: UUID


GET = statement("holds/get", HoldRow)
LIST = statement("holds/list", OpenHoldRow)
LIST_BY_ACCOUNT = statement("holds/list_by_account", OpenHoldRow)
LIST_OVERDUE = statement("holds/list_overdue", OverdueRow)


def get(conn: Conn, *, tenant_id: str, hold_id: UUID) -> HoldRow | None:
    """Read a hold, open or resolved."""
    return GET.one_or_none(conn, tenant_id=tenant_id, hold_id=hold_id)


def list_(conn: Conn, **filters: Any) -> list[OpenHoldRow]:
    """Read a page of open holds; the filters are the parameters of the file."""
    return LIST.all(conn, **filters)


def list_by_account(conn: Conn, **filters: Any) -> list[OpenHoldRow]:
    """Read a page of one account's open holds."""
    return LIST_BY_ACCOUNT.all(conn, **filters)


def list_overdue(conn: Conn, *, tenant_id: str, row_limit: int) -> list[OverdueRow]:
    """Read holds whose time has passed, oldest first."""
    return LIST_OVERDUE.all(conn, tenant_id=tenant_id, row_limit=row_limit)
