"""Webhook endpoints: made, changed, tested; their secrets; what they were sent (section 9)."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import BoundedSemaphore
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

from uuid_utils.compat import uuid7

from errors import NotFound, Overloaded, ValidationFailed, WebhookEndpointsFull
from repos import webhooks
from services.webhook_messages import message
from services.webhook_queue import WebhookQueue
from services.webhook_urls import UrlRefused

if TYPE_CHECKING:
    from collections.abc import Callable

    from persistence.db import Database
    from repos.webhooks import DeliveryRow, EndpointRow
    from services.cursors import Cursors
    from services.webhook_calls import Outcome, WebhookCalls
    from services.webhook_secrets import WebhookSecrets

Row = TypeVar("Row")

# Each event of a tenant is one more delivery for each of them.
ENDPOINTS_MAX = 20
OVERLAP_S = 86_400
TESTS_AT_ONCE = 2
REPEAT_MAX = 1_000
# How many deliveries a page looks at if it shows one state only.
SCAN_ROWS = 1_000
START: list[Any] = ["infinity", str(UUID(int=2**128 - 1)), 2**63 - 1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What to change of an endpoint: the members that `given` names."""

    given: frozenset[str]
    url: str | None = None
    description: str | None = None
    event_types: tuple[str, ...] = ()
    status: str | None = None


class Webhooks:
    """Use cases of endpoints. `subject` is who acts, for the audit log."""

    def __init__(
        self,
        db: Database,
        cursors: Cursors,
        secrets: WebhookSecrets,
        calls: WebhookCalls,
        *,
        new_id: Callable[[], UUID] = uuid7,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`calls` makes test calls; the job makes its own."""
        self._db = db
        self._cursors = cursors
        self._secrets = secrets
        self._calls = calls
        self._new_id = new_id
        self._clock = clock
        self._queue = WebhookQueue(db)
        self._tests = BoundedSemaphore(TESTS_AT_ONCE)

    # --- Endpoints ------------------------------------------------------------------------------

    def create(
        self,
        tenant_id: str,
        url: str,
        subject: str,
        *,
        event_types: tuple[str, ...] = (),
        description: str | None = None,
    ) -> tuple[EndpointRow, str]:
        """Make an endpoint; its row and its secret, which is never shown again.

        Raises ValidationFailed (the URL), WebhookEndpointsFull.
        """
        self._check(url)
        endpoint_id = self._new_id()
        secret, sealed = self._secrets.make(tenant_id, endpoint_id)
        with self._db.write() as conn:
            row = webhooks.create_endpoint(
                conn,
                url=url,
                description=description,
                event_types=list(event_types),
                secret_enc=sealed,
                endpoints_max=ENDPOINTS_MAX,
                **self._act(tenant_id, endpoint_id, subject),
            )
        if row is None:
            raise WebhookEndpointsFull
        return row, secret

    def list_all(self, tenant_id: str) -> list[EndpointRow]:
        """Return a tenant's endpoints, oldest first."""
        with self._db.read() as conn:
            return webhooks.list_endpoints(conn, tenant_id=tenant_id)

    def get(self, tenant_id: str, endpoint_id: UUID) -> EndpointRow:
        """Return an endpoint. Raises NotFound."""
        with self._db.read() as conn:
            rows = webhooks.list_endpoints(conn, tenant_id=tenant_id, endpoint_id=str(endpoint_id))
        if not rows:
            raise NotFound
        return rows[0]

    def change(
        self, tenant_id: str, endpoint_id: UUID, change: Change, subject: str
    ) -> EndpointRow:
        """Change what is given. Raises NotFound, ValidationFailed (the URL)."""
        if change.url is not None:
            self._check(change.url)
        with self._db.write() as conn:
            row = webhooks.set_endpoint(
                conn,
                url=change.url,
                sets_description="description" in change.given,
                description=change.description,
                sets_event_types="event_types" in change.given,
                event_types=",".join(change.event_types),
                status=change.status,
                **self._act(tenant_id, endpoint_id, subject),
            )
        return _found(row)

    def delete(self, tenant_id: str, endpoint_id: UUID, subject: str) -> None:
        """End an endpoint. Raises NotFound."""
        with self._db.write() as conn:
            act = self._act(tenant_id, endpoint_id, subject)
            _found(webhooks.delete_endpoint(conn, **act))

    def rotate_secret(
        self, tenant_id: str, endpoint_id: UUID, subject: str
    ) -> tuple[EndpointRow, str]:
        """Give it a new secret, shown this once; the old one signs too for a day. NotFound."""
        secret, sealed = self._secrets.make(tenant_id, endpoint_id)
        with self._db.write() as conn:
            row = webhooks.set_secret(
                conn,
                secret_enc=sealed,
                overlap_s=OVERLAP_S,
                **self._act(tenant_id, endpoint_id, subject),
            )
        return _found(row), secret

    def test(self, tenant_id: str, endpoint_id: UUID) -> Outcome:
        """Send an event of type `webhook.test` now, and say how it went. Raises NotFound.

        Nothing is stored or repeated. Raises Overloaded while others are tested.
        """
        with self._db.read() as conn:
            target = _found(webhooks.get_target(conn, tenant_id=tenant_id, endpoint_id=endpoint_id))
        sealed = [target.secret_enc, target.previous_secret_enc]
        secrets = [self._secrets.open(each, tenant_id, endpoint_id) for each in sealed if each]
        now = self._clock()
        at = datetime.fromtimestamp(now, UTC).isoformat().replace("+00:00", "Z")
        sent = message(
            f"test-{self._new_id()}", "webhook.test", at, {"endpoint_id": str(endpoint_id)}
        )
        if not self._tests.acquire(blocking=False):
            raise Overloaded("Other endpoints are tested now.", headers={"Retry-After": "1"})
        try:
            return self._calls.post(target.url, sent.body, sent.headers(secrets, int(now)))
        finally:
            self._tests.release()

    # --- Deliveries -----------------------------------------------------------------------------

    def deliveries(
        self, tenant_id: str, endpoint_id: UUID, state: str | None, limit: int, cursor: str | None
    ) -> tuple[list[DeliveryRow], str | None]:
        """Return what it was and will be sent, newest first, and the next page's cursor or None.

        Raises NotFound, CursorInvalid. A page of one state may be short while there is a next one.
        """
        self.get(tenant_id, endpoint_id)
        bound = {"tenant": tenant_id, "endpoint": str(endpoint_id), "state": state}
        at, payment_id, seq = (
            self._cursors.read("webhook_deliveries", cursor, bound) if cursor else START
        )
        most = max(limit, SCAN_ROWS) if state else limit
        with self._db.read() as conn:
            rows = webhooks.list_deliveries(
                conn,
                tenant_id=tenant_id,
                endpoint_id=endpoint_id,
                state=state,
                before_at=at,
                before_payment_id=UUID(payment_id),
                before_seq=seq,
                row_limit=most + 1,
            )
        passed = _passed(rows[:most], limit)
        page = [row for row in passed if row.is_wanted]
        if len(passed) == len(rows):
            return page, None
        last = passed[-1]
        position = [last.created_at.isoformat(), last.payment_id, last.seq]
        return page, self._cursors.sign("webhook_deliveries", position, bound)

    def redeliver(self, tenant_id: str, endpoint_id: UUID, payment_id: UUID, seq: int) -> int:
        """Send one event again, from its first attempt on. NotFound: it was never to be sent."""
        queued = self._queue.repeat(tenant_id, endpoint_id, payment_id, seq)
        if not queued:
            raise NotFound("This endpoint has no delivery of that event.")
        return queued

    def redeliver_failed(
        self, tenant_id: str, endpoint_id: UUID, since: datetime
    ) -> tuple[int, bool]:
        """Send again what was given up of events since then: how many, and whether more are left.

        Raises NotFound.
        """
        at = since.astimezone(UTC).isoformat()
        queued = self._queue.repeat_failed(tenant_id, endpoint_id, at, REPEAT_MAX)
        return queued, queued == REPEAT_MAX

    # --- Both -----------------------------------------------------------------------------------

    def _check(self, url: str) -> None:
        try:
            self._calls.check(url)
        except UrlRefused as reason:
            raise ValidationFailed(
                errors=({"pointer": "/url", "code": "url_refused", "detail": str(reason)},)
            ) from reason

    def _act(self, tenant_id: str, endpoint_id: UUID, subject: str) -> dict[str, Any]:
        return {
            "tenant_id": tenant_id,
            "endpoint_id": endpoint_id,
            "audit_id": self._new_id(),
            "subject": subject,
        }


def _found(row: Row | None) -> Row:
    if row is None:
        raise NotFound
    return row


def _passed(rows: list[DeliveryRow], limit: int) -> list[DeliveryRow]:
    """Return the rows up to the last that fits on the page."""
    wanted = 0
    for place, row in enumerate(rows):
        wanted += row.is_wanted
        if wanted == limit:
            return rows[: place + 1]
    return rows
