"""What is signed of a book: checkpoints of its tree, receipts of transactions (LM5, LM7).

A checkpoint is c2sp.org/tlog-checkpoint without extension lines. Neither text can be taken for the
other: the second line of one is a number, that of the other an id.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self
from uuid import UUID

from services.signed_notes import NoteInvalid, PublicKey, SigningKey, decoded, encoded, signed

HASH_BYTES = 32
LINES = 3
RECEIPT_LINES = 4
_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """So many leaves of this log have this root."""

    origin: str
    size: int
    root: bytes

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the text of a note; lines after the third are another's matter. NoteInvalid."""
        lines = text.removesuffix("\n").split("\n")
        if len(lines) < LINES or "" in lines or not _SIZE.fullmatch(lines[1]):
            raise NoteInvalid("not a checkpoint: origin, size and root, a line each")
        return cls(origin=lines[0], size=int(lines[1]), root=_hash(lines[2]))

    def __str__(self) -> str:
        return f"{self.origin}\n{self.size}\n{encoded(self.root)}\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """This leaf is in the book since then, sealed or not: the service is bound by it.

    `posted_at`: UTC with six digits, as in the leaf.
    """

    origin: str
    tx_id: UUID
    leaf_hash: bytes
    posted_at: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the text of a note; raises NoteInvalid."""
        lines = text.removesuffix("\n").split("\n")
        if len(lines) != RECEIPT_LINES or not lines[0] or not _MOMENT.fullmatch(lines[3]):
            raise NoteInvalid("not a receipt: origin, id, hash and time, a line each")
        try:
            tx_id = UUID(lines[1])
        except ValueError as exc:
            raise NoteInvalid("not a receipt: its second line is no id") from exc
        return cls(origin=lines[0], tx_id=tx_id, leaf_hash=_hash(lines[2]), posted_at=lines[3])

    def __str__(self) -> str:
        return f"{self.origin}\n{self.tx_id}\n{encoded(self.leaf_hash)}\n{self.posted_at}\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class SealKeys:
    """The installation's keys; a tenant's log is `<origin>/<tenant>`, and so are its keys' names.

    `seeds` sign, all of them; `former` are public keys that have signed and do so no more.
    """

    origin: str
    seeds: tuple[bytes, ...] = ()
    former: tuple[bytes, ...] = ()

    @property
    def can_sign(self) -> bool:
        """Whether there is a key to sign with."""
        return bool(self.seeds)

    def origin_of(self, tenant_id: str) -> str:
        """Return the name of the tenant's log."""
        return f"{self.origin}/{tenant_id}"

    def signing(self, tenant_id: str) -> list[PublicKey]:
        """Return the public keys that sign now."""
        return [key.public_key for key in self._signers(self.origin_of(tenant_id))]

    def trusted(self, tenant_id: str) -> list[PublicKey]:
        """Return every public key whose checkpoints count."""
        name = self.origin_of(tenant_id)
        former = [PublicKey(name=name, public=public) for public in self.former]
        return [*self.signing(tenant_id), *former]

    def sign_checkpoint(self, tenant_id: str, size: int, root: bytes) -> str:
        """Return the signed note."""
        origin = self.origin_of(tenant_id)
        checkpoint = Checkpoint(origin=origin, size=size, root=root)
        return signed(str(checkpoint), self._signers(origin))

    def sign_receipt(self, tenant_id: str, tx_id: UUID, leaf_hash: bytes, posted_at: str) -> str:
        """Return the signed note; its keys have a name of their own, `<origin>/receipt`."""
        origin = self.origin_of(tenant_id)
        receipt = Receipt(origin=origin, tx_id=tx_id, leaf_hash=leaf_hash, posted_at=posted_at)
        return signed(str(receipt), self._signers(receipt_name(origin)))

    def _signers(self, name: str) -> list[SigningKey]:
        return [SigningKey(name=name, seed=seed) for seed in self.seeds]


def receipt_name(origin: str) -> str:
    """Return the name under which the keys of a log sign receipts."""
    return f"{origin}/receipt"


def _hash(text: str) -> bytes:
    data = decoded(text)
    if len(data) != HASH_BYTES:
        raise NoteInvalid("not a hash of 32 bytes")
    return data
