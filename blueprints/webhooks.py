"""Webhook endpoints over HTTP (payments page, section 9). Secrets are shown once and never kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from flask import Blueprint, Response

from blueprints.bodies.webhooks import (
    CallAnswer,
    DeliveriesQuery,
    DeliveryList,
    EndpointAnswer,
    EndpointBody,
    EndpointList,
    EndpointPatch,
    RedeliverAnswer,
    RedeliverBody,
    SecretAnswer,
)
from blueprints.edge import Call, operation, respond
from blueprints.hooks import services
from blueprints.policy import scope
from errors import CursorInvalid, NotFound, Overloaded, WebhookEndpointsFull
from services.webhooks import Change

if TYPE_CHECKING:
    from repos.webhooks import EndpointRow

routes = Blueprint("webhooks", __name__)

MANAGE = scope("webhooks:manage")
ENDPOINTS = "/v1/webhook-endpoints"
ENDPOINT = f"{ENDPOINTS}/<endpoint_id>"


@routes.post(ENDPOINTS)
@operation(
    policy=MANAGE,
    body=EndpointBody,
    answers={201: SecretAnswer},
    errors=(WebhookEndpointsFull,),
)
def create(call: Call) -> Response:
    """Make an endpoint that is told of what happens from now on; its secret is shown this once."""
    row, secret = services().webhooks.create(
        call.actor.tenant_id,
        call.body.url,
        call.actor.subject,
        event_types=tuple(call.body.event_types),
        description=call.body.description,
    )
    headers = {"Location": f"{ENDPOINTS}/{row.id}"}
    return respond(201, SecretAnswer, _with_secret(row, secret), headers)


@routes.get(ENDPOINTS)
@operation(policy=MANAGE, answers={200: EndpointList})
def list_all(call: Call) -> Response:
    """List all endpoints of the tenant."""
    return respond(200, EndpointList, {"data": services().webhooks.list_all(call.actor.tenant_id)})


@routes.get(ENDPOINT)
@operation(policy=MANAGE, answers={200: EndpointAnswer}, errors=(NotFound,))
def get(call: Call, endpoint_id: UUID) -> Response:
    """Read one endpoint."""
    found = services().webhooks.get(call.actor.tenant_id, endpoint_id)
    return respond(200, EndpointAnswer, found)


@routes.patch(ENDPOINT)
@operation(policy=MANAGE, body=EndpointPatch, answers={200: EndpointAnswer}, errors=(NotFound,))
def change(call: Call, endpoint_id: UUID) -> Response:
    """Change what is given; `status: active` lets a disabled endpoint go on where it was."""
    body = call.body
    wanted = Change(
        given=frozenset(body.model_fields_set),
        url=body.url,
        description=body.description,
        event_types=tuple(body.event_types or ()),
        status=body.status,
    )
    made = services().webhooks.change(call.actor.tenant_id, endpoint_id, wanted, call.actor.subject)
    return respond(200, EndpointAnswer, made)


@routes.delete(ENDPOINT)
@operation(policy=MANAGE, answers={204: None}, errors=(NotFound,))
def delete(call: Call, endpoint_id: UUID) -> Response:
    """End an endpoint: nothing is sent to it any more, its secrets are forgotten."""
    services().webhooks.delete(call.actor.tenant_id, endpoint_id, call.actor.subject)
    return Response(status=204)


@routes.post(f"{ENDPOINT}/rotate-secret")
@operation(policy=MANAGE, answers={200: SecretAnswer}, errors=(NotFound,))
def rotate_secret(call: Call, endpoint_id: UUID) -> Response:
    """Make a new secret, shown this once; the older one signs beside it for 24 hours."""
    row, secret = services().webhooks.rotate_secret(
        call.actor.tenant_id, endpoint_id, call.actor.subject
    )
    return respond(200, SecretAnswer, _with_secret(row, secret))


@routes.post(f"{ENDPOINT}/test")
@operation(policy=MANAGE, answers={200: CallAnswer}, errors=(NotFound, Overloaded))
def test(call: Call, endpoint_id: UUID) -> Response:
    """Send a signed event of type `webhook.test` now, once, and tell how it went."""
    outcome = services().webhooks.test(call.actor.tenant_id, endpoint_id)
    facts = {name: getattr(outcome, name) for name in ("status", "error", "duration_ms")}
    return respond(200, CallAnswer, {**facts, "delivered": outcome.is_delivered})


@routes.get(f"{ENDPOINT}/deliveries")
@operation(
    policy=MANAGE,
    query=DeliveriesQuery,
    answers={200: DeliveryList},
    errors=(NotFound, CursorInvalid),
)
def deliveries(call: Call, endpoint_id: UUID) -> Response:
    """List what the endpoint was and will be sent, newest first."""
    query = call.query
    rows, cursor = services().webhooks.deliveries(
        call.actor.tenant_id, endpoint_id, query.state, query.limit, query.cursor
    )
    data = [
        {
            **{name: getattr(row, name) for name in row.__slots__},
            "event_id": f"{row.payment_id}-{row.seq}",
        }
        for row in rows
    ]
    return respond(200, DeliveryList, {"data": data, "next_cursor": cursor})


@routes.post(f"{ENDPOINT}/redeliver")
@operation(policy=MANAGE, body=RedeliverBody, answers={200: RedeliverAnswer}, errors=(NotFound,))
def redeliver(call: Call, endpoint_id: UUID) -> Response:
    """Send an event again, or all that was given up since a moment; from the first attempt on."""
    body, held, tenant_id = call.body, services().webhooks, call.actor.tenant_id
    if body.failed_since:
        queued, more = held.redeliver_failed(tenant_id, endpoint_id, body.failed_since)
        return respond(200, RedeliverAnswer, {"queued": queued, "more": more})
    payment_id, _, seq = body.event_id.rpartition("-")
    queued = held.redeliver(tenant_id, endpoint_id, UUID(payment_id), int(seq))
    return respond(200, RedeliverAnswer, {"queued": queued, "more": False})


def _with_secret(row: EndpointRow, secret: str) -> dict[str, Any]:
    return {**{name: getattr(row, name) for name in row.__slots__}, "secret": secret}
