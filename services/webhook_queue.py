"""Changes of what an endpoint is owed: made, finished, repeated (W1).

Each holds the endpoint, changes deliveries, then lets the first pending one of each payment that it
has touched be due: so the events of a payment go out in their order. These are three statements and
not one, since a statement that waits for a lock sees all else as it was before the wait.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from errors import NotFound
from repos import webhooks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from uuid import UUID

    from persistence.db import Conn, Database
    from repos.webhooks import FinishedRow

Result = TypeVar("Result")


class WebhookQueue:
    """The deliveries of endpoints. An endpoint is named by tenant and id."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def fan_out(self, tenant_id: str, endpoint_id: UUID, batch: int) -> int:
        """Pass up to `batch` events of the feed; how many were passed. Raises NotFound."""

        def create(conn: Conn, endpoint: dict[str, Any]) -> tuple[int, list[UUID]]:
            row = webhooks.create_deliveries(conn, row_limit=batch, **endpoint)
            return row.passed, row.payment_ids

        return self._change(tenant_id, endpoint_id, create)

    def finish(
        self, tenant_id: str, endpoint_id: UUID, payment_id: UUID, **attempt: Any
    ) -> FinishedRow | None:
        """Record an attempt, as `finish_delivery` has it; None: its lease was lost."""

        def record(conn: Conn, endpoint: dict[str, Any]) -> tuple[FinishedRow | None, list[UUID]]:
            row = webhooks.finish_delivery(conn, payment_id=payment_id, **endpoint, **attempt)
            return row, [payment_id] if row else []

        return self._change(tenant_id, endpoint_id, record)

    def repeat(self, tenant_id: str, endpoint_id: UUID, payment_id: UUID, seq: int) -> int:
        """Send one delivery again, from its first attempt on; 0: there is none."""

        def queue(conn: Conn, endpoint: dict[str, Any]) -> tuple[int, list[UUID]]:
            rows = webhooks.queue_delivery(conn, payment_id=payment_id, seq=seq, **endpoint)
            return len(rows), _payments(rows)

        return self._change(tenant_id, endpoint_id, queue)

    def repeat_failed(self, tenant_id: str, endpoint_id: UUID, failed_since: str, most: int) -> int:
        """Send again up to `most` of those that were given up; how many."""

        def queue(conn: Conn, endpoint: dict[str, Any]) -> tuple[int, list[UUID]]:
            rows = webhooks.queue_failed(
                conn, failed_since=failed_since, row_limit=most, **endpoint
            )
            return len(rows), _payments(rows)

        return self._change(tenant_id, endpoint_id, queue)

    def _change(
        self,
        tenant_id: str,
        endpoint_id: UUID,
        change: Callable[[Conn, dict[str, Any]], tuple[Result, list[UUID]]],
    ) -> Result:
        endpoint: dict[str, Any] = {"tenant_id": tenant_id, "endpoint_id": endpoint_id}
        with self._db.transaction() as conn:
            if webhooks.lock_endpoint(conn, **endpoint) is None:
                raise NotFound
            result, payment_ids = change(conn, endpoint)
            if payment_ids:
                webhooks.set_due(conn, payment_ids=payment_ids, **endpoint)
        return result


def _payments(rows: Iterable[webhooks.QueuedRow]) -> list[UUID]:
    return list({row.payment_id for row in rows})
