"""Device tokens: bound to a user, 180 days, SHA-256."""

from __future__ import annotations

import hashlib
from uuid import UUID

import pytest
from itsdangerous import URLSafeTimedSerializer

from services.device_tokens import TTL_S, DeviceTokens

USER = UUID("0198c5a0-7d1f-7c3a-9d2e-5b6f7a8c9d0e")
TOKENS = DeviceTokens([bytes(32)])


def test_a_device_keeps_its_id_and_gets_a_fresh_signature() -> None:
    """A28."""
    first = TOKENS.read(TOKENS.write("default", USER, None))
    assert first is not None
    assert (first.tenant_id, first.user_id) == ("default", USER)
    assert TOKENS.read(TOKENS.write("default", USER, first)) == first
    assert TOKENS.read(TOKENS.write("default", USER, None)) != first


def test_an_older_master_key_is_read() -> None:
    old = TOKENS.write("default", USER, None)
    assert DeviceTokens([b"n" * 32, bytes(32)]).read(old) is not None
    assert DeviceTokens([b"n" * 32]).read(old) is None


def test_a_device_is_forgotten_after_180_days(monkeypatch: pytest.MonkeyPatch) -> None:
    """A28."""
    text = TOKENS.write("default", USER, None)
    now = __import__("time").time()
    monkeypatch.setattr("time.time", lambda: now + TTL_S - 60)
    assert TOKENS.read(text) is not None
    monkeypatch.setattr("time.time", lambda: now + TTL_S + 60)
    assert TOKENS.read(text) is None


@pytest.mark.parametrize("text", [None, "", "srd_", "srd_a.b.c", "x", "srd_é"])
def test_what_is_no_device_token_opens_nothing(text: str | None) -> None:
    assert TOKENS.read(text) is None


def test_sha_1_is_not_read() -> None:
    """Section 15: itsdangerous signs with SHA-1 by default."""
    parts = ["default", str(USER), "x"]
    weak = URLSafeTimedSerializer(bytes(32), salt="strongroom.device")
    assert TOKENS.read("srd_" + str(weak.dumps(parts))) is None
    strong = URLSafeTimedSerializer(
        bytes(32),
        salt="strongroom.device",
        signer_kwargs={"digest_method": hashlib.sha256, "key_derivation": "hmac"},
    )
    assert TOKENS.read("srd_" + str(strong.dumps(parts))) is not None
