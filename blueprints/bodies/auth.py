"""Bodies and answers of log-in, sessions, passwords and addresses (auth page, section 10)."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from blueprints.bodies.api_keys import KeyAnswer
from blueprints.fields import Answer, Cursor, Limit, Maybe, Model

Email = Annotated[
    str, Field(min_length=3, max_length=254, description="", examples=["ada@example.org"])
]
Password = Annotated[
    str,
    Field(
        min_length=1,
        max_length=1024,
        examples=["a long sentence that nobody guesses"],
        json_schema_extra={"format": "password", "writeOnly": True},
    ),
]
RefreshToken = Annotated[
    str, Field(min_length=1, max_length=1024, description="`srr_...`, of any generation.")
]
LinkToken = Annotated[
    str, Field(min_length=1, max_length=1024, description="What stands behind `#token=` in a link.")
]
DisplayName = Annotated[str, Field(min_length=1, max_length=200, examples=["Ada Lovelace"])]
DeviceLabel = Annotated[
    str,
    Field(
        min_length=1,
        max_length=64,
        description="Names this session in the list of sessions.",
        examples=["Ada's phone"],
    ),
]


# --- Bodies -------------------------------------------------------------------------------------


class RegisterBody(Model):
    """Who registers."""

    email: Email
    password: Password
    display_name: Maybe[DisplayName] = None
    device_label: Maybe[DeviceLabel] = None


class LoginBody(Model):
    """Who logs in."""

    email: Email
    password: Password
    device_label: Maybe[DeviceLabel] = None
    device_token: Annotated[
        Maybe[Annotated[str, Field(min_length=1, max_length=1024)]],
        Field(description="Of an earlier log-in on this device: keeps strangers from locking it."),
    ] = None


class RefreshBody(Model):
    """The newest refresh token of a session."""

    refresh_token: RefreshToken


class LogoutBody(Model):
    """Which session ends: the refresh token's; without one that of the Bearer token."""

    refresh_token: Maybe[RefreshToken] = None


class LogoutAllBody(Model):
    """Which sessions end."""

    scope: Annotated[
        Literal["others", "all"], Field(description="`others`: all but the one that asks.")
    ]


class ReauthenticateBody(Model):
    """The password, once more."""

    password: Password


class ChangePasswordBody(Model):
    """The old password and the new one."""

    current_password: Password
    new_password: Password


class EmailBody(Model):
    """Whose mail it is about."""

    email: Email


class ResetPasswordBody(Model):
    """A link from a mail, and the new password."""

    token: LinkToken
    new_password: Password


class ChangeEmailBody(Model):
    """The new address, and the password."""

    new_email: Email
    password: Password


class VerifyEmailBody(Model):
    """A link from a mail."""

    token: LinkToken


class SessionsQuery(Model):
    """Which page of the sessions."""

    limit: Limit = 50
    cursor: Maybe[Cursor] = None


# --- Answers ------------------------------------------------------------------------------------


class UserAnswer(Answer):
    """A user."""

    id: UUID
    tenant_id: str
    email: str | None = Field(description="null once erased.")
    email_verified: bool
    display_name: str | None
    role: Literal["user", "operator"]
    status: Literal["active", "disabled", "deleted"]
    created_at: datetime


class TokensAnswer(Answer):
    """What a client keeps of a session. Never logged, never cached, shown this once."""

    access_token: str = Field(description="For `Authorization: Bearer`.")
    token_type: Literal["Bearer"]
    expires_in: int = Field(description="Seconds until the access token ends.")
    refresh_token: str | None = Field(description="Replaces the one before; null if there is none.")
    refresh_token_expires_at: datetime | None = Field(description="If it is not used before.")
    session_id: UUID
    device_token: str | None = Field(description="Keep it on the device; null if it stays as is.")
    retried: bool = Field(description="This refresh token was given out before.")
    user: UserAnswer


class AccessAnswer(Answer):
    """A new access token of the same session; its refresh token stays as it is."""

    access_token: str
    token_type: Literal["Bearer"]
    expires_in: int
    session_id: UUID
    auth_time: datetime = Field(description="When the password was last proven.")


class MeAnswer(Answer):
    """Who asks, and what they may do; `user` or `key` says more."""

    kind: Literal["user", "key"]
    scopes: list[str]
    reach: Literal["own", "tenant"] = Field(description="`own`: objects of this user only.")
    tenant_id: str
    user: UserAnswer | None
    key: KeyAnswer | None


class AcceptedAnswer(Answer):
    """The same for every address: what comes next comes by mail."""

    status: Literal["accepted"]


class SessionAnswer(Answer):
    """A session, without its tokens."""

    id: UUID
    current: bool = Field(description="The one that asks.")
    device_label: str | None
    user_agent: str | None
    ip: str | None
    amr: list[str] = Field(description="How the user proved who it is (RFC 8176).")
    created_at: datetime
    last_used_at: datetime = Field(description="Log-in or last refresh.")
    expires_at: datetime = Field(description="If it is not used before.")


class SessionList(Answer):
    """Live sessions, newest first."""

    data: list[SessionAnswer]
    next_cursor: str | None
