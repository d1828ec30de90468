"""Payments as they are copied from legacy to new, and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from legacy.rows import SQL
from persistence.statements import statement

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    from persistence.db import Conn


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyRow:
    """A payment, with what a legacy store may hold of it."""

    id: UUID
    legacy_id: str | None
    version: int
    user_id: UUID
    user_legacy_id: str | None
    reference: str | None
    amount_minor: int
    currency: str
    capture_method: str
    gateway: str
    gateway_reference: str | None
    description: str | None
    metadata: dict[str, str]
    status: str
    end_reason: str | None
    failure_code: str | None
    failure_message: str | None
    capture_before: datetime | None
    authorized_minor: int
    captured_minor: int
    voided_minor: int
    refunded_minor: int
    disputed_minor: int
    charged_back_minor: int
    fee_minor: int
    fee_refunded_minor: int
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class MovedRow:
    """What a copy changed in amounts: the ledger gets this."""

    id: UUID
    legacy_id: str
    version: int
    user_id: UUID
    currency: str
    gateway: str
    captured_minor: int
    refunded_minor: int
    disputed_minor: int
    charged_back_minor: int
    fee_minor: int
    fee_refunded_minor: int


LOCK = statement("mirrored_payments/lock", CopyRow, root=SQL)
READ = statement("mirrored_payments/read", CopyRow, root=SQL)
INSERT = statement("mirrored_payments/insert", MovedRow, root=SQL)
UPDATE = statement("mirrored_payments/update", MovedRow, root=SQL)
POST = statement("mirrored_payments/post", int, root=SQL)
SET_LEGACY_ID = statement("mirrored_payments/set_legacy_id", root=SQL)
TOUCH = statement("mirrored_payments/touch", root=SQL)
LIST_PRESENT = statement("mirrored_payments/list_present", str | None, root=SQL)


def lock(conn: Conn, *, tenant_id: str, legacy_id: str, payment_id: UUID) -> CopyRow | None:
    """Return a payment as new has it, and hold it; None: new does not have it."""
    return LOCK.one_or_none(conn, tenant_id=tenant_id, legacy_id=legacy_id, payment_id=payment_id)


def read(
    conn: Conn, *, tenant_id: str, legacy_ids: Sequence[str], payment_ids: Sequence[UUID]
) -> list[CopyRow]:
    """Return payments by legacy id, and by ours those that legacy has never had."""
    return READ.all(
        conn, tenant_id=tenant_id, legacy_ids=list(legacy_ids), payment_ids=list(payment_ids)
    )


def insert(
    conn: Conn,
    *,
    tenant_id: str,
    rows: Sequence[dict[str, Any]],
    unposted: bool,
    actor: str,
    request_id: str,
) -> list[MovedRow]:
    """Insert what is missing and has its user; return those with what they moved."""
    return INSERT.all(
        conn,
        tenant_id=tenant_id,
        rows=list(rows),
        unposted=unposted,
        actor=actor,
        request_id=request_id,
    )


def update(conn: Conn, **change: Any) -> MovedRow | None:
    """Write a payment as legacy has it; None: it has that version or a newer one."""
    return UPDATE.one_or_none(conn, **change)


def post(conn: Conn, **posting: Any) -> int | None:
    """Post what a copy moved; None: accounts are missing, closed or full."""
    return POST.one_or_none(conn, **posting)


def set_legacy_id(conn: Conn, *, tenant_id: str, payment_id: UUID, legacy_id: str) -> int:
    """Note under which id legacy has it; 0: it has one."""
    return SET_LEGACY_ID.count(
        conn, tenant_id=tenant_id, payment_id=payment_id, legacy_id=legacy_id
    )


def list_present(conn: Conn, *, tenant_id: str, legacy_ids: Sequence[str]) -> list[str | None]:
    """Return which of these new has."""
    return LIST_PRESENT.all(conn, tenant_id=tenant_id, legacy_ids=list(legacy_ids))


def touch(
    conn: Conn, *, tenant_id: str, legacy_ids: Sequence[str], actor: str, request_id: str
) -> int:
    """Raise the version of payments, so that their copies are written anew."""
    return TOUCH.count(
        conn,
        tenant_id=tenant_id,
        legacy_ids=list(legacy_ids),
        actor=actor,
        request_id=request_id,
    )
