"""Which rows may come in: each fault is a column of ours and a code, never a value (D25)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from errors import ValidationFailed
from services.payment_states import (
    AMOUNT_MAX_MINOR,
    COUNTERS,
    METADATA_MAX_BYTES,
    METADATA_MAX_NAMES,
    metadata_bytes,
    status_of,
)
from services.stored_hashes import parse
from services.users import normalise_email

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from legacy.ours import OurColumn

Fault = tuple[str, str]  # Our column, code.
ID_MAX = 200
# What a store without counters means by a status: the part of each amount is all or nothing.
_ALL_OF: dict[str, tuple[str, ...]] = {
    "authorized": ("authorized_minor",),
    "partially_captured": ("authorized_minor",),
    "captured": ("authorized_minor", "captured_minor"),
    "partially_refunded": ("authorized_minor", "captured_minor"),
    "partially_charged_back": ("authorized_minor", "captured_minor"),
    "voided": ("authorized_minor", "voided_minor"),
    "expired": ("authorized_minor", "voided_minor"),
    "refunded": ("authorized_minor", "captured_minor", "refunded_minor"),
    "disputed": ("authorized_minor", "captured_minor", "disputed_minor"),
    "charged_back": ("authorized_minor", "captured_minor", "charged_back_minor"),
}
_END_REASONS = {"cancelled", "failed", "expired", "voided"}


def derived_amounts(status: str, amount_minor: int) -> dict[str, Any]:
    """Return the counters and the end reason that a status alone tells of."""
    counters = dict.fromkeys(_ALL_OF.get(status, ()), amount_minor)
    return {**dict.fromkeys(COUNTERS, 0), **counters, "end_reason": _end_reason(status)}


def _end_reason(status: str) -> str | None:
    return status if status in _END_REASONS else None


def value_faults(
    column: OurColumn, value: Any, exponents: Mapping[str, int | None]
) -> Iterator[Fault]:
    """Yield what is wrong with one value of ours."""
    if value is None:
        if not column.is_nullable:
            yield column.name, "value_missing"
        return
    code = _CHECKS.get(column.kind, _fine)(column, value)
    if code is None and column.kind == "currency":
        code = None if exponents.get(value) is not None else "currency_unknown"
    if code is not None:
        yield column.name, code


def _fine(_: OurColumn, __: Any) -> None:
    return None


def _id(_: OurColumn, value: str) -> str | None:
    return None if 0 < len(value) <= ID_MAX and value.isprintable() else "id_invalid"


def _email(_: OurColumn, value: str) -> str | None:
    try:
        normalise_email(value)
    except ValidationFailed:
        return "email_invalid"
    return None


def _password(_: OurColumn, value: str) -> str | None:
    return None if parse(value) else "password_invalid"


def _text(column: OurColumn, value: str) -> str | None:
    if len(value) > column.length_max:
        return "text_too_long"
    fits = column.pattern is None or re.fullmatch(column.pattern, value)
    return None if fits and len(value) >= column.length_min else "text_invalid"


def _word(column: OurColumn, value: str) -> str | None:
    return None if value in column.words else "value_unmapped"


def _minor(column: OurColumn, value: int) -> str | None:
    least = 1 if column.name == "amount_minor" else 0
    return None if least <= value <= AMOUNT_MAX_MINOR else "amount_out_of_range"


def _metadata(_: OurColumn, value: dict[str, str]) -> str | None:
    too_much = len(value) > METADATA_MAX_NAMES or metadata_bytes(value) > METADATA_MAX_BYTES
    return "metadata_too_large" if too_much else None


_CHECKS: dict[str, Callable[[OurColumn, Any], str | None]] = {
    "id": _id,
    "user_id": _id,
    "email": _email,
    "password": _password,
    "text": _text,
    "word": _word,
    "minor": _minor,
    "metadata": _metadata,
}


def row_faults(domain: str, row: Mapping[str, Any]) -> Iterator[Fault]:
    """Yield what is wrong with a row whose values are each fine."""
    if domain == "users":
        if row["email"] is None and row["status"] != "deleted":
            yield "email", "value_missing"
    elif not _amounts_fit(row):
        yield "status", "status_inconsistent"


def _amounts_fit(row: Mapping[str, Any]) -> bool:
    """Tell whether a payment's counters justify its status, as constraints of `payments` do."""
    amounts = {name.removesuffix("_minor"): row[name] for name in COUNTERS}
    fee, fee_refunded = amounts.pop("fee"), amounts.pop("fee_refunded")
    given_back = amounts["refunded"] + amounts["disputed"] + amounts["charged_back"]
    return (
        amounts["authorized"] <= row["amount_minor"]
        and amounts["captured"] + amounts["voided"] <= amounts["authorized"]
        and given_back <= amounts["captured"]
        and fee_refunded <= fee
        and _end_reason_fits(row, amounts)
        and status_of(**amounts, end_reason=row["end_reason"]) == row["status"]
    )


def _end_reason_fits(row: Mapping[str, Any], amounts: Mapping[str, int]) -> bool:
    if not amounts["authorized"]:
        return row["end_reason"] in {None, "cancelled", "failed"}
    if not amounts["captured"] and amounts["voided"] == amounts["authorized"]:
        return row["end_reason"] in {"voided", "expired"}
    return row["end_reason"] is None
