"""Access tokens: what a session gets, and what one is worth when it comes back (A39 to A41).

A token proves by its signature that we issued it, and nothing more: what its session is worth is
read from the primary with each request, or where the settings allow it, from a copy of that.
"""

from __future__ import annotations

import random
import re
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from uuid_utils.compat import uuid7

from errors import AccessTokenExpired, AccessTokenInvalid, SessionRevoked, TenantSuspended
from repos import access_tokens
from services import jws
from services.actors import SCOPES_OF_ROLE, Actor
from services.session_copies import Named
from services.signing_keys import LEEWAY_S

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from persistence.db import Database
    from repos.access_tokens import TokenRow
    from services.session_copies import SessionCopies, Trip
    from services.signing_keys import SigningKeys

CHARACTERS_MAX = 4096
TYPE: Final = "at+jwt"
CLIENT: Final = "first-party"
HEADER: Final = {"alg", "kid", "typ"}
TIMES: Final = ("iat", "nbf", "exp", "auth_time")
SPREAD = 0.05  # Tokens of one moment end spread over so much of their life, not all at once.
_TENANT = re.compile(r"[a-z][a-z0-9-]{0,31}")
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessTokenSettings:
    """`issuer` is that of `default_tenant`; others have `/t/<tenant>` behind it."""

    issuer: str
    default_tenant: str
    audience: str
    ttl_s: int
    fresh_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionFacts:
    """What a token says of its session. `amr`: how the user proved who it is (RFC 8176)."""

    tenant_id: str
    user_id: UUID
    session_id: UUID
    auth_time: datetime
    amr: Sequence[str]
    role: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """A token, and how many seconds it lives."""

    text: str
    expires_in_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Claims:
    """What a token says; only its signature has been proved."""

    tenant_id: str
    kid: str
    user_id: UUID
    session_id: UUID
    nbf: int
    exp: int

    @property
    def subject(self) -> str:
        return f"user:{self.user_id}"

    @property
    def named(self) -> Named:
        """What a copy of it is kept under: another key's token is another copy (A45)."""
        return Named(self.tenant_id, self.subject, f"{self.session_id}:{self.kid}")


class AccessTokens:
    """Issues and verifies. The database's clock decides."""

    def __init__(
        self,
        db: Database,
        keys: SigningKeys,
        copies: SessionCopies,
        settings: AccessTokenSettings,
        new_id: Callable[[], UUID] = uuid7,
        spread: Callable[[], float] = random.random,
    ) -> None:
        """`spread` gives 0 to 1: how much of the 5 % a token's life is shorter."""
        self._db = db
        self._keys = keys
        self._copies = copies
        self._settings = settings
        self._new_id = new_id
        self._spread = spread

    def issuer(self, tenant_id: str) -> str:
        """Return the URL that issues the tenant's tokens; its documents stand under it."""
        issuer = self._settings.issuer
        return issuer if tenant_id == self._settings.default_tenant else f"{issuer}/t/{tenant_id}"

    def issue(self, session: SessionFacts) -> Issued:
        """Make a token for a session that was committed; one read, and no connection held."""
        subject = f"user:{session.user_id}"
        signer = self._keys.signer(session.tenant_id, subject)
        life_s = self._settings.ttl_s - int(self._settings.ttl_s * SPREAD * self._spread())
        claims = {
            "iss": self.issuer(session.tenant_id),
            "aud": self._settings.audience,
            "sub": subject,
            "client_id": CLIENT,
            "sid": str(session.session_id),
            "tid": session.tenant_id,
            "jti": str(self._new_id()),
            "iat": signer.now_s,
            "nbf": signer.now_s,
            "exp": signer.now_s + life_s,
            "auth_time": int(session.auth_time.timestamp()),
            "amr": list(session.amr),
            "scope": " ".join(sorted(SCOPES_OF_ROLE[session.role])),
        }
        header = {"alg": signer.alg, "kid": signer.kid, "typ": TYPE}
        return Issued(text=jws.sign(header, claims, signer.private_key), expires_in_s=life_s)

    def authenticate(self, text: str, trip: Trip | None = None) -> Actor:
        """Prove the signature, then that the session is live: by one read of the primary.

        `trip`: this is a read, for which a copy in Redis is good enough, if there is one (A42).
        AccessTokenInvalid, AccessTokenExpired, SessionRevoked (the session has ended, however),
        TenantSuspended; what `trip` raises.
        """
        try:
            claims = self._proved(text)
        except jws.JwsInvalid as error:
            raise AccessTokenInvalid from error
        copy = self._copies.find(claims.named, trip) if trip else None
        row = copy or self._looked_up(claims)
        actor = _actor(claims, row)
        if trip and copy is None and row is not None:
            trip.after_answer(partial(self._copies.keep, claims.named, row))
        return actor

    def _looked_up(self, claims: _Claims) -> TokenRow | None:
        asked_at_s = time.monotonic()
        with self._db.read() as conn:
            row = access_tokens.authenticate(
                conn,
                tenant_id=claims.tenant_id,
                user_id=claims.user_id,
                session_id=claims.session_id,
                kid=claims.kid,
                fresh_s=self._settings.fresh_s,
            )
        if row is not None:
            self._copies.learn_the_time(asked_at_s, row.checked_at)
        return row

    def _proved(self, text: str) -> _Claims:
        """Return the claims of a token that we signed. Raises JwsInvalid."""
        if len(text) > CHARACTERS_MAX:
            raise jws.JwsInvalid("too long")
        found = jws.read(text)
        if found.header.keys() != HEADER or found.header["typ"] != TYPE:
            raise jws.JwsInvalid("not an access token")
        claims = jws.members(found.payload)
        # Not proved yet: it only says whose keys to look at, and is one of the claims below.
        tenant_id, kid = _text(claims, "tid"), _text(found.header, "kid")
        if not _TENANT.fullmatch(tenant_id):
            raise jws.JwsInvalid("no tenant")
        key = self._keys.verifier(tenant_id, kid)
        jws.verify(found, [key] if key else [])
        return self._read(claims, tenant_id, kid)

    def _read(self, claims: dict[str, Any], tenant_id: str, kid: str) -> _Claims:
        """Take the claims, all of which but `amr` and `scope` are needed (A40)."""
        iat, nbf, exp, _ = (_seconds(claims, name) for name in TIMES)
        kind, _, user_id = _text(claims, "sub").partition(":")
        fits = (
            _text(claims, "iss") == self.issuer(tenant_id)
            and _text(claims, "aud") == self._settings.audience
            and _text(claims, "client_id") == CLIENT
            and kind == "user"
            and _text(claims, "jti") != ""
            and iat <= exp <= iat + 2 * self._settings.ttl_s
        )
        if not fits:
            raise jws.JwsInvalid("not for us")
        return _Claims(
            tenant_id=tenant_id,
            kid=kid,
            user_id=_id(user_id),
            session_id=_id(_text(claims, "sid")),
            nbf=max(iat, nbf),
            exp=exp,
        )


def _actor(claims: _Claims, row: TokenRow | None) -> Actor:
    """Return who asks, by what the session is. Raises what `authenticate` raises."""
    if row is None or not row.key_live:
        raise AccessTokenInvalid
    now_s = row.checked_at.timestamp()
    if now_s < claims.nbf - LEEWAY_S:
        raise AccessTokenInvalid
    if now_s >= claims.exp + LEEWAY_S:
        raise AccessTokenExpired
    if not row.session_live or row.role is None:
        raise SessionRevoked
    if not row.tenant_active:
        raise TenantSuspended
    return Actor(
        claims.tenant_id,
        claims.subject,
        SCOPES_OF_ROLE[row.role],
        owner_id=claims.user_id if row.role == "user" else None,
        user_id=claims.user_id,
        session_id=claims.session_id,
        role=row.role,
        is_fresh=row.is_fresh,
    )


def _text(members: dict[str, Any], name: str) -> str:
    found = members.get(name)
    if not isinstance(found, str):
        raise jws.JwsInvalid(f"no {name}")
    return found


def _seconds(members: dict[str, Any], name: str) -> int:
    found = members.get(name)
    if not isinstance(found, int) or isinstance(found, bool):
        raise jws.JwsInvalid(f"no {name}")
    return found


def _id(text: str) -> UUID:
    if not _ID.fullmatch(text):
        raise jws.JwsInvalid("no id")
    return UUID(text)
