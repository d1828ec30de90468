"""Users over HTTP: registration, log-in, sessions, passwords, addresses (auth page, section 10)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from uuid import UUID  # noqa: TC003  # `operation` reads the annotation.

from flask import Blueprint, Response, request

from blueprints.bodies.auth import (
    AcceptedAnswer,
    AccessAnswer,
    ChangeEmailBody,
    ChangePasswordBody,
    EmailBody,
    LoginBody,
    LogoutAllBody,
    LogoutBody,
    MeAnswer,
    ReauthenticateBody,
    RefreshBody,
    RegisterBody,
    ResetPasswordBody,
    SessionList,
    SessionsQuery,
    TokensAnswer,
    VerifyEmailBody,
)
from blueprints.caller import caller
from blueprints.edge import Call, operation, respond
from blueprints.exchange import exchange
from blueprints.hooks import services
from blueprints.policy import ANY, PUBLIC, USERS, admit
from blueprints.refusals import WITH_CREDENTIAL
from errors import (
    AccountDisabled,
    AuthBusy,
    Contention,
    CursorInvalid,
    DatabaseBusy,
    DatabaseUnavailable,
    DeadlineExceeded,
    EmailNotVerified,
    EmailTaken,
    FeatureDisabled,
    InvalidCredentials,
    InvalidHeader,
    NotFound,
    RateLimited,
    RefreshTokenExpired,
    RefreshTokenInvalid,
    RefreshTokenReused,
    RegistrationClosed,
    ScopeMissing,
    SessionRevoked,
    TenantMismatch,
    TokenInvalidOrExpired,
    WeakPassword,
)
from services.sign_in import LogIn, Registration

if TYPE_CHECKING:
    from services.sessions import Tokens

routes = Blueprint("auth", __name__)

BODY_MAX_BYTES = 4096
TENANT = re.compile("[a-z][a-z0-9-]{0,31}")
# What every route here can answer that counts calls; what every one can that hashes.
COUNTED = (
    RateLimited,
    DatabaseBusy,
    DatabaseUnavailable,
    DeadlineExceeded,
    Contention,
)
HASHES = (*COUNTED, AuthBusy)


@routes.post("/v1/auth/register")
@operation(
    policy=PUBLIC,
    body=RegisterBody,
    body_max_bytes=BODY_MAX_BYTES,
    answers={201: TokensAnswer, 202: AcceptedAnswer},
    errors=(*HASHES, WeakPassword, RegistrationClosed, EmailTaken),
)
def register(call: Call) -> Response:
    """Register; 202: open the link in the mail first, whoever has the address."""
    ask = Registration(**call.body.model_dump())
    tokens = services().sign_in.register(_tenant(), ask, caller())
    return _tokens(tokens, 201) if tokens else _accepted()


@routes.post("/v1/auth/login")
@operation(
    policy=PUBLIC,
    body=LoginBody,
    body_max_bytes=BODY_MAX_BYTES,
    answers={200: TokensAnswer},
    errors=(*HASHES, InvalidCredentials, AccountDisabled, EmailNotVerified),
)
def login(call: Call) -> Response:
    """Log in with address and password."""
    ask = LogIn(**call.body.model_dump())
    return _tokens(services().sign_in.log_in(_tenant(), ask, caller()))


@routes.post("/v1/auth/refresh")
@operation(
    policy=PUBLIC,
    body=RefreshBody,
    body_max_bytes=BODY_MAX_BYTES,
    answers={200: TokensAnswer},
    errors=(
        *COUNTED,
        RefreshTokenInvalid,
        RefreshTokenExpired,
        RefreshTokenReused,
        SessionRevoked,
        TenantMismatch,
        FeatureDisabled,
    ),
)
def refresh(call: Call) -> Response:
    """Exchange a refresh token for the next one; asked again, it gives the same."""
    token = call.body.refresh_token
    return _tokens(services().sessions.refresh(token, _named_tenant(), caller()))


@routes.post("/v1/auth/logout")
@operation(
    policy=PUBLIC,
    body=LogoutBody,
    body_max_bytes=BODY_MAX_BYTES,
    answers={204: None},
    errors=(*COUNTED, *WITH_CREDENTIAL, ScopeMissing),
)
def logout(call: Call) -> Response:
    """End a session by its refresh token alone, or by its access token."""
    sessions, token = services().sessions, call.body.refresh_token
    if token is not None:
        sessions.log_out(token, _named_tenant(), caller())
        return _done()
    actor = admit(
        USERS,
        request.headers.get("Authorization"),
        _named_tenant(),
        request.remote_addr or "",
        services().credentials,
    )
    sessions.revoke(*_session(actor), caller(), reason="logged_out")
    return _done()


@routes.post("/v1/auth/logout-all")
@operation(policy=USERS, body=LogoutAllBody, body_max_bytes=BODY_MAX_BYTES, answers={204: None})
def logout_all(call: Call) -> Response:
    """End all sessions of the user, or all others."""
    tenant_id, user_id, session_id = _session(call.actor)
    if call.body.scope == "all":
        services().sessions.revoke_all(tenant_id, user_id, call.actor.subject, caller())
    else:
        services().sessions.revoke_others(tenant_id, user_id, session_id, caller())
    return _done()


@routes.get("/v1/auth/me")
@operation(policy=ANY, answers={200: MeAnswer}, errors=(NotFound,))
def me(call: Call) -> Response:
    """Say who asks, and what they may do."""
    actor, user, key = call.actor, None, None
    if actor.key_id is not None:
        row = services().api_keys.get(actor.tenant_id, actor.key_id)
        key = {**_members(row), "prefix": f"srk_{row.tenant_id}_{row.id}"}
    else:
        _, user_id, _ = _session(actor)
        user = services().users.find_by_id(actor.tenant_id, user_id)
    shown = {
        "kind": "key" if key else "user",
        "scopes": sorted(actor.scopes),
        "reach": "own" if actor.owner_id else "tenant",
        "tenant_id": actor.tenant_id,
        "user": user,
        "key": key,
    }
    return respond(200, MeAnswer, shown)


@routes.get("/v1/auth/sessions")
@operation(policy=USERS, query=SessionsQuery, answers={200: SessionList}, errors=(CursorInvalid,))
def list_sessions(call: Call) -> Response:
    """List the live sessions of the user, newest first."""
    tenant_id, user_id, session_id = _session(call.actor)
    rows, cursor = services().sessions.page(tenant_id, user_id, call.query.limit, call.query.cursor)
    data = [{**_members(row), "current": row.id == session_id} for row in rows]
    return respond(200, SessionList, {"data": data, "next_cursor": cursor})


@routes.delete("/v1/auth/sessions/<session_id>")
@operation(policy=USERS, answers={204: None}, errors=(NotFound,))
def revoke_session(call: Call, session_id: UUID) -> Response:
    """End one session of the user."""
    tenant_id, user_id, _ = _session(call.actor)
    services().sessions.revoke(tenant_id, user_id, session_id, caller())
    return _done()


@routes.post("/v1/auth/reauthenticate")
@operation(
    policy=USERS,
    body=ReauthenticateBody,
    body_max_bytes=BODY_MAX_BYTES,
    answers={200: AccessAnswer},
    errors=(*HASHES, InvalidCredentials, AccountDisabled),
)
def reauthenticate(call: Call) -> Response:
    """Prove the password again: an access token with a new time of authentication."""
    tokens = services().sign_in.reauthenticate(*_session(call.actor), call.body.password, caller())
    return respond(200, AccessAnswer, {**_shown(tokens), "auth_time": tokens.session.auth_time})


@routes.post("/v1/auth/password/change")
@operation(
    policy=USERS,
    body=ChangePasswordBody,
    body_max_bytes=BODY_MAX_BYTES,
    answers={200: TokensAnswer},
    errors=(*HASHES, InvalidCredentials, AccountDisabled, WeakPassword),
)
def change_password(call: Call) -> Response:
    """Change the password; all sessions end, and the answer opens a new one."""
    tenant_id, user_id, _ = _session(call.actor)
    body = call.body
    return _tokens(
        services().password_changes.change(
            tenant_id, user_id, body.current_password, body.new_password, caller()
        )
    )


@routes.post("/v1/auth/password/forgot")
@operation(
    policy=PUBLIC,
    body=EmailBody,
    body_max_bytes=BODY_MAX_BYTES,
    answers={202: AcceptedAnswer},
    errors=COUNTED,
)
def forgot_password(call: Call) -> Response:
    """Mail a link that sets a new password, if anybody has the address."""
    services().emails.request(
        _tenant(), call.body.email, "reset", "password_reset_requested", caller()
    )
    return _accepted()


@routes.post("/v1/auth/password/reset")
@operation(
    policy=PUBLIC,
    body=ResetPasswordBody,
    body_max_bytes=BODY_MAX_BYTES,
    answers={204: None},
    errors=(*HASHES, TokenInvalidOrExpired, TenantMismatch, WeakPassword),
)
def reset_password(call: Call) -> Response:
    """Set a new password by a link, once; all sessions end, and nobody is logged in."""
    services().password_changes.reset(
        call.body.token, call.body.new_password, _named_tenant(), caller()
    )
    return _done()


@routes.post("/v1/auth/email/change")
@operation(
    policy=USERS,
    body=ChangeEmailBody,
    body_max_bytes=BODY_MAX_BYTES,
    answers={202: AcceptedAnswer},
    errors=(*HASHES, InvalidCredentials, AccountDisabled),
)
def change_email(call: Call) -> Response:
    """Mail a link to a new address; until it is used, the old one stays."""
    tenant_id, user_id, _ = _session(call.actor)
    services().emails.request_change(
        tenant_id, user_id, call.body.new_email, call.body.password, caller()
    )
    return _accepted()


@routes.post("/v1/auth/email/verify")
@operation(
    policy=PUBLIC,
    body=VerifyEmailBody,
    body_max_bytes=BODY_MAX_BYTES,
    answers={204: None},
    errors=(*COUNTED, TokenInvalidOrExpired, TenantMismatch, EmailTaken),
)
def verify_email(call: Call) -> Response:
    """Prove an address by its link, once; a changed one ends all sessions."""
    services().emails.verify(call.body.token, _named_tenant(), caller())
    return _done()


@routes.post("/v1/auth/email/verify/resend")
@operation(
    policy=PUBLIC,
    body=EmailBody,
    body_max_bytes=BODY_MAX_BYTES,
    answers={202: AcceptedAnswer},
    errors=COUNTED,
)
def resend_verification(call: Call) -> Response:
    """Mail the link that proves an address again, if it is still to be proven."""
    services().emails.request(
        _tenant(), call.body.email, "verify", "email_verification_requested", caller()
    )
    return _accepted()


# --- What the views share -----------------------------------------------------------------------


def _named_tenant() -> str | None:
    """Return the tenant of the header, None without one. Raises InvalidHeader."""
    name = request.headers.get("Strongroom-Tenant")
    if name is not None and TENANT.fullmatch(name) is None:
        raise InvalidHeader(
            "This cannot be a tenant.",
            errors=(
                {
                    "header": "Strongroom-Tenant",
                    "code": "invalid_format",
                    "detail": "A letter, then letters, digits, hyphens, 32 at most.",
                },
            ),
        )
    return name


def _tenant() -> str:
    """Return whose user this is about, where no credential says it (A1)."""
    tenant_id = _named_tenant() or services().config.default_tenant
    exchange().tenant_id = tenant_id
    return tenant_id


def _session(actor: Any) -> tuple[str, UUID, UUID]:
    """Return tenant, user and session of an actor, whom the policy says to be a user."""
    return actor.tenant_id, actor.user_id, actor.session_id


def _members(row: Any) -> dict[str, Any]:
    return {name: getattr(row, name) for name in row.__slots__}


def _shown(tokens: Tokens) -> dict[str, Any]:
    session = _members(tokens.session)
    user = {**session, "id": tokens.session.user_id, "tenant_id": tokens.tenant_id}
    return {
        **_members(tokens),
        "token_type": "Bearer",
        "session_id": tokens.session.session_id,
        "user": user,
    }


def _tokens(tokens: Tokens, status: int = 200) -> Response:
    return respond(status, TokensAnswer, _shown(tokens))


def _accepted() -> Response:
    return respond(202, AcceptedAnswer, {"status": "accepted"})


def _done() -> Response:
    return Response(status=204)
