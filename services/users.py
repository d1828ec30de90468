"""Users of a tenant, and when two e-mail addresses are the same (auth page, section 11)."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING
from uuid import UUID

from uuid_utils.compat import uuid7

from errors import AppError, NotFound, ValidationFailed
from repos import tenants, users

if TYPE_CHECKING:
    from collections.abc import Callable

    from persistence.db import Database
    from repos.users import UserRow

EMAIL_MAX = 254  # SMTP's limit; of characters as typed, of bytes as compared.
FIRST_PAGE = UUID(int=0)  # No UUIDv7 is smaller.
_DOMAIN = re.compile(r"([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


class EmailTaken(AppError):
    """A user of this tenant has this address already."""

    code, status, title = "email_taken", 409, "E-mail taken"


def normalise_email(email: str) -> str:
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
                    "pointer": "/email",
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

    def create(self, tenant_id: str, email: str, subject: str) -> UserRow:
        """Make an active user without a password.

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

    def list_page(
        self, tenant_id: str, *, after_id: UUID = FIRST_PAGE, limit: int = 100
    ) -> list[UserRow]:
        """Up to `limit` users made after the user `after_id`, oldest first."""
        with self._db.read() as conn:
            return users.list_page(conn, tenant_id=tenant_id, after_id=after_id, row_limit=limit)
