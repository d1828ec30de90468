"""What an event of a payment posts, and why the book refuses it (payments page, section 5).

The table stands in each statement that posts, too; a check compares postings with events.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from errors import (
    AccountClosed,
    AccountFrozen,
    AmountOverflow,
    AppError,
    CeilingExceeded,
    InsufficientFunds,
    LedgerBehind,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

COUNTER_MAX = 2**62  # ledger_balances_counters_check


class AccountsMissing(AppError):
    """Accounts of this posting do not exist yet: the service opens them and tries again."""

    code = "accounts_missing"

    def __init__(self, payment: dict[str, Any], codes: list[str]) -> None:
        """`codes` are those of the payment's accounts that are missing."""
        super().__init__()
        self.currency: str = payment["currency"]
        self.user_id: Any = payment["user_id"]
        self.codes = codes


@dataclass(frozen=True, slots=True)
class Posting:
    """What an event would post: legs (debit, credit, amount). `forced`: a floor does not count."""

    legs: tuple[tuple[str, str, int], ...]
    forced: bool = False


def posting_of(
    payment: dict[str, Any], event: str, amount_minor: int, fee_minor: int = 0
) -> Posting:
    """Return the legs of an event; those of nothing are left out (P30)."""
    available = f"users:{payment['user_id']}:available"
    disputed = f"users:{payment['user_id']}:disputed"
    clearing, fees = f"gateways:{payment['gateway']}:clearing", "platform:fees"
    rest = amount_minor - fee_minor
    table = {
        "payment.captured": ((clearing, fees, fee_minor), (clearing, available, rest)),
        "payment.refunded": ((fees, clearing, fee_minor), (available, clearing, rest)),
        "payment.dispute_opened": ((available, disputed, amount_minor),),
        "payment.dispute_won": ((disputed, available, amount_minor),),
        "payment.dispute_lost": (
            (disputed, clearing, amount_minor),
            (available, fees, fee_minor),
        ),
        "payment.dispute_reversed": ((clearing, available, amount_minor),),
    }
    forced = event in {"payment.dispute_opened", "payment.dispute_lost"}
    return Posting(tuple(leg for leg in table[event] if leg[2]), forced)


def refused_by_book(
    payment: dict[str, Any], accounts: Iterable[dict[str, Any]] | None, posting: Posting
) -> AppError | None:
    """Say why the payment's accounts do not take this posting; None: they do (P31)."""
    if payment["unposted"]:
        return LedgerBehind(headers={"Retry-After": "5"})
    found = {account["code"]: account for account in accounts or ()}
    totals = _totals(posting)
    missing = [code for code in totals if code not in found]
    if missing:
        return AccountsMissing(payment, missing)
    refusals = (_refused(found[code], *totals[code], posting.forced) for code in totals)
    return next((error for error in refusals if error), None)


def _totals(posting: Posting) -> dict[str, tuple[int, int]]:
    """Return what each account is debited and credited in all."""
    totals: dict[str, tuple[int, int]] = {}
    for debit, credit, amount in posting.legs:
        debits, credits_ = totals.get(debit, (0, 0))
        totals[debit] = debits + amount, credits_
        debits, credits_ = totals.get(credit, (0, 0))
        totals[credit] = debits, credits_ + amount
    return totals


def _refused(account: dict[str, Any], debits: int, credits_: int, forced: bool) -> AppError | None:
    if account["status"] != "open":
        return AccountClosed() if account["status"] == "closed" else AccountFrozen()
    debits_posted = account["debits_posted"] + debits
    credits_posted = account["credits_posted"] + credits_
    if max(debits_posted, credits_posted) > COUNTER_MAX:
        return AmountOverflow()
    side = account["normal_side"]
    with_it, against = ("credits", "debits") if side == 1 else ("debits", "credits")
    balance, change = side * (credits_posted - debits_posted), side * (credits_ - debits)
    ceiling, floor = account["ceiling"], account["floor"]
    if change > 0 and ceiling is not None and balance + account[f"{with_it}_pending"] > ceiling:
        return CeilingExceeded()
    available = balance - account[f"{against}_pending"]
    if change < 0 and floor is not None and available < floor and not forced:
        return InsufficientFunds(available_minor=available - change)
    return None
