"""Signed notes against the example of their reference, and a second implementation (LM5)."""

from __future__ import annotations

import random

import pytest

from services.signed_notes import Note, NoteInvalid, PublicKey, SigningKey, decoded, signed
from tests import second_opinion

# The example of golang.org/x/mod/sumdb/note, whose format C2SP has written down.
EXAMPLE_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
EXAMPLE_SEED = decoded("AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz")[1:]
EXAMPLE_TEXT = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
)
EXAMPLE = (
    EXAMPLE_TEXT + "\n"
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZ"
    "b6KE6RyyBwJnAM=\n"
)
SEED = bytes(range(32))
KEY = SigningKey(name="example.com/default", seed=SEED)
OTHER = SigningKey(name="example.com/default", seed=bytes(32))


def test_the_example_of_the_reference_is_read_and_written() -> None:
    """LM5: key, id and signature, byte for byte."""
    key = SigningKey(name="PeterNeumann", seed=EXAMPLE_SEED)
    assert str(key.public_key) == EXAMPLE_KEY
    assert signed(EXAMPLE_TEXT, [key]) == EXAMPLE
    note = Note.parse(EXAMPLE)
    assert (note.text, note.signer([PublicKey.parse(EXAMPLE_KEY)])) == (
        EXAMPLE_TEXT,
        key.public_key,
    )


def test_a_second_implementation_opens_our_notes() -> None:
    """LM5: Ed25519 in integers, from RFC 8032."""
    note = signed("first\n\nthird\n", [OTHER, KEY])
    for key in (KEY, OTHER):
        lines = second_opinion.opened_note(note, str(key.public_key))
        assert lines == ["first", "", "third"]
    forged = note.replace("third", "fourth")
    with pytest.raises(AssertionError):
        second_opinion.opened_note(forged, str(KEY.public_key))


def test_unknown_signatures_are_ignored() -> None:
    """LM5: of the key that comes next, and of witnesses."""
    note = Note.parse(signed("text\n", [OTHER, SigningKey(name="witness", seed=SEED), KEY]))
    assert note.signer([KEY.public_key]) == KEY.public_key
    assert note.signer([OTHER.public_key]) == OTHER.public_key
    assert note.signer([PublicKey(name="nobody", public=KEY.public_key.public)]) is None
    assert note.signer([]) is None


def test_any_change_of_the_text_is_found() -> None:
    """LM5: at each of its characters."""
    note = signed("origin\n17\nroot\n", [KEY])
    cut = note.index("\n\n")
    for place in random.Random(3).sample(range(cut), cut):
        changed = note[:place] + ("x" if note[place] != "x" else "y") + note[place + 1 :]
        assert Note.parse(changed).signer([KEY.public_key]) is None


def test_a_signature_that_only_looks_like_a_known_keys_spoils_the_note() -> None:
    """LM5: same name and id, beside one that is right."""
    note = signed("text\n", [KEY])
    other = signed("other\n", [KEY]).partition("\n\n")[2]
    assert Note.parse(note + other).signer([KEY.public_key]) is None


def test_a_name_is_part_of_the_key() -> None:
    """LM5: so no tenant's note is taken for another's."""
    here, there = (SigningKey(name=name, seed=SEED).public_key for name in ("a/one", "a/two"))
    assert here.public == there.public
    assert here.key_id != there.key_id
    note = Note.parse(signed("text\n", [SigningKey(name="a/one", seed=SEED)]))
    assert note.signer([there]) is None


SIGNATURE = EXAMPLE.partition("\n\n")[2]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "text\n",
        "text\n\n",
        "text\n\n" + SIGNATURE[:-1],
        "text\n" + SIGNATURE,
        "text\x00\n\n" + SIGNATURE,
        "text\r\n\n" + SIGNATURE,
        "text\n\n" + SIGNATURE.replace("—", "-"),
        "text\n\n" + SIGNATURE.replace("=", ""),
        "text\n\n" + SIGNATURE.replace("PeterNeumann", "Peter+Neumann"),
        "text\n\n" + SIGNATURE.replace("PeterNeumann", "Peter Neumann"),
        "text\n\n— name AAAA\n",
        "text\n\n— name AAAAAA==\n",
        "text\n\n" + SIGNATURE + "more\n",
        "x" * 1_000_000 + "\n\n" + SIGNATURE,
    ],
)
def test_what_is_no_note_is_refused(text: str) -> None:
    """LM10: unreadable is another answer than false."""
    with pytest.raises(NoteInvalid):
        Note.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "PeterNeumann",
        EXAMPLE_KEY.replace("c74f20a3", "c74f20a4"),
        EXAMPLE_KEY.replace("+AR", "+AS"),
        EXAMPLE_KEY[:-4],
        EXAMPLE_KEY[:-1] + "X",
        "+" + EXAMPLE_KEY.partition("+")[2],
        "a b" + EXAMPLE_KEY,
        EXAMPLE_KEY.replace("+AR", "+\u00c4R"),
    ],
)
def test_what_is_no_key_is_refused(text: str) -> None:
    """LM5: its id belongs to it."""
    with pytest.raises(NoteInvalid):
        PublicKey.parse(text)


@pytest.mark.parametrize("text", ["", "no end", "tab\there\n", "null\x00\n"])
def test_only_lines_are_signed(text: str) -> None:
    with pytest.raises(ValueError, match="Bug"):
        signed(text, [KEY])
