"""Checking what the service has signed, without it: no database, no settings, only a key (LM10)."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from services import merkle
from services.canonical_json import canonical, digest
from services.checkpoints import Checkpoint, Receipt, receipt_name
from services.export_lines import ExportDamaged, ExportLines
from services.signed_notes import Note, NoteInvalid, PublicKey, decoded


class ProofFalse(Exception):
    """It does not hold: the text says what and why."""


class ProofUnreadable(Exception):
    """It is not what it should be, so nothing is known."""


class ProofMissing(Exception):
    """What was given does not suffice: the text says what else is needed."""


def read_keys(text: str) -> list[PublicKey]:
    """Read keys, one a line, or the answer of /v1/ledger/keys. Raises ProofUnreadable."""
    try:
        lines = text.split()
        if text.lstrip().startswith("{"):
            lines = [each["checkpoint_key"] for each in json.loads(text)["data"]]
        keys = [PublicKey.parse(line) for line in lines]
    except (ValueError, KeyError, TypeError) as fault:
        raise ProofUnreadable(f"key: {fault}") from fault
    if not keys:
        raise ProofUnreadable("key: there is none")
    return keys


@dataclass(slots=True)
class ProofCheck:
    """Checks things that belong together; every method raises the module's exceptions.

    It remembers each signed checkpoint by its size: two of one size must be the same.
    """

    keys: list[PublicKey]
    roots: dict[int, bytes] = field(default_factory=dict)
    links: set[tuple[int, int]] = field(default_factory=set)
    leaves: dict[str, bytes] = field(default_factory=dict)
    receipts: dict[str, Receipt] = field(default_factory=dict)
    origin: str = ""

    def checkpoint(self, note: str, what: str = "checkpoint") -> Checkpoint:
        """Check a signed checkpoint, and that it contradicts none that is known."""
        parsed = self._signed(note, self.keys, what)
        try:
            found = Checkpoint.parse(parsed[0].text)
        except NoteInvalid as fault:
            raise ProofUnreadable(f"{what}: {fault}") from fault
        if parsed[1].name != found.origin or self.origin not in {"", found.origin}:
            raise ProofFalse(f"{what}: the log is {found.origin}, the key's is {parsed[1].name}")
        self.origin = found.origin
        if self.roots.setdefault(found.size, found.root) != found.root:
            raise ProofFalse(f"{what}: two different trees of {found.size} leaves are signed")
        return found

    def receipt(self, note: str) -> Receipt:
        """Check a signed receipt; its transaction is compared by `compare`."""
        named = [PublicKey(name=receipt_name(key.name), public=key.public) for key in self.keys]
        parsed, key = self._signed(note, [*self.keys, *named], "receipt")
        try:
            found = Receipt.parse(parsed.text)
        except NoteInvalid as fault:
            raise ProofUnreadable(f"receipt: {fault}") from fault
        if key.name != receipt_name(found.origin):
            raise ProofFalse("receipt: it is signed under another name than that of receipts")
        self.receipts[str(found.tx_id)] = found
        return found

    def proof(self, document: Any) -> str:
        """Check the answer of .../proof or of /consistency; return what it shows."""
        try:
            return self._inclusion(document) if "leaf" in document else self._consistency(document)
        except (KeyError, TypeError, ValueError, AttributeError) as fault:
            raise ProofUnreadable(f"proof: {type(fault).__name__} {fault}") from fault

    def compare(self) -> None:
        """Compare receipts with the leaves that were proved or exported; raises ProofFalse."""
        for tx_id, receipt in self.receipts.items():
            if self.leaves.get(tx_id, receipt.leaf_hash) != receipt.leaf_hash:
                raise ProofFalse(f"receipt: transaction {tx_id} is another one in the book")

    def continues(self, first: int, second: int) -> None:
        """Make sure that it was shown that the larger tree begins as the smaller."""
        pair = (min(first, second), max(first, second))
        if pair[0] != pair[1] and pair not in self.links:
            path = f"/v1/ledger/consistency?from={pair[0]}&to={pair[1]}"
            raise ProofMissing(
                f"nothing shows that the tree of {pair[1]} leaves begins as that of {pair[0]}:"
                f" add --proof with the answer of {path}, or --export"
            )

    def _signed(self, note: str, keys: list[PublicKey], what: str) -> tuple[Note, PublicKey]:
        try:
            parsed = Note.parse(note)
        except NoteInvalid as fault:
            raise ProofUnreadable(f"{what}: {fault}") from fault
        key = parsed.signer(keys)
        if key is None:
            raise ProofFalse(f"{what}: not signed by the key")
        return parsed, key

    def _inclusion(self, document: Any) -> str:
        leaf, index = document["leaf"], document["index"]
        signed = self.checkpoint(document["checkpoint"], "proof")
        hashed = merkle.leaf_hash(canonical(leaf))
        path = [decoded(each) for each in document["hashes"]]
        if merkle.root_by_inclusion(index, signed.size, hashed, path) != signed.root:
            raise ProofFalse(f"proof: leaf {index} does not lead to the signed root")
        self.leaves[leaf["id"]] = hashed
        return f"transaction {leaf['id']} is leaf {index} of {signed.size}"

    def _consistency(self, document: Any) -> str:
        before, after = (self.checkpoint(note, "proof") for note in document["checkpoints"])
        path = [decoded(each) for each in document["hashes"]]
        if not merkle.is_consistent(before.size, after.size, before.root, after.root, path):
            raise ProofFalse(
                f"proof: the tree of {after.size} leaves does not begin as that of {before.size}"
            )
        self.links.add((before.size, after.size))
        return f"the tree of {after.size} leaves begins as that of {before.size}"

    def export(self, lines: ExportLines, *, is_signed: bool = True) -> str:
        """Check an export of transactions: its end, each leaf, the root of each known checkpoint.

        `is_signed`: there has to be a checkpoint. Memory does not grow with it: only late leaves
        stand elsewhere than in their order.
        """
        tree, waiting, shown = merkle.Growing(), dict[int, bytes](), list[int]()
        try:
            for document in lines:
                hashed = self._exported(document)
                if document.get("index") is not None:
                    waiting[document["index"]] = hashed
                while tree.size in waiting:
                    tree.append(waiting.pop(tree.size))
                    if tree.size in self.roots:
                        self._same(tree)
                        shown.append(tree.size)
        except ExportDamaged as fault:
            raise ProofUnreadable(f"export: {fault}") from fault
        self._is_whole(tree.size, waiting, is_signed=is_signed)
        self._has_all(str(lines.end["sealed_through"]))
        self.links |= {(first, second) for first in shown for second in shown if first < second}
        return f"{lines.end['count']} transactions, of which {tree.size} are sealed"

    def _exported(self, document: dict[str, Any]) -> bytes:
        """Return the hash of a line's leaf; ProofFalse if its metadata is not what it says."""
        try:
            leaf, metadata = document["leaf"], document.get("metadata")
            hashed = merkle.leaf_hash(canonical(leaf))
            if metadata is not None and digest(metadata).hex() != leaf.get("metadata_sha256"):
                raise ProofFalse(f"export: transaction {leaf['id']} has other metadata")
            if leaf["id"] in self.receipts:
                self.leaves[leaf["id"]] = hashed
        except (KeyError, TypeError, ValueError, AttributeError) as fault:
            raise ProofUnreadable("export: not one of transactions") from fault
        return hashed

    def _same(self, tree: merkle.Growing) -> None:
        if tree.root() != self.roots[tree.size]:
            raise ProofFalse(f"export: its first {tree.size} leaves are not those that were signed")

    def _has_all(self, until: str) -> None:
        """Raise ProofFalse if a transaction that a receipt binds is not in the book."""
        for tx_id, receipt in self.receipts.items():
            if tx_id not in self.leaves and receipt.posted_at <= until:
                raise ProofFalse(
                    f"export: transaction {tx_id}, which a receipt binds, is not there"
                )

    def _is_whole(self, size: int, waiting: dict[int, bytes], *, is_signed: bool) -> None:
        """Raise unless the leaves up to the largest checkpoint were there."""
        beyond = [each for each in self.roots if each > size]
        if waiting:
            raise ProofMissing(f"export: leaf {size} is not in it: export without a time")
        if beyond:
            raise ProofFalse(f"export: it has {size} leaves, the checkpoint {min(beyond)}")
        if is_signed and not self.roots:
            raise ProofMissing("export: no checkpoint to compare it with: add --checkpoint")
