"""Digests and hashes by Python, over all rows of one moment: for stores whose SQL cannot hash."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import defaultdict
from typing import TYPE_CHECKING

from legacy.canonical import Digest, key_hash

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from legacy.columns import ColumnMap
    from legacy.stores.reading import Held


class PythonDigests(ABC):
    """What a comparison asks (V1, V2); each call goes once over all rows."""

    _map: ColumnMap

    @abstractmethod
    def _all(self) -> Iterator[Held]:
        """Yield every row of one moment, without tombstones."""

    def _hashed(self, wanted: Callable[[bytes], bool]) -> Iterator[tuple[str, bytes, bytes]]:
        """Yield id, its hash, and the row's hash, of keys whose hash is wanted."""
        for held in self._all():
            key = key_hash(held.id)
            if wanted(key):
                yield held.id, key, self._map.hash_of_raw(held.raw or {})

    def digest(self, prefix: bytes) -> dict[int, tuple[int, int]]:
        """See LegacyStore."""
        digest = Digest(prefix)
        for legacy_id, _, hashed in self._hashed(lambda key: key.startswith(prefix)):
            digest.add(legacy_id, hashed)
        return digest.result()

    def deep_digest(self, buckets: Collection[int]) -> dict[int, tuple[int, int]]:
        """See LegacyStore."""
        wanted, digests = set(buckets), defaultdict[int, Digest](Digest)
        for legacy_id, key, hashed in self._hashed(lambda key: key[0] in wanted):
            digests[_pair(key)].add(legacy_id, hashed)
        return {pair: digest.total() for pair, digest in digests.items()}

    def hashes(self, prefix: bytes) -> dict[str, bytes]:
        """See LegacyStore."""
        return {each: row for each, _, row in self._hashed(lambda key: key.startswith(prefix))}

    def hashes_in(self, pairs: Collection[int]) -> list[tuple[str, bytes]]:
        """See LegacyStore."""
        wanted = set(pairs)
        return [(each, row) for each, _, row in self._hashed(lambda key: _pair(key) in wanted)]


def _pair(key: bytes) -> int:
    return key[0] * 256 + key[1]
