"""A policy per route, and the guard that asks it: who may come in (A1, A5, A6).

The guard knows no flask: it takes two header values and an address, so that every kind of caller
can be tried against every policy without a server.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from errors import ScopeMissing, TenantMismatch, Unauthenticated
from services.actors import MOVES_MONEY, SCOPES

if TYPE_CHECKING:
    from services.actors import Actor
    from services.api_keys import ApiKeys


@dataclass(frozen=True, slots=True)
class Policy:
    """Who may use a route; `required_scope` is set if and only if the kind is `scope`."""

    kind: Literal["public", "any", "scope"]
    required_scope: str | None = None


PUBLIC = Policy("public")
ANY = Policy("any")


def scope(name: str) -> Policy:
    """Let in actors that hold this scope; an unknown one stops the boot."""
    if name not in SCOPES:
        raise ValueError(f"Bug: there is no scope {name!r}")
    return Policy("scope", name)


def admit(
    policy: Policy | None,
    authorization: str | None,
    tenant: str | None,
    address: str,
    keys: ApiKeys,
) -> Actor | None:
    """Return the actor, None on a public route, or raise what the client gets: 401 or 403.

    `authorization` and `tenant` are the headers Authorization and Strongroom-Tenant. No policy
    is a route that nobody may use: the application does not start with one, this is the last gate.
    """
    if policy is None:
        raise ScopeMissing("This route is closed to everybody.", required_scope=None)
    if policy.kind == "public":
        return None
    actor = keys.authenticate(_bearer(authorization), address)
    if tenant is not None and tenant != actor.tenant_id:
        raise TenantMismatch
    if policy.required_scope is not None:
        require(actor, policy.required_scope, keys, address)
    return actor


def require(actor: Actor, required: str, keys: ApiKeys, address: str) -> None:
    """Raise ScopeMissing without this scope; a refusal to move money is audited (A52)."""
    if required in actor.scopes:
        return
    if required in MOVES_MONEY:
        keys.scope_denied(actor, required, address)
    raise ScopeMissing(required_scope=required)


def _bearer(authorization: str | None) -> str:
    scheme, _, credential = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not credential.strip():
        raise Unauthenticated
    return credential.strip()
