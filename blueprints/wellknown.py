"""The documents by which others verify our access tokens; a tenant is an issuer (A43, A46)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from flask import Blueprint, Response

from blueprints.bodies.wellknown import Jwks, OpenidConfiguration, ServerMetadata
from blueprints.edge import Call, operation, respond
from blueprints.hooks import services
from blueprints.policy import PUBLIC
from errors import (
    Contention,
    DatabaseBusy,
    DatabaseUnavailable,
    DeadlineExceeded,
    FeatureDisabled,
    NotFound,
)
from services.actors import SCOPES

if TYPE_CHECKING:
    from typing import Any

routes = Blueprint("wellknown", __name__)

TENANT = re.compile("[a-z][a-z0-9-]{0,31}")
OF_KEYS = (FeatureDisabled, DatabaseBusy, DatabaseUnavailable, DeadlineExceeded, Contention)
CLAIMS = ("iss", "aud", "sub", "client_id", "sid", "tid", "jti", "iat", "nbf", "exp", "auth_time")


@routes.get("/.well-known/jwks.json")
@operation(policy=PUBLIC, answers={200: Jwks}, errors=OF_KEYS)
def jwks(_: Call) -> Response:
    """Show the public keys of the default tenant's tokens."""
    return _jwks(_default())


@routes.get("/t/<tenant>/.well-known/jwks.json")
@operation(policy=PUBLIC, answers={200: Jwks}, errors=OF_KEYS)
def tenant_jwks(_: Call, tenant: str) -> Response:
    """Show the public keys of a tenant's tokens."""
    return _jwks(tenant)


@routes.get("/.well-known/openid-configuration")
@operation(policy=PUBLIC, answers={200: OpenidConfiguration}, errors=(FeatureDisabled,))
def openid_configuration(_: Call) -> Response:
    """Say who issues the default tenant's tokens, as OpenID Connect Discovery does."""
    return respond(200, OpenidConfiguration, _metadata(_default()), _caching())


@routes.get("/t/<tenant>/.well-known/openid-configuration")
@operation(policy=PUBLIC, answers={200: OpenidConfiguration}, errors=(FeatureDisabled,))
def tenant_openid_configuration(_: Call, tenant: str) -> Response:
    """Say who issues a tenant's tokens, as OpenID Connect Discovery does."""
    return respond(200, OpenidConfiguration, _metadata(tenant), _caching())


@routes.get("/.well-known/oauth-authorization-server")
@operation(policy=PUBLIC, answers={200: ServerMetadata}, errors=(FeatureDisabled,))
def oauth_authorization_server(_: Call) -> Response:
    """Say who issues the default tenant's tokens, as RFC 8414 does."""
    return respond(200, ServerMetadata, _metadata(_default()), _caching())


@routes.get("/t/<tenant>/.well-known/oauth-authorization-server")
@operation(policy=PUBLIC, answers={200: ServerMetadata}, errors=(FeatureDisabled,))
def tenant_oauth_authorization_server(_: Call, tenant: str) -> Response:
    """Say who issues a tenant's tokens, as RFC 8414 does."""
    return respond(200, ServerMetadata, _metadata(tenant), _caching())


def _default() -> str:
    return services().config.default_tenant


def _require(tenant_id: str) -> None:
    """Raise FeatureDisabled or NotFound. An unknown tenant looks like one without keys (A3)."""
    if not services().config.feature_jwks_enabled:
        raise FeatureDisabled
    if not TENANT.fullmatch(tenant_id):
        raise NotFound


def _caching() -> dict[str, str]:
    return {"Cache-Control": f"public, max-age={services().config.jwks_max_age_s}"}


def _jwks(tenant_id: str) -> Response:
    _require(tenant_id)
    found = Jwks.model_validate({"keys": services().signing_keys.published(tenant_id)})
    # A key has the members of its type and no null: verifiers may take that for a value.
    text = found.model_dump_json(exclude_unset=True)
    return Response(text, 200, _caching(), content_type="application/json")


def _metadata(tenant_id: str) -> dict[str, Any]:
    _require(tenant_id)
    held = services()
    issuer = held.access_tokens.issuer(tenant_id)
    return {
        "issuer": issuer,
        "jwks_uri": f"{issuer}/.well-known/jwks.json",
        "service_documentation": f"{held.config.public_url}/docs",
        "response_types_supported": [],
        "grant_types_supported": [],
        "scopes_supported": sorted(SCOPES),
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256", "ES256", "EdDSA"],
        "claims_supported": [*CLAIMS, "amr", "scope"],
    }
