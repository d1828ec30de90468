"""Users and the audit log over HTTP, for operators (auth page, sections 2, 9 and 10)."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID  # noqa: TC003  # `operation` reads the annotation.

from flask import Blueprint, Response

from blueprints.bodies.admin import (
    AuditList,
    AuditQuery,
    ReasonBody,
    UserList,
    UsersQuery,
)
from blueprints.bodies.auth import UserAnswer
from blueprints.caller import caller
from blueprints.edge import Call, operation, respond
from blueprints.hooks import services
from blueprints.policy import fresh, scope
from errors import (
    CursorInvalid,
    LastOperator,
    NotFound,
    ValidationFailed,
)
from services.admin_queries import AuditFilters

if TYPE_CHECKING:
    from typing import Literal

    from errors import Fault

routes = Blueprint("admin", __name__)

WRONG_EMAIL: Fault = {
    "parameter": "email",
    "code": "email_invalid",
    "detail": "Not an e-mail address.",
}
OF_CHANGES = (NotFound,)
READ, CHANGE = scope("users:read"), fresh("users:manage")


@routes.get("/v1/admin/users")
@operation(policy=READ, query=UsersQuery, answers={200: UserList}, errors=(CursorInvalid,))
def list_users(call: Call) -> Response:
    """List the tenant's users, oldest first."""
    query = call.query
    try:
        rows, cursor = services().admin_queries.users(
            call.actor.tenant_id,
            query.limit,
            query.cursor,
            email=query.email,
            status=query.status,
        )
    except ValidationFailed as error:  # It names the place in a body; here it is the query.
        raise ValidationFailed(errors=(WRONG_EMAIL,)) from error
    return respond(200, UserList, {"data": rows, "next_cursor": cursor})


@routes.get("/v1/admin/users/<user_id>")
@operation(policy=READ, answers={200: UserAnswer}, errors=(NotFound,))
def get_user(call: Call, user_id: UUID) -> Response:
    """Read one user."""
    return respond(200, UserAnswer, services().users.find_by_id(call.actor.tenant_id, user_id))


@routes.post("/v1/admin/users/<user_id>/disable")
@operation(policy=CHANGE, body=ReasonBody, answers={204: None}, errors=(*OF_CHANGES, LastOperator))
def disable_user(call: Call, user_id: UUID) -> Response:
    """Let a user in no more; all sessions end at once."""
    return _set_status(call, user_id, "disabled")


@routes.post("/v1/admin/users/<user_id>/enable")
@operation(policy=CHANGE, body=ReasonBody, answers={204: None}, errors=OF_CHANGES)
def enable_user(call: Call, user_id: UUID) -> Response:
    """Let a disabled user log in again."""
    return _set_status(call, user_id, "active")


@routes.post("/v1/admin/users/<user_id>/revoke-sessions")
@operation(policy=CHANGE, body=ReasonBody, answers={204: None}, errors=OF_CHANGES)
def revoke_sessions(call: Call, user_id: UUID) -> Response:
    """End all sessions of a user, those that open this moment included."""
    actor = call.actor
    services().sessions.revoke_all(
        actor.tenant_id, user_id, actor.subject, caller(), call.body.reason
    )
    return Response(status=204)


@routes.post("/v1/admin/users/<user_id>/unlock")
@operation(policy=CHANGE, body=ReasonBody, answers={204: None}, errors=OF_CHANGES)
def unlock_user(call: Call, user_id: UUID) -> Response:
    """Forget the log-ins that failed: the user may try again at once."""
    services().throttle.unlock(
        call.actor.tenant_id,
        user_id,
        call.actor.subject,
        reason=call.body.reason,
        address=caller().address,
    )
    return Response(status=204)


@routes.get("/v1/admin/audit")
@operation(
    policy=scope("audit:read"),
    query=AuditQuery,
    answers={200: AuditList},
    errors=(CursorInvalid,),
)
def list_audit(call: Call) -> Response:
    """Read the tenant's audit log, newest first."""
    query = call.query
    filters = AuditFilters(
        user_id=query.user_id, event=query.event, from_at=query.from_, to_at=query.to
    )
    rows, cursor = services().admin_queries.audit(
        call.actor.tenant_id, filters, query.limit, query.cursor
    )
    return respond(200, AuditList, {"data": rows, "next_cursor": cursor})


def _set_status(call: Call, user_id: UUID, status: Literal["active", "disabled"]) -> Response:
    services().users.set_status(
        call.actor.tenant_id,
        user_id,
        status,
        call.actor.subject,
        reason=call.body.reason,
        address=caller().address,
    )
    return Response(status=204)
