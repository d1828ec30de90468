"""Checkpoints and receipts: what is signed of a book, and by which name (LM5, LM7)."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256
from uuid import UUID

import pytest

from services.checkpoints import Checkpoint, Receipt, SealKeys, receipt_name
from services.signed_notes import Note, NoteInvalid
from tests import second_opinion

ROOT = sha256(b"root").digest()
ROOT_TEXT = b64encode(ROOT).decode()
TX_ID = UUID("0198c5a0-7d1f-7c3a-9d2e-5b6f7a8c9d0e")
AT = "2026-01-01T00:00:00.000001Z"
KEYS = SealKeys(origin="pay.example.com", seeds=(bytes(32), bytes(range(32))))


def test_a_checkpoint_is_three_lines() -> None:
    """LM5: origin, size, root in base64; no line more."""
    note = KEYS.sign_checkpoint("acme", 17, ROOT)
    for key in KEYS.signing("acme"):
        lines = second_opinion.opened_note(note, str(key))
        assert lines == ["pay.example.com/acme", "17", ROOT_TEXT]
    read = Checkpoint.parse(Note.parse(note).text)
    assert read == Checkpoint(origin="pay.example.com/acme", size=17, root=ROOT)


def test_a_receipt_is_four_lines() -> None:
    """LM7: under a name of its own, and read back as it was."""
    note = Note.parse(KEYS.sign_receipt("acme", TX_ID, ROOT, AT))
    assert note.text.splitlines() == ["pay.example.com/acme", str(TX_ID), ROOT_TEXT, AT]
    assert {name for name, _, _ in note.signatures} == {receipt_name("pay.example.com/acme")}
    assert note.signer(KEYS.trusted("acme")) is None
    read = Receipt.parse(note.text)
    assert (read.tx_id, read.leaf_hash, read.posted_at) == (TX_ID, ROOT, AT)


def test_every_key_signs_and_former_ones_are_believed() -> None:
    """LM5: a key is replaced by signing with both, then by keeping its public half."""
    old = SealKeys(origin=KEYS.origin, seeds=KEYS.seeds[:1])
    (public,) = old.signing("acme")
    new = SealKeys(origin=KEYS.origin, seeds=KEYS.seeds[1:], former=(public.public,))
    note = Note.parse(old.sign_checkpoint("acme", 1, ROOT))
    assert note.signer(new.trusted("acme")) == public
    assert note.signer(new.signing("acme")) is None
    assert note.signer(new.trusted("other")) is None
    assert len(Note.parse(KEYS.sign_checkpoint("acme", 1, ROOT)).signatures) == 2


def test_without_a_key_nothing_is_signed() -> None:
    """Section 14: LEDGER_SEAL_KEY is none by default."""
    assert not SealKeys(origin="x").can_sign
    assert KEYS.can_sign


def test_more_lines_of_a_checkpoint_are_let_be() -> None:
    """c2sp.org/tlog-checkpoint: extension lines are another's matter."""
    assert Checkpoint.parse(f"o\n3\n{ROOT_TEXT}\nmore\n").size == 3


@pytest.mark.parametrize(
    "text",
    [
        "",
        "o\n3\n",
        f"\n3\n{ROOT_TEXT}\n",
        f"o\n03\n{ROOT_TEXT}\n",
        f"o\n-3\n{ROOT_TEXT}\n",
        f"o\n{TX_ID}\n{ROOT_TEXT}\n{AT}\n",
        f"o\n3\n{ROOT_TEXT[:-4]}\n",
        f"o\n3\n{ROOT_TEXT[:-1]}\n",
        f"o\n3\n{ROOT_TEXT}\n\nmore\n",
    ],
)
def test_what_is_no_checkpoint_is_refused(text: str) -> None:
    """LM10: a receipt is none either."""
    with pytest.raises(NoteInvalid):
        Checkpoint.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        f"o\n3\n{ROOT_TEXT}\n",
        f"o\n3\n{ROOT_TEXT}\n{AT}\n",
        f"\n{TX_ID}\n{ROOT_TEXT}\n{AT}\n",
        f"o\n{TX_ID}\n{ROOT_TEXT}\n{AT[:-1]}\n",
        f"o\n{TX_ID}\n{ROOT_TEXT}\n{AT}\nmore\n",
        f"o\n{TX_ID}\nAAAA\n{AT}\n",
    ],
)
def test_what_is_no_receipt_is_refused(text: str) -> None:
    """LM7: a checkpoint is none."""
    with pytest.raises(NoteInvalid):
        Receipt.parse(text)
