"""How a refresh token is written: srr_..., and why its successor needs no memory (A30).

The secret is random and stays the session's for its life; only the generation and the MAC change.
So the successor follows from the token that was presented, and a retry gets the same one.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from hashlib import sha256
from struct import Struct
from typing import TYPE_CHECKING
from uuid import UUID

from services.sealed_texts import Opened, SealedTexts

if TYPE_CHECKING:
    from collections.abc import Mapping

PREFIX = "srr_"
SECRET_BYTES = 32
FIRST_GENERATION = 0
_PAYLOAD = Struct(f">16sI{SECRET_BYTES}s")


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """A refresh token whose MAC is good. Stored are only the two hashes."""

    key_id: str
    tenant_id: str
    session_id: UUID
    generation: int
    secret: bytes

    @property
    def secret_hash(self) -> bytes:
        """SHA-256 of the secret, kept on the session."""
        return sha256(self.secret).digest()

    @property
    def successor(self) -> RefreshToken:
        """The token of the next generation, under the same master key."""
        return replace(self, generation=self.generation + 1)


class RefreshTokens:
    """Writes and reads refresh tokens."""

    def __init__(self, subkeys: Mapping[str, bytes]) -> None:
        """`subkeys`: those of the label `refresh`, by master-key id."""
        self._texts = SealedTexts(PREFIX, subkeys, _PAYLOAD.size)

    def first(self, tenant_id: str, session_id: UUID) -> RefreshToken:
        """Draw the first token of a session."""
        secret = secrets.token_bytes(SECRET_BYTES)
        return RefreshToken(self._texts.key_id, tenant_id, session_id, FIRST_GENERATION, secret)

    def write(self, token: RefreshToken) -> str:
        """Return the text of a token: the same for the same token."""
        payload = _PAYLOAD.pack(token.session_id.bytes, token.generation, token.secret)
        return self._texts.write(Opened(token.key_id, token.tenant_id, payload))

    def read(self, text: str) -> RefreshToken | None:
        """Take a text apart; None: malformed, altered, or of a master key that is gone."""
        opened = self._texts.read(text)
        if opened is None:
            return None
        session_id, generation, secret = _PAYLOAD.unpack(opened.payload)
        return RefreshToken(
            opened.key_id, opened.tenant_id, UUID(bytes=session_id), generation, secret
        )


def token_hash(text: str) -> bytes:
    """Return the SHA-256 of a token as it is sent: what is stored of it."""
    return sha256(text.encode("ascii")).digest()
