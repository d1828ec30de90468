"""What a webhook says, and its signature, by the public library (W2)."""

from __future__ import annotations

import base64
import json
import time

from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from services.webhook_messages import message, of_event

SECRETS = st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=2)
DATA = st.dictionaries(
    st.text(max_size=20), st.one_of(st.text(), st.integers(), st.booleans(), st.none()), max_size=5
)
EVENT = {
    "id": "0198c5a0-7d1f-7c3a-9d2e-5b6f7a8c9d0e-2",
    "type": "payment.authorized",
    "created_at": "2026-01-31T12:00:00.5+00:00",
    "after": {"status": "authorized", "capture_before": "2026-02-07T12:00:00+00:00"},
}


def shown(secret: bytes) -> str:
    return f"whsec_{base64.b64encode(secret).decode()}"


@given(secrets=SECRETS, data=DATA, event_id=st.from_regex(r"[a-z0-9-]{1,50}", fullmatch=True))
def test_every_secret_in_force_verifies(
    secrets: list[bytes], data: dict[str, object], event_id: str
) -> None:
    """W2: whatever the data, whoever of the two is known; and nobody else's secret does."""
    sent = message(event_id, "payment.created", "2026-01-31T12:00:00Z", data)
    headers = sent.headers(secrets, int(time.time()))
    for secret in secrets:
        assert Webhook(shown(secret)).verify(sent.body, headers)["data"] == data
    try:
        Webhook(shown(bytes(31) + b"x")).verify(sent.body, headers)
    except WebhookVerificationError:
        return
    raise AssertionError("a foreign secret verified")


def test_an_event_is_told_with_the_apis_times() -> None:
    """W2: UTC with a Z, as in every answer."""
    told = json.loads(of_event(EVENT).body)
    assert (told["type"], told["timestamp"]) == (EVENT["type"], "2026-01-31T12:00:00.500000Z")
    assert told["data"]["created_at"] == told["timestamp"]
    assert told["data"]["after"]["capture_before"] == "2026-02-07T12:00:00Z"
    assert of_event(EVENT).event_id == EVENT["id"]


def test_a_time_that_is_not_set_stays_null() -> None:
    after = {"status": "captured", "capture_before": None}
    told = json.loads(of_event({**EVENT, "after": after}).body)
    assert told["data"]["after"]["capture_before"] is None
