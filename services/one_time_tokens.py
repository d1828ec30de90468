"""How a one-time token is written: sro_..., sent by mail, good for one use (A47).

It follows from its row (user, purpose, nonce, master key), so that the sender of mail makes it
again: neither the row nor the outbox holds it.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from struct import Struct
from typing import TYPE_CHECKING
from uuid import UUID

from services.refresh_tokens import token_hash
from services.sealed_texts import Opened, SealedTexts

if TYPE_CHECKING:
    from collections.abc import Mapping

PREFIX = "sro_"
NONCE_BYTES = 16
# What a token is for, as in the table; the number stands in the token and never changes.
PURPOSES = {"verify": 1, "reset": 2, "email_change": 3}
TTL_S = {"verify": 86_400, "reset": 3_600, "email_change": 86_400}
_NAMES = {number: name for name, number in PURPOSES.items()}
_PAYLOAD = Struct(f">16sB{NONCE_BYTES}s")


@dataclass(frozen=True, slots=True)
class OneTimeToken:
    """A one-time token whose MAC is good; `purpose` is a key of PURPOSES."""

    key_id: str
    tenant_id: str
    user_id: UUID
    purpose: str
    nonce: bytes


class OneTimeTokens:
    """Writes and reads one-time tokens."""

    def __init__(self, subkeys: Mapping[str, bytes]) -> None:
        """`subkeys`: those of the label `one-time`, by master-key id."""
        self._texts = SealedTexts(PREFIX, subkeys, _PAYLOAD.size)

    def draw(self, tenant_id: str, user_id: UUID, purpose: str) -> OneTimeToken:
        """Make a new token."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        return OneTimeToken(self._texts.key_id, tenant_id, user_id, purpose, nonce)

    def write(self, token: OneTimeToken) -> str:
        """Return the text of a token: the same for the same token. KeyError: its key is gone."""
        payload = _PAYLOAD.pack(token.user_id.bytes, PURPOSES[token.purpose], token.nonce)
        return self._texts.write(Opened(token.key_id, token.tenant_id, payload))

    def read(self, text: str) -> OneTimeToken | None:
        """Take a text apart; None: malformed, altered, or of a master key that is gone."""
        opened = self._texts.read(text)
        if opened is None:
            return None
        user_id, number, nonce = _PAYLOAD.unpack(opened.payload)
        purpose = _NAMES.get(number)
        if purpose is None:
            return None
        return OneTimeToken(opened.key_id, opened.tenant_id, UUID(bytes=user_id), purpose, nonce)

    def hash_of(self, token: OneTimeToken) -> bytes:
        """Return what is stored of a token."""
        return token_hash(self.write(token))
