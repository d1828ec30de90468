"""One text for one JSON value (RFC 8785, JCS), so that a hash of the text means the value.

Of numbers only integers that every JSON reader takes exactly: a book holds no others.
"""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any

MOST_INTEGER = 2**53 - 1
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def canonical(value: Any) -> bytes:
    """Return the canonical text; raises ValueError for what has none here: see the module."""
    return _encode(_ordered(value)).encode()


def digest(value: Any) -> bytes:
    """Return the SHA-256 of the canonical text: what `metadata_hash` holds of `metadata`."""
    return sha256(canonical(value)).digest()


def _ordered(value: Any) -> Any:
    """Return the value with its names in the order of their UTF-16 units, all through."""
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int) and abs(value) <= MOST_INTEGER:
        return value
    if isinstance(value, list | tuple):
        return [_ordered(each) for each in value]
    if isinstance(value, dict) and all(isinstance(name, str) for name in value):
        names = sorted(value, key=lambda name: name.encode("utf-16-be"))
        return {name: _ordered(value[name]) for name in names}
    raise ValueError("Only objects, lists, texts, booleans, null and integers below 2^53.")
