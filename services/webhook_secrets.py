"""Secrets of webhooks: made, and sealed for the database (W2).

A dump of the database signs nothing: a secret stands there under AES-256-GCM, whose key is derived
from a master key that is not in the database. Tenant and endpoint are sealed with it, so that a
secret cannot be moved to another endpoint.
"""

from __future__ import annotations

import base64
import os
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

PREFIX = "whsec_"
SECRET_BYTES = 32
NONCE_BYTES = 12


class WebhookSecrets:
    """Makes, seals, opens. `subkeys`: {master key id: 32 bytes}, the one for new work first."""

    def __init__(self, subkeys: Mapping[str, bytes]) -> None:
        self._subkeys = subkeys

    def make(self, tenant_id: str, endpoint_id: UUID) -> tuple[str, bytes]:
        """Return a new secret, as its owner sees it this once, and sealed."""
        secret = os.urandom(SECRET_BYTES)
        return shown(secret), self._seal(secret, tenant_id, endpoint_id)

    def open(self, sealed: bytes, tenant_id: str, endpoint_id: UUID) -> bytes:
        """Return the secret. RuntimeError: altered, moved, or its master key is missing."""
        name, _, rest = sealed.partition(b"\0")
        subkey = self._subkeys.get(name.decode("ascii", "replace"))
        if subkey is None:
            raise RuntimeError("AUTH_MASTER_KEYS lacks the key of a webhook secret")
        nonce, text = rest[:NONCE_BYTES], rest[NONCE_BYTES:]
        try:
            return AESGCM(subkey).decrypt(nonce, text, _about(tenant_id, endpoint_id))
        except InvalidTag as error:
            raise RuntimeError(f"The secret of {endpoint_id} does not open") from error

    def _seal(self, secret: bytes, tenant_id: str, endpoint_id: UUID) -> bytes:
        """Return key id, NUL, nonce, and what AES-256-GCM makes of the secret."""
        name, subkey = next(iter(self._subkeys.items()))
        nonce = os.urandom(NONCE_BYTES)
        text = AESGCM(subkey).encrypt(nonce, secret, _about(tenant_id, endpoint_id))
        return name.encode() + b"\0" + nonce + text


def shown(secret: bytes) -> str:
    """Return the secret as Standard Webhooks writes it."""
    return PREFIX + base64.b64encode(secret).decode()


def _about(tenant_id: str, endpoint_id: UUID) -> bytes:
    return f"{tenant_id} {endpoint_id}".encode()
