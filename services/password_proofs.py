"""A password is proven: counted first, verified then, and told where it failed (A23 to A28).

Log-in, reauthentication, and whatever changes password or address pass here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

from uuid_utils.compat import uuid7

from errors import AccountDisabled, AuthBusy, InvalidCredentials
from observability import count_auth
from repos import sign_in
from services.password_rules import nfc
from services.throttle import Counted, too_many

if TYPE_CHECKING:
    from collections.abc import Callable

    from errors import AppError
    from persistence.db import Database
    from repos.audit import Caller
    from repos.sign_in import BegunRow
    from repos.throttle import BucketKeys
    from services.device_tokens import Device
    from services.passwords import NewHash, Passwords, Verified
    from services.throttle import Throttle

NOBODY = UUID(int=0)  # Whose device it is if there is none.


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """Somebody claims to know the password of an address. `event`: of the audit row."""

    tenant_id: str
    email_norm: str
    password: str
    event: str
    device: Device | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """The password was right. `epoch` is from before it was verified, and guards what follows."""

    user_id: UUID
    email: str
    role: str
    email_verified: bool
    stored_hash: str
    hash_version: int
    epoch: int
    new_hash: NewHash | None
    keys: BucketKeys

    @property
    def upgrade(self) -> dict[str, Any]:
        """The parameters of a statement that stores a better hash, if one is due (A17)."""
        new = self.new_hash
        return {
            "hash_version": self.hash_version,
            "new_hash": new.text if new else None,
            "new_algo": new.algo if new else None,
            "new_params": new.params if new else {},
        }


class PasswordProofs:
    """Proves passwords; every answer but the right one looks alike (A26)."""

    def __init__(
        self,
        db: Database,
        passwords: Passwords,
        throttle: Throttle,
        new_id: Callable[[], UUID] = uuid7,
    ) -> None:
        self._db = db
        self._passwords = passwords
        self._throttle = throttle
        self._new_id = new_id

    def prove(self, attempt: Attempt, caller: Caller) -> Proof:
        """Count the attempt, then verify, holding nothing (A23).

        ValidationFailed: no text; RateLimited; AuthBusy: the attempt is given back;
        InvalidCredentials; AccountDisabled: to the right password only.
        """
        nfc(attempt.password)
        keys = self._throttle.keys(
            attempt.tenant_id, attempt.email_norm, caller.address, attempt.device
        )
        begun = self._begin(attempt, keys, caller)
        if begun.refused_by is not None:
            count_auth(attempt.event, "throttled")
            raise too_many(begun.retry_after_s)
        try:
            verified = self._passwords.verify(begun.stored_hash, attempt.password)
        except AuthBusy:
            self._throttle.give_back(*_counted(attempt.tenant_id, begun.bucket, keys))
            raise
        if verified.outcome != "match":
            raise self.failed(attempt, keys, caller, _why_not(begun, verified), begun.user_id)
        return self._proof(attempt, keys, caller, begun, verified)

    def _proof(
        self,
        attempt: Attempt,
        keys: BucketKeys,
        caller: Caller,
        begun: BegunRow,
        verified: Verified,
    ) -> Proof:
        if begun.user_id is None or begun.stored_hash is None or begun.email is None:
            raise RuntimeError("Bug: nobody's password was right")
        if begun.status != "active":
            self.failed(attempt, keys, caller, "account_disabled", begun.user_id)
            raise AccountDisabled
        return Proof(
            user_id=begun.user_id,
            email=begun.email,
            role=str(begun.role),
            email_verified=bool(begun.email_verified),
            stored_hash=begun.stored_hash,
            hash_version=begun.password_hash_version or 0,
            epoch=begun.session_epoch or 0,
            new_hash=verified.new_hash,
            keys=keys,
        )

    def email_of(self, tenant_id: str, user_id: UUID) -> str:
        """Return the normalised address of somebody who is logged in. InvalidCredentials."""
        with self._db.read() as conn:
            found = sign_in.get_email(conn, tenant_id=tenant_id, user_id=user_id)
        if found is None:
            raise InvalidCredentials
        return found

    def failed(
        self,
        attempt: Attempt,
        keys: BucketKeys,
        caller: Caller,
        reason: str,
        user_id: UUID | None,
    ) -> AppError:
        """Tell the audit log why, and return what the client is told: always the same."""
        unusable = reason == "password_hash_unusable"
        with self._db.write() as conn:
            sign_in.record_failure(
                conn,
                caller,
                tenant_id=attempt.tenant_id,
                audit_id=self._new_id(),
                user_id=user_id,
                event=reason if unusable else attempt.event,
                reason=attempt.event if unusable else reason,
                account_key=keys.account_key,
            )
        count_auth(attempt.event, "failed")
        return InvalidCredentials()

    def _begin(self, attempt: Attempt, keys: BucketKeys, caller: Caller) -> BegunRow:
        device, settings = attempt.device, self._throttle.settings
        with self._db.write() as conn:
            return sign_in.begin(
                conn,
                keys,
                caller,
                tenant_id=attempt.tenant_id,
                email_norm=attempt.email_norm,
                device_user_id=device.user_id if device else NOBODY,
                pair_limit=settings.pair_limit,
                account_limit=settings.account_limit,
                event=attempt.event,
                audit_id=self._new_id(),
            )


def _why_not(begun: BegunRow, verified: Verified) -> str:
    if begun.user_id is None:
        return "unknown_email"
    return "password_hash_unusable" if verified.outcome == "unusable" else "wrong_password"


def _counted(tenant_id: str, bucket: str, keys: BucketKeys) -> list[Counted]:
    """Return the buckets that counted an attempt which was let through."""
    if bucket == "device":
        return [Counted(tenant_id, "device", keys.device_key)]
    return [
        Counted(tenant_id, "pair", keys.pair_key),
        Counted(tenant_id, "account", keys.account_key),
    ]
