"""Why a posting is refused: faults of the request itself, and codes of the database as errors.

Order of looking (ledger page, section 9): shape, id, accounts, currency, status, limits. The shape
is looked at here, all else under the locks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from errors import (
    AppError,
    BatchTooLarge,
    DuplicateReference,
    ReferenceReserved,
    SameAccount,
    ValidationFailed,
    all_errors,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    from services.posting_requests import Posting

ERRORS: dict[str, type[AppError]] = {error.code: error for error in all_errors()}
# References of this kind are the service's: no event of a payment is posted twice (P30).
RESERVED_REFERENCE = "payment:"
# An account's balance is for those who may read it.
READ = "ledger:read"


def shape_fault(posting: Posting, legs_max: int, hold_max_s: int) -> AppError | None:
    """Say what is wrong with the request, whatever the book holds."""
    for place, leg in enumerate(posting.legs):
        if leg.debit == leg.credit:
            return SameAccount(errors=_at(f"/legs/{place}/credit", SameAccount))
    if len(posting.legs) > legs_max:
        return BatchTooLarge(f"A transaction has at most {legs_max} legs.")
    if (posting.reference or "").startswith(RESERVED_REFERENCE):
        return ReferenceReserved(errors=_at("/reference", ReferenceReserved))
    if posting.kind == "adjust" and not (posting.metadata or {}).get("reason"):
        return _invalid("/metadata/reason", "missing", "A correction says why it is made.")
    if (posting.expires_in_s or 0) > hold_max_s:
        return _invalid("/expires_in_s", "out_of_range", f"At most {hold_max_s}.")
    return None


def refusal(
    code: str, pointer: str | None, facts: Mapping[str, Any] | None, scopes: frozenset[str]
) -> AppError:
    """Return the error of a code that the database has given."""
    error = ERRORS.get(code)
    if error is None:
        raise RuntimeError(f"Bug: no error has the code {code}")
    members = dict(facts or {}) if READ in scopes or code == DuplicateReference.code else {}
    headers = {}
    if code == DuplicateReference.code and members:
        headers["Location"] = location(members["resource_id"])
    return error(errors=_at(pointer, error) if pointer else (), headers=headers, **members)


def location(transaction_id: UUID | str) -> str:
    """Return where a transaction is read."""
    return f"/v1/ledger/transactions/{transaction_id}"


def _invalid(pointer: str, code: str, detail: str) -> AppError:
    return ValidationFailed(errors=({"pointer": pointer, "code": code, "detail": detail},))


def _at(pointer: str, error: type[AppError]) -> tuple[Any, ...]:
    return ({"pointer": pointer, "code": error.code, "detail": (error.__doc__ or "").strip()},)
