"""Log-in, registration, and the password once more (auth page, sections 5 and 10)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from uuid_utils.compat import uuid7

from errors import AuthBusy, EmailNotVerified, EmailTaken, RegistrationClosed, WeakPassword
from observability import count_auth
from repos import emails, sessions
from services.password_proofs import Attempt
from services.users import normalise_email

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from errors import AppError
    from persistence.db import Database
    from repos.audit import Caller
    from services.device_tokens import Device, DeviceTokens
    from services.emails import Emails
    from services.password_proofs import PasswordProofs, Proof
    from services.passwords import NewHash, Passwords
    from services.sessions import Sessions, Tokens
    from services.throttle import Throttle


@dataclass(frozen=True, slots=True, kw_only=True)
class LogIn:
    """What a client sends to log in. `device_token`: of an earlier log-in on this device."""

    email: str
    password: str
    device_label: str | None = None
    device_token: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """What a client sends to register."""

    email: str
    password: str
    display_name: str | None = None
    device_label: str | None = None


class SignIn:
    """Use cases before there is a session."""

    def __init__(
        self,
        db: Database,
        passwords: Passwords,
        proofs: PasswordProofs,
        sessions_: Sessions,
        emails_: Emails,
        throttle: Throttle,
        devices: DeviceTokens,
        *,
        must_verify: bool,
        new_id: Callable[[], UUID] = uuid7,
    ) -> None:
        """`must_verify`: an address is proven before the first log-in."""
        self._db = db
        self._passwords = passwords
        self._proofs = proofs
        self._sessions = sessions_
        self._emails = emails_
        self._throttle = throttle
        self._devices = devices
        self._must_verify = must_verify
        self._new_id = new_id

    # --- Log-in ---------------------------------------------------------------------------------

    def log_in(self, tenant_id: str, ask: LogIn, caller: Caller) -> Tokens:
        """Open a session for whoever knows the password.

        ValidationFailed; RateLimited; AuthBusy; InvalidCredentials, whatever was wrong; to the
        right password only: AccountDisabled, EmailNotVerified.
        """
        email_norm = normalise_email(ask.email)
        device = self._devices.read(ask.device_token)
        if device is not None and device.tenant_id != tenant_id:
            device = None
        attempt = Attempt(
            tenant_id=tenant_id,
            email_norm=email_norm,
            password=ask.password,
            event="login",
            device=device,
        )
        call = self._throttle.count_login(caller.address)
        try:
            proof = self._proofs.prove(attempt, caller)
        except AuthBusy:
            self._throttle.give_back(call)
            raise
        self._throttle.give_back(call)
        return self._enter(attempt, proof, ask.device_label, caller)

    def _enter(
        self, attempt: Attempt, proof: Proof, device_label: str | None, caller: Caller
    ) -> Tokens:
        if self._must_verify and not proof.email_verified:
            self._proofs.failed(attempt, proof.keys, caller, "email_not_verified", proof.user_id)
            raise EmailNotVerified
        draft = self._sessions.draft(attempt.tenant_id, device_label)
        with self._db.write() as conn:
            row = sessions.open_(
                conn,
                draft.row,
                proof.keys,
                caller,
                tenant_id=attempt.tenant_id,
                user_id=proof.user_id,
                epoch=proof.epoch,
                audit_id=self._new_id(),
                upgrade_audit_id=self._new_id(),
                **proof.upgrade,
            )
        if row is None:  # The password was changed while it was verified: it is the old one.
            raise self._proofs.failed(attempt, proof.keys, caller, "overtaken", proof.user_id)
        count_auth("login")
        device_token = self._device(attempt.tenant_id, proof.user_id, attempt.device)
        return self._sessions.opened(attempt.tenant_id, row, draft, device_token, caller)

    def _device(self, tenant_id: str, user_id: UUID, device: Device | None) -> str:
        known = device if device is not None and device.user_id == user_id else None
        return self._devices.write(tenant_id, user_id, known)

    # --- Registration ---------------------------------------------------------------------------

    def register(self, tenant_id: str, ask: Registration, caller: Caller) -> Tokens | None:
        """Make a user; None: a mail tells how it goes on, whatever the address is (A48).

        ValidationFailed; RateLimited; WeakPassword; AuthBusy; RegistrationClosed; EmailTaken.
        """
        email_norm = normalise_email(ask.email)
        self._throttle.count_call(caller.address)
        if not self._emails.is_open(tenant_id):
            raise RegistrationClosed
        faults = self._passwords.faults(
            ask.password,
            tenant_id=tenant_id,
            email=ask.email,
            minimum=self._passwords.minimum("user"),
        )
        if faults:
            raise WeakPassword(errors=faults)
        new_hash = self._passwords.hash(ask.password)
        if self._must_verify:
            self._emails.register(tenant_id, ask.email, ask.display_name, new_hash, caller)
            return None
        return self._entered(tenant_id, ask, email_norm, new_hash, caller)

    def _entered(
        self, tenant_id: str, ask: Registration, email_norm: str, new_hash: NewHash, caller: Caller
    ) -> Tokens:
        draft = self._sessions.draft(tenant_id, ask.device_label)
        with self._db.write() as conn:
            row = sessions.open_registered(
                conn,
                draft.row,
                caller,
                tenant_id=tenant_id,
                user_id=self._new_id(),
                email=ask.email,
                email_norm=email_norm,
                display_name=ask.display_name,
                password_hash=new_hash.text,
                password_algo=new_hash.algo,
                password_params=new_hash.params,
                audit_id=self._new_id(),
            )
        if row is None:
            raise self._why_not(tenant_id, email_norm)
        count_auth("user_registered")
        device_token = self._devices.write(tenant_id, row.user_id, None)
        return self._sessions.opened(tenant_id, row, draft, device_token, caller)

    def _why_not(self, tenant_id: str, email_norm: str) -> AppError:
        with self._db.read() as conn:
            owner = emails.get_owner(conn, tenant_id=tenant_id, email_norm=email_norm)
        return EmailTaken() if owner else RegistrationClosed()

    # --- Reauthentication -----------------------------------------------------------------------

    def reauthenticate(
        self, tenant_id: str, user_id: UUID, session_id: UUID, password: str, caller: Caller
    ) -> Tokens:
        """Prove the password again within a session: an access token with a new `auth_time`.

        ValidationFailed; RateLimited; AuthBusy; InvalidCredentials.
        """
        attempt = Attempt(
            tenant_id=tenant_id,
            email_norm=self._proofs.email_of(tenant_id, user_id),
            password=password,
            event="reauthenticated",
        )
        proof = self._proofs.prove(attempt, caller)
        with self._db.write() as conn:
            row = sessions.reauthenticate(
                conn,
                proof.keys,
                caller,
                tenant_id=tenant_id,
                user_id=user_id,
                session_id=session_id,
                epoch=proof.epoch,
                audit_id=self._new_id(),
                upgrade_audit_id=self._new_id(),
                **proof.upgrade,
            )
        if row is None:
            raise self._proofs.failed(attempt, proof.keys, caller, "overtaken", user_id)
        count_auth("reauthenticated")
        return self._sessions.tokens(tenant_id, row, None)
