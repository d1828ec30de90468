"""Why a command on a payment changed nothing: facts read afterwards -> the error to answer.

Order of looking (P23): the key, which services/idempotency.py has done; the payment; If-Match;
the state; the reference; the amounts; the accounts. None: the reason has gone, try again.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import starmap
from typing import TYPE_CHECKING, Any

from errors import (
    AccountClosed,
    AccountFrozen,
    AmountExceedsAuthorizable,
    AmountExceedsCapturable,
    AmountOverflow,
    AppError,
    CeilingExceeded,
    CurrencyMismatch,
    CurrencyUnsupported,
    DuplicateReference,
    FeeExceedsAmount,
    InvalidState,
    LedgerBehind,
    NotFound,
    PaymentExpired,
    UserNotFound,
    ValidationFailed,
    VersionMismatch,
)
from services.payment_states import allowed_actions, capturable_minor

if TYPE_CHECKING:
    from repos.payments import CommandFacts, CreateFacts


COUNTER_MAX = 2**62  # ledger_balances_counters_check


class AccountsMissing(AppError):
    """Accounts of this posting do not exist yet: the service opens them and tries again."""

    code = "account_not_found"


class CapturesAtOnce(AppError):
    """The payment is automatic: to authorise it is to capture it, another statement."""

    code = "captures_at_once"


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureWish:
    """What a capture asked for: `amount_minor` 0 is all that is left."""

    amount_minor: int
    fee_minor: int
    final: bool | None
    currency: str | None
    ledger: bool


def not_created(facts: CreateFacts) -> AppError | None:
    """Say why there is no payment."""
    if not facts.user_active:
        return UserNotFound(errors=_at("/user_id", UserNotFound))
    if not facts.currency_payable:
        return CurrencyUnsupported(errors=_at("/currency", CurrencyUnsupported))
    if facts.reference_id is not None:
        return _used(facts.reference_id, f"/v1/payments/{facts.reference_id}")
    return None


def not_authorized(facts: CommandFacts, if_match: int, amount_minor: int) -> AppError | None:
    """Say why nothing was authorised."""
    payment = facts.payment
    if payment is None:
        return NotFound()
    late = _moved_on(payment, if_match) or _unless(payment["status"] == "created", payment)
    if late is None and amount_minor > payment["amount_minor"]:
        return AmountExceedsAuthorizable(
            remaining_minor=payment["amount_minor"],
            errors=_at("/amount_minor", AmountExceedsAuthorizable),
        )
    return late


def not_authorized_alone(facts: CommandFacts, if_match: int, amount_minor: int) -> AppError | None:
    """As not_authorized, of the statement that only authorises."""
    error = not_authorized(facts, if_match, amount_minor)
    automatic = facts.payment is not None and facts.payment["capture_method"] == "automatic"
    return CapturesAtOnce() if error is None and automatic else error


def not_authorized_at_once(
    facts: CommandFacts, if_match: int, wish: CaptureWish
) -> AppError | None:
    """As not_authorized, of the statement that also captures."""
    error = not_authorized(facts, if_match, wish.amount_minor)
    return error or not_captured(facts, if_match, wish)


def not_voided(facts: CommandFacts, if_match: int) -> AppError | None:
    """Say why nothing was voided."""
    if facts.payment is None:
        return NotFound()
    late = _moved_on(facts.payment, if_match)
    return late or _unless(capturable_minor(facts.payment) > 0, facts.payment)


def not_ended(facts: CommandFacts, if_match: int) -> AppError | None:
    """Say why a payment was neither cancelled nor failed."""
    if facts.payment is None:
        return NotFound()
    late = _moved_on(facts.payment, if_match)
    return late or _unless(facts.payment["status"] == "created", facts.payment)


def not_captured(facts: CommandFacts, if_match: int, wish: CaptureWish) -> AppError | None:
    """Say why nothing was captured."""
    payment = facts.payment
    if payment is None:
        return NotFound()
    left = payment["amount_minor"] if payment["status"] == "created" else capturable_minor(payment)
    return (
        _moved_on(payment, if_match)
        or _unless(left > 0, payment)
        or _expired(payment)
        or _reference(facts)
        or _amounts(payment, wish, left)
        or (_accounts(facts, payment, wish) if wish.ledger else None)
    )


def _moved_on(payment: dict[str, Any], if_match: int) -> AppError | None:
    if if_match in {0, payment["version"]}:
        return None
    return VersionMismatch(current_version=payment["version"])


def _unless(allowed: bool, payment: dict[str, Any]) -> AppError | None:
    if allowed:
        return None
    return InvalidState(payment_status=payment["status"], allowed_actions=allowed_actions(payment))


def _expired(payment: dict[str, Any]) -> AppError | None:
    if not payment["overdue"]:
        return None
    return PaymentExpired(capture_before=payment["capture_before"])


def _reference(facts: CommandFacts) -> AppError | None:
    if facts.reference_id is None or facts.payment is None:
        return None
    return _used(facts.reference_id, f"/v1/payments/{facts.payment['id']}")


def _used(resource_id: Any, location: str) -> AppError:
    return DuplicateReference(resource_id=str(resource_id), headers={"Location": location})


def _amounts(payment: dict[str, Any], wish: CaptureWish, left: int) -> AppError | None:
    if wish.currency not in {None, payment["currency"]}:
        return CurrencyMismatch(errors=_at("/currency", CurrencyMismatch))
    if wish.final is False and payment["capture_method"] != "manual_multiple":
        detail = "Only a manual_multiple payment stays open for another capture."
        return ValidationFailed(
            errors=({"pointer": "/final", "code": "not_allowed", "detail": detail},)
        )
    if wish.amount_minor > left:
        return AmountExceedsCapturable(
            remaining_minor=left, errors=_at("/amount_minor", AmountExceedsCapturable)
        )
    amount_minor = wish.amount_minor or left
    if wish.fee_minor > amount_minor:
        return FeeExceedsAmount(
            remaining_minor=amount_minor, errors=_at("/fee_minor", FeeExceedsAmount)
        )
    return None


def _accounts(facts: CommandFacts, payment: dict[str, Any], wish: CaptureWish) -> AppError | None:
    """The payment itself would do: then its accounts do not."""
    if payment["unposted"]:
        return LedgerBehind(headers={"Retry-After": "5"})
    codes = account_codes(payment["user_id"], payment["gateway"])
    found = {account["code"]: account for account in facts.accounts or ()}
    if found.keys() < set(codes):
        return AccountsMissing()
    amount_minor = wish.amount_minor or capturable_minor(payment) or payment["amount_minor"]
    raised = (amount_minor - wish.fee_minor, amount_minor, wish.fee_minor)
    touched = [(found[code], by) for code, by in zip(codes, raised, strict=True) if by]
    return next((error for error in starmap(_account, touched) if error), None)


def _account(account: dict[str, Any], raised_minor: int) -> AppError | None:
    """Say why this account's balance cannot be raised by so much."""
    if account["status"] != "open":
        return AccountClosed() if account["status"] == "closed" else AccountFrozen()
    if account["raised_minor"] + raised_minor > COUNTER_MAX:
        return AmountOverflow()
    ceiling = account["ceiling"]
    if ceiling is not None and account["reachable_minor"] + raised_minor > ceiling:
        return CeilingExceeded()
    return None


def account_codes(user_id: object, gateway: object) -> tuple[str, str, str]:
    """Return the codes of the accounts that payments post to: available, clearing, fees."""
    return f"users:{user_id}:available", f"gateways:{gateway}:clearing", "platform:fees"


def _at(pointer: str, error: type[AppError]) -> tuple[Any, ...]:
    return ({"pointer": pointer, "code": error.code, "detail": (error.__doc__ or "").strip()},)
