"""Texts that carry a tenant and a MAC: refresh tokens and one-time tokens (auth page, 6 and 8).

`<prefix>` + base64url(0x01, length and master-key id, length and tenant, payload, MAC 32): who is
meant can be read and not forged, and a forgery is refused without a query.
"""

from __future__ import annotations

import binascii
import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

VERSION = 1
MAC_BYTES = 32
NAME_MAX_BYTES = 32  # Of a master-key id as of a tenant.


@dataclass(frozen=True, slots=True)
class Opened:
    """What a text holds whose MAC is good. `key_id`: the master key that the MAC is of."""

    key_id: str
    tenant_id: str
    payload: bytes


class SealedTexts:
    """Writes and reads texts of one kind; each master key has a subkey of its own for the kind."""

    def __init__(self, prefix: str, subkeys: Mapping[str, bytes], payload_bytes: int) -> None:
        """`subkeys` by master-key id, the one for new texts first (`Config.subkeys`)."""
        self._prefix = prefix
        self._subkeys = subkeys
        self._payload_bytes = payload_bytes

    @property
    def key_id(self) -> str:
        """The master key of new texts."""
        return next(iter(self._subkeys))

    def write(self, opened: Opened) -> str:
        """Return the text: the same for the same parts. KeyError: the master key is gone."""
        body = bytes([VERSION]) + _named(opened.key_id) + _named(opened.tenant_id) + opened.payload
        mac = hmac.digest(self._subkeys[opened.key_id], body, "sha256")
        return self._prefix + urlsafe_b64encode(body + mac).rstrip(b"=").decode("ascii")

    def read(self, text: str) -> Opened | None:
        """Take a text apart; None: malformed, altered, or of a master key that is gone."""
        raw = self._decoded(text)
        if raw is None or raw[0] != VERSION:
            return None
        key_id, rest = _split(raw[1:-MAC_BYTES])
        tenant_id, payload = _split(rest)
        subkey = self._subkeys.get(key_id)
        if subkey is None or len(payload) != self._payload_bytes:
            return None
        if not hmac.compare_digest(
            hmac.digest(subkey, raw[:-MAC_BYTES], "sha256"), raw[-MAC_BYTES:]
        ):
            return None
        return Opened(key_id, tenant_id, payload)

    def _decoded(self, text: str) -> bytes | None:
        """Return the bytes; None for what `write` would not have written, to the last bit."""
        most = 3 + 2 * NAME_MAX_BYTES + self._payload_bytes + MAC_BYTES
        encoded = text.removeprefix(self._prefix)
        if encoded == text or len(encoded) > most * 2 or not encoded.isascii():
            return None
        try:
            raw = urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))
        except binascii.Error:
            return None
        is_ours = urlsafe_b64encode(raw).rstrip(b"=") == encoded.encode("ascii")
        return raw if is_ours and len(raw) > 1 + MAC_BYTES else None


def _named(name: str) -> bytes:
    encoded = name.encode("ascii")
    return bytes([len(encoded)]) + encoded


def _split(raw: bytes) -> tuple[str, bytes]:
    """Return the name at the front and what follows it; a name cut short leads to no key."""
    length = raw[0] if raw else 0
    return raw[1 : 1 + length].decode("latin-1"), raw[1 + length :]
