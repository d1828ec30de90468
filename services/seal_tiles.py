"""A tenant's tree as it is stored: tiles of 256 hashes, written once, when they are full (LM2).

What is not full yet is made anew: the last leaves from their transactions, the last hashes of the
levels above from the roots of the tiles below them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from repos import seals
from services import merkle

if TYPE_CHECKING:
    from collections.abc import Iterable

    from persistence.db import Conn

WIDTH, HEIGHT = 256, 8
HASH_BYTES = 32


class TreeBroken(Exception):
    """The stored tree lacks hashes that it must have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """A full tile; its hashes are those of `level` from number 256 n on."""

    level: int
    n: int
    hashes: bytes
    root: bytes


class Tiles:
    """The tree of the first `size` leaves, read as far as it is needed. Raises TreeBroken."""

    def __init__(self, conn: Conn, tenant_id: str, size: int) -> None:
        self._conn = conn
        self._tenant_id = tenant_id
        self._size = size
        self._kept: dict[tuple[int, int], list[bytes]] = {}

    def subtree(self, height: int, n: int) -> bytes:
        """Return the hash over 2^height leaves: what merkle.Subtree is."""
        level, inner = divmod(height, HEIGHT)
        tile, first = divmod(n << inner, WIDTH)
        part = self._tile(level, tile)[first : first + (1 << inner)]
        if len(part) != 1 << inner:
            raise TreeBroken(f"tile {tile} of level {level} is too short")
        return merkle.whole_hash(part)

    def root(self, size: int) -> bytes:
        """Return the root of the tree of the first `size` leaves, at most all."""
        return merkle.root(self.subtree, size)

    def append(self, leaves: Iterable[bytes]) -> list[Tile]:
        """Add the hashes of leaves; return the tiles that have become full, to be stored."""
        made: list[Tile] = []
        level, added, size = 0, list(leaves), self._size
        self._size += len(added)
        while added:
            n, partial = divmod(size >> (HEIGHT * level), WIDTH)
            hashes = (self._partial(level, n, partial) if partial else []) + added
            added = []
            while len(hashes) >= WIDTH:
                whole, hashes = hashes[:WIDTH], hashes[WIDTH:]
                tile = Tile(level=level, n=n, hashes=b"".join(whole), root=merkle.whole_hash(whole))
                made.append(tile)
                added.append(tile.root)
                self._kept[level, n] = whole
                n += 1
            self._kept[level, n] = hashes
            level += 1
        return made

    def _tile(self, level: int, n: int) -> list[bytes]:
        """Return the hashes of a tile: all 256, or as many as there are yet."""
        if (level, n) not in self._kept:
            count = min((self._size >> (HEIGHT * level)) - WIDTH * n, WIDTH)
            full = count == WIDTH
            self._kept[level, n] = self._full(level, n) if full else self._partial(level, n, count)
        return self._kept[level, n]

    def _full(self, level: int, n: int) -> list[bytes]:
        hashes = seals.get_tile(self._conn, tenant_id=self._tenant_id, level=level, n=n)
        if hashes is None or len(hashes) != WIDTH * HASH_BYTES:
            raise TreeBroken(f"tile {n} of level {level} is not there")
        return [hashes[i : i + HASH_BYTES] for i in range(0, len(hashes), HASH_BYTES)]

    def _partial(self, level: int, n: int, count: int) -> list[bytes]:
        first = WIDTH * n
        if level == 0:
            found = seals.list_leaf_hashes(
                self._conn, tenant_id=self._tenant_id, first_idx=first, end_idx=first + count
            )
        else:
            found = seals.list_tile_roots(
                self._conn,
                tenant_id=self._tenant_id,
                level=level - 1,
                first_n=first,
                end_n=first + count,
            )
        if len(found) != count:
            raise TreeBroken(f"{count - len(found)} hashes of level {level} are not there")
        return found
