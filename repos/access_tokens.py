"""Access tokens: stored nowhere; what one is worth is read from what it names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from persistence.statements import statement

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from persistence.db import Conn


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRow:
    """What a request needs of tenant, key, session and user; `role` None: no such session.

    `checked_at`: when that was so, by the database's clock.
    """

    tenant_active: bool
    key_live: bool
    session_live: bool
    is_fresh: bool
    role: str | None
    checked_at: datetime


AUTHENTICATE = statement("access_tokens/authenticate", TokenRow)


def authenticate(
    conn: Conn, *, tenant_id: str, user_id: UUID, session_id: UUID, kid: str, fresh_s: int
) -> TokenRow | None:
    """Read what a token's session is now, by primary keys; None: there is no such tenant."""
    return AUTHENTICATE.one_or_none(
        conn,
        tenant_id=tenant_id,
        user_id=user_id,
        session_id=session_id,
        kid=kid,
        fresh_s=fresh_s,
    )
