"""Stored password hashes, read before any library sees them (A20).

A hash is data that somebody may have imported or altered: what is malformed, or would take more
memory or time than a log-in may, is unusable. Nothing here hashes.
"""

from __future__ import annotations

import base64
import binascii
import re
import secrets
from dataclasses import dataclass

ARGON2_MEMORY_MAX_KIB = 262_144
ARGON2_TIME_MAX = 10
ARGON2_PARALLELISM_MAX = 8
BCRYPT_COST_MIN, BCRYPT_COST_MAX = 4, 15
STORED_MAX = 512  # Characters; ours have 97.

_NUMBER = "(0|[1-9][0-9]{0,6})"
_ARGON2 = re.compile(
    rf"\$(argon2(?:id|i|d))\$v=19\$m={_NUMBER},t={_NUMBER},p={_NUMBER}"
    r"\$([A-Za-z0-9+/]+)\$([A-Za-z0-9+/]+)"
)
_BCRYPT = re.compile(r"(\$2[aby]\$([0-9]{2})\$)([./A-Za-z0-9]{22})([./A-Za-z0-9]{31})")
_BCRYPT_DIGITS = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_SALT_BYTES, _DIGEST_BYTES = (8, 64), (16, 64)


@dataclass(frozen=True, slots=True)
class CostClass:
    """What verifying a hash costs: hashes of one class take the same time.

    `params`: of Argon2 m (KiB), t (passes), p (lanes); of bcrypt the cost, a power of two.
    """

    algo: str
    params: tuple[tuple[str, int], ...]

    def __str__(self) -> str:
        """Return how hashes of this class begin, as users_password_class_idx keeps it."""
        given = dict(self.params)
        if self.algo == "bcrypt":
            return f"$2b${given['cost']:02}"
        return f"${self.algo}$v=19$m={given['m']},t={given['t']},p={given['p']}"

    def example(self) -> str:
        """Return a hash of no known password: random bytes in the form of a hash."""
        if self.algo == "bcrypt":
            # The last digit of both parts stands for fewer bits, of which 0 is always one.
            salt, digest = (_bcrypt_digits(21) + ".", _bcrypt_digits(30) + ".")
            return f"{self}${salt}{digest}"
        return f"{self}${_base64(secrets.token_bytes(16))}${_base64(secrets.token_bytes(32))}"


@dataclass(frozen=True, slots=True)
class StoredHash:
    """A hash that may be verified; `text` is as the library wants it."""

    text: str
    cost_class: CostClass


def argon2_class(memory_kib: int, time_cost: int, parallelism: int) -> CostClass:
    """Return the class of new Argon2id hashes with these parameters."""
    return CostClass("argon2id", (("m", memory_kib), ("t", time_cost), ("p", parallelism)))


def bcrypt_class(cost: int) -> CostClass:
    """Return the class of bcrypt hashes of 2^cost rounds, whichever letter they have."""
    return CostClass("bcrypt", (("cost", cost),))


def parse(text: str | None) -> StoredHash | None:
    """Read a stored hash; None: there is none, it is malformed, or beyond the bounds."""
    if text is None or len(text) > STORED_MAX:
        return None
    if match := _BCRYPT.fullmatch(text):
        return _bcrypt(*match.groups())
    if match := _ARGON2.fullmatch(text):
        return _argon2(text, *match.groups())
    return None


def parse_class(beginning: str) -> CostClass | None:
    """Read a class as `str` writes it; None: nothing of that class can be verified."""
    sample = "." * 53 if beginning.startswith("$2") else f"{'A' * 22}${'A' * 43}"
    stored = parse(f"{beginning}${sample}")
    return stored.cost_class if stored else None


def _bcrypt(head: str, cost_text: str, salt: str, digest: str) -> StoredHash | None:
    cost = int(cost_text)
    if not BCRYPT_COST_MIN <= cost <= BCRYPT_COST_MAX:
        return None
    # Some writers left the unused bits of the last digits set, which the library warns of: a
    # salt's 128 bits leave 4 of the last digit, a digest's 184 bits leave 2.
    text = head + _without_low_bits(salt, 4) + _without_low_bits(digest, 2)
    return StoredHash(text, bcrypt_class(cost))


def _without_low_bits(digits: str, bits: int) -> str:
    last = _BCRYPT_DIGITS.index(digits[-1])
    return digits[:-1] + _BCRYPT_DIGITS[last >> bits << bits]


def _argon2(
    text: str, algo: str, m_text: str, t_text: str, p_text: str, salt: str, digest: str
) -> StoredHash | None:
    m, t, p = int(m_text), int(t_text), int(p_text)
    fits = (
        1 <= p <= ARGON2_PARALLELISM_MAX
        and 1 <= t <= ARGON2_TIME_MAX
        and 8 * p <= m <= ARGON2_MEMORY_MAX_KIB
    )
    if not (fits and _is_base64(salt, _SALT_BYTES) and _is_base64(digest, _DIGEST_BYTES)):
        return None
    return StoredHash(text, CostClass(algo, (("m", m), ("t", t), ("p", p))))


def _is_base64(text: str, length: tuple[int, int]) -> bool:
    """Tell whether it is so many bytes in the one form that they have, unpadded."""
    try:
        decoded = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except binascii.Error:
        return False
    return length[0] <= len(decoded) <= length[1] and _base64(decoded) == text


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii").rstrip("=")


def _bcrypt_digits(count: int) -> str:
    return "".join(secrets.choice(_BCRYPT_DIGITS) for _ in range(count))
