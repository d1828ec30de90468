"""How requests reach the ledger: one call, and again only where the database says what for.

The database decides under the locks of the call. It asks for another one where it would have to
lock more than it has (a striped account that is short), or where overdue holds keep the money.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from uuid_utils.compat import uuid7

from errors import (
    AlreadyReversed,
    Contention,
    DuplicateReference,
    HoldResolved,
    TransactionIdReused,
)
from repos import postings
from services.plain_postings import are_plain, columns_of
from services.posting_requests import Places, items_of, json_text
from services.stripes import thread_stripe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import datetime
    from uuid import UUID

    from persistence.db import Database
    from repos.postings import ResultRow
    from services.plain_postings import Named
    from services.posting_requests import Posting

# Short on its stripe, overdue holds, an id and a reference taken meanwhile: once each, and spare.
TRIES = 6
# An id, a reference, a reversal, a hold's end: unique indexes decide who was first (LI6).
TAKEN = (TransactionIdReused, DuplicateReference, AlreadyReversed, HoldResolved)


class LedgerWrites:
    """Makes requests and sends them."""

    def __init__(
        self,
        db: Database,
        *,
        backdate_max_days: int = 0,
        new_id: Callable[[], UUID] = uuid7,
        stripe: Callable[[], int] = thread_stripe,
    ) -> None:
        """`stripe` tells which row of a hot account to use."""
        self._db = db
        self._backdate_max_days = backdate_max_days
        self._stripe = stripe
        self.new_id = new_id

    def request(
        self, items: Iterable[tuple[Posting, UUID]], actor: str, request_id: str
    ) -> dict[str, Any]:
        """Return a request of these postings, each with the id that it gets."""
        items = list(items)
        places = Places()
        request: dict[str, Any] = {
            **self._head(actor, request_id),
            "backdate_max_days": self._backdate_max_days,
            "items": items_of(items, places),
        }
        origins = [posting.hold_id or posting.reverses for posting, _ in items]
        if any(origins):
            request["origins"] = [str(origin) for origin in origins]
        else:
            request["accounts"] = places.accounts
        if any(posting.effective_at for posting, _ in items):
            request["backdated"] = True
        return request

    def post_plain(
        self, tenant_id: str, named: Sequence[Named], actor: str, request_id: str
    ) -> datetime | None:
        """Post a batch in one go; None: not all of it can be posted so, and nothing has happened.

        Returns when the first was posted; each next one is a microsecond later.
        """
        if not are_plain(named):
            return None
        head = self._head(actor, request_id)
        try:
            with self._db.write() as conn:
                return postings.post_plain(conn, tenant_id=tenant_id, **head, **columns_of(named))
        except TAKEN:
            return None  # While we looked.

    def decide(self, tenant_id: str, request: dict[str, Any]) -> list[ResultRow]:
        """Have a request decided and written: a result for each item. Raises Contention."""
        for _ in range(TRIES):
            results = self.send(tenant_id, request)
            if results is not None:
                return results
        raise Contention(headers={"Retry-After": "1"})

    def send(self, tenant_id: str, request: dict[str, Any]) -> list[ResultRow] | None:
        """Send a request once. None: nothing was written, send it again as it is now."""
        try:
            with self._db.write() as conn:
                results = postings.record(conn, tenant_id=tenant_id, request=json_text(request))
        except TAKEN:
            return None  # While we looked: the next look tells by which.
        return None if self.is_unfinished(tenant_id, request, results) else results

    def is_unfinished(
        self, tenant_id: str, request: dict[str, Any], results: Sequence[ResultRow]
    ) -> bool:
        """Tell whether the request is to be sent again, and make it ready for that."""
        first = results[0]
        if first.outcome != "again":
            return False
        if first.code == "gather":
            request["gather"] = True
        else:
            self.expire(tenant_id, first.facts)
            request["patient"] = True
        return True

    def expire(self, tenant_id: str, hold_ids: Sequence[str]) -> int:
        """End overdue holds, in one posting; returns how many. What was resolved is passed over."""
        items = [
            {"id": str(self.new_id()), "kind": "expire", "hold_id": hold_id} for hold_id in hold_ids
        ]
        request = {**self._head("job:expire-holds", "-"), "origins": list(hold_ids), "items": items}
        results = self.decide(tenant_id, request)
        return sum(result.outcome == "created" for result in results)

    def level(self, tenant_id: str, code: str, currency: str, actor: str, request_id: str) -> None:
        """Move all money of a striped account into its first stripe."""
        request = {
            **self._head(actor, request_id),
            "stripe": 0,
            "level": True,
            "accounts": [[code, currency]],
        }
        with self._db.write() as conn:
            postings.record(conn, tenant_id=tenant_id, request=json_text(request))

    def _head(self, actor: str, request_id: str) -> dict[str, Any]:
        return {"actor": actor, "request_id": request_id, "stripe": self._stripe()}
