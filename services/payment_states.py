"""What a payment's amounts mean: its status, what is left of it, and what may be done with it.

The status function stands in SQL too (`payment_status_of`); a test compares the two over every
reachable tuple of small amounts.
"""

from __future__ import annotations

from typing import Any

COUNTERS = (
    "authorized_minor",
    "captured_minor",
    "voided_minor",
    "refunded_minor",
    "disputed_minor",
    "charged_back_minor",
    "fee_minor",
    "fee_refunded_minor",
)


def status_of(
    *,
    authorized: int,
    captured: int,
    voided: int,
    refunded: int = 0,
    disputed: int = 0,
    charged_back: int = 0,
    end_reason: str | None = None,
) -> str:
    """Return the status that these amounts justify; the first match wins."""
    nothing_left = (
        captured == refunded + disputed + charged_back and authorized == captured + voided
    )
    cases = (
        (disputed > 0, "disputed"),
        (charged_back > 0 and nothing_left, "charged_back"),
        (charged_back > 0, "partially_charged_back"),
        (refunded > 0 and nothing_left, "refunded"),
        (refunded > 0, "partially_refunded"),
        (captured > 0 and authorized > captured + voided, "partially_captured"),
        (captured > 0, "captured"),
        (end_reason is not None, end_reason or ""),
        (authorized > 0, "authorized"),
    )
    return next((status for holds, status in cases if holds), "created")


def capturable_minor(payment: dict[str, Any]) -> int:
    """Return what is authorised and neither captured nor voided."""
    left: int = payment["authorized_minor"] - payment["captured_minor"] - payment["voided_minor"]
    return left


def refundable_minor(payment: dict[str, Any]) -> int:
    """Return what is captured and neither given back nor fought over."""
    left: int = (
        payment["captured_minor"]
        - payment["refunded_minor"]
        - payment["disputed_minor"]
        - payment["charged_back_minor"]
    )
    return left


def allowed_actions(payment: dict[str, Any]) -> list[str]:
    """Return the commands whose guards hold: it knows row and clock, not the caller's scopes."""
    if payment["status"] == "created":
        return ["authorize", "capture", "cancel", "fail"]
    if capturable_minor(payment) == 0:
        return []
    return ["void"] if payment.get("overdue") else ["capture", "void"]
