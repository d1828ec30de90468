"""Who asks, and what each kind of caller may do (auth page, sections 1 and 2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from uuid import UUID

# What an API key may hold (A10).
GRANTABLE = frozenset(
    {
        "payments:create",
        "payments:capture",
        "payments:void",
        "payments:refund",
        "payments:dispute",
        "payments:read",
        "ledger:read",
        "ledger:post",
        "ledger:admin",
        "vectors:read",
        "vectors:write",
        "webhooks:manage",
        "users:read",
        "audit:read",
        "ops:read",
    }
)
SCOPES = GRANTABLE | {"users:manage", "keys:manage", "ops:write"}
# What a session's role allows. A user pays and looks, and moves no money (A7).
SCOPES_OF_ROLE = {
    "user": frozenset({"payments:create", "payments:read", "ledger:read"}),
    "operator": SCOPES,
}
# A refusal of these is worth a row of the audit log (A52).
MOVES_MONEY = frozenset(
    {"payments:capture", "payments:void", "payments:refund", "payments:dispute", "ledger:post"}
)


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asks. `owner_id` None: reach is the whole tenant, else that user's own objects.

    `subject` is `user:<id>`, or `key:<principal id>`, the same before and after a rotation. A key
    has a `key_id`, the one that was sent; a user has `user_id`, `session_id` and `role`.
    `is_fresh`: the session's password was given at most FRESH_AUTH_S ago.
    """

    tenant_id: str
    subject: str
    scopes: frozenset[str]
    owner_id: UUID | None = None
    key_id: str | None = None
    user_id: UUID | None = None
    session_id: UUID | None = None
    role: str | None = None
    is_fresh: bool = False
