"""Applying rows of legacy to new: one use case for live writes, backfill, recovery, repair (D24).

In the caller's transaction. The follower takes a row only if its own version is lower (D23), what
new has and legacy cannot hold stays, and what cannot be applied is told by a code, never a value.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from legacy.apply_payments import apply_payment
from legacy.apply_users import apply_user

if TYPE_CHECKING:
    from uuid import UUID

    from legacy.merging import Target
    from legacy.store import StoreRow
    from persistence.db import Conn


def apply(
    conn: Conn,
    target: Target,
    legacy_id: str,
    found: StoreRow | None,
    refund_id: UUID | None = None,
) -> bool:
    """Bring one row of new to what legacy has; False: it had that version. Raises NotApplied.

    `found` None, or a tombstone: legacy has it no more. `refund_id`: under which a client knows
    the refund that this row brings. The transaction must be marked by `phases.begin_mirror`;
    after NotApplied it is to be rolled back.
    """
    if target.domain == "users":
        return apply_user(conn, target, legacy_id, found)
    return apply_payment(conn, target, legacy_id, found, refund_id)
