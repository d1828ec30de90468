"""Which errors an operation can answer with: its own, and the frame's by what it declares."""

from __future__ import annotations

from typing import TYPE_CHECKING

from blueprints.edge import BODY_METHODS
from errors import (
    AccessTokenExpired,
    AccessTokenInvalid,
    ApiKeyInvalid,
    AppError,
    BodyTooLarge,
    Contention,
    DatabaseBusy,
    DatabaseUnavailable,
    DeadlineExceeded,
    FeatureDisabled,
    IdempotencyInProgress,
    IdempotencyKeyCancelled,
    IdempotencyKeyInvalid,
    IdempotencyKeyRequired,
    IdempotencyKeyReused,
    InvalidHeader,
    InvalidJson,
    IpNotAllowed,
    NotFound,
    OutcomeUnknown,
    Overloaded,
    RateLimited,
    ReauthenticationRequired,
    ScopeMissing,
    SessionRevoked,
    TenantMismatch,
    TenantSuspended,
    Unauthenticated,
    UnsupportedMediaType,
    ValidationFailed,
)

if TYPE_CHECKING:
    from blueprints.edge import Operation

# What the frame itself can answer, by what a route declares.
ALWAYS: tuple[type[AppError], ...] = (InvalidHeader, ValidationFailed, AppError, Overloaded)
WITH_CREDENTIAL: tuple[type[AppError], ...] = (
    Unauthenticated,
    AccessTokenInvalid,
    AccessTokenExpired,
    SessionRevoked,
    ApiKeyInvalid,
    IpNotAllowed,
    TenantMismatch,
    TenantSuspended,
    DatabaseBusy,
    DatabaseUnavailable,
    DeadlineExceeded,
    Contention,
)
WITH_BODY: tuple[type[AppError], ...] = (InvalidJson, BodyTooLarge, UnsupportedMediaType)
WITH_KEY: tuple[type[AppError], ...] = (
    IdempotencyKeyRequired,
    IdempotencyKeyInvalid,
    IdempotencyInProgress,
    IdempotencyKeyCancelled,
    IdempotencyKeyReused,
)


def errors_of(op: Operation, method: str, *, has_path: bool) -> list[type[AppError]]:
    """Every error that the operation can answer with, each once."""
    found = list(ALWAYS)
    if op.cost != "free":
        found.append(RateLimited)
    if op.policy.kind != "public":
        found += WITH_CREDENTIAL
    if op.policy.kind in {"users", "scope", "fresh"}:
        found.append(ScopeMissing)
    if op.policy.kind == "fresh":
        found.append(ReauthenticationRequired)
    if has_path:
        found.append(NotFound)
    if method in BODY_METHODS:
        found += WITH_BODY
    if op.keyed:
        found += WITH_KEY
    if method != "GET":
        found.append(OutcomeUnknown)
    if op.switch:
        found.append(FeatureDisabled)
    return sorted(dict.fromkeys([*found, *op.errors]), key=lambda error: (error.status, error.code))
