"""A policy per route, and the guard that asks it: who may come in (A1, A5, A6).

The guard knows no flask: it takes two header values and an address, so that every kind of caller
can be tried against every policy without a server.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from errors import ReauthenticationRequired, ScopeMissing, TenantMismatch, Unauthenticated
from services.actors import MOVES_MONEY, SCOPES

if TYPE_CHECKING:
    from services.actors import Actor
    from services.credentials import Credentials
    from services.session_copies import Trip


@dataclass(frozen=True, slots=True)
class Policy:
    """Who may use a route; `required_scope` is set for the kinds `scope` and `fresh` only."""

    kind: Literal["public", "any", "users", "scope", "fresh"]
    required_scope: str | None = None


PUBLIC = Policy("public")
ANY = Policy("any")
USERS = Policy("users")  # Any session, and no API key.


def scope(name: str) -> Policy:
    """Let in actors that hold this scope; an unknown one stops the boot."""
    return Policy("scope", _known(name))


def fresh(name: str) -> Policy:
    """Let in operators who hold this scope and gave their password at most FRESH_AUTH_S ago."""
    return Policy("fresh", _known(name))


def _known(name: str) -> str:
    if name not in SCOPES:
        raise ValueError(f"Bug: there is no scope {name!r}")
    return name


def admit(
    policy: Policy | None,
    authorization: str | None,
    tenant: str | None,
    address: str,
    credentials: Credentials,
    trip: Trip | None = None,
) -> Actor | None:
    """Return the actor, None on a public route, or raise what the client gets: 401 or 403.

    `authorization` and `tenant` are the headers Authorization and Strongroom-Tenant. `trip`: a
    copy of the session is good enough. No policy is a route that nobody may use: the application
    does not start with one, this is the last gate.
    """
    if policy is None:
        raise ScopeMissing("This route is closed to everybody.", required_scope=None)
    if policy.kind == "public":
        return None
    trusts_copies = trip if policy.kind != "fresh" else None
    actor = credentials.authenticate(_bearer(authorization), address, trusts_copies)
    if tenant is not None and tenant != actor.tenant_id:
        raise TenantMismatch
    if policy.kind == "users" and actor.session_id is None:
        raise ScopeMissing("This is for users: an API key has no session.", required_scope=None)
    if policy.required_scope is not None:
        require(actor, policy.required_scope, credentials, address)
    if policy.kind == "fresh" and not actor.is_fresh:
        raise ReauthenticationRequired
    return actor


def require(actor: Actor, required: str, credentials: Credentials, address: str) -> None:
    """Raise ScopeMissing without this scope; a refusal to move money is audited (A52)."""
    if required in actor.scopes:
        return
    if required in MOVES_MONEY:
        credentials.scope_denied(actor, required, address)
    raise ScopeMissing(required_scope=required)


def _bearer(authorization: str | None) -> str:
    scheme, _, credential = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not credential.strip():
        raise Unauthenticated
    return credential.strip()
