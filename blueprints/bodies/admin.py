"""Queries, bodies and answers of operators' routes about users and the audit log."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field

from blueprints.bodies.auth import UserAnswer
from blueprints.fields import Answer, Cursor, Id, Limit, Maybe, Model, Text, Timestamp

Outcome = Literal["ok", "failed", "throttled"]


class UserList(Answer):
    """A page of users, oldest first."""

    data: list[UserAnswer]
    next_cursor: str | None


class UsersQuery(Model):
    """Which users, and which page."""

    email: Annotated[Maybe[str], Field(max_length=320, description="The whole address.")] = None
    status: Maybe[Literal["active", "disabled", "deleted"]] = None
    limit: Limit = 50
    cursor: Maybe[Cursor] = None


class ReasonBody(Model):
    """Why, for the audit log."""

    reason: Text


class AuditQuery(Model):
    """Which events, and which page."""

    user_id: Annotated[Maybe[Id], Field(description="Whom the event is about.")] = None
    event: Annotated[Maybe[str], Field(pattern="^[a-z_]{1,64}$", examples=["api_key_created"])] = (
        None
    )
    from_: Annotated[Maybe[Timestamp], Field(alias="from")] = None
    to: Annotated[Maybe[Timestamp], Field(description="Not included.")] = None
    limit: Limit = 50
    cursor: Maybe[Cursor] = None


class AuditEvent(Answer):
    """Something that was done, or tried."""

    id: UUID
    at: datetime
    subject: Annotated[
        str | None,
        Field(
            description="Who did it: `user:`, `key:`, `cli:` or `job:`; null: nobody proved who.",
            examples=["cli:ops"],
        ),
    ]
    user_id: Annotated[UUID | None, Field(description="Whom it is about.")]
    session_id: UUID | None
    event: str
    outcome: Outcome
    reason: str | None
    ip: str | None
    user_agent: str | None
    request_id: str | None
    details: dict[str, Any]


class AuditList(Answer):
    """A page of the audit log, newest first; it may be short while there is a next one."""

    data: list[AuditEvent]
    next_cursor: str | None
