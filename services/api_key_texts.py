"""How an API key is written: srk_<tenant>_<id>_<secret><check> (auth page, section 3)."""

from __future__ import annotations

import re
import secrets
import zlib
from functools import lru_cache
from hashlib import sha256
from typing import NamedTuple

from errors import ApiKeyInvalid

_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_KEY = re.compile(r"(srk_([a-z][a-z0-9-]{0,31})_([0-9A-Za-z]{12})_[0-9A-Za-z]{43})([0-9A-Za-z]{6})")


class Presented(NamedTuple):
    """A well-written key: where to look it up, and the SHA-256 that its row must have."""

    tenant_id: str
    key_id: str
    digest: bytes


def _base62(number: int, width: int) -> str:
    digits = ""
    for _ in range(width):
        number, digit = divmod(number, 62)
        digits = _DIGITS[digit] + digits
    return digits


def _check(text: str) -> str:
    return _base62(zlib.crc32(text.encode("ascii")), 6)


def write_key(tenant_id: str) -> str:
    """Draw a new key of 256 random bits."""
    key_id = _base62(secrets.randbelow(62**12), 12)
    text = f"srk_{tenant_id}_{key_id}_{_base62(secrets.randbits(256), 43)}"
    return text + _check(text)


# A pure function of the text: what is remembered is how it reads, never whether it is alive.
@lru_cache(maxsize=4096)
def read_key(bearer: str) -> Presented:
    """Take a key apart; ApiKeyInvalid if it is no key or has a typing error (CRC-32)."""
    match = _KEY.fullmatch(bearer)
    if match is None or _check(match[1]) != match[4]:
        raise ApiKeyInvalid
    return Presented(match[2], match[3], sha256(bearer.encode("ascii")).digest())
