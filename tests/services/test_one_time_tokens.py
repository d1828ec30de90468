"""One-time tokens as texts: made again from their row."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

import pytest

from services.one_time_tokens import PURPOSES, TTL_S, OneTimeTokens
from services.sealed_texts import Opened, SealedTexts

USER = UUID("0198c5a0-7d1f-7c3a-9d2e-5b6f7a8c9d0e")
TOKENS = OneTimeTokens({"a": bytes(32)})


@pytest.mark.parametrize("purpose", PURPOSES)
def test_a_token_is_made_again_from_its_parts(purpose: str) -> None:
    """Section 8: neither table nor outbox holds it."""
    token = TOKENS.draw("default", USER, purpose)
    text = TOKENS.write(token)
    assert text.startswith("sro_")
    assert TOKENS.read(text) == token
    assert TOKENS.write(replace(token)) == text


def test_each_purpose_has_a_time() -> None:
    """A47: 24 h, a reset 1 h."""
    assert TTL_S == {"verify": 86_400, "reset": 3_600, "email_change": 86_400}


def test_a_new_token_is_another() -> None:
    """A47: a newer request replaces the older link."""
    drawn = {TOKENS.hash_of(TOKENS.draw("default", USER, "verify")) for _ in range(50)}
    assert len(drawn) == 50


def test_an_unknown_purpose_is_refused() -> None:
    texts = SealedTexts("sro_", {"a": bytes(32)}, 33)
    text = texts.write(Opened("a", "default", USER.bytes + b"\x09" + bytes(16)))
    assert TOKENS.read(text) is None
