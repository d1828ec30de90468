"""A book as it was, from its export, times included, into an empty tenant (LX4).

Both files are checked first: each leaf, the signed root. Then all is written in one transaction:
whoever kills it finds an empty tenant. What is written is read back, line by line and as a tree.
"""

from __future__ import annotations

import heapq
import json
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, BinaryIO
from uuid import UUID

from errors import Contention, FileDamaged
from repos import ledger_restore, replay_changes, seals
from services.export_lines import ExportDamaged, ExportLines
from services.proof_checks import ProofCheck, ProofFalse, ProofMissing, ProofUnreadable
from services.seal_tiles import WIDTH, Tiles

if TYPE_CHECKING:
    from collections.abc import Iterator

    from persistence.db import Conn, Database
    from services.checkpoints import Checkpoint, SealKeys

BATCH = 1_000
LEAVES_PER_READ = 16 * WIDTH
HOLDS_PER_BATCH = 1_000
# The end of an export is one line; its note is some hundred bytes.
END_BYTES = 65_536


class RestoreRefused(Exception):
    """Nothing was done; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What is in the book now. `signed`: so many leaves are those of a signed checkpoint."""

    accounts: int
    transactions: int
    leaves: int
    signed: int


class Order:
    """Tells which leaves are late: those of which some leaf before them is posted later (LT6).

    Lines come in the order of posting. It keeps late ones only.
    """

    def __init__(self) -> None:
        self.size = 0
        self._ahead: list[int] = []

    def is_late(self, idx: int | None) -> bool:
        """Take the next line's place in the tree."""
        if idx is None:
            return False
        if idx != self.size:
            heapq.heappush(self._ahead, idx)
            return True
        self.size += 1
        while self._ahead and self._ahead[0] == self.size:
            heapq.heappop(self._ahead)
            self.size += 1
        return False


class LedgerRestore:
    """Restores into one tenant."""

    def __init__(self, db: Database, keys: SealKeys, tenant_id: str) -> None:
        """`keys`: whose checkpoints count."""
        self._db = db
        self._keys = keys
        self._tenant_id = tenant_id

    def run(self, transactions: BinaryIO, accounts: BinaryIO) -> Restored:
        """Copy two exports, of transactions and of accounts. Both are read twice.

        Raises FileDamaged, RestoreRefused, and what the database raises: then nothing was done.
        """
        checkpoint = self._checked(transactions)
        opened = [dict(each) for each in _lines(accounts)]
        with self._db.transaction(patient=True) as conn:
            seals.open_state(conn, tenant_id=self._tenant_id)
            if seals.claim_state(conn, tenant_id=self._tenant_id) is None:
                raise Contention("The book is being sealed: try again.")
            if ledger_restore.get_book(conn, tenant_id=self._tenant_id):
                raise RestoreRefused("This tenant has a book: restore into an empty one.")
            for part in _batches(iter(opened), BATCH):
                ledger_restore.create_accounts(conn, tenant_id=self._tenant_id, accounts=part)
            end, count, leaves = self._write(conn, transactions)
            self._open_holds(conn)
            self._seal(conn, end, leaves, checkpoint)
        return Restored(
            accounts=len(opened),
            transactions=count,
            leaves=leaves,
            signed=checkpoint.size if checkpoint else 0,
        )

    def _checked(self, file: BinaryIO) -> Checkpoint | None:
        """Check leaves, metadata and the root; None: no checkpoint is in the file."""
        note = _end(file).get("checkpoint")
        check = ProofCheck(self._keys.trusted(self._tenant_id))
        try:
            found = check.checkpoint(note, "export") if note else None
            file.seek(0)
            check.export(ExportLines(file), is_signed=found is not None)
        except (ProofFalse, ProofMissing, ProofUnreadable) as fault:
            raise FileDamaged(str(fault)) from fault
        return found

    def _write(self, conn: Conn, file: BinaryIO) -> tuple[dict[str, Any], int, int]:
        """Write headers, leaves, entries and balances; return the end, and how many there are."""
        file.seek(0)
        order, count = Order(), 0
        kept: list[bytes] = []
        lines = ExportLines(_keeping(file, kept))
        documents = iter(lines)
        while part := list(islice(documents, BATCH)):
            placed = [{**each, "late": order.is_late(each["index"])} for each in part]
            stored = ledger_restore.record_transactions(
                conn, tenant_id=self._tenant_id, lines=placed
            )
            _compare(kept[: len(part)], stored, count)
            del kept[: len(part)]
            self._write_entries(conn, part, count)
            count += len(part)
        return lines.end, count, order.size

    def _write_entries(self, conn: Conn, part: list[dict[str, Any]], before: int) -> None:
        leaves = [each["leaf"] for each in part]
        tx_ids = [UUID(leaf["id"]) for leaf in leaves]
        wanted = 2 * sum(len(leaf["legs"]) for leaf in leaves if leaf["status"] == "applied")
        made = ledger_restore.record_entries(conn, tenant_id=self._tenant_id, tx_ids=tx_ids)
        if made != wanted:
            last = before + len(part)
            raise FileDamaged(f"lines {before + 1} to {last}: a stripe that no account has")

    def _open_holds(self, conn: Conn) -> None:
        hold_ids = replay_changes.list_wrong_holds(conn, tenant_id=self._tenant_id)
        for part in _batches(iter(hold_ids), HOLDS_PER_BATCH):
            replay_changes.set_holds(
                conn, tenant_id=self._tenant_id, hold_ids=part, make_missing=True
            )

    def _seal(
        self, conn: Conn, end: dict[str, Any], size: int, checkpoint: Checkpoint | None
    ) -> None:
        """Write the tree of the leaves as they are stored, and the checkpoint if it fits them."""
        for first in range(0, size, LEAVES_PER_READ):
            self._grow(conn, first, min(first + LEAVES_PER_READ, size))
        if checkpoint:
            root = Tiles(conn, self._tenant_id, size).root(checkpoint.size)
            if root != checkpoint.root:
                raise RuntimeError("Bug: the tree that was written is not the one that was read")
            seals.create_seal(
                conn,
                tenant_id=self._tenant_id,
                tree_size=checkpoint.size,
                root=root,
                sealed_through=end["sealed_through"],
                note=end["checkpoint"],
            )
        if end["sealed_through"]:
            seals.set_state(
                conn,
                tenant_id=self._tenant_id,
                sealed_through=end["sealed_through"],
                tree_size=size,
                tick_at=end["sealed_through"],
                tick_xid=None,
                tick_node="",
            )

    def _grow(self, conn: Conn, first: int, last: int) -> None:
        hashes = seals.list_leaf_hashes(
            conn, tenant_id=self._tenant_id, first_idx=first, end_idx=last
        )
        full = Tiles(conn, self._tenant_id, first).append(hashes)
        if full:
            seals.record_tiles(
                conn,
                tenant_id=self._tenant_id,
                levels=[tile.level for tile in full],
                ns=[tile.n for tile in full],
                hashes=[tile.hashes for tile in full],
                roots=[tile.root for tile in full],
            )


def _lines(file: BinaryIO) -> Iterator[dict[str, Any]]:
    try:
        yield from ExportLines(file)
    except ExportDamaged as fault:
        raise FileDamaged(f"accounts: {fault}") from fault


def _end(file: BinaryIO) -> dict[str, Any]:
    """Return the last line: its checkpoint is needed before the first one."""
    size = file.seek(0, 2)
    file.seek(max(0, size - END_BYTES))
    lines = file.read().splitlines()
    try:
        return dict(json.loads(lines[-1]))
    except (ValueError, TypeError, IndexError) as fault:
        raise FileDamaged("the file is cut off: its last line says no end") from fault


def _keeping(file: BinaryIO, kept: list[bytes]) -> Iterator[bytes]:
    for line in file:
        kept.append(line)
        yield line


def _compare(given: list[bytes], stored: list[str], before: int) -> None:
    """Raise FileDamaged for the first line that is not what is stored."""
    for number, line in enumerate(given):
        found = stored[number].encode() + b"\n" if number < len(stored) else b""
        if line != found:
            text = "an account that is not in the file of accounts, or not of this tenant"
            raise FileDamaged(f"line {before + number + 1}: {text}")


def _batches(items: Iterator[Any], size: int) -> Iterator[list[Any]]:
    while part := list(islice(items, size)):
        yield part
