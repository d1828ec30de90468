"""One sequence of bytes for one row, whichever store holds it, and digests of many (V1, V2).

A row is `SR1` and its columns in fixed order. A column is 00 for NULL; 01, its length as int32 and
its bytes; 02, a count as int32, and names and values for flat metadata; or 03 for what cannot be
read as what it should be: such a row is counted, and differs from every good one.
legacy/canonical_sql.py makes the same bytes in PostgreSQL.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any
from uuid import UUID

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MAGIC = b"SR1"
NULL = b"\x00"
UNREADABLE = b"\x03"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def encode(value: Any) -> bytes:
    """Return a column's bytes: None, str, int, bool, aware datetime, or dict of texts.

    Raises TypeError for anything else: there are no floats here.
    """
    if value is None:
        return NULL
    if isinstance(value, dict):
        return _metadata(value)
    return _text(spell(value))


def spell(value: Any) -> str:
    """Return the text of a value: integers in decimal, moments in microseconds, booleans t or f."""
    if isinstance(value, bool):
        return "t" if value else "f"
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return str(value)
    if isinstance(value, datetime):
        return str((value - _EPOCH) // _MICROSECOND)
    raise TypeError(f"Bug: a canonical row holds no {type(value).__name__}")


def _text(text: str) -> bytes:
    data = text.encode()
    return b"\x01" + len(data).to_bytes(4, "big") + data


def _metadata(metadata: Mapping[str, str]) -> bytes:
    names = sorted(metadata, key=str.encode)
    pairs = b"".join(_text(name) + _text(metadata[name]) for name in names)
    return b"\x02" + len(names).to_bytes(4, "big") + pairs


def row_hash(columns: Iterable[bytes]) -> bytes:
    """Return sha256 of the canonical row of these encoded columns."""
    return sha256(MAGIC + b"".join(columns)).digest()


def key_hash(legacy_id: str) -> bytes:
    """Return sha256 of a key: the legacy id as text."""
    return sha256(legacy_id.encode()).digest()


class Digest:
    """Counts and sums rows by the byte of their key's hash that follows `prefix`.

    A sum, since XOR does not see a row that is there twice (V2).
    """

    def __init__(self, prefix: bytes = b"") -> None:
        self._prefix = prefix
        self._counts: defaultdict[int, int] = defaultdict(int)
        self._sums: defaultdict[int, int] = defaultdict(int)

    def add(self, legacy_id: str, hashed: bytes) -> None:
        """Count a row, if its key belongs here; `hashed` is its row_hash."""
        key = key_hash(legacy_id)
        if key.startswith(self._prefix):
            bucket = key[len(self._prefix)]
            self._counts[bucket] += 1
            self._sums[bucket] += int.from_bytes(hashed[:8], "big", signed=True)

    def total(self) -> tuple[int, int]:
        """Return count and sum of all buckets."""
        return sum(self._counts.values()), sum(self._sums.values())

    def result(self) -> dict[int, tuple[int, int]]:
        """Return count and sum of every bucket that has a row."""
        return {bucket: (self._counts[bucket], self._sums[bucket]) for bucket in self._counts}


def uuid8(tenant_id: str, domain: str, legacy_id: str) -> UUID:
    """Return our id of a row whose legacy id is no UUID (D26): the same in every run."""
    hashed = sha256(b"\x00".join(part.encode() for part in (tenant_id, domain, legacy_id)))
    data = bytearray(hashed.digest()[:16])
    data[6] = data[6] & 0x0F | 0x80
    data[8] = data[8] & 0x3F | 0x80
    return UUID(bytes=bytes(data))
