"""Whoever asks, by whatever credential: an API key, or the access token of a session (A1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from uuid_utils.compat import uuid7

from observability import current
from repos import audit
from services.api_keys import as_inet

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from persistence.db import Database
    from services.access_tokens import AccessTokens
    from services.actors import Actor
    from services.api_keys import ApiKeys
    from services.session_copies import Trip

API_KEY = "srk_"


class Credentials:
    """Proves credentials, and notes what they were refused."""

    def __init__(
        self,
        db: Database,
        api_keys: ApiKeys,
        access_tokens: AccessTokens,
        new_id: Callable[[], UUID] = uuid7,
    ) -> None:
        self._db = db
        self._api_keys = api_keys
        self._access_tokens = access_tokens
        self._new_id = new_id

    def authenticate(self, bearer: str, address: str, trip: Trip | None = None) -> Actor:
        """Return who it is, by one read of the primary, or `trip`: of a session's copy (A42).

        Raises what `ApiKeys` and `AccessTokens` raise of it: 401 or 403; what `trip` raises.
        """
        if bearer.startswith(API_KEY):
            return self._api_keys.authenticate(bearer, address)
        return self._access_tokens.authenticate(bearer, trip)

    def touch(self, actor: Actor, address: str) -> None:
        """Note that a key was used; for after the answer, never fails."""
        self._api_keys.touch(actor, address)

    def scope_denied(self, actor: Actor, scope: str, address: str) -> None:
        """Note in the audit log that `actor` asked for what its scopes do not allow."""
        with self._db.write() as conn:
            audit.record(
                conn,
                tenant_id=actor.tenant_id,
                audit_id=self._new_id(),
                subject=actor.subject,
                event="scope_denied",
                outcome="failed",
                reason=scope,
                address=as_inet(address),
                request_id=current().request_id,
            )
