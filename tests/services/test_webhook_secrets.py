"""Secrets of webhooks at rest: whose they are, and under which key."""

from __future__ import annotations

import base64
from uuid import uuid4

import pytest

from services.webhook_secrets import WebhookSecrets

OLD, NEW = {"old": bytes(32)}, {"new": bytes([1]) * 32}
ENDPOINT = uuid4()


def test_a_secret_has_32_bytes_as_standard_webhooks_writes_them() -> None:
    """W2."""
    secrets = WebhookSecrets(NEW)
    shown, sealed = secrets.make("default", ENDPOINT)
    prefix, _, text = shown.partition("_")
    assert (prefix, len(base64.b64decode(text, validate=True))) == ("whsec", 32)
    assert secrets.open(sealed, "default", ENDPOINT) == base64.b64decode(text)


def test_secrets_differ_and_so_do_their_seals() -> None:
    secrets = WebhookSecrets(NEW)
    made = [secrets.make("default", ENDPOINT) for _ in range(10)]
    assert len({shown for shown, _ in made}) == len({sealed for _, sealed in made}) == 10


def test_a_secret_is_of_one_endpoint() -> None:
    """Section 9: moved to another endpoint or tenant it does not open."""
    secrets = WebhookSecrets(NEW)
    _, sealed = secrets.make("default", ENDPOINT)
    for tenant_id, endpoint_id in (("acme", ENDPOINT), ("default", uuid4())):
        with pytest.raises(RuntimeError, match="does not open"):
            secrets.open(sealed, tenant_id, endpoint_id)


def test_an_altered_secret_does_not_open() -> None:
    secrets = WebhookSecrets(NEW)
    _, sealed = secrets.make("default", ENDPOINT)
    for place in (4, len(sealed) - 1):
        altered = sealed[:place] + bytes([sealed[place] ^ 1]) + sealed[place + 1 :]
        with pytest.raises(RuntimeError, match="does not open"):
            secrets.open(altered, "default", ENDPOINT)


def test_an_older_master_key_opens_and_the_first_seals() -> None:
    """Section 11: AUTH_MASTER_KEYS, the first for new work."""
    shown, sealed = WebhookSecrets(OLD).make("default", ENDPOINT)
    both = WebhookSecrets({**NEW, **OLD})
    assert both.open(sealed, "default", ENDPOINT) == base64.b64decode(shown[6:])
    assert both.make("default", ENDPOINT)[1].startswith(b"new\0")
    with pytest.raises(RuntimeError, match="AUTH_MASTER_KEYS lacks"):
        WebhookSecrets(NEW).open(sealed, "default", ENDPOINT)
