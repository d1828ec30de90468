"""A new password: by its owner who knows the old one, or by a link (A47, A49)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from uuid_utils.compat import uuid7

from errors import TokenInvalidOrExpired, WeakPassword
from observability import count_auth
from repos import password_changes, sessions
from services.password_proofs import Attempt
from services.password_rules import nfc

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from persistence.db import Database
    from repos.audit import Caller
    from services.device_tokens import DeviceTokens
    from services.emails import Emails
    from services.password_proofs import PasswordProofs
    from services.passwords import Passwords
    from services.sessions import Sessions, Tokens
    from services.throttle import Throttle


class PasswordChanges:
    """Use cases that store a new password; each ends all sessions of the user."""

    def __init__(
        self,
        db: Database,
        passwords: Passwords,
        proofs: PasswordProofs,
        sessions_: Sessions,
        emails: Emails,
        throttle: Throttle,
        devices: DeviceTokens,
        new_id: Callable[[], UUID] = uuid7,
    ) -> None:
        self._db = db
        self._passwords = passwords
        self._proofs = proofs
        self._sessions = sessions_
        self._emails = emails
        self._throttle = throttle
        self._devices = devices
        self._new_id = new_id

    def change(
        self, tenant_id: str, user_id: UUID, current: str, new: str, caller: Caller
    ) -> Tokens:
        """Replace a password that its owner knows; all sessions end, a new one opens.

        ValidationFailed; RateLimited; AuthBusy; InvalidCredentials; WeakPassword.
        """
        # What is no text is told where it stands, before anything is counted.
        nfc(current, "/current_password")
        nfc(new, "/new_password")
        attempt = Attempt(
            tenant_id=tenant_id,
            email_norm=self._proofs.email_of(tenant_id, user_id),
            password=current,
            event="password_changed",
        )
        proof = self._proofs.prove(attempt, caller)
        try:
            stored = self._hashed(tenant_id, proof.email, proof.role, new, proof.stored_hash)
        except WeakPassword:
            self._throttle.clear(tenant_id, proof.keys)  # Choosing is not guessing.
            raise
        draft = self._sessions.draft(tenant_id, None)
        with self._db.write() as conn:
            row = sessions.open_changed(
                conn,
                draft.row,
                proof.keys,
                caller,
                tenant_id=tenant_id,
                user_id=user_id,
                epoch=proof.epoch,
                mail_id=self._new_id(),
                audit_id=self._new_id(),
                **stored,
            )
        if row is None:
            raise self._proofs.failed(attempt, proof.keys, caller, "overtaken", user_id)
        count_auth("password_changed")
        device_token = self._devices.write(tenant_id, user_id, None)
        return self._sessions.opened(tenant_id, row, draft, device_token, caller)

    def reset(self, text: str, new: str, tenant: str | None, caller: Caller) -> None:
        """Set a password by a link, once; nobody is logged in by it.

        `tenant`: the header, if there was one. RateLimited; TokenInvalidOrExpired; TenantMismatch;
        WeakPassword, which leaves the link as it is; AuthBusy.
        """
        token, hashed, row = self._emails.look_up(text, ("reset",), tenant, caller)
        stored = self._hashed(token.tenant_id, row.email, row.role, new, row.stored_hash)
        keys = self._throttle.keys(token.tenant_id, row.email_norm, caller.address, None)
        with self._db.write() as conn:
            done = password_changes.reset(
                conn,
                caller,
                tenant_id=token.tenant_id,
                user_id=token.user_id,
                token_hash=hashed,
                pair_key=keys.pair_key,
                account_key=keys.account_key,
                mail_id=self._new_id(),
                audit_id=self._new_id(),
                **stored,
            )
        if not done:
            raise TokenInvalidOrExpired
        count_auth("password_reset")

    def _hashed(
        self, tenant_id: str, email: str, role: str, new: str, current_hash: str | None
    ) -> dict[str, Any]:
        """Judge and hash a new password; return what its columns get."""
        faults = self._passwords.faults(
            new,
            tenant_id=tenant_id,
            email=email,
            minimum=self._passwords.minimum(role),
            current_hash=current_hash,
            pointer="/new_password",
        )
        if faults:
            raise WeakPassword(errors=faults)
        made = self._passwords.hash(new)
        return {
            "password_hash": made.text,
            "password_algo": made.algo,
            "password_params": made.params,
        }
