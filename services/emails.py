"""Addresses: registered, proven by a link, changed (A47 to A51)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from uuid_utils.compat import uuid7

from errors import Contention, RegistrationClosed, TenantMismatch, TokenInvalidOrExpired
from observability import count_auth
from repos import emails, one_time_tokens, tenants
from repos.one_time_tokens import NewLink
from services.one_time_tokens import TTL_S
from services.password_proofs import Attempt
from services.refresh_tokens import token_hash
from services.throttle import MAILS_PER_HOUR
from services.users import normalise_email

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from persistence.db import Database
    from repos.audit import Caller
    from repos.emails import OwnerRow
    from repos.one_time_tokens import LinkRow
    from services.one_time_tokens import OneTimeToken, OneTimeTokens
    from services.password_proofs import PasswordProofs
    from services.passwords import NewHash
    from services.throttle import Throttle

# Somebody else registered or left between the look and the statement: look again.
TRIES = 3


class Emails:
    """Use cases of addresses, and the links that all of them share."""

    def __init__(
        self,
        db: Database,
        proofs: PasswordProofs,
        throttle: Throttle,
        tokens: OneTimeTokens,
        new_id: Callable[[], UUID] = uuid7,
    ) -> None:
        self._db = db
        self._proofs = proofs
        self._throttle = throttle
        self._tokens = tokens
        self._new_id = new_id

    # --- Registration ---------------------------------------------------------------------------

    def is_open(self, tenant_id: str) -> bool:
        """Tell whether users may register; an unknown or suspended tenant looks closed (A3)."""
        with self._db.read() as conn:
            tenant = tenants.get(conn, tenant_id=tenant_id)
        return tenant is not None and tenant.status == "active" and tenant.registration_open

    def register(
        self,
        tenant_id: str,
        email: str,
        display_name: str | None,
        new_hash: NewHash,
        caller: Caller,
    ) -> None:
        """Make a user who has to prove the address, or tell the owner by mail. The same for all.

        RegistrationClosed: to every address alike.
        """
        email_norm = normalise_email(email)
        for _ in range(TRIES):
            owner = self._owner(tenant_id, email_norm)
            user_id = owner.id if owner else self._new_id()
            named: dict[str, Any] = {
                "tenant_id": tenant_id,
                "user_id": user_id,
                "display_name": display_name,
                "password_hash": new_hash.text,
                "password_algo": new_hash.algo,
                "password_params": new_hash.params,
                "audit_id": self._new_id(),
            }
            link = self._link(tenant_id, user_id, "verify", email_norm)
            with self._db.write() as conn:
                if owner:
                    done = emails.register_again(conn, link, caller, **named)
                else:
                    named |= {"email": email, "email_norm": email_norm}
                    done = emails.register(conn, link, caller, **named)
            if done:
                count_auth("user_registered")
                return
            if not self.is_open(tenant_id):
                raise RegistrationClosed
        raise Contention(headers={"Retry-After": "1"})

    def _owner(self, tenant_id: str, email_norm: str) -> OwnerRow | None:
        with self._db.read() as conn:
            return emails.get_owner(conn, tenant_id=tenant_id, email_norm=email_norm)

    # --- Links ----------------------------------------------------------------------------------

    def request(self, tenant_id: str, email: str, purpose: str, event: str, caller: Caller) -> None:
        """Mail a link to the owner of an address, if there is one. The same for all (A48).

        `purpose`: verify or reset. ValidationFailed; RateLimited.
        """
        email_norm = normalise_email(email)
        self._throttle.count_call(caller.address)
        owner = self._owner(tenant_id, email_norm)
        user_id = owner.id if owner else self._new_id()
        link = self._link(tenant_id, user_id, purpose, email_norm)
        with self._db.write() as conn:
            one_time_tokens.request(
                conn,
                link,
                caller,
                tenant_id=tenant_id,
                user_id=user_id,
                purpose=purpose,
                new_email=None,
                template=purpose,
                event=event,
                audit_id=self._new_id(),
            )
        count_auth(event)

    def look_up(
        self, text: str, purposes: tuple[str, ...], tenant: str | None, caller: Caller
    ) -> tuple[OneTimeToken, bytes, LinkRow]:
        """Return a link's token, its hash, and what it is good for now; the call is counted.

        `tenant`: the header, if there was one. RateLimited; TokenInvalidOrExpired; TenantMismatch.
        """
        self._throttle.count_call(caller.address)
        token = self._tokens.read(text)
        if token is None or token.purpose not in purposes:
            raise TokenInvalidOrExpired
        if tenant is not None and tenant != token.tenant_id:
            raise TenantMismatch
        hashed = token_hash(text)
        with self._db.read() as conn:
            row = one_time_tokens.get(
                conn,
                tenant_id=token.tenant_id,
                user_id=token.user_id,
                purpose=token.purpose,
                token_hash=hashed,
            )
        if row is None:
            raise TokenInvalidOrExpired
        return token, hashed, row

    def verify(self, text: str, tenant: str | None, caller: Caller) -> None:
        """Use a link that proves an address, the user's own or a new one; once.

        RateLimited; TokenInvalidOrExpired; TenantMismatch; EmailTaken: another user has it by now.
        """
        token, hashed, row = self.look_up(text, ("verify", "email_change"), tenant, caller)
        named: dict[str, Any] = {
            "tenant_id": token.tenant_id,
            "user_id": token.user_id,
            "token_hash": hashed,
            "audit_id": self._new_id(),
        }
        with self._db.write() as conn:
            if token.purpose == "verify":
                done = emails.verify(conn, caller, **named)
            else:
                done = emails.change(
                    conn,
                    caller,
                    email=row.sent_to,
                    email_norm=normalise_email(row.sent_to),
                    mail_id=self._new_id(),
                    **named,
                )
        if not done:
            raise TokenInvalidOrExpired
        count_auth("email_verified" if token.purpose == "verify" else "email_changed")

    # --- Change ---------------------------------------------------------------------------------

    def request_change(
        self, tenant_id: str, user_id: UUID, new_email: str, password: str, caller: Caller
    ) -> None:
        """Mail a link to a new address; the old one stays until the link is used.

        ValidationFailed; RateLimited; AuthBusy; InvalidCredentials.
        """
        new_norm = normalise_email(new_email, "/new_email")
        attempt = Attempt(
            tenant_id=tenant_id,
            email_norm=self._proofs.email_of(tenant_id, user_id),
            password=password,
            event="email_change_requested",
        )
        proof = self._proofs.prove(attempt, caller)
        link = self._link(tenant_id, user_id, "email_change", new_norm)
        with self._db.write() as conn:
            one_time_tokens.request(
                conn,
                link,
                caller,
                tenant_id=tenant_id,
                user_id=user_id,
                purpose="email_change",
                new_email=new_email,
                template="email_change",
                event="email_change_requested",
                audit_id=self._new_id(),
            )
        self._throttle.clear(tenant_id, proof.keys)
        count_auth("email_change_requested")

    def _link(self, tenant_id: str, user_id: UUID, purpose: str, email_norm: str) -> NewLink:
        token = self._tokens.draw(tenant_id, user_id, purpose)
        return NewLink(
            token_hash=self._tokens.hash_of(token),
            nonce=token.nonce,
            master_key_id=token.key_id,
            ttl_s=TTL_S[purpose],
            mail_key=self._throttle.mail_key(tenant_id, email_norm),
            mail_limit=MAILS_PER_HOUR,
            mail_id=self._new_id(),
        )
