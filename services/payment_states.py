"""What a payment's amounts mean: its status, what is left of it, and what may be done with it.

The status function stands in SQL too (`payment_status_of`); a test compares the two over every
reachable tuple of small amounts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

AMOUNT_MAX_MINOR = 999_999_999_999_999  # Exact in every JSON client: below 2^53 (P1).
METADATA_MAX_NAMES = 50
METADATA_MAX_BYTES = 8_192

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
    is_open, is_refundable = capturable_minor(payment) > 0, refundable_minor(payment) > 0
    actions = {
        "capture": is_open and not payment.get("overdue"),
        "void": is_open,
        "refund": is_refundable,
        "dispute": is_refundable,
    }
    return [name for name, holds in actions.items() if holds]


def resolved_event(dispute_status: str, outcome: str) -> str | None:
    """Return what it is called that a dispute ends so; None: it cannot. A lost one may be won."""
    table = {
        ("open", "won"): "payment.dispute_won",
        ("open", "lost"): "payment.dispute_lost",
        ("lost", "won"): "payment.dispute_reversed",
    }
    return table.get((dispute_status, outcome))


def merged(metadata: Mapping[str, str], patch: Mapping[str, str | None] | None) -> dict[str, str]:
    """Return metadata after a merge patch (RFC 7396): a null takes a name away, None all."""
    whole = {} if patch is None else {**metadata, **patch}
    return {name: value for name, value in whole.items() if value is not None}


def metadata_bytes(metadata: Mapping[str, str | None]) -> int:
    """Return how many bytes the names and values of metadata have."""
    return sum(len(name.encode()) + len((value or "").encode()) for name, value in metadata.items())
