"""Signed cursors of lists: where a page ended, and of which list it was (P45)."""

from __future__ import annotations

import hashlib
import json
from base64 import b64encode
from typing import TYPE_CHECKING, Any

from itsdangerous import BadData, URLSafeSerializer

from errors import CursorInvalid

if TYPE_CHECKING:
    from collections.abc import Mapping

_BOUND_BYTES = 12  # A hash in a signed text need not resist forgers: 96 bits tell lists apart.
# The last character of a signature carries 4 bits of it and 2 zeros, which a decoder passes over.
_LAST = frozenset("AEIMQUYcgkosw048")


class Cursors:
    """Signs and reads cursors; a client can neither read more with one nor move it elsewhere."""

    def __init__(self, *secrets: bytes) -> None:
        """`secrets`: the first signs, all are read, so that keys can be changed (AUTH_MASTER_KEYS).

        itsdangerous wants them the other way around: its newest is the last.
        """
        self._secrets = secrets[::-1]

    def sign(self, list_name: str, position: list[Any], bound: Mapping[str, Any]) -> str:
        """Return the cursor after `position`: numbers and texts; times and ids become texts.

        `bound` is all that the page depended on: tenant, reach, filters, order.
        """
        return str(self._serializer(list_name).dumps([_hash(bound), *map(_plain, position)]))

    def read(self, list_name: str, text: str, bound: Mapping[str, Any]) -> list[Any]:
        """Return the position. CursorInvalid: altered, of another list, or for other filters."""
        try:
            hashed, *position = self._serializer(list_name).loads(text)
        except BadData as exc:
            raise CursorInvalid from exc
        if hashed != _hash(bound) or text[-1] not in _LAST:
            raise CursorInvalid
        return list(position)

    def _serializer(self, list_name: str) -> URLSafeSerializer:
        return URLSafeSerializer(
            list(self._secrets),
            salt=f"strongroom.cursor.{list_name}",
            signer_kwargs={"digest_method": hashlib.sha256, "key_derivation": "hmac"},
        )


def _hash(bound: Mapping[str, Any]) -> str:
    text = json.dumps(bound, sort_keys=True, default=str)
    return b64encode(hashlib.sha256(text.encode()).digest()[:_BOUND_BYTES]).decode()


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, int | str) else str(value)
