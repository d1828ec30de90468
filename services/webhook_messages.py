"""What a webhook says: its body, and the headers that prove who says it (W2; Standard Webhooks)."""

from __future__ import annotations

import base64
import hmac
import json
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

# What an endpoint may ask for; those of the API's description are the same.
EVENT_TYPES = (
    "payment.created",
    "payment.authorized",
    "payment.captured",
    "payment.voided",
    "payment.expired",
    "payment.cancelled",
    "payment.failed",
    "payment.refunded",
    "payment.dispute_opened",
    "payment.dispute_won",
    "payment.dispute_lost",
    "payment.dispute_reversed",
    "payment.authorization_expiring",
    "payment.updated",
)


@dataclass(frozen=True, slots=True)
class Message:
    """A webhook. The body is the same for each attempt, the time and so the signature are not."""

    event_id: str
    body: bytes

    def headers(self, secrets: Sequence[bytes], timestamp: int) -> dict[str, str]:
        """Return the three headers of an attempt at `timestamp`; each secret in force signs."""
        signed = b"%s.%d.%s" % (self.event_id.encode(), timestamp, self.body)
        signatures = (hmac.digest(secret, signed, "sha256") for secret in secrets)
        return {
            "webhook-id": self.event_id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": " ".join(
                f"v1,{base64.b64encode(each).decode()}" for each in signatures
            ),
        }


def message(event_id: str, event_type: str, timestamp: str, data: dict[str, Any]) -> Message:
    """Return a webhook with `data`; `timestamp` is when it happened, as the API shows times."""
    shown = {"type": event_type, "timestamp": timestamp, "data": data}
    return Message(event_id, json.dumps(shown, separators=(",", ":")).encode())


def of_event(event: dict[str, Any]) -> Message:
    """Return the webhook of an event as the database gives it; `data` is as the API shows it."""
    created_at, after = _utc(event["created_at"]), event["after"]
    capture_before = after["capture_before"]
    shown = {**after, "capture_before": capture_before and _utc(capture_before)}
    data = {**event, "created_at": created_at, "after": shown}
    return message(event["id"], event["type"], created_at, data)


def _utc(text: str) -> str:
    """Return PostgreSQL's text of a time in UTC as the API shows it."""
    return datetime.fromisoformat(text).isoformat().replace("+00:00", "Z")
