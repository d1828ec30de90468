"""What proves a book to others: checkpoints, receipts, proofs of inclusion and of consistency.

Whoever has an old checkpoint can check all of these without trusting the service (LM5, LM7).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from errors import FeatureDisabled, NotFound, NotSealed
from repos import seals
from services import merkle
from services.checkpoints import receipt_name
from services.seal_signing import LARGEST
from services.seal_tiles import Tiles, TreeBroken
from services.signed_notes import PublicKey, encoded

if TYPE_CHECKING:
    from uuid import UUID

    from persistence.db import Conn, Database
    from repos.seals import SealRow
    from services.actors import Actor
    from services.checkpoints import SealKeys
    from services.cursors import Cursors


class Proofs:
    """What can be asked about seals. Hashes and signatures come in base64."""

    def __init__(self, db: Database, cursors: Cursors, keys: SealKeys) -> None:
        self._db = db
        self._cursors = cursors
        self._keys = keys

    def checkpoint(self, tenant_id: str, tree_size: int | None = None) -> str:
        """Return the signed note of the tree of this size, or the newest one.

        Raises NotSealed (there is none at all yet) and NotFound (none of this size).
        """
        with self._db.read() as conn:
            return _seal(conn, tenant_id, tree_size).note

    def checkpoints(self, tenant_id: str, limit: int, cursor: str | None) -> dict[str, Any]:
        """Return a page of checkpoints, newest first. Raises CursorInvalid."""
        bound = {"tenant": tenant_id}
        (below,) = self._cursors.read("checkpoints", cursor, bound) if cursor else (LARGEST,)
        with self._db.read() as conn:
            rows = seals.list_seals(conn, tenant_id=tenant_id, below=below, row_limit=limit + 1)
        shown = rows[:limit]
        more = len(rows) > limit
        position = [shown[-1].tree_size] if more else []
        return {
            "data": [
                {
                    "tree_size": row.tree_size,
                    "root": encoded(row.root),
                    "sealed_through": row.sealed_through,
                    "created_at": row.created_at,
                    "checkpoint": row.note,
                }
                for row in shown
            ],
            "next_cursor": self._cursors.sign("checkpoints", position, bound) if more else None,
        }

    def keys(self, tenant_id: str) -> list[dict[str, Any]]:
        """Return the public keys that have signed checkpoints, with the time in which they did."""
        origin = self._keys.origin_of(tenant_id)
        with self._db.read() as conn:
            rows = seals.list_keys(conn, tenant_id=tenant_id)
        return [
            {
                "checkpoint_key": str(PublicKey(name=origin, public=row.public_key)),
                "receipt_key": str(PublicKey(name=receipt_name(origin), public=row.public_key)),
                "valid_from": row.valid_from,
                "valid_until": row.valid_until,
            }
            for row in rows
        ]

    def proof(self, actor: Actor, tx_id: UUID, tree_size: int | None = None) -> dict[str, Any]:
        """Prove that a transaction is in the tree of a checkpoint, the newest one by default.

        Raises NotFound, NotSealed.
        """
        tenant_id = actor.tenant_id
        with self._db.read() as conn:
            leaf, index = self._leaf(conn, actor, tx_id)
            if index is None:
                raise NotSealed
            seal = _seal(conn, tenant_id, tree_size)
            if index >= seal.tree_size:
                raise NotSealed if tree_size is None else NotFound
            tiles = Tiles(conn, tenant_id, seal.tree_size)
            path = merkle.inclusion(tiles.subtree, index, seal.tree_size)
        hashed = merkle.leaf_hash(leaf.encode())
        if merkle.root_by_inclusion(index, seal.tree_size, hashed, path) != seal.root:
            raise TreeBroken(f"leaf {index} does not lead to the root of {seal.tree_size} leaves")
        return {
            "leaf": json.loads(leaf),
            "leaf_hash": encoded(hashed),
            "index": index,
            "tree_size": seal.tree_size,
            "hashes": [encoded(each) for each in path],
            "checkpoint": seal.note,
        }

    def receipt(self, actor: Actor, tx_id: UUID) -> str:
        """Return a signed note that binds the service to a transaction, sealed or not (LM7).

        Raises NotFound; FeatureDisabled without a key.
        """
        self.require_key()
        with self._db.read() as conn:
            leaf, _ = self._leaf(conn, actor, tx_id)
        hashed = merkle.leaf_hash(leaf.encode())
        posted_at = json.loads(leaf)["posted_at"]
        return self._keys.sign_receipt(actor.tenant_id, tx_id, hashed, posted_at)

    def require_key(self) -> None:
        """Raise FeatureDisabled if nothing can be signed here."""
        if not self._keys.can_sign:
            raise FeatureDisabled("Receipts need LEDGER_SEAL_KEY.")

    def consistency(self, tenant_id: str, first: int, second: int | None) -> dict[str, Any]:
        """Prove that the tree of a checkpoint begins as that of an earlier one.

        Raises NotFound: a size is no checkpoint's, or `first` is the larger one; NotSealed.
        """
        with self._db.read() as conn:
            before, after = _seal(conn, tenant_id, first), _seal(conn, tenant_id, second)
            if before.tree_size > after.tree_size:
                raise NotFound("The first tree is larger than the second.")
            tiles = Tiles(conn, tenant_id, after.tree_size)
            path = merkle.consistency(tiles.subtree, before.tree_size, after.tree_size)
        sizes = (before.tree_size, after.tree_size)
        if not merkle.is_consistent(*sizes, before.root, after.root, path):
            raise TreeBroken(f"the tree of {sizes[1]} leaves does not begin as that of {sizes[0]}")
        return {
            "from_size": before.tree_size,
            "to_size": after.tree_size,
            "hashes": [encoded(each) for each in path],
            "checkpoints": [before.note, after.note],
        }

    def _leaf(self, conn: Conn, actor: Actor, tx_id: UUID) -> tuple[str, int | None]:
        owner_id = None if actor.owner_id is None else str(actor.owner_id)
        row = seals.get_leaf(conn, tenant_id=actor.tenant_id, tx_id=tx_id, owner_id=owner_id)
        if row is None:
            raise NotFound
        return row.leaf, row.idx


def _seal(conn: Conn, tenant_id: str, tree_size: int | None) -> SealRow:
    at_most = LARGEST if tree_size is None else tree_size
    seal = seals.get_seal(conn, tenant_id=tenant_id, at_most=at_most)
    if tree_size is None:
        if seal is None:
            raise NotSealed("No checkpoint has been signed yet.")
    elif seal is None or seal.tree_size != tree_size:
        raise NotFound("There is no checkpoint of this size.")
    return seal
