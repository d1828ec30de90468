"""Payments: one function per statement. A command gives no row where it changed nothing.

The parameters that all commands share are `**command`: tenant_id, scope, key, operation,
fingerprint, fingerprint_version, ttl_s, actor, request_id.
"""

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
class ListRow:
    """A payment on a page; the last row may be the edge where the scan stopped: no payment."""

    payment: dict[str, Any] | None
    created_at: datetime
    id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRow:
    """One event. `object_id`: the capture, refund or dispute it made."""

    seq: int
    type: str
    amount_minor: int | None
    status_from: str | None
    status_to: str
    after: dict[str, Any]
    object_id: UUID | None
    actor: str
    request_id: str
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandFacts:
    """Why a command gave no row. `accounts`: those that exist, if the ledger is on.

    Each has code, status, ceiling, reachable_minor, and raised_minor: the counter that a capture
    raises.
    """

    payment: dict[str, Any] | None
    reference_id: UUID | None
    accounts: list[dict[str, Any]] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateFacts:
    """Why a payment was not created. `reference_id`: the payment that has the reference."""

    user_active: bool
    currency_payable: bool
    reference_id: UUID | None


AUTHORIZE = statement("payments/authorize", DoneRow)
CAPTURE = statement("payments/capture", DoneRow)
CREATE = statement("payments/create", DoneRow)
END = statement("payments/end", DoneRow)
EXPLAIN = statement("payments/explain", CommandFacts)
EXPLAIN_CREATE = statement("payments/explain_create", CreateFacts)
GET = statement("payments/get", dict[str, Any])
LIST = statement("payments/list", ListRow)
LIST_BY_USER = statement("payments/list_by_user", ListRow)
LIST_EVENTS = statement("payments/list_events", EventRow)
VOID = statement("payments/void", DoneRow)


def authorize(
    conn: Conn,
    *,
    payment_id: UUID,
    if_match: int,
    amount_minor: int,
    capture_before: str | None,
    gateway_reference: str | None,
    authorization_ttl_s: int,
    **command: Any,
) -> DoneRow | None:
    """Authorise `amount_minor`, 0: all. Not for automatic payments: those are captured."""
    return AUTHORIZE.one_or_none(
        conn,
        payment_id=payment_id,
        if_match=if_match,
        amount_minor=amount_minor,
        capture_before=capture_before,
        gateway_reference=gateway_reference,
        authorization_ttl_s=authorization_ttl_s,
        **command,
    )


def capture(
    conn: Conn,
    *,
    payment_id: UUID,
    if_match: int,
    authorize: bool,
    amount_minor: int,
    fee_minor: int,
    final: str | None,
    reference: str | None,
    currency: str | None,
    capture_id: UUID,
    transaction_id: UUID,
    ledger: bool,
    stripe: int,
    authorization_ttl_s: int,
    **command: Any,
) -> DoneRow | None:
    """Capture `amount_minor`, 0: all that is left. `authorize`: of an automatic payment.

    `final` is "true", "false" or None; `stripe` picks a row of accounts that have several.
    """
    return CAPTURE.one_or_none(
        conn,
        payment_id=payment_id,
        if_match=if_match,
        authorize=authorize,
        amount_minor=amount_minor,
        fee_minor=fee_minor,
        final=final,
        reference=reference,
        currency=currency,
        capture_id=capture_id,
        transaction_id=transaction_id,
        ledger=ledger,
        stripe=stripe,
        authorization_ttl_s=authorization_ttl_s,
        **command,
    )


def create(
    conn: Conn,
    *,
    payment_id: UUID,
    user_id: UUID,
    reference: str | None,
    amount_minor: int,
    currency: str,
    capture_method: str,
    description: str | None,
    metadata: str,
    duplicate_window_s: int,
    **command: Any,
) -> DoneRow | None:
    """Promise a payment; `metadata` is JSON text. A used reference raises DuplicateReference."""
    return CREATE.one_or_none(
        conn,
        payment_id=payment_id,
        user_id=user_id,
        reference=reference,
        amount_minor=amount_minor,
        currency=currency,
        capture_method=capture_method,
        description=description,
        metadata=metadata,
        duplicate_window_s=duplicate_window_s,
        **command,
    )


def end(
    conn: Conn,
    *,
    payment_id: UUID,
    if_match: int,
    end_reason: str,
    failure_code: str | None,
    failure_message: str | None,
    **command: Any,
) -> DoneRow | None:
    """Cancel or fail (`end_reason` cancelled, failed) what was not authorised yet."""
    return END.one_or_none(
        conn,
        payment_id=payment_id,
        if_match=if_match,
        end_reason=end_reason,
        failure_code=failure_code,
        failure_message=failure_message,
        **command,
    )


def explain(
    conn: Conn,
    *,
    tenant_id: str,
    payment_id: UUID,
    reference: str | None,
    ledger: bool,
    stripe: int,
) -> CommandFacts:
    """Read why a command on a payment gave no row."""
    return EXPLAIN.one(
        conn,
        tenant_id=tenant_id,
        payment_id=payment_id,
        reference=reference,
        ledger=ledger,
        stripe=stripe,
    )


def explain_create(
    conn: Conn,
    *,
    tenant_id: str,
    user_id: UUID,
    currency: str,
    reference: str | None,
) -> CreateFacts:
    """Read why a payment was not created."""
    return EXPLAIN_CREATE.one(
        conn,
        tenant_id=tenant_id,
        user_id=user_id,
        currency=currency,
        reference=reference,
    )


def get(
    conn: Conn, *, tenant_id: str, payment_id: UUID, owner_id: str | None
) -> dict[str, Any] | None:
    """Read one payment; `owner_id` narrows the reach to that user's."""
    return GET.one_or_none(conn, tenant_id=tenant_id, payment_id=payment_id, owner_id=owner_id)


def list_(conn: Conn, **filters: Any) -> list[ListRow]:
    """Read a page of the tenant's payments; the filters are the parameters of the file."""
    return LIST.all(conn, **filters)


def list_by_user(conn: Conn, *, user_id: UUID, **filters: Any) -> list[ListRow]:
    """Read a page of one user's payments."""
    return LIST_BY_USER.all(conn, user_id=user_id, **filters)


def list_events(
    conn: Conn,
    *,
    tenant_id: str,
    payment_id: UUID,
    owner_id: str | None,
    after_seq: int,
    row_limit: int,
) -> list[EventRow]:
    """Read the events of one payment after `after_seq`, in order."""
    return LIST_EVENTS.all(
        conn,
        tenant_id=tenant_id,
        payment_id=payment_id,
        owner_id=owner_id,
        after_seq=after_seq,
        row_limit=row_limit,
    )


def void(conn: Conn, *, payment_id: UUID, if_match: int, **command: Any) -> DoneRow | None:
    """Give back all that was authorised and not captured."""
    return VOID.one_or_none(conn, payment_id=payment_id, if_match=if_match, **command)
