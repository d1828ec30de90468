"""Signed notes as C2SP has them: a text, an empty line, and a line per signature (Ed25519).

c2sp.org/signed-note. A reader ignores signatures of keys that it does not know, so more of them
may follow: of the next key while one is replaced, and of witnesses.
"""

from __future__ import annotations

import binascii
import re
from base64 import b64decode, b64encode
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

if TYPE_CHECKING:
    from collections.abc import Iterable

ED25519 = b"\x01"
KEY_BYTES, ID_BYTES = 32, 4
NOTE_MAX_CHARS = 1_000_000
_NAME = re.compile(r"[^\s+]+")
_LINE = re.compile(r"— ([^\s+]+) ([A-Za-z0-9+/]+={0,2})")
_FORBIDDEN = re.compile("[\x00-\x09\x0b-\x1f]")


class NoteInvalid(ValueError):
    """The text is no signed note, or no key; the reason names no value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicKey:
    """A key that checks. `name` says whose notes it signs: a key of another name is another key."""

    name: str
    public: bytes

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `<name>+<id>+<base64>`, as `str` writes it; raises NoteInvalid."""
        name, _, rest = text.strip().partition("+")
        key_id, _, encoded = rest.partition("+")
        public = decoded(encoded)
        if not _NAME.fullmatch(name) or len(public) != 1 + KEY_BYTES or public[:1] != ED25519:
            raise NoteInvalid("not a key of the form name+id+base64 of Ed25519")
        key = cls(name=name, public=public[1:])
        if key.key_id.hex() != key_id:
            raise NoteInvalid("the id is not that of the key")
        return key

    @property
    def key_id(self) -> bytes:
        """Four bytes that tell keys apart; they prove nothing."""
        return sha256(self.name.encode() + b"\n" + ED25519 + self.public).digest()[:ID_BYTES]

    def __str__(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{encoded(ED25519 + self.public)}"

    def has_signed(self, text: str, signature: bytes) -> bool:
        """Tell whether this signature of the text is the key's."""
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, text.encode())
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKey:
    """A key that signs notes of one name; `seed`: its 32 secret bytes."""

    name: str
    seed: bytes

    @property
    def public_key(self) -> PublicKey:
        """The key that checks."""
        private = Ed25519PrivateKey.from_private_bytes(self.seed)
        return PublicKey(name=self.name, public=private.public_key().public_bytes_raw())

    def signature(self, text: str) -> str:
        """Return the line that follows the text and its empty line."""
        signed = Ed25519PrivateKey.from_private_bytes(self.seed).sign(text.encode())
        return f"— {self.name} {encoded(self.public_key.key_id + signed)}\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """A note that reads well; nothing of it is proved. `signatures`: name, key id, signature."""

    text: str
    signatures: tuple[tuple[str, bytes, bytes], ...]

    @classmethod
    def parse(cls, note: str) -> Self:
        """Take a note apart; raises NoteInvalid."""
        head, gap, tail = note.rpartition("\n\n")
        lines = [_LINE.fullmatch(line) for line in tail.split("\n")[:-1]]
        if not gap or len(note) > NOTE_MAX_CHARS or _FORBIDDEN.search(note):
            raise NoteInvalid("not a text, an empty line and signatures")
        if not tail.endswith("\n") or not all(lines):
            raise NoteInvalid("a line after the text is no signature")
        found = [(line[1], decoded(line[2])) for line in lines if line]
        if any(len(data) <= ID_BYTES for _, data in found):
            raise NoteInvalid("a signature is too short")
        signatures = tuple((name, data[:ID_BYTES], data[ID_BYTES:]) for name, data in found)
        return cls(text=f"{head}\n", signatures=signatures)

    def signer(self, keys: Iterable[PublicKey]) -> PublicKey | None:
        """Return which of the keys has signed it, None if none has.

        A signature that bears a known key's name and id and is not its own spoils the note.
        """
        known = {(key.name, key.key_id): key for key in keys}
        found: PublicKey | None = None
        for name, key_id, signature in self.signatures:
            key = known.get((name, key_id))
            if key is None:
                continue
            if not key.has_signed(self.text, signature):
                return None
            found = found or key
        return found


def signed(text: str, keys: Iterable[SigningKey]) -> str:
    """Return the text, which ends with a newline, as a note that all of the keys have signed."""
    if not text.endswith("\n") or _FORBIDDEN.search(text):
        raise ValueError("Bug: a note's text is lines without control characters")
    return f"{text}\n{''.join(key.signature(text) for key in keys)}"


def encoded(data: bytes) -> str:
    """Return base64 as notes have it."""
    return b64encode(data).decode("ascii")


def decoded(text: str) -> bytes:
    """Return what is in base64; raises NoteInvalid unless it is its only spelling."""
    try:
        data = b64decode(text, validate=True)
    except (binascii.Error, ValueError) as exc:
        raise NoteInvalid("not base64") from exc
    if encoded(data) != text:
        raise NoteInvalid("not base64 in its only spelling")
    return data
