"""API keys over HTTP, for operators: an API key makes, lists and changes none (A10)."""

from __future__ import annotations

import re
from ipaddress import ip_network
from typing import TYPE_CHECKING

from flask import Blueprint, Response

from blueprints.bodies.api_keys import (
    KeyAnswer,
    KeyBody,
    KeyList,
    KeyMade,
    KeysQuery,
    RotateBody,
)
from blueprints.caller import caller
from blueprints.edge import Call, operation, respond
from blueprints.hooks import services
from blueprints.policy import fresh, scope
from errors import (
    ApiKeyEnded,
    CursorInvalid,
    NotFound,
    ScopeNotGrantable,
)

if TYPE_CHECKING:
    from typing import Any

    from repos.api_keys import KeyRow

routes = Blueprint("api_keys", __name__)

READ, CHANGE = scope("keys:manage"), fresh("keys:manage")
KEY_ID = re.compile("[0-9A-Za-z]{12}")


@routes.post("/v1/api-keys")
@operation(policy=CHANGE, body=KeyBody, answers={201: KeyMade}, errors=(ScopeNotGrantable,))
def create(call: Call) -> Response:
    """Make an API key; its text stands in this answer and nowhere else."""
    body, actor = call.body, call.actor
    row, text = services().api_keys.create(
        actor.tenant_id,
        body.name,
        body.scopes,
        actor.subject,
        allowed_cidrs=[ip_network(each) for each in body.allowed_cidrs or ()],
        expires_at=body.expires_at,
        address=caller().address,
    )
    return _made(row, text)


@routes.get("/v1/api-keys")
@operation(policy=READ, query=KeysQuery, answers={200: KeyList}, errors=(CursorInvalid,))
def page(call: Call) -> Response:
    """List the tenant's API keys, newest first, those that ended included."""
    query = call.query
    rows, cursor = services().admin_queries.keys(call.actor.tenant_id, query.limit, query.cursor)
    return respond(200, KeyList, {"data": [*map(_shown, rows)], "next_cursor": cursor})


@routes.get("/v1/api-keys/<key>")
@operation(policy=READ, answers={200: KeyAnswer}, errors=(NotFound,))
def get(call: Call, key: str) -> Response:
    """Read one API key by its id."""
    row = services().api_keys.get(call.actor.tenant_id, _id(key))
    return respond(200, KeyAnswer, _shown(row))


@routes.post("/v1/api-keys/<key>/rotate")
@operation(policy=CHANGE, body=RotateBody, answers={201: KeyMade}, errors=(NotFound, ApiKeyEnded))
def rotate(call: Call, key: str) -> Response:
    """Make a successor of an API key; for a while both work."""
    row, text = services().api_keys.rotate(
        call.actor.tenant_id,
        _id(key),
        call.actor.subject,
        overlap_s=call.body.overlap_s,
        address=caller().address,
    )
    return _made(row, text)


@routes.delete("/v1/api-keys/<key>")
@operation(policy=CHANGE, answers={204: None}, errors=(NotFound,))
def revoke(call: Call, key: str) -> Response:
    """End an API key: no request that starts after the answer is served."""
    services().api_keys.revoke(
        call.actor.tenant_id, _id(key), call.actor.subject, address=caller().address
    )
    return Response(status=204)


def _id(key: str) -> str:
    if not KEY_ID.fullmatch(key):
        raise NotFound
    return key


def _shown(row: KeyRow) -> dict[str, Any]:
    columns = {name: getattr(row, name) for name in row.__slots__}
    return {**columns, "prefix": f"srk_{row.tenant_id}_{row.id}"}


def _made(row: KeyRow, text: str) -> Response:
    headers = {"Location": f"/v1/api-keys/{row.id}"}
    return respond(201, KeyMade, {**_shown(row), "api_key": text}, headers)
