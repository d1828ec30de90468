"""The mark of a device that has logged in before: opens its own throttle bucket (A28).

Who only guesses has none, so guesses from elsewhere cannot keep the owner out.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from itsdangerous import BadData, URLSafeTimedSerializer

from services import jws

if TYPE_CHECKING:
    from collections.abc import Iterable

PREFIX = "srd_"
TTL_S = 180 * 86_400
_DEVICE_BYTES = 16


@dataclass(frozen=True, slots=True)
class Device:
    """A device on which `user_id` has logged in. `device_id` is random and means nothing else."""

    tenant_id: str
    user_id: UUID
    device_id: str


class DeviceTokens:
    """Signs and reads device tokens."""

    def __init__(self, secrets_: Iterable[bytes]) -> None:
        """`secrets_`: the first signs, all are read; itsdangerous wants the newest last."""
        self._serializer = URLSafeTimedSerializer(
            list(secrets_)[::-1],
            salt="strongroom.device",
            signer_kwargs={"digest_method": hashlib.sha256, "key_derivation": "hmac"},
        )

    def write(self, tenant_id: str, user_id: UUID, known: Device | None) -> str:
        """Return a token for the device, signed now; one that is `known` keeps its id."""
        device_id = known.device_id if known else secrets.token_urlsafe(_DEVICE_BYTES)
        return PREFIX + str(self._serializer.dumps([tenant_id, str(user_id), device_id]))

    def read(self, text: str | None) -> Device | None:
        """Return the device; None: no token, altered, or older than 180 days."""
        if not text or not text.startswith(PREFIX):
            return None
        try:
            jws.decode(text.rpartition(".")[2])  # itsdangerous reads other spellings of a MAC too.
            tenant_id, user_id, device_id = self._serializer.loads(
                text.removeprefix(PREFIX), max_age=TTL_S
            )
        except (BadData, jws.JwsInvalid):
            return None
        return Device(tenant_id, UUID(user_id), device_id)
