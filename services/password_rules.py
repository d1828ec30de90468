"""What a password may be, without hashing it (A13 to A15, A21)."""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from errors import ValidationFailed

if TYPE_CHECKING:
    from errors import Fault

LENGTH_MAX, BYTES_MAX = 256, 1024
BCRYPT_BYTES_MAX = 72  # bcrypt reads no further.
OWN_PART_MIN = 6
WORD_MIN = 3  # Taking out each letter of a one-letter address would leave nothing of anything.
PRODUCT = "strongroom"
_COMMON = Path(__file__).with_name("common_passwords.txt")


def nfc(password: str, pointer: str = "/password") -> str:
    """Return the one form of a text that is hashed (A15).

    ValidationFailed at `pointer`: a NUL, half a surrogate pair, or a code point without a meaning
    yet, whose normal form a later Unicode may change.
    """
    if any(character == "\0" or _is_no_text(character) for character in password):
        raise ValidationFailed(errors=(_fault(pointer, "password_invalid", "Not a text."),))
    return unicodedata.normalize("NFC", password)


def _is_no_text(character: str) -> bool:
    return unicodedata.category(character) in {"Cs", "Cn"}


def faults(
    text: str, *, tenant_id: str, email: str, minimum: int, bytes_max: int, pointer: str
) -> tuple[Fault, ...]:
    """Return what makes a new password too weak; `text` in NFC, `minimum` in code points."""
    found = {}
    if len(text) < minimum:
        found["too_short"] = f"At least {minimum} characters."
    if len(text) > LENGTH_MAX or len(text.encode()) > bytes_max:
        found["too_long"] = f"At most {LENGTH_MAX} characters, and {bytes_max} bytes of UTF-8."
    if text.casefold() in _common():
        found["common"] = "One of the passwords that are tried first."
    if len(_own_part(text.casefold(), tenant_id, email)) < OWN_PART_MIN:
        found["context_word"] = f"Under {OWN_PART_MIN} characters without address and names."
    return tuple(_fault(pointer, code, detail) for code, detail in found.items())


def same_as_current(pointer: str) -> Fault:
    """Return the fault of a new password that is the old one."""
    return _fault(pointer, "same_as_current", "This is the password already.")


def breached(pointer: str) -> Fault:
    """Return the fault of a password that a public list of leaks holds."""
    return _fault(pointer, "breached", "Known from a leak elsewhere.")


def _own_part(folded: str, tenant_id: str, email: str) -> str:
    """Return what is left when everything is taken out that a guesser would try."""
    address = unicodedata.normalize("NFC", email.casefold())
    words = {tenant_id, PRODUCT, address.rpartition("@")[0], *re.split(r"[\W_]+", address)}
    for word in sorted(words, key=len, reverse=True):
        if len(word) >= WORD_MIN:
            folded = folded.replace(word, "")
    return folded


def _fault(pointer: str, code: str, detail: str) -> Fault:
    return {"pointer": pointer, "code": code, "detail": detail}


@cache
def _common() -> frozenset[str]:
    lines = _COMMON.read_text("utf-8").splitlines()
    return frozenset(line for line in lines if not line.startswith("#"))
