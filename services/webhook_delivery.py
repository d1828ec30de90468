"""The jobs of webhooks: who is owed what, and the calls that deliver it (W1 to W3).

A delivery is claimed for a while, made without a connection, and its result stored by the token of
the claim. Killed in between, it is made again: at least once, and in the order of its payment.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from threading import Condition, Semaphore
from typing import TYPE_CHECKING

from uuid_utils.compat import uuid7

from errors import NotFound
from observability import Context, begin, log, webhook_deliveries_total
from repos import webhooks
from services.webhook_messages import of_event
from services.webhook_queue import WebhookQueue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from uuid import UUID

    from persistence.db import Database
    from repos.webhooks import ClaimedRow
    from services.jobs import Run
    from services.webhook_calls import Outcome, WebhookCalls
    from services.webhook_secrets import WebhookSecrets

# W3: after the first attempt; spread, so that what failed together does not come back together.
RETRY_S = (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
SPREAD = 0.1
FAILING_MAX_S = 5 * 86_400
GONE = 410
# Longer than a name's resolution and a call together can take.
LEASE_MS = 60_000
DATABASE_S = 5.0
# So many calls of one endpoint at once; one that does not answer well gets one.
ENDPOINT_CALLS = 4
SUBJECT = "job:deliver-webhooks"
# A run waits so long for the calls that it began, to tell their number.
WAIT_S = 0.1


def fan_out(db: Database, run: Run) -> Iterator[int]:
    """Make deliveries of what the feed has behind each endpoint's position."""
    with db.read() as conn:
        behind = webhooks.list_behind(conn, tenant_id=run.ask.tenant_id)
    if run.ask.dry_run:
        yield len(behind)
        return
    queue = WebhookQueue(db)
    for endpoint in behind:
        passed = batch = run.batch
        while passed == batch:
            batch = run.batch
            try:
                passed = queue.fan_out(endpoint.tenant_id, endpoint.id, batch)
            except NotFound:  # Deleted since it was listed.
                break
            yield passed


class WebhookDelivery:
    """Makes due deliveries with `calls_max` threads, which are started when there is something."""

    def __init__(
        self,
        db: Database,
        secrets: WebhookSecrets,
        calls: WebhookCalls,
        calls_max: int,
        *,
        new_id: Callable[[], UUID] = uuid7,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`clock` tells receivers when an attempt is made, in seconds since 1970."""
        self._db = db
        self._queue = WebhookQueue(db)
        self._secrets = secrets
        self._calls = calls
        self._new_id = new_id
        self._clock = clock
        self._threads = ThreadPoolExecutor(calls_max, thread_name_prefix="webhooks")
        # How many calls each endpoint may have at once is how often it stands here.
        self._busy: Counter[tuple[str, UUID]] = Counter()
        self._changed = Condition()
        self._made = 0

    def work(self, run: Run) -> Iterator[int]:
        """Begin to serve the endpoints that are owed something; the threads go on by themselves."""
        if run.ask.dry_run:
            with self._db.read() as conn:
                yield webhooks.count_due(conn, tenant_id=run.ask.tenant_id)
            return
        with self._db.read() as conn:
            due = webhooks.list_due(conn, tenant_id=run.ask.tenant_id)
        left = Semaphore(run.batch)
        for endpoint in due:
            most = 1 if endpoint.is_failing else ENDPOINT_CALLS
            self._serve_more(run, left, (endpoint.tenant_id, endpoint.id), most)
        self.wait_until_idle(WAIT_S)
        with self._changed:
            made, self._made = self._made, 0
        yield made

    def wait_until_idle(self, timeout_s: float | None = None) -> bool:
        """Wait until nothing more is due and no call is under way; whether that came true."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._busy.total(), timeout_s)

    def close(self) -> None:
        """Wait for the calls under way; after a stop no other one is begun."""
        self.wait_until_idle()
        self._threads.shutdown()

    def _serve_more(self, run: Run, left: Semaphore, endpoint: tuple[str, UUID], most: int) -> None:
        with self._changed:
            more = most - self._busy[endpoint]
            self._busy[endpoint] += max(0, more)
        for _ in range(more):
            self._threads.submit(self._serve, run, left, endpoint)

    def _serve(self, run: Run, left: Semaphore, endpoint: tuple[str, UUID]) -> None:
        """Make one delivery; if there was one, queue up behind the other endpoints for the next."""
        goes_on = False
        try:
            if not run.is_over and left.acquire(blocking=False):
                goes_on = self._deliver_next(*endpoint)
        except Exception:  # noqa: BLE001  # Its lease runs out, and it is made again.
            log.exception("webhook.failed", endpoint_id=str(endpoint[1]))
        if goes_on:
            self._threads.submit(self._serve, run, left, endpoint)
            return
        with self._changed:
            self._busy[endpoint] -= 1
            self._changed.notify_all()

    # --- One delivery ---------------------------------------------------------------------------

    def _deliver_next(self, tenant_id: str, endpoint_id: UUID) -> bool:
        """Make the delivery that is due longest; False: there is none."""
        token = self._new_id()
        self._begin(token, tenant_id)
        with self._db.write() as conn:
            claimed = webhooks.claim_delivery(
                conn,
                tenant_id=tenant_id,
                endpoint_id=endpoint_id,
                lease_token=token,
                lease_ms=LEASE_MS,
            )
        if claimed is None:
            return False
        outcome = self._call(claimed, tenant_id, endpoint_id)
        self._begin(token, tenant_id)
        self._settle(claimed, outcome, tenant_id, endpoint_id, token)
        return True

    def _call(self, claimed: ClaimedRow, tenant_id: str, endpoint_id: UUID) -> Outcome:
        sealed = [claimed.secret_enc, claimed.previous_secret_enc]
        secrets = [self._secrets.open(each, tenant_id, endpoint_id) for each in sealed if each]
        message = of_event(claimed.event)
        headers = message.headers(secrets, int(self._clock()))
        return self._calls.post(claimed.url, message.body, headers)

    def _settle(
        self,
        claimed: ClaimedRow,
        outcome: Outcome,
        tenant_id: str,
        endpoint_id: UUID,
        token: UUID,
    ) -> None:
        delay_s = _delay_s(claimed.attempts, outcome)
        state = "delivered" if outcome.is_delivered else "pending" if delay_s else "failed"
        row = self._queue.finish(
            tenant_id,
            endpoint_id,
            claimed.payment_id,
            seq=claimed.seq,
            lease_token=token,
            state=state,
            delay_ms=int(delay_s * 1000),
            status=outcome.status,
            error=outcome.error,
            is_gone=outcome.status == GONE,
            failing_max_s=FAILING_MAX_S,
            audit_id=self._new_id(),
            subject=SUBJECT,
        )
        told = "lost" if row is None else {"pending": "retried"}.get(state, state)
        webhook_deliveries_total.labels(told).inc()
        with self._changed:
            self._made += 1
        if row is not None and row.disabled:
            log.warning("webhook.disabled", endpoint_id=str(endpoint_id), reason=row.disabled)

    @staticmethod
    def _begin(token: UUID, tenant_id: str) -> None:
        deadline = time.monotonic() + DATABASE_S
        begin(Context(request_id=str(token), actor=SUBJECT, tenant_id=tenant_id, deadline=deadline))


def _delay_s(attempts: int, outcome: Outcome) -> float:
    """Return how long to wait before the next attempt; 0: there is none."""
    if outcome.is_delivered or attempts >= len(RETRY_S):
        return 0
    spread = random.uniform(1 - SPREAD, 1 + SPREAD)  # noqa: S311  # Spreads tries.
    return max(RETRY_S[attempts] * spread, outcome.retry_after_s)
