"""Rows as a legacy store gives them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from legacy.canonical import uuid8

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def user(legacy_id: str, **given: Any) -> dict[str, Any]:
    """A user as a store gives it."""
    row = {
        "id": str(uuid8("default", "users", legacy_id)),
        "legacy_id": legacy_id,
        "email": f"user{legacy_id}@example.org",
        "legacy_password_hash": "$2b$04$" + "." * 53,
        "status": "active",
        "display_name": None,
        "role": "user",
        "email_verified": False,
        "email_verified_at": None,
        "created_at": LONG_AGO,
        "updated_at": LONG_AGO,
    }
    return {**row, **given}


def payment(legacy_id: str, user_legacy_id: str = "1", **given: Any) -> dict[str, Any]:
    """A payment as a store gives it: of 1000, created, unless something else is given."""
    row: dict[str, Any] = {
        "id": str(uuid8("default", "payments", legacy_id)),
        "legacy_id": legacy_id,
        "user_id": str(uuid8("default", "users", user_legacy_id)),
        "user_legacy_id": user_legacy_id,
        "amount_minor": 1_000,
        "currency": "EUR",
        "capture_method": "manual",
        "gateway": "legacy",
        "metadata": {},
        "status": "created",
        "created_at": LONG_AGO,
        "updated_at": LONG_AGO,
    }
    row |= dict.fromkeys(
        (
            "authorized_minor", "captured_minor", "voided_minor", "refunded_minor",
            "disputed_minor", "charged_back_minor", "fee_minor", "fee_refunded_minor",
        ), 0,
    )  # fmt: skip
    row |= dict.fromkeys(
        (
            "reference", "gateway_reference", "description", "end_reason", "failure_code",
            "failure_message", "capture_before",
        )
    )  # fmt: skip
    return {**row, **given}


def captured(amount: int = 1_000, fee: int = 0, refunded: int = 0) -> dict[str, Any]:
    """What a captured payment has more."""
    status = "refunded" if refunded == amount else "partially_refunded" if refunded else "captured"
    return {
        "authorized_minor": amount, "captured_minor": amount, "fee_minor": fee,
        "refunded_minor": refunded, "status": status,
    }  # fmt: skip


def soon(seconds: float = 5) -> datetime:
    """A moment that is not over yet."""
    return datetime.now(UTC) + timedelta(seconds=seconds)
