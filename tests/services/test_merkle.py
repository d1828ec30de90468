"""The tree against the vectors of RFC 6962 and a second implementation (LM2)."""

from __future__ import annotations

import random
from hashlib import sha256
from typing import TYPE_CHECKING

import pytest

from services import merkle
from tests import second_opinion

if TYPE_CHECKING:
    from collections.abc import Sequence

# The leaves and roots of the reference implementation's tests (certificate-transparency).
LEAVES = [
    bytes.fromhex(each)
    for each in (
        "", "00", "10", "2021", "3031", "40414243", "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]  # fmt: skip
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
# (leaf from 0, size): proof.
INCLUSION = {
    (0, 1): [],
    (0, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (5, 8): [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 3): ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"],
}
CONSISTENCY = {
    (1, 1): [],
    (1, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (6, 8): [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 5): [
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}
SIZES = [*range(1, 40), 63, 64, 65, 127, 128, 129, 255, 256, 257, 300]
OTHER = sha256(b"other").digest()


def reader(leaves: Sequence[bytes]) -> merkle.Subtree:
    """Keep a tree in memory."""
    hashes = [merkle.leaf_hash(leaf) for leaf in leaves]
    return lambda height, n: merkle.whole_hash(hashes[n << height : (n + 1) << height])


def some_leaves(count: int) -> list[bytes]:
    return [f"leaf {number}".encode() for number in range(count)]


def test_the_empty_tree_has_a_hash() -> None:
    """RFC 6962, 2.1: the SHA-256 of nothing."""
    assert merkle.EMPTY.hex().startswith("e3b0c44298fc1c14")
    assert merkle.root(reader([]), 0) == merkle.Growing().root() == merkle.EMPTY


@pytest.mark.parametrize("size", range(1, 9))
def test_roots_are_those_of_the_reference(size: int) -> None:
    """LM2: RFC 6962's vectors."""
    assert merkle.root(reader(LEAVES[:size]), size).hex() == ROOTS[size - 1]


@pytest.mark.parametrize(("place", "proof"), INCLUSION.items())
def test_inclusion_proofs_are_those_of_the_reference(
    place: tuple[int, int], proof: list[str]
) -> None:
    """LM2."""
    index, size = place
    found = merkle.inclusion(reader(LEAVES), index, size)
    assert [each.hex() for each in found] == proof


@pytest.mark.parametrize(("sizes", "proof"), CONSISTENCY.items())
def test_consistency_proofs_are_those_of_the_reference(
    sizes: tuple[int, int], proof: list[str]
) -> None:
    """LM2."""
    found = merkle.consistency(reader(LEAVES), *sizes)
    assert [each.hex() for each in found] == proof


@pytest.mark.parametrize("size", SIZES)
def test_a_second_implementation_agrees(size: int) -> None:
    """LM2: roots and all proofs of a tree, and each of them is accepted."""
    leaves = some_leaves(size)
    read, root = reader(leaves), second_opinion.tree_hash(leaves)
    assert merkle.root(read, size) == root
    for index in range(0, size, max(1, size // 20)):
        path = merkle.inclusion(read, index, size)
        assert path == second_opinion.audit_path(index, leaves)
        hashed = merkle.leaf_hash(leaves[index])
        assert merkle.root_by_inclusion(index, size, hashed, path) == root
        assert second_opinion.root_of_path(index, size, leaves[index], path) == root
    for first in range(1, size + 1, max(1, size // 20)):
        path = merkle.consistency(read, first, size)
        assert path == second_opinion.consistency_path(first, leaves)
        before = second_opinion.tree_hash(leaves[:first])
        assert merkle.is_consistent(first, size, before, root, path)


@pytest.mark.parametrize("size", SIZES)
def test_a_tree_that_grows_has_the_same_roots(size: int) -> None:
    """LM2: leaf by leaf, and by whole parts of it."""
    leaves, by_leaf, by_part = some_leaves(size), merkle.Growing(), merkle.Growing()
    for leaf in leaves:
        by_leaf.append(merkle.leaf_hash(leaf))
    read = reader(leaves)
    for part in range(size >> 3):
        by_part.append_subtree(3, read(3, part))
    for leaf in leaves[size & ~7 :]:
        by_part.append(merkle.leaf_hash(leaf))
    assert by_leaf.root() == by_part.root() == second_opinion.tree_hash(leaves)
    assert by_leaf.size == by_part.size == size


def test_a_part_is_added_only_where_it_fits() -> None:
    tree = merkle.Growing()
    tree.append(OTHER)
    with pytest.raises(ValueError, match="Bug: 8 leaves after 1"):
        tree.append_subtree(3, OTHER)


def test_a_changed_proof_of_inclusion_is_refused() -> None:
    """LM10: another leaf, another place, another size, any hash changed, left out or added."""
    rng = random.Random(7)
    for size in range(2, 33):
        leaves = some_leaves(size)
        read, root, index = reader(leaves), second_opinion.tree_hash(leaves), rng.randrange(size)
        leaf, path = merkle.leaf_hash(leaves[index]), merkle.inclusion(reader(leaves), index, size)
        wrong = [(index, size, OTHER, path), (index, size, leaf, [*path, OTHER])]
        wrong += [(other, size, leaf, path) for other in range(-1, size + 1) if other != index]
        wrong += [
            (index, size, leaf, [*path[:n], *more, *path[n + 1 :]])
            for n in range(len(path))
            for more in ([], [OTHER])
        ]
        assert root not in [merkle.root_by_inclusion(*each) for each in wrong]
        assert merkle.root(read, size) == root


def test_a_changed_proof_of_consistency_is_refused() -> None:
    """LM4, LM10: another root or size, any hash changed, left out or added."""
    for size in range(2, 33):
        leaves = some_leaves(size)
        root = second_opinion.tree_hash(leaves)
        for first in range(1, size):
            before = second_opinion.tree_hash(leaves[:first])
            path = merkle.consistency(reader(leaves), first, size)
            wrong = [(first, size, OTHER, root, path), (first, size, before, OTHER, path)]
            wrong += [(first, size, before, root, [*path, OTHER]), (first, size, before, root, [])]
            wrong += [(size, first, root, before, path), (-1, size, before, root, path)]
            wrong += [
                (first, size, before, root, [*path[:n], *more, *path[n + 1 :]])
                for n in range(len(path))
                for more in ([], [OTHER])
            ]
            assert not any(merkle.is_consistent(*each) for each in wrong)


def test_the_same_tree_needs_no_proof() -> None:
    """RFC 9162, 2.1.4: nothing is to be shown, and nothing may be."""
    assert merkle.is_consistent(3, 3, OTHER, OTHER, [])
    assert not merkle.is_consistent(3, 3, OTHER, merkle.EMPTY, [])
    assert not merkle.is_consistent(3, 3, OTHER, OTHER, [OTHER])


def test_every_tree_begins_as_the_empty_one() -> None:
    """RFC 9162, 2.1.4."""
    assert merkle.is_consistent(0, 3, merkle.EMPTY, OTHER, [])
    assert merkle.is_consistent(0, 0, merkle.EMPTY, merkle.EMPTY, [])
    assert not merkle.is_consistent(0, 3, OTHER, OTHER, [])


def test_proofs_of_what_is_not_there_are_a_bug() -> None:
    read = reader(LEAVES)
    with pytest.raises(ValueError, match="Bug: leaf 8 of a tree of 8"):
        merkle.inclusion(read, 8, 8)
    for first in (0, 9):
        with pytest.raises(ValueError, match="Bug: a tree of"):
            merkle.consistency(read, first, 8)
