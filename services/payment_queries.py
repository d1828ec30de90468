"""Reading payments: one, a page of them, the events of one (payments page, section 6).

Reads see what is committed. What a caller may not see is not there: the reach is in the SQL.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

from errors import NotFound
from repos import disputes, payments, refunds
from services.payment_states import AMOUNT_MAX_MINOR

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from persistence.db import Database
    from repos.disputes import DisputeRow
    from repos.payments import CaptureRow, EventRow, ListRow
    from repos.refunds import RefundRow
    from services.actors import Actor
    from services.cursors import Cursors

T = TypeVar("T")
FIRST_ID, LAST_ID = UUID(int=0), UUID(int=2**128 - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """What a list shows; every default lets all pass."""

    statuses: tuple[str, ...] = ()
    currency: str | None = None
    user_id: UUID | None = None
    reference: str | None = None
    created_gte: datetime | None = None
    created_lt: datetime | None = None
    amount_gte: int = 0
    amount_lte: int = AMOUNT_MAX_MINOR
    metadata: dict[str, str] | None = None

    def of_tenant(self, tenant_id: str) -> dict[str, Any]:
        """Return the parameters that the statements of lists and exports share."""
        return {
            "tenant_id": tenant_id,
            "statuses": ",".join(self.statuses),
            "currency": self.currency,
            "reference": self.reference,
            "created_gte": _time(self.created_gte, "-infinity"),
            "amount_gte": self.amount_gte,
            "amount_lte": self.amount_lte,
            "metadata": json.dumps(self.metadata or {}),
        }

    @property
    def end(self) -> str:
        """Before which moment the payments were created that are shown."""
        return _time(self.created_lt, "infinity")


class PaymentQueries:
    """What can be asked about payments."""

    def __init__(self, db: Database, cursors: Cursors, scan_rows: int) -> None:
        """`scan_rows` bounds what one page of a list reads."""
        self._db = db
        self._cursors = cursors
        self._scan_rows = scan_rows

    def get(self, actor: Actor, payment_id: UUID) -> dict[str, Any]:
        """Return a payment as data. Raises NotFound, for another tenant's or user's too."""
        with self._db.read() as conn:
            payment = payments.get(
                conn,
                tenant_id=actor.tenant_id,
                payment_id=payment_id,
                owner_id=_text(actor.owner_id),
            )
        if payment is None:
            raise NotFound
        return payment

    def events(self, actor: Actor, payment_id: UUID, after_seq: int, limit: int) -> list[EventRow]:
        """Return events after `after_seq`. Raises NotFound: every payment has its first event."""
        with self._db.read() as conn:
            rows = payments.list_events(
                conn,
                tenant_id=actor.tenant_id,
                payment_id=payment_id,
                owner_id=_text(actor.owner_id),
                after_seq=after_seq,
                row_limit=limit,
            )
        if not rows:
            self.get(actor, payment_id)
        return rows

    def page(
        self, actor: Actor, filters: Filters, limit: int, cursor: str | None
    ) -> tuple[list[dict[str, Any]], str | None]:
        """Return payments, newest first, and the next page's cursor or None. Raises CursorInvalid.

        A page reads LIST_SCAN_ROWS rows at most, so it may be short while there is a next one.
        """
        bound = bound_to(actor, filters)
        start = [filters.end, str(FIRST_ID)]
        before_at, before_id = self._cursors.read("payments", cursor, bound) if cursor else start
        rows = self._rows(actor, filters, limit + 1, before_at, UUID(before_id))
        shown = [row.payment for row in rows[:limit] if row.payment is not None]
        if len(shown) == len(rows):
            return shown, None
        last = rows[limit - 1] if len(rows) > limit else rows[-1]
        position = [last.created_at.isoformat(), str(last.id)]
        return shown, self._cursors.sign("payments", position, bound)

    # --- What was made of a payment -------------------------------------------------------------

    def capture(self, actor: Actor, capture_id: UUID) -> CaptureRow:
        """Return a capture. Raises NotFound."""
        with self._db.read() as conn:
            return _found(payments.get_capture(conn, capture_id=capture_id, **_reach(actor)))

    def refund(self, actor: Actor, refund_id: UUID) -> RefundRow:
        """Return a refund. Raises NotFound."""
        with self._db.read() as conn:
            return _found(refunds.get(conn, refund_id=refund_id, **_reach(actor)))

    def dispute(self, actor: Actor, dispute_id: UUID) -> DisputeRow:
        """Return a dispute. Raises NotFound."""
        with self._db.read() as conn:
            return _found(disputes.get(conn, dispute_id=dispute_id, **_reach(actor)))

    def parts(
        self, actor: Actor, what: str, payment_id: UUID, limit: int, cursor: str | None
    ) -> tuple[list[Any], str | None]:
        """Return `what` (captures, refunds, disputes) was made of a payment, newest first.

        With the next page's cursor, or None. Raises NotFound, CursorInvalid.
        """
        bound = {**_reach(actor), "payment": str(payment_id)}
        (before_id,) = self._cursors.read(what, cursor, bound) if cursor else (str(LAST_ID),)
        with self._db.read() as conn:
            rows = LISTS[what](
                conn,
                payment_id=payment_id,
                before_id=UUID(before_id),
                row_limit=limit + 1,
                **_reach(actor),
            )
        if not rows:
            self.get(actor, payment_id)
        shown = rows[:limit]
        is_end = len(rows) == len(shown)
        return shown, None if is_end else self._cursors.sign(what, [str(shown[-1].id)], bound)

    def _rows(
        self, actor: Actor, filters: Filters, limit: int, before_at: str, before_id: UUID
    ) -> list[ListRow]:
        params = {
            **filters.of_tenant(actor.tenant_id),
            "before_at": before_at,
            "before_id": before_id,
            "scan_rows": self._scan_rows,
            "row_limit": limit,
        }
        user_id = actor.owner_id or filters.user_id
        if filters.user_id not in {None, user_id}:
            return []  # Another's payments are as absent as those that do not exist (P41).
        with self._db.read() as conn:
            if user_id is None:
                return payments.list_(conn, **params)
            return payments.list_by_user(conn, user_id=user_id, **params)


LISTS: dict[str, Callable[..., list[Any]]] = {
    "captures": payments.list_captures,
    "refunds": refunds.list_by_payment,
    "disputes": disputes.list_by_payment,
}


def _reach(actor: Actor) -> dict[str, Any]:
    return {"tenant_id": actor.tenant_id, "owner_id": _text(actor.owner_id)}


def _found(row: T | None) -> T:
    if row is None:
        raise NotFound
    return row


def _text(value: UUID | None) -> str | None:
    return None if value is None else str(value)


def _time(value: datetime | None, default: str) -> str:
    return default if value is None else value.isoformat()


def bound_to(actor: Actor, filters: Filters) -> dict[str, Any]:
    """Return what a cursor is bound to: it serves this list of this actor only (P45)."""
    return {"tenant": actor.tenant_id, "owner": _text(actor.owner_id), "filters": repr(filters)}
