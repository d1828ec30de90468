"""The Merkle tree of RFC 6962 and RFC 9162, section 2.1: roots, proofs, and what checks them.

A tree is read through `Subtree`: where its hashes are kept is the caller's matter. Checking needs
no tree at all. Hashes are SHA-256, 32 bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# subtree(height, n): the hash over the leaves from n * 2^height up to, not with, those of n + 1.
Subtree = Callable[[int, int], bytes]

EMPTY = sha256(b"").digest()


def leaf_hash(data: bytes) -> bytes:
    """Return the hash of a leaf; its first byte tells it from a node's."""
    return sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of an inner node."""
    return sha256(b"\x01" + left + right).digest()


# --- Of a tree that can be read -----------------------------------------------------------------


def root(read: Subtree, size: int) -> bytes:
    """Return the hash of the tree of the first `size` leaves."""
    return _over(read, 0, size) if size else EMPTY


def inclusion(read: Subtree, index: int, size: int) -> list[bytes]:
    """Return the proof that leaf `index`, from 0, is in the tree of `size` leaves."""
    if not 0 <= index < size:
        raise ValueError(f"Bug: leaf {index} of a tree of {size}")
    return _path(read, index, 0, size)


def consistency(read: Subtree, first: int, second: int) -> list[bytes]:
    """Return the proof that the tree of `first` leaves is how that of `second` begins."""
    if not 0 < first <= second:
        raise ValueError(f"Bug: a tree of {first} within one of {second}")
    return _within(read, first, 0, second, is_whole=True)


def _split(start: int, end: int) -> int:
    """Return where the right half begins: the left one has the largest power of two below all."""
    return start + (1 << (end - start - 1).bit_length() - 1)


def _over(read: Subtree, start: int, end: int) -> bytes:
    count = end - start
    height = count.bit_length() - 1
    if count == 1 << height:
        return read(height, start >> height)
    middle = _split(start, end)
    return node_hash(_over(read, start, middle), _over(read, middle, end))


def _path(read: Subtree, index: int, start: int, end: int) -> list[bytes]:
    if end - start == 1:
        return []
    middle = _split(start, end)
    if index < middle:
        return [*_path(read, index, start, middle), _over(read, middle, end)]
    return [*_path(read, index, middle, end), _over(read, start, middle)]


def _within(read: Subtree, first: int, start: int, end: int, *, is_whole: bool) -> list[bytes]:
    """Return SUBPROOF of RFC 6962; `is_whole`: the checker knows this hash already."""
    if first == end:
        return [] if is_whole else [_over(read, start, end)]
    middle = _split(start, end)
    if first <= middle:
        rest = _within(read, first, start, middle, is_whole=is_whole)
        return [*rest, _over(read, middle, end)]
    return [*_within(read, first, middle, end, is_whole=False), _over(read, start, middle)]


# --- Of hashes that come one after another ------------------------------------------------------


class Growing:
    """The tree of leaves in their order; it keeps one hash for each bit of its size."""

    def __init__(self) -> None:
        self.size = 0
        self._peaks: list[bytes] = []

    def fork(self) -> Growing:
        """Return a tree that grows apart from this one."""
        other = Growing()
        other.size, other._peaks = self.size, list(self._peaks)
        return other

    def append(self, leaf: bytes) -> None:
        """Add the hash of the next leaf."""
        self.append_subtree(0, leaf)

    def append_subtree(self, height: int, whole: bytes) -> None:
        """Add 2^height leaves at once by their hash; the size must be a multiple of that."""
        if self.size % (1 << height):
            raise ValueError(f"Bug: {1 << height} leaves after {self.size}")
        filled = self.size >> height
        while filled & 1:
            whole = node_hash(self._peaks.pop(), whole)
            filled >>= 1
        self._peaks.append(whole)
        self.size += 1 << height

    def root(self) -> bytes:
        """Return the hash of the tree as it is now."""
        if not self._peaks:
            return EMPTY
        *rest, made = self._peaks
        for peak in reversed(rest):
            made = node_hash(peak, made)
        return made


def whole_hash(hashes: Sequence[bytes]) -> bytes:
    """Return the hash over 2^n hashes of one height, n from 0 on."""
    level = list(hashes)
    while len(level) > 1:
        level = [node_hash(*pair) for pair in zip(level[::2], level[1::2], strict=True)]
    return level[0]


# --- What a client checks -----------------------------------------------------------------------


def root_by_inclusion(index: int, size: int, leaf: bytes, path: Iterable[bytes]) -> bytes | None:
    """Return the root that the proof leads to from the leaf's hash; None: it fits no such tree.

    RFC 9162, section 2.1.3.2. The proof holds if this is the root of a signed checkpoint.
    """
    if not 0 <= index < size:
        return None
    place, last, made = index, size - 1, leaf
    for each in path:
        if last == 0:
            return None
        if place & 1 or place == last:
            made = node_hash(each, made)
            while place and not place & 1:
                place, last = place >> 1, last >> 1
        else:
            made = node_hash(made, each)
        place, last = place >> 1, last >> 1
    return made if last == 0 else None


def is_consistent(
    first: int, second: int, first_root: bytes, second_root: bytes, path: Sequence[bytes]
) -> bool:
    """Tell whether the proof shows that the second tree begins as the first (section 2.1.4.2)."""
    if first == second:
        return first_root == second_root and not path
    if first == 0:  # Every tree begins as the empty one: there is nothing to prove.
        return first_root == EMPTY and not path
    if first > second or first < 0:
        return False
    known = [first_root, *path] if first & (first - 1) == 0 else list(path)
    if not known:
        return False
    return _leads_to_both(first, second, known) == (first_root, second_root)


def _leads_to_both(first: int, second: int, path: Sequence[bytes]) -> tuple[bytes, bytes] | None:
    place, last = first - 1, second - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    old = new = path[0]
    for each in path[1:]:
        if last == 0:
            return None
        if place & 1 or place == last:
            old, new = node_hash(each, old), node_hash(each, new)
            while place and not place & 1:
                place, last = place >> 1, last >> 1
        else:
            new = node_hash(new, each)
        place, last = place >> 1, last >> 1
    return (old, new) if last == 0 else None
