"""Private signing keys: made, and sealed for the database (A46).

A dump of the database signs nothing: a private key stands there under AES-256-GCM, whose key is
derived from a master key that is not in the database. Tenant and kid are sealed with it, so a row
cannot be moved to another tenant or name.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)

from services import jws

if TYPE_CHECKING:
    from collections.abc import Callable

RSA_BITS = 3072
NONCE_BYTES = 12

MAKERS: Final[dict[str, Callable[[], Any]]] = {
    "RS256": lambda: rsa.generate_private_key(public_exponent=65537, key_size=RSA_BITS),
    "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class NewKey:
    """A key that was made; `public_jwk` may be published as it is (A43)."""

    kid: str
    alg: str
    public_jwk: dict[str, str]
    private_enc: bytes
    master_key_id: str


class SealedKeys:
    """Makes, seals and opens. `keks`: {master key id: 32 bytes}, the one for new work first."""

    def __init__(self, keks: dict[str, bytes]) -> None:
        self._keks = keks

    @property
    def master_key_id(self) -> str:
        """The master key for new work."""
        return next(iter(self._keks))

    def knows(self, master_key_id: str) -> bool:
        """Tell whether what is sealed under this master key can be opened."""
        return master_key_id in self._keks

    def make(self, tenant_id: str, alg: str) -> NewKey:
        """Make a key. RSA takes most of a second: hold no connection meanwhile."""
        private = MAKERS[alg]()
        public = jws.public_members(alg, private.public_key())
        kid = jws.thumbprint(public)
        der = private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        return NewKey(
            kid=kid,
            alg=alg,
            public_jwk={**public, "use": "sig", "alg": alg, "kid": kid},
            private_enc=self._seal(tenant_id, kid, der),
            master_key_id=self.master_key_id,
        )

    def open(self, tenant_id: str, kid: str, sealed: bytes, master_key_id: str) -> Any:
        """Return the private key. RuntimeError: altered, moved, or its master key is missing."""
        return load_der_private_key(self._opened(tenant_id, kid, sealed, master_key_id), None)

    def seal_again(self, tenant_id: str, kid: str, sealed: bytes, master_key_id: str) -> bytes:
        """Return the same private key, sealed under the master key for new work."""
        return self._seal(tenant_id, kid, self._opened(tenant_id, kid, sealed, master_key_id))

    def _seal(self, tenant_id: str, kid: str, der: bytes) -> bytes:
        nonce = os.urandom(NONCE_BYTES)
        aead = AESGCM(self._keks[self.master_key_id])
        return nonce + aead.encrypt(nonce, der, _bound_to(tenant_id, kid))

    def _opened(self, tenant_id: str, kid: str, sealed: bytes, master_key_id: str) -> bytes:
        if master_key_id not in self._keks:
            raise RuntimeError(f"AUTH_MASTER_KEYS lacks {master_key_id}: a signing key needs it")
        nonce, rest = sealed[:NONCE_BYTES], sealed[NONCE_BYTES:]
        try:
            return AESGCM(self._keks[master_key_id]).decrypt(nonce, rest, _bound_to(tenant_id, kid))
        except InvalidTag as error:
            raise RuntimeError(f"The signing key {kid} does not open: it was altered") from error


def _bound_to(tenant_id: str, kid: str) -> bytes:
    return f"{tenant_id} {kid}".encode()
