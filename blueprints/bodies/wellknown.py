"""What others need to verify our access tokens (RFC 7517, RFC 8414, OpenID Connect Discovery)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from blueprints.fields import Answer, Maybe


class Jwk(Answer):
    """A public key: `n` and `e` of RSA, `crv`, `x` and `y` of a curve."""

    kty: Literal["RSA", "EC", "OKP"]
    use: Literal["sig"]
    alg: Literal["RS256", "ES256", "EdDSA"]
    kid: Annotated[str, Field(description="RFC 7638 thumbprint of the key, SHA-256.")]
    n: Maybe[str] = None
    e: Maybe[str] = None
    crv: Maybe[str] = None
    x: Maybe[str] = None
    y: Maybe[str] = None


class Jwks(Answer):
    """The keys that sign a tenant's tokens, will sign soon, or have signed lately."""

    keys: list[Jwk]


class ServerMetadata(Answer):
    """Who issues the tokens and where its keys are. There is no authorization endpoint."""

    issuer: Annotated[str, Field(description="Claim `iss` of the tenant's tokens.")]
    jwks_uri: str
    service_documentation: str
    response_types_supported: list[str]
    grant_types_supported: list[str]
    scopes_supported: list[str]


class OpenidConfiguration(ServerMetadata):
    """The same in the words of OpenID Connect, for libraries that look there first."""

    subject_types_supported: list[str]
    id_token_signing_alg_values_supported: list[str]
    claims_supported: list[str]
