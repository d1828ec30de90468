"""Why a command on a payment changed nothing: facts read afterwards -> the error to answer.

Order of looking (P23): the key, which services/idempotency.py has done; the payment; If-Match;
the reference, as a repeat is told its first; the state; the amounts; the book. None: the reason
has gone, try again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from errors import (
    AmountExceedsAuthorizable,
    AmountExceedsCapturable,
    AmountExceedsRefundable,
    AmountOverflow,
    AppError,
    CurrencyMismatch,
    CurrencyUnsupported,
    DuplicateReference,
    FeeExceedsAmount,
    InvalidState,
    NotFound,
    PaymentExpired,
    UserNotFound,
    ValidationFailed,
    VersionMismatch,
)
from services.payment_postings import posting_of, refused_by_book
from services.payment_states import (
    AMOUNT_MAX_MINOR,
    METADATA_MAX_BYTES,
    METADATA_MAX_NAMES,
    allowed_actions,
    capturable_minor,
    merged,
    metadata_bytes,
    refundable_minor,
    resolved_event,
)

if TYPE_CHECKING:
    from repos.disputes import DisputeRow
    from repos.payments import CommandFacts, CreateFacts


class CapturesAtOnce(AppError):
    """The payment is automatic: to authorise it is to capture it, another statement."""

    code = "captures_at_once"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a command asked for: `amount_minor` 0 is all that is left.

    `final` is of captures, `forced` (the user may owe it) of refunds.
    """

    ledger: bool
    if_match: int = 0
    amount_minor: int = 0
    fee_minor: int = 0
    currency: str | None = None
    final: bool | None = None
    forced: bool = False


def not_created(facts: CreateFacts) -> AppError | None:
    """Say why there is no payment."""
    if not facts.user_active:
        return UserNotFound(errors=_at("/user_id", UserNotFound))
    if not facts.currency_payable:
        return CurrencyUnsupported(errors=_at("/currency", CurrencyUnsupported))
    if facts.reference_id is not None:
        return _used(facts.reference_id, "payments")
    return None


def not_authorized(facts: CommandFacts, wish: Wish) -> AppError | None:
    """Say why nothing was authorised."""
    payment = facts.payment
    if payment is None:
        return NotFound()
    return (
        _moved_on(payment, wish.if_match)
        or _unless(payment["status"] == "created", payment)
        or _currency(payment, wish)
        or _too_much(AmountExceedsAuthorizable, wish, payment["amount_minor"])
    )


def not_authorized_alone(facts: CommandFacts, wish: Wish) -> AppError | None:
    """As not_authorized, of the statement that only authorises."""
    error = not_authorized(facts, wish)
    automatic = facts.payment is not None and facts.payment["capture_method"] == "automatic"
    return CapturesAtOnce() if error is None and automatic else error


def not_authorized_at_once(facts: CommandFacts, wish: Wish) -> AppError | None:
    """As not_authorized, of the statement that also captures."""
    return not_authorized(facts, wish) or not_captured(facts, wish)


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


def not_updated(
    facts: CommandFacts, if_match: int, patch: dict[str, str | None] | None
) -> AppError | None:
    """Say why neither description nor metadata was changed."""
    payment = facts.payment
    if payment is None:
        return NotFound()
    metadata = merged(payment["metadata"], patch)
    return (
        _moved_on(payment, if_match)
        or _at_most(METADATA_MAX_NAMES, "names", "too_many", len(metadata))
        or _at_most(METADATA_MAX_BYTES, "bytes", "too_large", metadata_bytes(metadata))
    )


def not_captured(facts: CommandFacts, wish: Wish) -> AppError | None:
    """Say why nothing was captured."""
    payment = facts.payment
    if payment is None:
        return NotFound()
    left = payment["amount_minor"] if payment["status"] == "created" else capturable_minor(payment)
    return (
        _moved_on(payment, wish.if_match)
        or _reference(facts, "captures")
        or _unless(left > 0, payment)
        or _expired(payment)
        or _currency(payment, wish)
        or _final(payment, wish)
        or _too_much(AmountExceedsCapturable, wish, left)
        or _fee(wish, wish.amount_minor or left)
        or _book(facts, "payment.captured", wish, left)
    )


def not_refunded(facts: CommandFacts, wish: Wish) -> AppError | None:
    """Say why nothing was refunded."""
    payment = facts.payment
    if payment is None:
        return NotFound()
    left = refundable_minor(payment)
    fee_left = payment["fee_minor"] - payment["fee_refunded_minor"]
    return (
        _moved_on(payment, wish.if_match)
        or _reference(facts, "refunds")
        or _unless(left > 0, payment)
        or _currency(payment, wish)
        or _too_much(AmountExceedsRefundable, wish, left)
        or _fee(wish, min(wish.amount_minor or left, fee_left))
        or _book(facts, "payment.refunded", wish, left)
    )


def not_disputed(facts: CommandFacts, wish: Wish) -> AppError | None:
    """Say why no dispute was opened."""
    payment = facts.payment
    if payment is None:
        return NotFound()
    left = refundable_minor(payment)
    return (
        _moved_on(payment, wish.if_match)
        or _reference(facts, "disputes")
        or _unless(left > 0, payment)
        or _currency(payment, wish)
        or _too_much(AmountExceedsRefundable, wish, left)
        or _book(facts, "payment.dispute_opened", wish, left)
    )


def not_resolved(
    found: tuple[DisputeRow, CommandFacts] | None, outcome: str, wish: Wish
) -> AppError | None:
    """Say why a dispute was not resolved."""
    if found is None or found[1].payment is None:
        return NotFound()
    dispute, facts, payment = *found, found[1].payment
    late = _moved_on(payment, wish.if_match)
    event = resolved_event(dispute.status, outcome)
    if late or event is None:
        return late or InvalidState(
            payment_status=payment["status"],
            dispute_status=dispute.status,
            allowed_actions=allowed_actions(payment),
        )
    if wish.fee_minor and event != "payment.dispute_lost":
        return _not_allowed("/fee_minor", "Only a dispute that is lost costs a fee.")
    if payment["fee_minor"] + wish.fee_minor > AMOUNT_MAX_MINOR:
        return AmountOverflow(errors=_at("/fee_minor", AmountOverflow))
    return _book(facts, event, replace(wish, amount_minor=dispute.amount_minor), 0)


# --- One reason each ----------------------------------------------------------------------------


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


def _reference(facts: CommandFacts, path: str) -> AppError | None:
    return None if facts.reference_id is None else _used(facts.reference_id, path)


def _used(resource_id: Any, path: str) -> AppError:
    location = f"/v1/{path}/{resource_id}"
    return DuplicateReference(resource_id=str(resource_id), headers={"Location": location})


def _currency(payment: dict[str, Any], wish: Wish) -> AppError | None:
    if wish.currency in {None, payment["currency"]}:
        return None
    return CurrencyMismatch(errors=_at("/currency", CurrencyMismatch))


def _final(payment: dict[str, Any], wish: Wish) -> AppError | None:
    if wish.final is False and payment["capture_method"] != "manual_multiple":
        return _not_allowed("/final", "Only a manual_multiple payment stays open for another.")
    return None


def _too_much(kind: type[AppError], wish: Wish, left: int) -> AppError | None:
    if wish.amount_minor <= left:
        return None
    return kind(remaining_minor=left, errors=_at("/amount_minor", kind))


def _fee(wish: Wish, most: int) -> AppError | None:
    if wish.fee_minor <= most:
        return None
    return FeeExceedsAmount(remaining_minor=most, errors=_at("/fee_minor", FeeExceedsAmount))


def _at_most(most: int, unit: str, code: str, found: int) -> AppError | None:
    if found <= most:
        return None
    detail = f"Merged, the metadata would have more than {most} {unit}."
    return ValidationFailed(errors=({"pointer": "/metadata", "code": code, "detail": detail},))


def _book(facts: CommandFacts, event: str, wish: Wish, left: int) -> AppError | None:
    """The payment itself would do: then its accounts do not."""
    if not wish.ledger or facts.payment is None:
        return None
    posting = posting_of(facts.payment, event, wish.amount_minor or left, wish.fee_minor)
    if wish.forced:
        posting = replace(posting, forced=True)
    return refused_by_book(facts.payment, facts.accounts, posting)


def _at(pointer: str, error: type[AppError]) -> tuple[Any, ...]:
    return ({"pointer": pointer, "code": error.code, "detail": (error.__doc__ or "").strip()},)


def _not_allowed(pointer: str, detail: str) -> AppError:
    return ValidationFailed(errors=({"pointer": pointer, "code": "not_allowed", "detail": detail},))
