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
    from collections.abc import Iterator
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
    """Why a command gave no row. `accounts`: those of the payment that exist, if the ledger is on.

    Each has code, normal_side, status, floor, ceiling and its four counters.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureRow:
    """One capture, in the currency of its payment. `final`: nothing is left to capture after it."""

    id: UUID
    payment_id: UUID
    reference: str | None
    amount_minor: int
    currency: str
    fee_minor: int
    final: bool
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpiringRow:
    """An authorisation that has lapsed (`is_overdue`), or that will and nobody was told."""

    id: UUID
    capture_before: datetime
    is_overdue: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class UnpostedRow:
    """A payment with events that the ledger does not know."""

    id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class PostedRow:
    """The first of `missing` events that the ledger did not know; None: there was none.

    `is_posted`: it does now; else the book has refused it.
    """

    missing: int
    type: str | None
    amount_minor: int | None
    fee_minor: int | None
    is_posted: bool


AUTHORIZE = statement("payments/authorize", DoneRow)
CAPTURE = statement("payments/capture", DoneRow)
CREATE = statement("payments/create", DoneRow)
END = statement("payments/end", DoneRow)
EXPLAIN = statement("payments/explain", CommandFacts)
EXPLAIN_CREATE = statement("payments/explain_create", CreateFacts)
EXPIRE = statement("payments/expire")
EXPORT = statement("payments/export", dict[str, Any])
EXPORT_BY_USER = statement("payments/export_by_user", dict[str, Any])
GET = statement("payments/get", dict[str, Any])
GET_CAPTURE = statement("payments/get_capture", CaptureRow)
LIST = statement("payments/list", ListRow)
LIST_BY_USER = statement("payments/list_by_user", ListRow)
LIST_CAPTURES = statement("payments/list_captures", CaptureRow)
LIST_EVENTS = statement("payments/list_events", EventRow)
LIST_EXPIRING = statement("payments/list_expiring", ExpiringRow)
LIST_UNPOSTED = statement("payments/list_unposted", UnpostedRow)
POST_EVENT = statement("payments/post_event", PostedRow)
UPDATE = statement("payments/update", DoneRow)
VOID = statement("payments/void", DoneRow)
WARN = statement("payments/warn")


def authorize(
    conn: Conn,
    *,
    payment_id: UUID,
    if_match: int,
    amount_minor: int,
    currency: str | None,
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
        currency=currency,
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
    owner_id: str | None,
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
        owner_id=owner_id,
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
    owner_id: str | None,
    kind: str,
    reference: str | None,
    ledger: bool,
    stripe: int,
) -> CommandFacts:
    """Read why a command gave no row; `kind` (capture, refund, dispute) has the reference."""
    return EXPLAIN.one(
        conn,
        tenant_id=tenant_id,
        payment_id=payment_id,
        owner_id=owner_id,
        kind=kind,
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


def expire(conn: Conn, *, tenant_id: str, payment_id: UUID, actor: str, request_id: str) -> int:
    """Give back what was not captured in time; 0: it is not overdue, or somebody changes it."""
    return EXPIRE.count(
        conn, tenant_id=tenant_id, payment_id=payment_id, actor=actor, request_id=request_id
    )


def export(conn: Conn, batch: int, **filters: Any) -> Iterator[dict[str, Any]]:
    """Yield the tenant's payments of a snapshot, oldest first, `batch` of them a round trip."""
    return EXPORT.stream(conn, batch, **filters)


def export_by_user(
    conn: Conn, batch: int, *, user_id: UUID, **filters: Any
) -> Iterator[dict[str, Any]]:
    """Yield one user's payments of a snapshot, oldest first."""
    return EXPORT_BY_USER.stream(conn, batch, user_id=user_id, **filters)


def get(
    conn: Conn, *, tenant_id: str, payment_id: UUID, owner_id: str | None
) -> dict[str, Any] | None:
    """Read one payment; `owner_id` narrows the reach to that user's."""
    return GET.one_or_none(conn, tenant_id=tenant_id, payment_id=payment_id, owner_id=owner_id)


def get_capture(
    conn: Conn, *, tenant_id: str, capture_id: UUID, owner_id: str | None
) -> CaptureRow | None:
    """Read one capture; `owner_id` narrows the reach to that user's."""
    return GET_CAPTURE.one_or_none(
        conn, tenant_id=tenant_id, capture_id=capture_id, owner_id=owner_id
    )


def list_(conn: Conn, **filters: Any) -> list[ListRow]:
    """Read a page of the tenant's payments; the filters are the parameters of the file."""
    return LIST.all(conn, **filters)


def list_by_user(conn: Conn, *, user_id: UUID, **filters: Any) -> list[ListRow]:
    """Read a page of one user's payments."""
    return LIST_BY_USER.all(conn, user_id=user_id, **filters)


def list_captures(
    conn: Conn,
    *,
    tenant_id: str,
    payment_id: UUID,
    owner_id: str | None,
    before_id: UUID,
    row_limit: int,
) -> list[CaptureRow]:
    """Read captures of one payment before `before_id`, newest first."""
    return LIST_CAPTURES.all(
        conn,
        tenant_id=tenant_id,
        payment_id=payment_id,
        owner_id=owner_id,
        before_id=before_id,
        row_limit=row_limit,
    )


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


def list_expiring(
    conn: Conn, *, tenant_id: str, warning_s: int, after_at: str, after_id: UUID, row_limit: int
) -> list[ExpiringRow]:
    """Read authorisations that lapse within `warning_s`, after a position, the first first."""
    return LIST_EXPIRING.all(
        conn,
        tenant_id=tenant_id,
        warning_s=warning_s,
        after_at=after_at,
        after_id=after_id,
        row_limit=row_limit,
    )


def list_unposted(
    conn: Conn, *, tenant_id: str, after_id: UUID, row_limit: int
) -> list[UnpostedRow]:
    """Read payments that wait for ledger-catch-up, by id."""
    return LIST_UNPOSTED.all(conn, tenant_id=tenant_id, after_id=after_id, row_limit=row_limit)


def post_event(
    conn: Conn,
    *,
    tenant_id: str,
    payment_id: UUID,
    transaction_id: UUID,
    stripe: int,
    actor: str,
    request_id: str,
) -> PostedRow | None:
    """Post the first event that the ledger does not know; None: nothing to do, or not now."""
    return POST_EVENT.one_or_none(
        conn,
        tenant_id=tenant_id,
        payment_id=payment_id,
        transaction_id=transaction_id,
        stripe=stripe,
        actor=actor,
        request_id=request_id,
    )


def update(
    conn: Conn,
    *,
    payment_id: UUID,
    owner_id: str | None,
    if_match: int,
    sets_description: bool,
    description: str | None,
    metadata: str | None,
    **command: Any,
) -> DoneRow | None:
    """Merge description and metadata; `metadata` is JSON text, None takes all names away."""
    return UPDATE.one_or_none(
        conn,
        payment_id=payment_id,
        owner_id=owner_id,
        if_match=if_match,
        sets_description=sets_description,
        description=description,
        metadata=metadata,
        **command,
    )


def void(conn: Conn, *, payment_id: UUID, if_match: int, **command: Any) -> DoneRow | None:
    """Give back all that was authorised and not captured."""
    return VOID.one_or_none(conn, payment_id=payment_id, if_match=if_match, **command)


def warn(
    conn: Conn, *, tenant_id: str, payment_id: UUID, warning_s: int, actor: str, request_id: str
) -> int:
    """Note that an authorisation is about to lapse; 0: it was noted, or somebody changes it."""
    return WARN.count(
        conn,
        tenant_id=tenant_id,
        payment_id=payment_id,
        warning_s=warning_s,
        actor=actor,
        request_id=request_id,
    )
