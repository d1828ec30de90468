"""Private keys at rest (A46)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from services import jws
from services.sealed_keys import MAKERS, SealedKeys

OLD, NEW = bytes(32), bytes([1]) * 32


def raw(private: Any) -> bytes:
    der: bytes = private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    return der


@pytest.mark.parametrize("alg", MAKERS)
def test_a_sealed_key_signs_what_its_public_part_verifies(alg: str) -> None:
    """A43, A46."""
    keys = SealedKeys({"old": OLD})
    made = keys.make("default", alg)
    private = keys.open("default", made.kid, made.private_enc, "old")
    text = jws.sign({"alg": alg, "kid": made.kid}, {"a": 1}, private)
    assert jws.verify(jws.read(text), jws.read_keys(made.public_jwk)).kid == made.kid


@pytest.mark.parametrize(("alg", "members"), [("RS256", "e kty n"), ("ES256", "crv kty x y"),
                                              ("EdDSA", "crv kty x")])  # fmt: skip
def test_what_is_published_is_public(alg: str, members: str) -> None:
    """A43: never a private member, never `oct`; `kid` is the thumbprint."""
    made = SealedKeys({"old": OLD}).make("default", alg)
    assert set(made.public_jwk) == {*members.split(), "use", "alg", "kid"}
    assert made.public_jwk["use"] == "sig"
    assert made.public_jwk["alg"] == alg
    assert made.public_jwk["kid"] == made.kid == jws.thumbprint(made.public_jwk)


def test_rsa_keys_have_3072_bits() -> None:
    """Section 7."""
    made = SealedKeys({"old": OLD}).make("default", "RS256")
    assert len(jws.decode(made.public_jwk["n"])) * 8 == 3072


def test_nothing_private_is_readable_in_what_is_stored() -> None:
    """A46."""
    keys = SealedKeys({"old": OLD})
    made = keys.make("default", "EdDSA")
    secret = raw(keys.open("default", made.kid, made.private_enc, "old"))
    stored = made.private_enc + json.dumps(made.public_jwk).encode()
    assert secret[-32:] not in stored


@pytest.mark.parametrize("change", ["tenant", "kid", "first byte", "last byte", "cut", "key"])
def test_what_was_altered_or_moved_does_not_open(change: str) -> None:
    """A46: tenant and kid are sealed with the key."""
    keys = SealedKeys({"old": OLD})
    made = keys.make("default", "EdDSA")
    tenant_id, kid, sealed = "default", made.kid, bytearray(made.private_enc)
    if change == "tenant":
        tenant_id = "acme"
    elif change == "kid":
        kid += "A"
    elif change == "key":
        keys = SealedKeys({"old": NEW})
    elif change == "cut":
        del sealed[-1]
    else:
        sealed[0 if change == "first byte" else -1] ^= 1
    with pytest.raises(RuntimeError, match="altered"):
        keys.open(tenant_id, kid, bytes(sealed), "old")


def test_a_missing_master_key_is_named() -> None:
    made = SealedKeys({"old": OLD}).make("default", "EdDSA")
    with pytest.raises(RuntimeError, match="lacks old"):
        SealedKeys({"new": NEW}).open("default", made.kid, made.private_enc, "old")


def test_a_key_is_sealed_again_under_the_first_master_key() -> None:
    """Section 7: the old master key is needed no longer."""
    old = SealedKeys({"old": OLD})
    made = old.make("default", "EdDSA")
    both = SealedKeys({"new": NEW, "old": OLD})
    again = both.seal_again("default", made.kid, made.private_enc, "old")
    opened = SealedKeys({"new": NEW}).open("default", made.kid, again, "new")
    assert raw(opened) == raw(old.open("default", made.kid, made.private_enc, "old"))
