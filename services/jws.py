"""JSON Web Signatures in compact form, read and checked strictly (A39; RFC 7515, 7517, 7638).

PyJWT computes and compares signatures; it also takes duplicate members, padding, foreign headers
and another algorithm than the key's, so what may be computed at all is decided here.
"""

from __future__ import annotations

import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections import Counter
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from jwt.algorithms import get_default_algorithms
from jwt.exceptions import PyJWTError

if TYPE_CHECKING:
    from collections.abc import Sequence

# Which keys an algorithm may be used with: type and curve. What is not here does not exist.
KEYS_OF: Final[dict[str, tuple[str, str | None]]] = {
    **dict.fromkeys(("HS256", "HS384", "HS512"), ("oct", None)),
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), ("RSA", None)),
    "ES256": ("EC", "P-256"),
    "ES384": ("EC", "P-384"),
    "ES512": ("EC", "P-521"),
    "EdDSA": ("OKP", "Ed25519"),
}
# The members that make a key (RFC 7638): what else a JWK holds, private parts too, is not read.
MEMBERS_OF: Final = {
    "oct": ("k", "kty"),
    "RSA": ("e", "kty", "n"),
    "EC": ("crv", "kty", "x", "y"),
    "OKP": ("crv", "kty", "x"),
}
# None of these names a key or changes what is signed, as jku, x5u, jwk, x5c, crit and b64 would.
HEADER_MEMBERS: Final = frozenset({"alg", "kid", "typ", "cty"})
ALGORITHMS: Final = get_default_algorithms()
_SEGMENT = re.compile(r"[A-Za-z0-9_-]*")
_COMPACT = json.JSONEncoder(separators=(",", ":"), sort_keys=True).encode


class JwsInvalid(Exception):
    """The text, the key set or the signature is not acceptable; the reason names no value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Jws:
    """A text that reads well; nothing of it is proved."""

    header: dict[str, Any]
    payload: bytes
    signed: bytes
    signature: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A key that may verify. `alg` None: any algorithm of its type; `material` is PyJWT's."""

    kid: str | None
    alg: str | None
    kind: tuple[str, str | None]
    material: Any


# --- Reading ------------------------------------------------------------------------------------


def read(text: str) -> Jws:
    """Take a compact JWS apart; raises JwsInvalid unless each character stands as it must."""
    parts = text.split(".")
    if len(parts) != 3:  # noqa: PLR2004  # Header, payload, signature.
        raise JwsInvalid("not three segments")
    header, payload, signature = map(decode, parts)
    signed = text.rpartition(".")[0].encode("ascii")
    return Jws(header=members(header), payload=payload, signed=signed, signature=signature)


def decode(segment: str) -> bytes:
    """Decode base64url without padding; raises JwsInvalid for any other spelling of the bytes."""
    if not _SEGMENT.fullmatch(segment) or len(segment) % 4 == 1:
        raise JwsInvalid("not base64url")
    found = urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
    if encode(found) != segment:
        raise JwsInvalid("not canonical base64url")
    return found


def encode(raw: bytes) -> str:
    """Encode as base64url without padding."""
    return urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def members(raw: bytes) -> dict[str, Any]:
    """Read a JSON object; raises JwsInvalid for anything else, and for a name that comes twice."""
    try:
        found = _DECODER.decode(raw.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise JwsInvalid("not JSON") from error
    if not isinstance(found, dict):
        raise JwsInvalid("not a JSON object")
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("A name stands twice.")
    return made


def _no_constant(text: str) -> Any:
    raise ValueError(text)


_DECODER = json.JSONDecoder(object_pairs_hook=_once, parse_constant=_no_constant)


# --- Keys ---------------------------------------------------------------------------------------


def read_keys(document: object) -> list[Key]:
    """Return the usable keys of a JWK or a JWK set; others are passed over (RFC 7517, section 5).

    Raises JwsInvalid if two keys share a `kid`, or secrets stand among public keys: then a header
    could choose what its signature is checked by.
    """
    found = document.get("keys", [document]) if isinstance(document, dict) else None
    if not isinstance(found, list):
        raise JwsInvalid("not a key set")
    jwks = [each for each in found if isinstance(each, dict)]
    if len({each.get("kty") == "oct" for each in jwks}) > 1:
        raise JwsInvalid("secrets among public keys")
    if any(count > 1 for count in Counter(str(each.get("kid")) for each in jwks).values()):
        raise JwsInvalid("two keys with one kid")
    return [key for key in map(read_key, jwks) if key is not None]


def read_key(jwk: dict[str, Any]) -> Key | None:
    """Return the key, or None if it is not one for signatures, or not whole."""
    kind, alg, kid = (jwk.get("kty"), jwk.get("crv")), jwk.get("alg"), jwk.get("kid")
    fitting = [name for name, wanted in KEYS_OF.items() if wanted == kind]
    operations = jwk.get("key_ops", ["verify"])
    is_for_us = jwk.get("use", "sig") == "sig" and "verify" in _list(operations)
    is_named = kid is None or isinstance(kid, str)
    if not (fitting and is_for_us and is_named and (alg is None or alg in fitting)):
        return None
    known = {name: jwk.get(name) for name in MEMBERS_OF[str(kind[0])]}
    try:
        material = ALGORITHMS[fitting[0]].from_jwk(known)
    except (PyJWTError, ValueError, TypeError, KeyError, AttributeError):
        return None
    return Key(kid=kid, alg=alg, kind=KEYS_OF[fitting[0]], material=material)


def _list(found: object) -> list[object]:
    return found if isinstance(found, list) else []


def public_members(alg: str, public_key: Any) -> dict[str, str]:
    """Return what RFC 7638 needs of a public key, and nothing else."""
    made = ALGORITHMS[alg].to_jwk(public_key, as_dict=True)
    return {name: made[name] for name in MEMBERS_OF[made["kty"]]}


def thumbprint(jwk: dict[str, Any]) -> str:
    """Return the SHA-256 thumbprint of a key (RFC 7638)."""
    needed = {name: jwk[name] for name in MEMBERS_OF[jwk["kty"]]}
    return encode(sha256(_COMPACT(needed).encode()).digest())


# --- Signatures ---------------------------------------------------------------------------------


def verify(jws: Jws, keys: Sequence[Key]) -> Key:
    """Return the one key that signed; raises JwsInvalid.

    The key is the one of the header's `kid`; without a `kid` there must be one key only. Its
    algorithm is its own: the header may repeat it, not choose it.
    """
    if not jws.header.keys() <= HEADER_MEMBERS:
        raise JwsInvalid("a header member that is not allowed")
    kid, alg = jws.header.get("kid"), jws.header.get("alg")
    named = [key for key in keys if kid is None or key.kid == kid]
    if len(named) != 1:
        raise JwsInvalid("no such key")
    key = named[0]
    if not isinstance(alg, str) or KEYS_OF.get(alg) != key.kind or key.alg not in {None, alg}:
        raise JwsInvalid("not the key's algorithm")
    algorithm = ALGORITHMS[alg]
    if algorithm.check_key_length(key.material) is not None:
        raise JwsInvalid("a key that is too short")
    if not algorithm.verify(jws.signed, key.material, jws.signature):
        raise JwsInvalid("a wrong signature")
    return key


def sign(header: dict[str, str], payload: dict[str, Any], private_key: Any) -> str:
    """Return the compact JWS of `payload` by the algorithm that `header` names."""
    signed = f"{encode(_COMPACT(header).encode())}.{encode(_COMPACT(payload).encode())}"
    signature = ALGORITHMS[header["alg"]].sign(signed.encode("ascii"), private_key)
    return f"{signed}.{encode(signature)}"
