"""All payments that pass a filter, as of one moment, in the same memory however many they are.

An export has a connection of its own, outside of the pool, until it is closed.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from repos import payments

if TYPE_CHECKING:
    from collections.abc import Iterator

    from persistence.db import Database
    from services.actors import Actor
    from services.payment_queries import Filters

# At most 9 KB a payment, most of it metadata: 500 of them are never much.
FETCH_ROWS = 500
# Who reads nothing for so long loses the connection: a snapshot keeps dead rows from being removed.
STALLED_MS = 60_000


@dataclass(frozen=True, slots=True)
class PaymentExport:
    """Payments as data, oldest first. To be closed, read to the end or not."""

    rows: Iterator[dict[str, Any]]
    held: ExitStack

    def close(self) -> None:
        """Give the connection up; twice does no harm."""
        self.held.close()


class PaymentExports:
    """Begins exports."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def begin(self, actor: Actor, filters: Filters) -> PaymentExport:
        """Return the payments in the actor's reach that pass. Raises DatabaseUnavailable.

        The first is read now: what fails then can still be answered as any other failure.
        """
        with ExitStack() as stack:
            rows = self._rows(stack, actor, filters)
            first = list(islice(rows, 1))
            return PaymentExport(chain(first, rows), stack.pop_all())

    def _rows(self, stack: ExitStack, actor: Actor, filters: Filters) -> Iterator[dict[str, Any]]:
        user_id = actor.owner_id or filters.user_id
        if filters.user_id not in {None, user_id}:
            return iter(())  # Another's payments are as absent as those that do not exist (P41).
        params = {**filters.of_tenant(actor.tenant_id), "created_lt": filters.end}
        conn = stack.enter_context(self._db.snapshot(STALLED_MS))
        if user_id is None:
            return payments.export(conn, FETCH_ROWS, **params)
        return payments.export_by_user(conn, FETCH_ROWS, user_id=user_id, **params)
