"""Sessions: a log-in and its family of refresh tokens (A30 to A38).

Generations are integers and decide; the clock only bounds how long a lost answer may be asked for
again. Nothing here trusts memory: the session's row is the only truth, after a restart too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from uuid_utils.compat import uuid7

from errors import (
    Contention,
    FeatureDisabled,
    NotFound,
    RefreshTokenExpired,
    RefreshTokenInvalid,
    RefreshTokenReused,
    SessionRevoked,
    TenantMismatch,
)
from observability import count_auth
from repos import sessions
from repos.sessions import NewSession
from services.access_tokens import SessionFacts
from services.refresh_tokens import token_hash

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from errors import AppError
    from persistence.db import Database
    from repos.audit import Caller
    from repos.sessions import ListedRow, SessionRow
    from services.access_tokens import AccessTokens
    from services.cursors import Cursors
    from services.refresh_tokens import RefreshToken, RefreshTokens
    from services.throttle import Throttle

LIST = "sessions"
NEWEST = UUID(int=2**128 - 1)  # No UUIDv7 is larger.
# A renewal that was refused for a reason that has gone when it is asked for: once more.
TRIES = 3
REFUSALS: dict[str, type[AppError]] = {
    "invalid": RefreshTokenInvalid,
    "revoked": SessionRevoked,
    "expired": RefreshTokenExpired,
    "reused": RefreshTokenReused,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionSettings:
    """`refresh` False: a session ends with its only access token, after `access_ttl_s`."""

    refresh: bool = True
    grace_s: int = 30
    idle_s: int = 1_209_600
    absolute_s: int = 5_184_000
    per_user: int = 20
    access_ttl_s: int = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A session that is about to be opened, and the text of its first refresh token."""

    refresh_token: str
    row: NewSession


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """What a client holds of a session; both refresh members are None where there are none.

    `expires_in` is in seconds; `retried`: the refresh token was given out before.
    """

    access_token: str
    expires_in: int
    refresh_token: str | None
    refresh_token_expires_at: datetime | None
    device_token: str | None
    retried: bool
    tenant_id: str
    session: SessionRow


class Sessions:
    """Use cases of sessions."""

    def __init__(
        self,
        db: Database,
        access_tokens: AccessTokens,
        refresh_tokens: RefreshTokens,
        throttle: Throttle,
        cursors: Cursors,
        settings: SessionSettings,
        new_id: Callable[[], UUID] = uuid7,
    ) -> None:
        self._db = db
        self._access_tokens = access_tokens
        self._refresh_tokens = refresh_tokens
        self._throttle = throttle
        self._cursors = cursors
        self._settings = settings
        self._new_id = new_id

    # --- Opening --------------------------------------------------------------------------------

    def draft(self, tenant_id: str, device_label: str | None) -> Draft:
        """Draw a session's id, secret and first token, for the statement that opens it."""
        first = self._refresh_tokens.first(tenant_id, self._new_id())
        text = self._refresh_tokens.write(first)
        settings = self._settings
        row = NewSession(
            session_id=first.session_id,
            secret_hash=first.secret_hash,
            token_hash=token_hash(text),
            device_label=device_label,
            idle_s=settings.idle_s if settings.refresh else settings.access_ttl_s,
            absolute_s=settings.absolute_s if settings.refresh else settings.access_ttl_s,
        )
        return Draft(refresh_token=text, row=row)

    def opened(
        self, tenant_id: str, row: SessionRow, draft: Draft, device_token: str, caller: Caller
    ) -> Tokens:
        """Return the tokens of a session that was committed; older ones beyond the limit end."""
        with self._db.write() as conn:
            sessions.revoke_surplus(
                conn,
                tenant_id=tenant_id,
                user_id=row.user_id,
                session_limit=self._settings.per_user,
                audit_id=self._new_id(),
                request_id=caller.request_id,
            )
        return self.tokens(tenant_id, row, draft.refresh_token, device_token=device_token)

    def tokens(
        self, tenant_id: str, row: SessionRow, refresh_token: str | None, **more: str
    ) -> Tokens:
        """Issue an access token for a session that was committed, and name the rest."""
        facts = SessionFacts(
            tenant_id=tenant_id,
            user_id=row.user_id,
            session_id=row.session_id,
            auth_time=row.auth_time,
            amr=row.amr,
            role=row.role,
        )
        issued = self._access_tokens.issue(facts)
        given = refresh_token if self._settings.refresh else None
        return Tokens(
            access_token=issued.text,
            expires_in=issued.expires_in_s,
            refresh_token=given,
            refresh_token_expires_at=row.expires_at if given else None,
            device_token=more.get("device_token"),
            retried=row.outcome == "retried",
            tenant_id=tenant_id,
            session=row,
        )

    # --- Refreshing -----------------------------------------------------------------------------

    def refresh(self, text: str, tenant: str | None, caller: Caller) -> Tokens:
        """Give the successor of a refresh token, the same one each time it is asked for.

        `tenant`: the header, if there was one. RefreshTokenInvalid; RefreshTokenReused: its family
        has ended, and that is committed; RefreshTokenExpired; SessionRevoked; RateLimited;
        TenantMismatch; FeatureDisabled.
        """
        if not self._settings.refresh:
            raise FeatureDisabled
        token = self._read(text, tenant, caller)
        if token is None:
            raise RefreshTokenInvalid
        successor = self._refresh_tokens.write(token.successor)
        row = self._renewed(token, token_hash(successor), caller)
        if row.outcome in REFUSALS:
            count_auth("refresh_reuse_detected" if row.outcome == "reused" else "refresh", "failed")
            raise REFUSALS[row.outcome]
        count_auth("refresh_retried" if row.outcome == "retried" else "refresh")
        return self.tokens(token.tenant_id, row, successor)

    def _read(self, text: str, tenant: str | None, caller: Caller) -> RefreshToken | None:
        """Take a token apart and count the call: a forgery for its address, without a query."""
        token = self._refresh_tokens.read(text)
        if token is None:
            self._throttle.count_call(caller.address)
            return None
        if tenant is not None and tenant != token.tenant_id:
            raise TenantMismatch
        self._throttle.count_session(token.tenant_id, token.session_id)
        return token

    def _renewed(self, token: RefreshToken, successor_hash: bytes, caller: Caller) -> SessionRow:
        """Move the session on, or let the row under its lock say why not."""
        for _ in range(TRIES):
            with self._db.write() as conn:
                row = sessions.renew(
                    conn,
                    tenant_id=token.tenant_id,
                    session_id=token.session_id,
                    secret_hash=token.secret_hash,
                    generation=token.generation,
                    token_hash=successor_hash,
                    idle_s=self._settings.idle_s,
                )
            row = row or self._decided(token, caller)
            if row is None:
                raise RefreshTokenInvalid
            if row.outcome != "current":
                return row
        raise Contention(headers={"Retry-After": "1"})

    def _decided(self, token: RefreshToken, caller: Caller) -> SessionRow | None:
        with self._db.write() as conn:
            return sessions.renew_again(
                conn,
                caller,
                tenant_id=token.tenant_id,
                session_id=token.session_id,
                secret_hash=token.secret_hash,
                generation=token.generation,
                grace_s=self._settings.grace_s,
                audit_id=self._new_id(),
                mail_id=self._new_id(),
            )

    # --- Ending ---------------------------------------------------------------------------------

    def log_out(self, text: str, tenant: str | None, caller: Caller) -> None:
        """End the session of a refresh token of any generation; what is no token ends nothing.

        RateLimited; TenantMismatch.
        """
        token = self._read(text, tenant, caller)
        if token is None:
            return
        with self._db.write() as conn:
            ended = sessions.end(
                conn,
                caller,
                tenant_id=token.tenant_id,
                session_id=token.session_id,
                secret_hash=token.secret_hash,
                audit_id=self._new_id(),
            )
        if ended:
            count_auth("session_revoked")

    def revoke(
        self,
        tenant_id: str,
        user_id: UUID,
        session_id: UUID,
        caller: Caller,
        reason: str = "revoked",
    ) -> None:
        """End one session of a user, twice is harmless. NotFound: not the user's, or none."""
        with self._db.write() as conn:
            found = sessions.revoke(
                conn,
                caller,
                tenant_id=tenant_id,
                user_id=user_id,
                session_id=session_id,
                reason=reason,
                audit_id=self._new_id(),
            )
        if found is None:
            raise NotFound
        count_auth("session_revoked")

    def revoke_others(
        self, tenant_id: str, user_id: UUID, session_id: UUID, caller: Caller
    ) -> None:
        """End all sessions of a user but this one."""
        with self._db.write() as conn:
            sessions.revoke_others(
                conn,
                caller,
                tenant_id=tenant_id,
                user_id=user_id,
                session_id=session_id,
                audit_id=self._new_id(),
            )
        count_auth("sessions_revoked_all")

    def revoke_all(
        self, tenant_id: str, user_id: UUID, subject: str, caller: Caller, reason: str = "all"
    ) -> None:
        """End all sessions of a user, those that open this moment included. NotFound."""
        with self._db.write() as conn:
            ended = sessions.revoke_all(
                conn,
                caller,
                tenant_id=tenant_id,
                user_id=user_id,
                subject=subject,
                reason=reason,
                audit_id=self._new_id(),
            )
        if not ended:
            raise NotFound
        count_auth("sessions_revoked_all")

    # --- Listing --------------------------------------------------------------------------------

    def page(
        self, tenant_id: str, user_id: UUID, limit: int, cursor: str | None
    ) -> tuple[list[ListedRow], str | None]:
        """Up to `limit` live sessions of a user, newest first, and the next page's cursor.

        CursorInvalid.
        """
        bound = {"tenant_id": tenant_id, "user_id": user_id}
        before = self._cursors.read(LIST, cursor, bound) if cursor else [str(NEWEST)]
        with self._db.read() as conn:
            rows = sessions.list_by_user(
                conn,
                tenant_id=tenant_id,
                user_id=user_id,
                before_id=UUID(before[0]),
                row_limit=limit + 1,
            )
        shown = rows[:limit]
        is_last = len(rows) == len(shown)
        return shown, None if is_last else self._cursors.sign(LIST, [shown[-1].id], bound)
