"""Deliveries: to whom, in which order, how often, and by which worker (W1 to W3)."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from standardwebhooks import Webhook, WebhookVerificationError
from structlog.testing import capture_logs

from observability import webhook_deliveries_total
from persistence.embedded_process import wait_until
from services.jobs import Ask, Run
from services.webhook_calls import WebhookCalls
from services.webhook_delivery import RETRY_S, WebhookDelivery, fan_out
from services.webhook_secrets import WebhookSecrets
from services.webhooks import Change
from tests.receivers import Authority, Receiver, receiving
from tests.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from repos.webhooks import EndpointRow
    from tests.receivers import Received

SUBJECT = "cli:test"


class Hooks:
    """The service with a receiver, and a worker in the test's hands."""

    def __init__(self, world: World, authority: Authority, receiver: Receiver) -> None:
        self.world, self.receiver = world, receiver
        self.webhooks = world.services.webhooks
        self.calls = WebhookCalls(allow_private=True, context=authority.trusting())
        self.secrets = WebhookSecrets(world.services.config.subkeys("webhook"))
        self.delivery = self.worker()
        self.endpoint, self.secret = self.endpoint_for(receiver.url)

    def worker(self, calls_max: int = 8) -> WebhookDelivery:
        return WebhookDelivery(self.world.services.db, self.secrets, self.calls, calls_max)

    def endpoint_for(self, url: str, *types: str) -> tuple[EndpointRow, str]:
        return self.webhooks.create("default", url, SUBJECT, event_types=types)

    def fan_out(self, **ask: Any) -> int:
        return sum(fan_out(self.world.services.db, run(**ask)))

    def deliver(self, **ask: Any) -> int:
        """Make deliveries of what has happened, and make those that are due, to the end."""
        self.fan_out()
        made = sum(self.delivery.work(run(**ask)))
        assert self.delivery.wait_until_idle(30)
        return made

    def log(self, state: str | None = None, endpoint: EndpointRow | None = None) -> list[Any]:
        """Return the delivery log, oldest first."""
        rows, _ = self.webhooks.deliveries(
            "default", (endpoint or self.endpoint).id, state, 200, None
        )
        return rows[::-1]

    def states(self) -> list[tuple[int, str, int]]:
        """Return seq, state and attempts of each delivery, in the order of seq."""
        rows = self.world.rows(
            "SELECT seq, state::text, attempts FROM webhook_deliveries ORDER BY seq"
        )
        return [(seq, state, attempts) for seq, state, attempts in rows]

    def let_time_pass(self) -> None:
        """Let every retry be due now."""
        self.world.rows(
            "UPDATE webhook_deliveries SET next_attempt_at = now()"
            " WHERE next_attempt_at IS NOT NULL RETURNING 1"
        )

    def status(self) -> tuple[str, str | None]:
        row = self.webhooks.get("default", self.endpoint.id)
        return row.status, row.disabled_reason


def run(**ask: Any) -> Run:
    return Run(ask=Ask(**ask), stop=threading.Event(), batch_max=1_000)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def receiver(authority: Authority) -> Iterator[Receiver]:
    with receiving(authority) as made:
        yield made


@pytest.fixture
def hooks(
    database: str, tmp_path: Path, authority: Authority, receiver: Receiver
) -> Iterator[Hooks]:
    world = World(
        database,
        tmp_path,
        WEBHOOK_ALLOW_PRIVATE="true",
        DB_POOL_SIZE="16",
        LOG_LEVEL="warning",
    )
    made = Hooks(world, authority, receiver)
    yield made
    made.delivery.close()
    world.close()


def failing(*statuses: int) -> Any:
    """Return answers: these, then 204."""
    left = list(statuses)
    return lambda _: (left.pop(0) if left else 204, {})


def verified(received: Received, secret: str) -> dict[str, Any]:
    """Return what a receiver reads once it has verified it by the public library."""
    made: dict[str, Any] = Webhook(secret).verify(received.body, received.headers)
    return made


# --- What is sent -------------------------------------------------------------------------------


def test_an_event_is_sent_as_the_api_shows_it(hooks: Hooks) -> None:
    """W2: type, time, data; signed; the id is the event's."""
    payment_id = hooks.world.authorized(2500)
    assert hooks.world.command(payment_id, "capture").status_code == 200

    hooks.deliver()

    shown = hooks.world.get(f"/v1/payments/{payment_id}/events").json["data"]
    assert [verified(each, hooks.secret) for each in hooks.receiver.received] == [
        {"type": event["type"], "timestamp": event["created_at"], "data": event} for event in shown
    ]
    assert hooks.receiver.ids == [f"{payment_id}-{seq}" for seq in (1, 2, 3)]
    assert "." not in "".join(hooks.receiver.ids)


def test_a_hundred_deliveries_verify(hooks: Hooks) -> None:
    """W2: by the public library, with its own idea of the time."""
    made = [hooks.world.payment() for _ in range(100)]
    hooks.deliver()
    events = [verified(each, hooks.secret) for each in hooks.receiver.received]
    assert {event["data"]["payment_id"] for event in events} == set(made)
    assert len(events) == 100


def test_what_was_altered_does_not_verify(hooks: Hooks) -> None:
    """W2: body, id and time are signed."""
    hooks.world.payment()
    hooks.deliver()
    (received,) = hooks.receiver.received
    webhook, headers = Webhook(hooks.secret), received.headers
    for body, change in (
        (received.body + b" ", {}),
        (received.body, {"webhook-id": "other-1"}),
        (received.body, {"webhook-timestamp": str(int(headers["webhook-timestamp"]) + 1)}),
    ):
        with pytest.raises(WebhookVerificationError):
            webhook.verify(body, {**headers, **change})


def test_an_old_and_a_new_secret_both_verify(hooks: Hooks) -> None:
    """W2: for 24 h after a rotation; then the new one alone."""
    row, new = hooks.webhooks.rotate_secret("default", hooks.endpoint.id, SUBJECT)
    assert row.previous_until is not None
    assert row.previous_until - row.updated_at == timedelta(hours=24)
    hooks.world.payment()
    hooks.deliver()
    (received,) = hooks.receiver.received
    assert verified(received, hooks.secret) == verified(received, new)

    hooks.world.rows("UPDATE webhook_endpoints SET previous_until = now() RETURNING 1")
    hooks.world.payment()
    hooks.deliver()
    assert verified(hooks.receiver.received[1], new)
    with pytest.raises(WebhookVerificationError):
        verified(hooks.receiver.received[1], hooks.secret)


def test_an_endpoint_gets_the_types_it_asked_for(hooks: Hooks, authority: Authority) -> None:
    """Section 9."""
    with receiving(authority) as other:
        hooks.endpoint_for(other.url, "payment.captured", "payment.voided")
        payment_id = hooks.world.authorized()
        hooks.world.command(payment_id, "capture")
        hooks.deliver()
        assert other.ids == [f"{payment_id}-3"]
    assert len(hooks.receiver.received) == 3


def test_an_endpoint_gets_what_happens_from_now_on(hooks: Hooks, authority: Authority) -> None:
    """Section 9: what was before stands in the feed."""
    hooks.world.payment()
    with receiving(authority) as other:
        hooks.endpoint_for(other.url)
        later = hooks.world.payment()
        hooks.deliver()
        assert other.ids == [f"{later}-1"]


def test_a_delivery_waits_until_nothing_can_come_before_it(hooks: Hooks, database: str) -> None:
    """W1, E3: it is made from the feed, so an open transaction holds it back."""
    import psycopg  # noqa: PLC0415  # Here alone.

    with psycopg.connect(database) as slow:
        slow.execute("SELECT pg_current_xact_id()")
        hooks.world.payment()
        assert hooks.deliver() == 0
    hooks.deliver()
    assert len(hooks.receiver.received) == 1


def test_another_tenants_events_are_not_sent(hooks: Hooks) -> None:
    """A6."""
    hooks.world.services.tenants.create("acme", "Acme", SUBJECT)
    hooks.world.user_id = str(hooks.world.new_user("acme").id)
    hooks.world.api_key = hooks.world.new_api_key(tenant_id="acme")
    hooks.world.payment()
    hooks.deliver()
    assert hooks.receiver.received == []


# --- In which order -----------------------------------------------------------------------------


def test_the_next_event_waits_for_the_one_before(hooks: Hooks) -> None:
    """W1: per payment; another payment goes on."""
    hooks.receiver.answer = failing(500)
    first = hooks.world.authorized()
    hooks.deliver()
    other = hooks.world.payment()
    hooks.deliver()
    assert hooks.receiver.ids == [f"{first}-1", f"{other}-1"]

    hooks.let_time_pass()
    hooks.deliver()

    assert hooks.receiver.ids[2:] == [f"{first}-1", f"{first}-2"]
    assert {row.state for row in hooks.log()} == {"delivered"}


def test_a_given_up_delivery_frees_the_next(hooks: Hooks) -> None:
    """W1, W3: after ten attempts."""
    hooks.receiver.answer = failing(*[500] * 10)
    payment_id = hooks.world.authorized()
    for _ in range(10):
        hooks.deliver()
        hooks.let_time_pass()
    hooks.deliver()
    assert hooks.receiver.ids == [f"{payment_id}-1"] * 10 + [f"{payment_id}-2"]
    assert hooks.states() == [(1, "failed", 10), (2, "delivered", 1)]


def test_events_of_many_payments_keep_their_order(hooks: Hooks) -> None:
    """W1: two workers with eight threads each, a receiver that fails now and then."""
    hooks.receiver.answer = failing(*[500, 204, 204, 503, 204] * 12)
    other = hooks.worker()
    payments = []
    for _ in range(15):
        payments.append(hooks.world.authorized())
        hooks.world.command(payments[-1], "capture")
    hooks.fan_out()
    while hooks.world.rows("SELECT FROM webhook_deliveries WHERE state = 'pending' LIMIT 1"):
        for worker in (hooks.delivery, other):
            list(worker.work(run()))
        assert hooks.delivery.wait_until_idle(30)
        assert other.wait_until_idle(30)
        hooks.let_time_pass()
    other.close()
    for payment_id in payments:
        seqs = [int(each[-1]) for each in hooks.receiver.ids if each.startswith(payment_id)]
        assert seqs == sorted(seqs)
        assert set(seqs) == {1, 2, 3}


def test_workers_at_once_send_nothing_twice(hooks: Hooks) -> None:
    """W1: SKIP LOCKED and a lease: of many one gets it."""
    for _ in range(40):
        hooks.world.payment()
    hooks.fan_out()
    workers = [hooks.worker() for _ in range(3)]
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda worker: list(worker.work(run())), workers))
        list(pool.map(WebhookDelivery.close, workers))
    assert len(hooks.receiver.ids) == len(set(hooks.receiver.ids)) == 40


def test_fan_outs_at_once_make_each_delivery_once(hooks: Hooks) -> None:
    """W1: the position and what was made up to it are committed together."""
    for _ in range(30):
        hooks.world.payment()
    with ThreadPoolExecutor(4) as pool:
        passed = list(pool.map(lambda _: hooks.fan_out(batch=7), range(4)))
    assert sum(passed) == 30
    assert len(hooks.states()) == 30


# --- How often ----------------------------------------------------------------------------------


def test_retries_follow_the_table(hooks: Hooks) -> None:
    """W3: 5 s, 5 min, 30 min, 2, 5, 10, 14, 20, 24 h, each +-10 %; then failed."""
    assert RETRY_S == (5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400)
    hooks.receiver.answer = lambda _: (500, {})
    hooks.world.payment()
    waits = []
    for _ in range(9):
        hooks.deliver()
        (row,) = hooks.log()
        waits.append((row.next_attempt_at - row.last_attempt_at).total_seconds())
        hooks.let_time_pass()
    assert all(0.9 * s <= wait <= 1.1 * s for wait, s in zip(waits, RETRY_S, strict=True))
    assert waits != list(RETRY_S)
    hooks.deliver()
    (row,) = hooks.log("failed")
    assert (row.attempts, row.next_attempt_at, row.last_status) == (10, None, 500)


@pytest.mark.parametrize(("asked", "wait_s"), [("2", 5), ("7200", 7200), ("999999", 86_400)])
def test_a_receiver_may_ask_for_more_time(hooks: Hooks, asked: str, wait_s: int) -> None:
    """W3: Retry-After up to 24 h; less than the table's time is not asked for."""
    hooks.receiver.answer = lambda _: (503, {"Retry-After": asked})
    hooks.world.payment()
    hooks.deliver()
    (row,) = hooks.log()
    waits = (row.next_attempt_at - row.last_attempt_at).total_seconds()
    assert 0.9 * wait_s <= waits <= 1.1 * wait_s


def test_what_went_wrong_is_logged_by_a_code(hooks: Hooks) -> None:
    """W4: status or code; nothing that the other side has said."""
    hooks.receiver.answer = lambda _: (418, {"X-Secret": "s3cret"})
    hooks.world.payment()
    hooks.deliver()
    (row,) = hooks.log()
    assert (row.last_status, row.last_error) == (418, None)
    change = Change(given=frozenset({"url"}), url="https://localhost:1/")
    hooks.webhooks.change("default", hooks.endpoint.id, change, SUBJECT)
    hooks.let_time_pass()
    hooks.deliver()
    (row,) = hooks.log()
    assert (row.last_status, row.last_error, row.attempts) == (None, "connection_failed", 2)


def test_a_receiver_that_is_gone_is_left_alone(hooks: Hooks) -> None:
    """W3: 410 disables at once; said in log and audit, since a silent lapse is the worst."""
    hooks.receiver.answer = lambda _: (410, {})
    hooks.world.payment()
    with capture_logs() as lines:
        hooks.deliver()
    assert hooks.status() == ("disabled", "gone")
    told = [line for line in lines if line["event"] == "webhook.disabled"]
    assert [(line["reason"], line["log_level"]) for line in told] == [("gone", "warning")]
    audited = hooks.world.rows(
        "SELECT subject, reason, details FROM audit_log WHERE event = 'webhook_endpoint_disabled'"
    )
    assert audited == [("job:deliver-webhooks", "gone", {"endpoint_id": str(hooks.endpoint.id)})]


def test_five_days_without_a_2xx_disable(hooks: Hooks) -> None:
    """W3: counted from the first failure after the last success, not from a quiet time."""
    hooks.receiver.answer = failing(500, 500, 500)
    hooks.world.payment()
    hooks.deliver()
    assert hooks.webhooks.get("default", hooks.endpoint.id).failing_since is not None
    hooks.world.rows(
        "UPDATE webhook_endpoints SET failing_since = failing_since - interval '4.9 days'"
        " RETURNING 1"
    )
    hooks.let_time_pass()
    hooks.deliver()
    assert hooks.status() == ("active", None)
    hooks.world.rows(
        "UPDATE webhook_endpoints SET failing_since = failing_since - interval '0.2 days'"
        " RETURNING 1"
    )
    hooks.let_time_pass()
    hooks.deliver()
    assert hooks.status() == ("disabled", "failing")


def test_a_success_ends_the_count_of_failing(hooks: Hooks) -> None:
    """W3."""
    hooks.receiver.answer = failing(500)
    hooks.world.payment()
    hooks.deliver()
    hooks.let_time_pass()
    hooks.deliver()
    row = hooks.webhooks.get("default", hooks.endpoint.id)
    assert row.failing_since is None
    assert row.last_success_at is not None


def test_a_disabled_endpoint_misses_nothing(hooks: Hooks) -> None:
    """Section 9: nothing is sent meanwhile; enabled again, it goes on where it was."""
    off, on = (Change(given=frozenset({"status"}), status=s) for s in ("disabled", "active"))
    hooks.webhooks.change("default", hooks.endpoint.id, off, SUBJECT)
    missed = [hooks.world.payment() for _ in range(3)]
    hooks.deliver()
    assert hooks.receiver.received == []
    assert hooks.status() == ("disabled", "by_request")
    hooks.webhooks.change("default", hooks.endpoint.id, on, SUBJECT)
    hooks.deliver()
    assert sorted(hooks.receiver.ids) == sorted(f"{each}-1" for each in missed)


def test_a_deleted_endpoint_is_sent_nothing(hooks: Hooks) -> None:
    """Section 9: not even what was pending."""
    hooks.world.payment()
    hooks.fan_out()
    hooks.webhooks.delete("default", hooks.endpoint.id, SUBJECT)
    hooks.world.payment()
    hooks.deliver()
    assert hooks.receiver.received == []
    assert hooks.world.rows("SELECT secret_enc, previous_secret_enc FROM webhook_endpoints") == [
        (b"", None)
    ]


# --- Again, by hand -----------------------------------------------------------------------------


def test_a_delivered_event_is_sent_again(hooks: Hooks) -> None:
    """Section 9: redelivery; from the first attempt on."""
    payment_id = hooks.world.payment()
    hooks.deliver()
    assert hooks.webhooks.redeliver("default", hooks.endpoint.id, UUID(payment_id), 1) == 1
    hooks.deliver()
    assert hooks.receiver.ids == [f"{payment_id}-1"] * 2
    assert hooks.states() == [(1, "delivered", 1)]


def test_a_repeated_event_goes_before_later_ones(hooks: Hooks) -> None:
    """W1: while a later one waits for its retry, the earlier one is due."""
    payment_id = hooks.world.payment()
    hooks.deliver()
    hooks.receiver.answer = failing(500)
    hooks.world.command(payment_id, "authorize")
    hooks.deliver()
    hooks.webhooks.redeliver("default", hooks.endpoint.id, UUID(payment_id), 1)
    hooks.deliver()
    assert [each[-1] for each in hooks.receiver.ids] == ["1", "2", "1", "2"]


def test_what_was_given_up_is_sent_again(hooks: Hooks) -> None:
    """Section 9: all of it since a moment."""
    hooks.receiver.answer = lambda _: (500, {})
    payment_id = hooks.world.authorized()
    hooks.deliver()
    since = hooks.log()[0].created_at
    hooks.world.rows(
        "UPDATE webhook_deliveries SET state = 'failed', next_attempt_at = NULL RETURNING 1"
    )
    hooks.receiver.answer = failing()
    assert hooks.webhooks.redeliver_failed(
        "default", hooks.endpoint.id, since + timedelta(seconds=60)
    ) == (0, False)
    assert hooks.webhooks.redeliver_failed("default", hooks.endpoint.id, since) == (2, False)
    hooks.deliver()
    assert hooks.receiver.ids[1:] == [f"{payment_id}-1", f"{payment_id}-2"]


# --- Workers that die, or are slow --------------------------------------------------------------


def test_a_lost_lease_drops_the_result(hooks: Hooks) -> None:
    """W1: stored only by the token of the claim; the successor's result stands."""
    taken = {"lease_until": "now() - interval '1 s'"}

    def overtaken(_: Received) -> tuple[int, dict[str, str]]:
        hooks.world.rows(
            f"UPDATE webhook_deliveries SET lease_until = {taken['lease_until']},"
            " lease_token = gen_random_uuid() RETURNING 1"
        )
        hooks.receiver.answer = failing()
        return 500, {}

    hooks.receiver.answer = overtaken
    hooks.world.payment()
    lost = webhook_deliveries_total.labels("lost")._value.get()
    hooks.deliver()
    assert webhook_deliveries_total.labels("lost")._value.get() == lost + 1
    assert len(hooks.receiver.received) == 2
    assert hooks.states() == [(1, "delivered", 1)]


def test_a_claimed_delivery_is_nobody_elses_until_its_lease_ends(hooks: Hooks) -> None:
    """W1."""
    hooks.world.payment()
    hooks.fan_out()
    hooks.world.rows(
        "UPDATE webhook_deliveries SET lease_token = gen_random_uuid(),"
        " lease_until = now() + interval '1 min' RETURNING 1"
    )
    assert hooks.deliver() == 0
    hooks.world.rows("UPDATE webhook_deliveries SET lease_until = now() RETURNING 1")
    hooks.deliver()
    assert hooks.states() == [(1, "delivered", 1)]


def test_a_worker_that_stops_ends_what_it_has_begun(hooks: Hooks) -> None:
    """OJ1: and begins nothing more."""
    entered, leave, stop = threading.Event(), threading.Event(), threading.Event()

    def held(_: Received) -> tuple[int, dict[str, str]]:
        entered.set()
        assert leave.wait(30)
        return 204, {}

    hooks.receiver.answer = held
    for _ in range(12):
        hooks.world.payment()
    hooks.fan_out()
    asked = run()
    asked.stop = stop
    list(hooks.delivery.work(asked))
    assert entered.wait(30)
    stop.set()
    leave.set()
    hooks.delivery.close()
    states = [state for _, state, _ in hooks.states()]
    assert 1 <= states.count("delivered") <= 4
    assert len(hooks.receiver.received) == states.count("delivered")
    hooks.delivery = hooks.worker()


def test_a_failing_endpoint_gets_one_call_at_once(hooks: Hooks, authority: Authority) -> None:
    """A receiver that hangs must not take the threads from those that answer."""
    leave = threading.Event()

    def held(_: Received) -> tuple[int, dict[str, str]]:
        assert leave.wait(30)
        return 204, {}

    hooks.world.rows("UPDATE webhook_endpoints SET failing_since = now() RETURNING 1")
    hooks.receiver.answer = held
    with receiving(authority) as well:
        hooks.endpoint_for(well.url)
        for _ in range(10):
            hooks.world.payment()
        hooks.fan_out()
        list(hooks.delivery.work(run()))
        well.wait_for(10)
        list(hooks.delivery.work(run()))
        assert len(hooks.receiver.received) == 1
        leave.set()
        assert hooks.delivery.wait_until_idle(30)


def test_an_unreadable_secret_stops_no_other_endpoint(hooks: Hooks, authority: Authority) -> None:
    """A key that was taken out of AUTH_MASTER_KEYS too early: told, and tried again later."""
    hooks.world.rows("UPDATE webhook_endpoints SET secret_enc = 'gone' RETURNING 1")
    with receiving(authority) as well:
        hooks.endpoint_for(well.url)
        hooks.world.payment()
        with capture_logs() as lines:
            hooks.deliver()
        assert len(well.received) == 1
    assert [line["event"] for line in lines] == ["webhook.failed"]
    assert hooks.receiver.received == []


# --- By hand ------------------------------------------------------------------------------------


def test_a_dry_run_counts_and_sends_nothing(hooks: Hooks) -> None:
    """OJ1."""
    hooks.world.payment()
    assert hooks.fan_out(dry_run=True) == 1
    assert hooks.states() == []
    hooks.fan_out()
    assert list(hooks.delivery.work(run(dry_run=True))) == [1]
    assert hooks.receiver.received == []


def test_a_limit_bounds_what_a_run_sends(hooks: Hooks) -> None:
    """OJ1."""
    for _ in range(8):
        hooks.world.payment()
    hooks.deliver(limit=3)
    assert len(hooks.receiver.received) == 3


def test_one_tenants_deliveries_go_alone(hooks: Hooks) -> None:
    """OJ1: `--tenant`."""
    hooks.world.services.tenants.create("acme", "Acme", SUBJECT)
    hooks.world.payment()
    assert hooks.fan_out(tenant_id="acme") == 0
    hooks.fan_out()
    list(hooks.delivery.work(run(tenant_id="acme")))
    assert hooks.delivery.wait_until_idle(30)
    assert hooks.receiver.received == []


def test_attempts_are_counted_by_outcome(hooks: Hooks) -> None:
    """Operations 8."""
    before = {
        name: webhook_deliveries_total.labels(name)._value.get()
        for name in ("delivered", "retried", "failed")
    }
    hooks.receiver.answer = failing(500)
    hooks.world.payment()
    hooks.deliver()
    hooks.let_time_pass()
    hooks.deliver()
    after = {name: webhook_deliveries_total.labels(name)._value.get() for name in before}
    assert {name: after[name] - before[name] for name in before} == {
        "delivered": 1,
        "retried": 1,
        "failed": 0,
    }


def test_a_body_is_the_same_for_each_attempt(hooks: Hooks) -> None:
    """W2: only its time, and so its signature, differ."""
    hooks.receiver.answer = failing(500)
    hooks.world.payment()
    hooks.deliver()
    hooks.let_time_pass()
    hooks.deliver()
    first, second = hooks.receiver.received
    assert first.body == second.body
    assert json.loads(first.body)["data"]["seq"] == 1
    assert first.event_id == second.event_id


def test_work_that_outlasts_its_run_goes_on(hooks: Hooks) -> None:
    """A run does not wait for slow receivers: other jobs of the worker have their turn."""
    leave = threading.Event()

    def held(_: Received) -> tuple[int, dict[str, str]]:
        assert leave.wait(30)
        return 204, {}

    hooks.receiver.answer = held
    hooks.world.payment()
    hooks.fan_out()
    assert list(hooks.delivery.work(run())) == [0]
    hooks.receiver.wait_for(1)
    leave.set()
    wait_until(lambda: hooks.states() == [(1, "delivered", 1)], 30)
    assert hooks.delivery.wait_until_idle(30)
    assert list(hooks.delivery.work(run())) == [1]
