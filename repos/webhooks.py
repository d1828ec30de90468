"""Webhooks: endpoints, the deliveries that they are owed, and what became of them.

An endpoint is named by `**endpoint`: tenant_id, endpoint_id; an act by `**act`: audit_id, subject.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from persistence.statements import statement

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from persistence.db import Conn


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointRow:
    """An endpoint without its secrets. `previous_until`: until then an older one signs too."""

    id: UUID
    url: str
    description: str | None
    event_types: list[str]
    status: str
    disabled_reason: str | None
    failing_since: datetime | None
    last_success_at: datetime | None
    previous_until: datetime | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetRow:
    """Where to call, and the sealed secrets that sign."""

    url: str
    secret_enc: bytes
    previous_secret_enc: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceRow:
    """An endpoint by its name."""

    tenant_id: str
    id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class DueRow:
    """An endpoint that is owed something; failing: its last attempt was not answered well."""

    tenant_id: str
    id: UUID
    is_failing: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PassedRow:
    """How many events the position has passed, and which payments have new deliveries."""

    passed: int
    payment_ids: list[UUID]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedRow:
    """A delivery to be made now; `attempts` were made before."""

    payment_id: UUID
    seq: int
    attempts: int
    event: dict[str, Any]
    url: str
    secret_enc: bytes
    previous_secret_enc: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedRow:
    """How many attempts there were, and why the endpoint was disabled by this one, if it was."""

    attempts: int
    disabled: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuedRow:
    """A delivery that is to be made again, by its payment."""

    payment_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryRow:
    """A line of the log. `next_attempt_at` None while pending: an earlier event comes first."""

    created_at: datetime
    payment_id: UUID
    seq: int
    is_wanted: bool
    type: str
    state: str
    attempts: int
    next_attempt_at: datetime | None
    last_attempt_at: datetime | None
    last_status: int | None
    last_error: str | None


CLAIM_DELIVERY = statement("webhooks/claim_delivery", ClaimedRow)
COUNT_DUE = statement("webhooks/count_due", int)
CREATE_DELIVERIES = statement("webhooks/create_deliveries", PassedRow)
CREATE_ENDPOINT = statement("webhooks/create_endpoint", EndpointRow)
DELETE_ENDPOINT = statement("webhooks/delete_endpoint", str)
FINISH_DELIVERY = statement("webhooks/finish_delivery", FinishedRow)
GET_TARGET = statement("webhooks/get_target", TargetRow)
LIST_BEHIND = statement("webhooks/list_behind", PlaceRow)
LIST_DELIVERIES = statement("webhooks/list_deliveries", DeliveryRow)
LIST_DUE = statement("webhooks/list_due", DueRow)
LIST_ENDPOINTS = statement("webhooks/list_endpoints", EndpointRow)
LOCK_ENDPOINT = statement("webhooks/lock_endpoint", str)
QUEUE_DELIVERY = statement("webhooks/queue_delivery", QueuedRow)
QUEUE_FAILED = statement("webhooks/queue_failed", QueuedRow)
SET_DUE = statement("webhooks/set_due")
SET_ENDPOINT = statement("webhooks/set_endpoint", EndpointRow)
SET_SECRET = statement("webhooks/set_secret", EndpointRow)


# --- Endpoints ----------------------------------------------------------------------------------


def create_endpoint(
    conn: Conn,
    *,
    url: str,
    description: str | None,
    event_types: list[str],
    secret_enc: bytes,
    endpoints_max: int,
    **named: Any,
) -> EndpointRow | None:
    """Make an endpoint; None: the tenant has `endpoints_max` already."""
    return CREATE_ENDPOINT.one_or_none(
        conn,
        url=url,
        description=description,
        event_types=event_types,
        secret_enc=secret_enc,
        endpoints_max=endpoints_max,
        **named,
    )


def delete_endpoint(conn: Conn, **named: Any) -> str | None:
    """End an endpoint and return its id; None: there is none."""
    return DELETE_ENDPOINT.one_or_none(conn, **named)


def list_endpoints(
    conn: Conn, *, tenant_id: str, endpoint_id: str | None = None
) -> list[EndpointRow]:
    """Read a tenant's endpoints, or the one that is named."""
    return LIST_ENDPOINTS.all(conn, tenant_id=tenant_id, endpoint_id=endpoint_id)


def set_endpoint(
    conn: Conn,
    *,
    url: str | None,
    sets_description: bool,
    description: str | None,
    sets_event_types: bool,
    event_types: str,
    status: str | None,
    **named: Any,
) -> EndpointRow | None:
    """Change what is given; `event_types` with commas between. None: there is no such endpoint."""
    return SET_ENDPOINT.one_or_none(
        conn,
        url=url,
        sets_description=sets_description,
        description=description,
        sets_event_types=sets_event_types,
        event_types=event_types,
        status=status,
        **named,
    )


def set_secret(
    conn: Conn, *, secret_enc: bytes, overlap_s: int, **named: Any
) -> EndpointRow | None:
    """Give an endpoint a new secret; None: there is no such endpoint."""
    return SET_SECRET.one_or_none(conn, secret_enc=secret_enc, overlap_s=overlap_s, **named)


def get_target(conn: Conn, **endpoint: Any) -> TargetRow | None:
    """Where an endpoint is, with its sealed secrets."""
    return GET_TARGET.one_or_none(conn, **endpoint)


# --- Deliveries ---------------------------------------------------------------------------------


def lock_endpoint(conn: Conn, **endpoint: Any) -> str | None:
    """Hold an endpoint and return its status; None: there is none."""
    return LOCK_ENDPOINT.one_or_none(conn, **endpoint)


def list_behind(conn: Conn, *, tenant_id: str | None) -> list[PlaceRow]:
    """Endpoints for which the feed has more."""
    return LIST_BEHIND.all(conn, tenant_id=tenant_id)


def create_deliveries(conn: Conn, *, row_limit: int, **endpoint: Any) -> PassedRow:
    """Pass up to `row_limit` events of the feed, with a delivery for each wanted one."""
    return CREATE_DELIVERIES.one(conn, row_limit=row_limit, **endpoint)


def set_due(conn: Conn, *, payment_ids: list[UUID], **endpoint: Any) -> int:
    """Let the first pending delivery of each payment be due, and no other."""
    return SET_DUE.count(conn, payment_ids=payment_ids, **endpoint)


def list_due(conn: Conn, *, tenant_id: str | None) -> list[DueRow]:
    """Endpoints that are owed a delivery now."""
    return LIST_DUE.all(conn, tenant_id=tenant_id)


def count_due(conn: Conn, *, tenant_id: str | None) -> int:
    """How many deliveries are due now."""
    return COUNT_DUE.one(conn, tenant_id=tenant_id)


def claim_delivery(
    conn: Conn, *, lease_token: UUID, lease_ms: int, **endpoint: Any
) -> ClaimedRow | None:
    """Take the delivery that is due longest; None: there is none that nobody else has."""
    return CLAIM_DELIVERY.one_or_none(conn, lease_token=lease_token, lease_ms=lease_ms, **endpoint)


def finish_delivery(
    conn: Conn,
    *,
    payment_id: UUID,
    seq: int,
    lease_token: UUID,
    state: str,
    delay_ms: int,
    status: int | None,
    error: str | None,
    is_gone: bool,
    failing_max_s: int,
    **named: Any,
) -> FinishedRow | None:
    """Record an attempt; None: the lease was lost, and nothing is changed."""
    return FINISH_DELIVERY.one_or_none(
        conn,
        payment_id=payment_id,
        seq=seq,
        lease_token=lease_token,
        state=state,
        delay_ms=delay_ms,
        status=status,
        error=error,
        is_gone=is_gone,
        failing_max_s=failing_max_s,
        **named,
    )


def queue_delivery(conn: Conn, *, payment_id: UUID, seq: int, **endpoint: Any) -> list[QueuedRow]:
    """Send one again; the payment, or nothing: there is no such delivery."""
    return QUEUE_DELIVERY.all(conn, payment_id=payment_id, seq=seq, **endpoint)


def queue_failed(
    conn: Conn, *, failed_since: str, row_limit: int, **endpoint: Any
) -> list[QueuedRow]:
    """Send again up to `row_limit` of those that were given up; the payment of each."""
    return QUEUE_FAILED.all(conn, failed_since=failed_since, row_limit=row_limit, **endpoint)


def list_deliveries(
    conn: Conn,
    *,
    state: str | None,
    before_at: str,
    before_payment_id: UUID,
    before_seq: int,
    row_limit: int,
    **endpoint: Any,
) -> list[DeliveryRow]:
    """Read the log before a place, newest first."""
    return LIST_DELIVERIES.all(
        conn,
        state=state,
        before_at=before_at,
        before_payment_id=before_payment_id,
        before_seq=before_seq,
        row_limit=row_limit,
        **endpoint,
    )
