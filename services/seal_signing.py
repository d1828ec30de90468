"""Signing a tree: only if it continues what was signed before, wherever that is kept (LM4, LM8)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from repos import seals
from services.checkpoints import Checkpoint
from services.seal_tiles import TreeBroken
from services.signed_notes import Note, NoteInvalid
from services.watermark import moment_text

if TYPE_CHECKING:
    from datetime import datetime

    from persistence.db import Conn
    from services.checkpoints import SealKeys
    from services.seal_tiles import Tiles

LARGEST = 2**63 - 1


class Contradiction(Exception):
    """The tree does not continue what was signed; the text says where."""


class SealSigning:
    """Makes checkpoints with the installation's keys."""

    def __init__(self, keys: SealKeys) -> None:
        self.keys = keys

    def sign(
        self,
        conn: Conn,
        tenant_id: str,
        tiles: Tiles,
        size: int,
        reached: datetime | None,
        copy: str | None,
    ) -> bool:
        """Sign the tree if it has grown; tell whether it had. Raises Contradiction."""
        last = self.agree(conn, tenant_id, tiles, size, copy)
        if size == last:
            return False
        root = tiles.root(size)
        self._register_keys(conn, tenant_id)
        seals.create_seal(
            conn,
            tenant_id=tenant_id,
            tree_size=size,
            root=root,
            sealed_through=moment_text(reached),
            note=self.keys.sign_checkpoint(tenant_id, size, root),
        )
        return True

    def agree(self, conn: Conn, tenant_id: str, tiles: Tiles, size: int, copy: str | None) -> int:
        """Return the size of the last checkpoint, 0 for none; raises Contradiction.

        `copy`: a published note, None if there is none.
        """
        last = seals.get_seal(conn, tenant_id=tenant_id, at_most=LARGEST)
        try:
            if last is not None:
                self._compare("the last checkpoint", last.note, tenant_id, tiles, size)
            if copy is not None:
                self._compare("the published checkpoint", copy, tenant_id, tiles, size)
        except TreeBroken as broken:
            raise Contradiction(str(broken)) from broken
        return last.tree_size if last else 0

    def _compare(self, what: str, note: str, tenant_id: str, tiles: Tiles, size: int) -> None:
        """Raise Contradiction unless the tree begins as the note says.

        Under another LEDGER_ORIGIN the log is another one, which begins anew.
        """
        try:
            parsed = Note.parse(note)
            before = Checkpoint.parse(parsed.text)
        except NoteInvalid as fault:
            raise Contradiction(f"{what} is unreadable: {fault}") from fault
        if before.origin != self.keys.origin_of(tenant_id):
            return
        if parsed.signer(self.keys.trusted(tenant_id)) is None:
            raise Contradiction(f"{what} is not signed by a known key")
        if before.size > size:
            raise Contradiction(f"{what} is of {before.size} leaves, the tree has {size}")
        if before.root != tiles.root(before.size):
            raise Contradiction(f"{what} has another root of {before.size} leaves than the tree")

    def _register_keys(self, conn: Conn, tenant_id: str) -> None:
        """Note which keys sign, where that is not known yet."""
        signing = [key.public for key in self.keys.signing(tenant_id)]
        known = seals.list_keys(conn, tenant_id=tenant_id)
        if {key.public_key for key in known if key.valid_until is None} != set(signing):
            seals.register_keys(conn, tenant_id=tenant_id, public_keys=signing)
