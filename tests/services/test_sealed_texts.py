"""Texts with a tenant and a MAC: what was written is read, and nothing else is."""

from __future__ import annotations

import base64
import random

import pytest

from services.sealed_texts import Opened, SealedTexts

OLD, NEW = bytes(32), bytes(range(32))
TEXTS = SealedTexts("srx_", {"new": NEW, "old": OLD}, 5)
OPENED = Opened("new", "my-shop", b"hello")
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def test_what_was_written_is_read() -> None:
    """Section 6: base64url without padding, the tenant inside."""
    text = TEXTS.write(OPENED)
    assert text.startswith("srx_")
    assert "=" not in text
    assert TEXTS.read(text) == OPENED
    assert TEXTS.write(OPENED) == text


def test_the_first_master_key_writes_and_all_are_read() -> None:
    """Section 7, master keys: the others stay until nothing needs them."""
    assert TEXTS.key_id == "new"
    old = Opened("old", "my-shop", b"hello")
    assert TEXTS.read(TEXTS.write(old)) == old
    alone = SealedTexts("srx_", {"new": NEW}, 5)
    assert alone.read(TEXTS.write(old)) is None
    with pytest.raises(KeyError):
        alone.write(old)


def test_no_changed_character_is_read() -> None:
    """Section 16: one-character mutants; 0 accepted, the unused bits of the last one included."""
    text, draw = TEXTS.write(OPENED), random.Random(1)
    for place in range(len(text)):
        for _ in range(20):
            mutant = text[:place] + draw.choice(ALPHABET) + text[place + 1 :]
            assert TEXTS.read(mutant) is None or mutant == text


@pytest.mark.parametrize(
    "text",
    ["", "srx_", "srx_A", "srx_AAAA", "srx_é", "srx_" + "A" * 10_000, "sry_AAAA", "srx_A=A="],
)
def test_what_is_no_text_is_refused(text: str) -> None:
    """Bad input: never an exception."""
    assert TEXTS.read(text) is None


def test_padding_space_and_line_end_are_refused() -> None:
    text = TEXTS.write(OPENED)
    assert [TEXTS.read(t) for t in (text + "=", text + " ", text + "\n", f" {text}")] == [None] * 4


def test_a_text_of_another_kind_is_refused() -> None:
    """A35: prefix and subkey tell the kinds apart."""
    other = SealedTexts("srx_", {"new": OLD}, 5)
    assert other.read(TEXTS.write(OPENED)) is None
    assert SealedTexts("srx_", {"new": NEW}, 6).read(TEXTS.write(OPENED)) is None
    raw = base64.urlsafe_b64decode(TEXTS.write(OPENED)[4:] + "==")
    assert TEXTS.read("srx_" + base64.urlsafe_b64encode(b"\x02" + raw[1:]).decode()) is None
