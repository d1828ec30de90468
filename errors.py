"""Every error the service answers with: one tree, one code each; and which code a constraint means.

A class is a code, its docstring is the default detail, its attributes are the rest of the problem
document (RFC 9457). A code never changes its meaning. Rules AF1 to AF4 of the architecture page.
"""

from __future__ import annotations

from typing import Any, ClassVar, TypedDict


class Fault(TypedDict, total=False):
    """One fault of a request: where (one of the first three), which, and why, never the value."""

    pointer: str
    parameter: str
    header: str
    code: str
    detail: str


class AppError(Exception):
    """Something expected went wrong."""

    code: ClassVar[str] = "internal_error"
    status: ClassVar[int] = 500
    title: ClassVar[str] = "Internal error"
    retryable: ClassVar[bool] = False

    def __init__(
        self,
        detail: str | None = None,
        *,
        errors: tuple[Fault, ...] = (),
        headers: dict[str, str] | None = None,
        **members: Any,
    ) -> None:
        """`members` go into the problem document as they are; `headers` onto the answer."""
        self.detail = detail or (type(self).__doc__ or "").strip().splitlines()[0]
        self.errors = errors
        self.headers = headers or {}
        self.members = members
        super().__init__(f"{self.code}: {self.detail}")


# --- 400: the request cannot be read -----------------------------------------------------------


class InvalidJson(AppError):
    """The body is not JSON as RFC 7493 (I-JSON) wants it."""

    code, status, title = "invalid_json", 400, "Invalid JSON"


class InvalidHeader(AppError):
    """A header cannot be read."""

    code, status, title = "invalid_header", 400, "Invalid header"


class InvalidRequest(AppError):
    """This is no HTTP request that could be read."""

    code, status, title = "invalid_request", 400, "Invalid request"


class CursorInvalid(AppError):
    """The cursor was altered, or belongs to another list, filter or tenant."""

    code, status, title = "cursor_invalid", 400, "Invalid cursor"


class IdempotencyKeyRequired(AppError):
    """This request needs an Idempotency-Key header."""

    code, status, title = "idempotency_key_required", 400, "Idempotency-Key required"


class IdempotencyKeyInvalid(AppError):
    """The Idempotency-Key must be 1 to 255 visible ASCII characters without a comma, sent once."""

    code, status, title = "idempotency_key_invalid", 400, "Invalid Idempotency-Key"


class TokenInvalidOrExpired(AppError):
    """This link was used, replaced, or is too old: ask for another."""

    code, status, title = "token_invalid_or_expired", 400, "Link invalid or expired"


# --- 401, 403, 404, 405: who, and where ---------------------------------------------------------


class Unauthenticated(AppError):
    """Send a credential: Authorization: Bearer <access token or API key>."""

    code, status, title = "unauthenticated", 401, "Not authenticated"


class ApiKeyInvalid(AppError):
    """The API key is unknown, malformed, expired or revoked."""

    code, status, title = "api_key_invalid", 401, "Invalid API key"


class AccessTokenInvalid(AppError):
    """The access token is malformed, altered, or not one of ours."""

    code, status, title = "access_token_invalid", 401, "Invalid access token"


class AccessTokenExpired(AppError):
    """The access token has expired: refresh it."""

    code, status, title = "access_token_expired", 401, "Access token expired"


class SessionRevoked(AppError):
    """The session of this token has ended: log in again."""

    code, status, title = "session_revoked", 401, "Session ended"


class InvalidCredentials(AppError):
    """E-mail or password is wrong."""

    code, status, title = "invalid_credentials", 401, "Invalid credentials"


class RefreshTokenInvalid(AppError):
    """The refresh token is malformed, altered, or of no session."""

    code, status, title = "refresh_token_invalid", 401, "Invalid refresh token"


class RefreshTokenExpired(AppError):
    """The session was not used for too long, or is too old: log in again."""

    code, status, title = "refresh_token_expired", 401, "Refresh token expired"


class RefreshTokenReused(AppError):
    """This refresh token was replaced before: its session has been ended, log in again."""

    code, status, title = "refresh_token_reused", 401, "Refresh token reused"


class ScopeMissing(AppError):
    """The credential lacks the scope that this request needs."""

    code, status, title = "scope_missing", 403, "Scope missing"


class ReauthenticationRequired(AppError):
    """This needs an operator who gave the password a moment ago: reauthenticate."""

    code, status, title = "reauthentication_required", 403, "Reauthentication required"


class IpNotAllowed(AppError):
    """The API key may not be used from this address."""

    code, status, title = "ip_not_allowed", 403, "Address not allowed"


class TenantMismatch(AppError):
    """The Strongroom-Tenant header names another tenant than the credential."""

    code, status, title = "tenant_mismatch", 403, "Tenant mismatch"


class TenantSuspended(AppError):
    """The tenant of this credential is suspended."""

    code, status, title = "tenant_suspended", 403, "Tenant suspended"


class AccountDisabled(AppError):
    """The password is right, and the account is disabled."""

    code, status, title = "account_disabled", 403, "Account disabled"


class EmailNotVerified(AppError):
    """The password is right: confirm the e-mail address by the link that was mailed first."""

    code, status, title = "email_not_verified", 403, "E-mail not verified"


class RegistrationClosed(AppError):
    """Nobody may register here by themselves."""

    code, status, title = "registration_closed", 403, "Registration closed"


class NotFound(AppError):
    """There is no such thing, or it is not yours."""

    code, status, title = "not_found", 404, "Not found"


class FeatureDisabled(AppError):
    """This feature is switched off here."""

    code, status, title = "feature_disabled", 404, "Feature disabled"


class MethodNotAllowed(AppError):
    """This path does not answer to that method."""

    code, status, title = "method_not_allowed", 405, "Method not allowed"


# --- 409, 410, 412: the state of things forbids it ----------------------------------------------


class IdempotencyInProgress(AppError):
    """The first request with this key is still being processed: ask again with the same key."""

    code, status, title, retryable = (
        "idempotency_in_progress", 409, "Request in progress", True,
    )  # fmt: skip


class LedgerBehind(AppError):
    """The ledger has not caught up with this payment yet: ask again."""

    code, status, title, retryable = "ledger_behind", 409, "Ledger behind", True


class InvalidState(AppError):
    """The payment's state does not allow this."""

    code, status, title = "invalid_state", 409, "Invalid state"


class NotSealed(AppError):
    """This is not sealed yet: ask again."""

    code, status, title, retryable = "not_sealed", 409, "Not sealed", True


class PaymentExpired(AppError):
    """The authorisation has expired: it can be voided, not captured."""

    code, status, title = "payment_expired", 409, "Payment expired"


class DuplicateReference(AppError):
    """This reference was used before: see Location."""

    code, status, title = "duplicate_reference", 409, "Duplicate reference"


class EmailTaken(AppError):
    """A user of this tenant has this address already."""

    code, status, title = "email_taken", 409, "E-mail taken"


class AccountFrozen(AppError):
    """A ledger account of this posting is frozen."""

    code, status, title = "account_frozen", 409, "Account frozen"


class AccountClosed(AppError):
    """A ledger account of this posting is closed."""

    code, status, title = "account_closed", 409, "Account closed"


class LastOperator(AppError):
    """This is the tenant's last active operator."""

    code, status, title = "last_operator", 409, "Last operator"


class AccountExists(AppError):
    """The account is there already, and differs from this."""

    code, status, title = "account_exists", 409, "Account exists"


class AccountNotEmpty(AppError):
    """An account is closed only when nothing is posted on it or reserved."""

    code, status, title = "account_not_empty", 409, "Account not empty"


class LimitBelowBalance(AppError):
    """The present balance does not keep this limit."""

    code, status, title = "limit_below_balance", 409, "Limit below balance"


class WebhookEndpointsFull(AppError):
    """The tenant has as many webhook endpoints as it may have: delete one."""

    code, status, title = "webhook_endpoints_full", 409, "Too many webhook endpoints"


class ExpectationFailed(AppError):
    """An account's balance has another version than was expected."""

    code, status, title = "expectation_failed", 409, "Expectation failed"


class HoldResolved(AppError):
    """The hold was captured, voided or expired before."""

    code, status, title = "hold_resolved", 409, "Hold resolved"


class HoldExpired(AppError):
    """The hold has expired: it can be voided, not captured."""

    code, status, title = "hold_expired", 409, "Hold expired"


class AlreadyReversed(AppError):
    """The transaction was reversed before."""

    code, status, title = "already_reversed", 409, "Already reversed"


class NotReversible(AppError):
    """Only an applied post, adjust or capture can be reversed."""

    code, status, title = "not_reversible", 409, "Not reversible"


class ApiKeyEnded(AppError):
    """The API key has ended, or has a successor: there is nothing to rotate."""

    code, status, title = "api_key_ended", 409, "API key ended"


class IdempotencyKeyCancelled(AppError):
    """This key was cancelled before its request came."""

    code, status, title = "idempotency_key_cancelled", 410, "Idempotency-Key cancelled"


class VersionMismatch(AppError):
    """It has changed: If-Match names an older version."""

    code, status, title = "version_mismatch", 412, "Version mismatch"


# --- 413, 415, 422: the content is wrong --------------------------------------------------------


class BodyTooLarge(AppError):
    """The body is larger than this route takes."""

    code, status, title = "body_too_large", 413, "Body too large"


class RequestLineTooLong(AppError):
    """The request line is longer than 4094 bytes."""

    code, status, title = "request_line_too_long", 414, "Request line too long"


class HeadersTooLarge(AppError):
    """There are more than 64 headers, or one has more than 8190 bytes."""

    code, status, title = "headers_too_large", 431, "Headers too large"


class BatchTooLarge(AppError):
    """More transactions, legs or bytes than one request may have."""

    code, status, title = "batch_too_large", 413, "Batch too large"


class UnsupportedMediaType(AppError):
    """Send application/json, UTF-8, without a Content-Encoding."""

    code, status, title = "unsupported_media_type", 415, "Unsupported media type"


class ValidationFailed(AppError):
    """The request does not fit: see errors."""

    code, status, title = "validation_failed", 422, "Validation failed"


class WeakPassword(AppError):
    """This password may not be used: see errors."""

    code, status, title = "weak_password", 422, "Weak password"


class IdempotencyKeyReused(AppError):
    """This key was used for another request."""

    code, status, title = "idempotency_key_reused", 422, "Idempotency-Key reused"


class AmountExceedsAuthorizable(AppError):
    """More than the payment's amount cannot be authorised."""

    code, status, title = "amount_exceeds_authorizable", 422, "Amount too large"


class AmountExceedsCapturable(AppError):
    """More than what is left to capture cannot be captured."""

    code, status, title = "amount_exceeds_capturable", 422, "Amount too large"


class AmountExceedsRefundable(AppError):
    """More than what is left to give back cannot be refunded or disputed."""

    code, status, title = "amount_exceeds_refundable", 422, "Amount too large"


class FeeExceedsAmount(AppError):
    """The fee is larger than the amount, or than what is left of the fee."""

    code, status, title = "fee_exceeds_amount", 422, "Fee too large"


class AmountOverflow(AppError):
    """The sum would pass what one balance can hold."""

    code, status, title = "amount_overflow", 422, "Amount overflow"


class InsufficientFunds(AppError):
    """The account's floor does not allow this."""

    code, status, title = "insufficient_funds", 422, "Insufficient funds"


class CeilingExceeded(AppError):
    """The account's ceiling does not allow this."""

    code, status, title = "ceiling_exceeded", 422, "Ceiling exceeded"


class CurrencyUnsupported(AppError):
    """The currency is unknown, withdrawn, or has no minor unit."""

    code, status, title = "currency_unsupported", 422, "Currency unsupported"


class CurrencyMismatch(AppError):
    """The payment, or an account of this leg, has another currency."""

    code, status, title = "currency_mismatch", 422, "Currency mismatch"


class CurrencyAmbiguous(AppError):
    """The account has several currencies: name one."""

    code, status, title = "currency_ambiguous", 422, "Currency ambiguous"


class ScopeNotGrantable(AppError):
    """An API key holds at least one scope, and only such as keys may hold."""

    code, status, title = "scope_not_grantable", 422, "Scope not grantable"


class UserNotFound(AppError):
    """There is no such active user in this tenant."""

    code, status, title = "user_not_found", 422, "User not found"


class AccountCodeInvalid(AppError):
    """A code is 1 to 10 segments with `:` between, each of a-z 0-9 . _ - and 63 long at most."""

    code, status, title = "account_code_invalid", 422, "Account code invalid"


class AccountCodeReserved(AppError):
    """Accounts below users, gateways and platform are opened by the service itself."""

    code, status, title = "account_code_reserved", 422, "Account code reserved"


class AccountNotFound(AppError):
    """There is no such account: a posting never opens one."""

    code, status, title = "account_not_found", 422, "Account not found"


class SameAccount(AppError):
    """The two accounts of a leg differ."""

    code, status, title = "same_account", 422, "Same account"


class TransactionIdReused(AppError):
    """This id was used for another request."""

    code, status, title = "transaction_id_reused", 422, "Transaction id reused"


class ReferenceReserved(AppError):
    """References that begin with payment: are the service's own."""

    code, status, title = "reference_reserved", 422, "Reference reserved"


class EffectiveAtInFuture(AppError):
    """A transaction cannot count from a later time than it is posted at."""

    code, status, title = "effective_at_in_future", 422, "Effective time in the future"


class EffectiveAtTooOld(AppError):
    """A transaction cannot count from so long ago."""

    code, status, title = "effective_at_too_old", 422, "Effective time too old"


class PeriodClosed(AppError):
    """The books are closed through this day."""

    code, status, title = "period_closed", 422, "Period closed"


class GroupFailed(AppError):
    """Another transaction of this group was refused."""

    code, status, title = "group_failed", 422, "Group failed"


class BatchRejected(AppError):
    """A transaction of this batch was refused, so none was posted."""

    code, status, title = "batch_rejected", 422, "Batch rejected"


class FileDamaged(AppError):
    """The file is not what it should be from some line on."""

    code, status, title = "file_damaged", 422, "File damaged"


class CaptureExceedsHold(AppError):
    """More than what remains of the hold cannot be captured."""

    code, status, title = "capture_exceeds_hold", 422, "Amount too large"


# --- 429, 503: later, with the same key ---------------------------------------------------------


class RateLimited(AppError):
    """Too many requests."""

    code, status, title, retryable = "rate_limited", 429, "Rate limited", True


class ExportBusy(AppError):
    """Too many exports of the ledger are running: wait for one to end."""

    code, status, title, retryable = "export_busy", 429, "Export busy", True


class Overloaded(AppError):
    """The service is busy."""

    code, status, title, retryable = "overloaded", 503, "Overloaded", True


class AuthBusy(AppError):
    """Too many passwords are being checked at this moment."""

    code, status, title, retryable = "auth_busy", 503, "Authentication busy", True


class DatabaseBusy(AppError):
    """All database connections are taken."""

    code, status, title, retryable = "database_busy", 503, "Database busy", True


class DatabaseUnavailable(AppError):
    """The database cannot be reached: nothing was changed."""

    code, status, title, retryable = (
        "database_unavailable", 503, "Database unavailable", True,
    )  # fmt: skip


class Contention(AppError):
    """Others hold what this request needs: nothing was changed."""

    code, status, title, retryable = "contention", 503, "Contention", True


class DeadlineExceeded(AppError):
    """There was not enough time: nothing was changed."""

    code, status, title, retryable = "deadline_exceeded", 503, "Deadline exceeded", True


class OutcomeUnknown(AppError):
    """The answer was lost on its way: ask again with the same key, it tells."""

    code, status, title, retryable = "outcome_unknown", 503, "Outcome unknown", True


CONSTRAINTS: dict[str, type[AppError]] = {
    "payments_reference_key": DuplicateReference,
    "payment_captures_reference_key": DuplicateReference,
    "payment_refunds_reference_key": DuplicateReference,
    "payment_disputes_reference_key": DuplicateReference,
    "ledger_transactions_reference_key": DuplicateReference,
    "payments_user_fkey": UserNotFound,
    "users_email_key": EmailTaken,
    "ledger_balances_counters_check": AmountOverflow,
    # Taken by another posting between the look and the write: the next look tells by which.
    "ledger_transactions_pkey": TransactionIdReused,
    "ledger_transactions_reverses_key": AlreadyReversed,
    "ledger_transactions_hold_key": HoldResolved,
}


def constraint_error(name: str | None) -> type[AppError] | None:
    """Return the error class that a violated constraint means, or None: that one is a bug."""
    return CONSTRAINTS.get(name or "")


def all_errors() -> list[type[AppError]]:
    """Return every error class of this file but the root, in its order."""
    return [error for error in AppError.__subclasses__() if error.__module__ == __name__]
