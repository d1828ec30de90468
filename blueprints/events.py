"""The event feed over HTTP: all events of a tenant, in order and without a gap (E3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Blueprint

from blueprints.bodies.events import FeedAnswer, FeedQuery
from blueprints.edge import Call, operation, respond
from blueprints.hooks import services
from blueprints.policy import scope
from errors import CursorInvalid

if TYPE_CHECKING:
    from flask import Response

routes = Blueprint("events", __name__)


@routes.get("/v1/events")
@operation(
    policy=scope("webhooks:manage"),
    query=FeedQuery,
    answers={200: FeedAnswer},
    errors=(CursorInvalid,),
)
def feed(call: Call) -> Response:
    """Read what happened to all payments, in an order that never changes afterwards."""
    query = call.query
    page = services().events.page(call.actor, query.after, query.type, query.limit)
    data = {"data": page.events, "next_after": page.next_after, "caught_up": page.caught_up}
    return respond(200, FeedAnswer, data)
