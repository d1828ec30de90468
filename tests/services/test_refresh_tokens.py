"""Refresh tokens as texts: the successor follows from the token alone."""

from __future__ import annotations

from hashlib import sha256
from uuid import UUID

from services.refresh_tokens import FIRST_GENERATION, RefreshTokens, token_hash

SESSION = UUID("0198c5a0-7d1f-7c3a-9d2e-5b6f7a8c9d0e")
TOKENS = RefreshTokens({"b": bytes(range(32)), "a": bytes(32)})


def test_a_token_is_read_as_it_was_written() -> None:
    """Section 6: session, generation and secret stand in it."""
    first = TOKENS.first("my-shop", SESSION)
    text = TOKENS.write(first)
    assert text.startswith("srr_")
    assert TOKENS.read(text) == first
    assert (first.tenant_id, first.session_id) == ("my-shop", SESSION)
    assert first.generation == FIRST_GENERATION
    assert first.secret_hash == sha256(first.secret).digest()
    assert token_hash(text) == sha256(text.encode()).digest()


def test_the_successor_is_the_same_each_time() -> None:
    """A30: byte for byte, from the presented token; after a restart too."""
    first = TOKENS.first("default", SESSION)
    one, two = TOKENS.write(first.successor), TOKENS.write(first.successor)
    restarted = RefreshTokens({"b": bytes(range(32))})
    assert one == two == restarted.write(first.successor)
    read = TOKENS.read(one)
    assert read is not None
    assert (read.generation, read.secret) == (first.generation + 1, first.secret)


def test_a_session_stays_with_its_master_key() -> None:
    """Section 7: the first key is for new work, others live as long as their sessions."""
    old = RefreshTokens({"a": bytes(32)})
    first = old.first("default", SESSION)
    read = TOKENS.read(old.write(first))
    assert read is not None
    assert read.successor.key_id == "a"
    assert TOKENS.write(read.successor) == old.write(first.successor)


def test_secrets_are_drawn_at_random() -> None:
    drawn = {TOKENS.first("default", SESSION).secret for _ in range(200)}
    assert len(drawn) == 200
