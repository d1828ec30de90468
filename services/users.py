"""Users of a tenant, and when two e-mail addresses are the same (auth page, section 11)."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING, Any, Literal
from uuid import UUID

from uuid_utils.compat import uuid7

from errors import EmailTaken, LastOperator, NotFound, ValidationFailed
from observability import current
from repos import tenants, users

if TYPE_CHECKING:
    from collections.abc import Callable

    from errors import AppError
    from persistence.db import Database
    from repos.users import ChangedUserRow, HashCountRow, UserRow
    from services.passwords import NewHash

EMAIL_MAX = 254  # SMTP's limit; of characters as typed, of bytes as compared.
FIRST_PAGE = UUID(int=0)  # No UUIDv7 is smaller.
NO_SUCH_USER = "The tenant has no such user."
_DOMAIN = re.compile(r"([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


def normalise_email(email: str, pointer: str = "/email") -> str:
    """Return the form by which addresses are compared, at most 254 bytes of UTF-8.

    NFC; the domain as lower-case A-labels (IDNA 2003, the standard library's); the local part
    case-folded, its dots and tags kept. ValidationFailed, which does not repeat the address.
    """
    local, _, domain = unicodedata.normalize("NFC", email[: EMAIL_MAX + 1]).rpartition("@")
    try:
        domain = domain.encode("idna").decode("ascii").lower()
    except UnicodeError:  # A label that is empty, too long, or of characters that none may have.
        domain = ""
    # Case-folding may take a text out of NFC.
    norm = unicodedata.normalize("NFC", local.casefold()) + "@" + domain
    fits = len(email) <= EMAIL_MAX and all(map(_may_stand_in_a_local_part, local))
    if not (local and fits and _DOMAIN.fullmatch(domain) and len(norm.encode()) <= EMAIL_MAX):
        raise ValidationFailed(
            errors=(
                {
                    "pointer": pointer,
                    "code": "email_invalid",
                    "detail": f"Not an e-mail address of at most {EMAIL_MAX} bytes.",
                },
            )
        )
    return norm


def _may_stand_in_a_local_part(character: str) -> bool:
    """Refuse controls, surrogates and spaces, and what would address somebody else (A51)."""
    return unicodedata.category(character)[0] not in "CZ" and character not in '@,;<>()[]\\":'


class Users:
    """Use cases of users. `subject` is who does it, for the audit log."""

    def __init__(self, db: Database, new_id: Callable[[], UUID] = uuid7) -> None:
        self._db = db
        self._new_id = new_id

    def create(
        self,
        tenant_id: str,
        email: str,
        subject: str,
        *,
        display_name: str | None = None,
        role: str = "user",
        password: NewHash | None = None,
    ) -> UserRow:
        """Make an active user whose address is taken as proven; without `password` none fits.

        ValidationFailed: no address; EmailTaken; NotFound: there is no such tenant.
        """
        email_norm = normalise_email(email)
        with self._db.write() as conn:
            row = users.create(
                conn,
                tenant_id=tenant_id,
                user_id=self._new_id(),
                email=email,
                email_norm=email_norm,
                display_name=display_name,
                role=role,
                **_columns(password),
                audit_id=self._new_id(),
                subject=subject,
            )
        if row is None:
            raise self._why_not(tenant_id)
        return row

    def _why_not(self, tenant_id: str) -> AppError:
        with self._db.read() as conn:
            tenant = tenants.get(conn, tenant_id=tenant_id)
        return EmailTaken() if tenant else NotFound("There is no such tenant.")

    # --- Finding --------------------------------------------------------------------------------

    def find_by_email(self, tenant_id: str, email: str) -> UserRow:
        """Return the user with this address, however it is spelt; NotFound; ValidationFailed."""
        email_norm = normalise_email(email)
        with self._db.read() as conn:
            return _found(users.get_by_email(conn, tenant_id=tenant_id, email_norm=email_norm))

    def find_by_id(self, tenant_id: str, user_id: UUID) -> UserRow:
        """Return the user, an erased one too; NotFound, also for another tenant's (A2)."""
        with self._db.read() as conn:
            return _found(users.get(conn, tenant_id=tenant_id, user_id=user_id))

    def stored_hash(self, tenant_id: str, user_id: UUID) -> str | None:
        """Return what the user's password is verified against; None: nothing."""
        with self._db.read() as conn:
            return users.get_hash(conn, tenant_id=tenant_id, user_id=user_id)

    def list_page(
        self,
        tenant_id: str,
        *,
        after_id: UUID = FIRST_PAGE,
        email: str | None = None,
        status: str | None = None,
        limit: int = 100,
    ) -> list[UserRow]:
        """Up to `limit` users made after the user `after_id`, oldest first; ValidationFailed."""
        email_norm = None if email is None else normalise_email(email)
        with self._db.read() as conn:
            return users.list_page(
                conn,
                tenant_id=tenant_id,
                after_id=after_id,
                email_norm=email_norm,
                status=status,
                row_limit=limit,
            )

    def count_hashes(self, tenant_id: str) -> list[HashCountRow]:
        """How many users have which kind of password hash, the most frequent first."""
        with self._db.read() as conn:
            return users.count_hashes(conn, tenant_id=tenant_id)

    # --- Changing -------------------------------------------------------------------------------

    def set_status(
        self,
        tenant_id: str,
        user_id: UUID,
        status: Literal["active", "disabled"],
        subject: str,
        *,
        reason: str | None = None,
        address: str | None = None,
    ) -> UserRow:
        """Disable a user, or let one in again; the sessions end (A4). Twice is harmless.

        NotFound, also once erased; LastOperator.
        """
        with self._db.write() as conn:
            row = users.set_status(
                conn,
                tenant_id=tenant_id,
                user_id=user_id,
                status=status,
                reason=reason,
                audit_id=self._new_id(),
                subject=subject,
                address=address,
                request_id=current().request_id,
            )
        return _changed(row)

    def promote(self, tenant_id: str, user_id: UUID, password: NewHash, subject: str) -> UserRow:
        """Make a user an operator with a new password; the sessions end (A4, A8).

        An operator is left alone, with the old password. NotFound, also once erased.
        """
        return self._set_role(tenant_id, user_id, "operator", password, subject)

    def demote(self, tenant_id: str, user_id: UUID, subject: str) -> UserRow:
        """Make an operator a user; the sessions end (A4). NotFound; LastOperator."""
        return self._set_role(tenant_id, user_id, "user", None, subject)

    def _set_role(
        self, tenant_id: str, user_id: UUID, role: str, password: NewHash | None, subject: str
    ) -> UserRow:
        with self._db.write() as conn:
            row = users.set_role(
                conn,
                tenant_id=tenant_id,
                user_id=user_id,
                role=role,
                **_columns(password),
                audit_id=self._new_id(),
                subject=subject,
            )
        return _changed(row)

    def erase(
        self, tenant_id: str, user_id: UUID, subject: str, *, reason: str | None = None
    ) -> None:
        """Empty what names the person, and end the sessions; the id stays. Twice is harmless.

        NotFound; LastOperator.
        """
        with self._db.write() as conn:
            refused = users.erase(
                conn,
                tenant_id=tenant_id,
                user_id=user_id,
                reason=reason,
                audit_id=self._new_id(),
                subject=subject,
            )
        if refused is None:
            raise NotFound(NO_SUCH_USER)
        if refused:
            raise LastOperator

    def upgrade_password(
        self, tenant_id: str, user_id: UUID, read_version: int, password: NewHash
    ) -> bool:
        """Store the same password under a new hash; False: somebody stored one since (A17)."""
        with self._db.write() as conn:
            return bool(
                users.upgrade_password(
                    conn,
                    tenant_id=tenant_id,
                    user_id=user_id,
                    read_version=read_version,
                    **_columns(password),
                    audit_id=self._new_id(),
                    request_id=current().request_id,
                )
            )


def _columns(password: NewHash | None) -> dict[str, Any]:
    return {
        "password_hash": password and password.text,
        "password_algo": password and password.algo,
        "password_params": password and password.params,
    }


def _found(row: UserRow | None) -> UserRow:
    if row is None:
        raise NotFound(NO_SUCH_USER)
    return row


def _changed(row: ChangedUserRow | None) -> UserRow:
    if row is None:
        raise NotFound(NO_SUCH_USER)
    if row.is_last_operator:
        raise LastOperator
    return row
