"""Level 4 of replay: whether the sealed tree is what the transactions make it (LM1 to LM8).

Leaves are hashed anew by the database, 256 to a row. Where a full tile differs, its leaves are
named one by one; the tree goes on from the stored tile, so that a checkpoint tells whether the tile
or the transaction was changed.
"""

from __future__ import annotations

from dataclasses import dataclass
from heapq import merge
from typing import TYPE_CHECKING

from repos import replay, seals
from services import merkle
from services.checkpoints import Checkpoint
from services.replay_report import fault
from services.seal_tiles import HASH_BYTES, HEIGHT, WIDTH, Tiles
from services.signed_notes import Note, NoteInvalid, PublicKey

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from persistence.db import Conn
    from repos.replay import FaultRow, LeafTileRow
    from services.checkpoints import SealKeys

# 64 tiles a statement: some tens of milliseconds, and half a megabyte.
LEAVES_PER_READ = 64 * WIDTH


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """A note that says what the tree of `size` leaves is; `root`: as stored beside it, if it is."""

    size: int
    what: str
    note: str
    root: bytes | None = None


class TreeCheck:
    """Compares one tenant's tree with its transactions and with what was signed of it."""

    def __init__(
        self,
        conn: Conn,
        tenant_id: str,
        keys: SealKeys,
        size: int,
        progress: Callable[[str, int, int], None],
    ) -> None:
        """`size`: of the tree, as its state says."""
        self._conn = conn
        self._tenant_id = tenant_id
        self._known = [key.public for key in keys.trusted(tenant_id)]
        self._size = size
        self._progress = progress
        self._above: dict[int, list[bytes]] = {}
        self._disagrees = False
        self.leaves = 0
        # The largest tree whose root a good signature confirms.
        self.proven = 0

    def run(self, notes: Iterable[Signed], start: int = 0) -> Iterator[FaultRow]:
        """Yield what is wrong. `notes`: published ones; `start`: leaves that are trusted."""
        stored = (
            Signed(size=row.tree_size, what="checkpoint", note=row.note, root=row.root)
            for row in replay.list_seals(
                self._conn, tenant_id=self._tenant_id, at_least=max(start, 1)
            )
        )
        published = sorted((each for each in notes if each.size >= start), key=_size)
        waiting = merge(stored, published, key=_size)
        yield from self._leaves(waiting, start)
        yield from replay.list_unsealed(self._conn, tenant_id=self._tenant_id)

    def _leaves(self, waiting: Iterator[Signed], start: int) -> Iterator[FaultRow]:
        first = start // WIDTH
        tree = self._grown(first)
        signed = next(waiting, None)
        for row in self._tiles(first):
            if row.n * WIDTH != tree.size or not row.is_dense:
                yield self._gap(tree.size, row)
                return
            hashes, faults = self._compared(row)
            yield from faults
            while signed and signed.size <= tree.size + len(hashes):
                yield from self._judge(signed, _with(tree, hashes[: signed.size - tree.size]))
                signed = next(waiting, None)
            yield from self._add(tree, row, hashes)
            self.leaves += len(hashes)
            self._progress("leaves", tree.size, self._size)
        while signed and signed.size <= tree.size:
            yield from self._judge(signed, tree)
            signed = next(waiting, None)
        if tree.size != self._size:
            yield fault("tree size", str(self._size), found=str(tree.size))
        while signed:
            yield fault(
                f"{signed.what} of {signed.size} leaves", "a tree of as many", found=str(tree.size)
            )
            signed = next(waiting, None)

    def _tiles(self, first: int) -> Iterator[LeafTileRow]:
        """Yield tiles in their order until there are no more leaves."""
        self._progress("leaves", first * WIDTH, self._size)
        for idx in range(first * WIDTH, max(self._size, 1), LEAVES_PER_READ):
            yield from replay.list_leaf_tiles(
                self._conn, tenant_id=self._tenant_id, first_idx=idx, end_idx=idx + LEAVES_PER_READ
            )

    def _grown(self, tiles: int) -> merkle.Growing:
        """Return the tree of the first tiles, which were verified with their checkpoint."""
        tree = merkle.Growing()
        stored = Tiles(self._conn, self._tenant_id, self._size)
        for bit in reversed(range(tiles.bit_length())):
            if tiles >> bit & 1:
                height = HEIGHT + bit
                tree.append_subtree(height, stored.subtree(height, tree.size >> height))
        self._above = {}
        return tree

    def _gap(self, size: int, row: LeafTileRow) -> FaultRow:
        """Name the first place without a leaf; what follows has no place any more."""
        found = replay.list_leaves(
            self._conn,
            tenant_id=self._tenant_id,
            first_idx=row.n * WIDTH,
            end_idx=(row.n + 1) * WIDTH,
        )
        places = {leaf.idx for leaf in found} if row.n * WIDTH == size else set()
        missing = next(idx for idx in range(size, size + WIDTH + 1) if idx not in places)
        return fault(f"leaf {missing}", "in the tree")

    def _compared(self, row: LeafTileRow) -> tuple[list[bytes], list[FaultRow]]:
        """Return the hashes to go on with, and the leaves that differ."""
        now = _cut(row.hashes)
        if row.leaves < WIDTH:
            gone = bytes(HASH_BYTES)
            return now, self._named(row, dict.fromkeys(range(WIDTH), gone)) if gone in now else []
        if row.stored_hashes is None:
            return now, [fault(f"tile {row.n} of level 0", "stored")]
        if row.stored_hashes == row.hashes:
            return now, []
        then = _cut(row.stored_hashes)
        if len(then) != WIDTH:
            return now, [fault(f"tile {row.n} of level 0", "256 hashes", found=str(len(then)))]
        return then, self._named(row, dict(enumerate(then)))

    def _named(self, row: LeafTileRow, then: dict[int, bytes]) -> list[FaultRow]:
        """Name the leaves of a tile that are not as they were, or whose transaction is gone."""
        first = row.n * WIDTH
        leaves = replay.list_leaves(
            self._conn, tenant_id=self._tenant_id, first_idx=first, end_idx=first + WIDTH
        )
        is_full = row.leaves == WIDTH
        return [
            fault(
                f"leaf {leaf.idx}",
                then[leaf.idx - first].hex() if is_full else "a transaction",
                found=leaf.hash.hex() if leaf.hash else None,
                tx_id=leaf.tx_id,
            )
            for leaf in leaves
            if leaf.hash is None or (is_full and leaf.hash != then[leaf.idx - first])
        ]

    def _add(
        self, tree: merkle.Growing, row: LeafTileRow, hashes: list[bytes]
    ) -> Iterator[FaultRow]:
        """Add a tile to the tree, and compare what is stored of the levels above."""
        if row.leaves < WIDTH:
            for each in hashes:
                tree.append(each)
            return
        root = merkle.whole_hash(hashes)
        tree.append_subtree(HEIGHT, root)
        if row.stored_root is not None and row.stored_root != root:
            yield fault(f"root of tile {row.n}", root.hex(), found=row.stored_root.hex())
        yield from self._lift(1, row.n, root)

    def _lift(self, level: int, n: int, root: bytes) -> Iterator[FaultRow]:
        """Collect the hashes of a tile above; when it is full, it must be stored like that."""
        if level not in self._above:
            if n % WIDTH:  # It began before what is checked: trusted with its checkpoint.
                return
            self._above[level] = []
        hashes = self._above[level]
        hashes.append(root)
        if len(hashes) < WIDTH:
            return
        self._above[level] = []
        place, whole = n // WIDTH, merkle.whole_hash(hashes)
        stored = seals.get_tile(self._conn, tenant_id=self._tenant_id, level=level, n=place)
        if stored != b"".join(hashes):
            yield fault(f"tile {place} of level {level}", "as its leaves make it")
        yield from self._lift(level + 1, place, whole)

    def _judge(self, signed: Signed, tree: merkle.Growing) -> Iterator[FaultRow]:
        """Compare a note with the tree; of checkpoints that disagree the first is named."""
        what = f"{signed.what} of {signed.size} leaves"
        try:
            said = self.read(signed.note)
        except NoteInvalid as wrong:
            yield fault(what, "a signed checkpoint", found=str(wrong))
            return
        root = tree.root()
        if said.size != signed.size or signed.root not in {None, said.root}:
            yield fault(what, "what its row says", found=f"{said.size} {said.root.hex()}")
        elif said.root == root:
            self.proven = signed.size if self._known else 0
        elif not self._disagrees:
            self._disagrees = True
            yield fault(f"root of {signed.size} leaves", said.root.hex(), found=root.hex())

    def read(self, note: str) -> Checkpoint:
        """Return what a note says. Raises NoteInvalid: not of this book, or not signed by us.

        An installation without any key cannot tell who signed.
        """
        parsed = Note.parse(note)
        said = Checkpoint.parse(parsed.text)
        if said.origin.rpartition("/")[2] != self._tenant_id:
            raise NoteInvalid(f"of another log, {said.origin}")
        trusted = [PublicKey(name=said.origin, public=key) for key in self._known]
        if trusted and parsed.signer(trusted) is None:
            raise NoteInvalid("not signed by a known key")
        return said


def _with(tree: merkle.Growing, hashes: list[bytes]) -> merkle.Growing:
    """Return the tree with a few leaves more."""
    grown = tree.fork()
    for each in hashes:
        grown.append(each)
    return grown


def _cut(hashes: bytes) -> list[bytes]:
    return [hashes[i : i + HASH_BYTES] for i in range(0, len(hashes), HASH_BYTES)]


def _size(signed: Signed) -> int:
    return signed.size
