"""Jobs of payments: authorisations that lapse, and a ledger that was off (P11, P34)."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from structlog.testing import capture_logs

from services.job_catalogue import catalogue
from services.jobs import Ask, Jobs, JobSettings, Outcome
from services.payment_jobs import PAGE_MAX, PaymentJobSettings
from services.replay import RunBy
from tests.clients import auth_jobs
from tests.services.test_payments import balances

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from services.jobs import Run
    from tests.world import World

BY = RunBy(actor="job:verify-ledger", host="here", app_version="0.0.1")
DAY_S = 86_400


def nothing(_: Run) -> Iterator[int]:
    """Stand for jobs that have tests of their own."""
    return iter(())


def run(world: World, job: str, ask: Ask | None = None, **settings: Any) -> Outcome:
    """Run a job now, with the ledger on unless `settings` say otherwise."""
    made = PaymentJobSettings(**{"ledger": True, **settings})
    jobs = Jobs(
        world.services.db,
        catalogue(
            world.services.db,
            lambda: iter(()),
            BY,
            nothing,
            nothing,
            auth_jobs(world.services.db),
            made,
        ),
        JobSettings(),
        "here:1",
    )
    with capture_logs():
        outcome = jobs.run(job, ask or Ask())
    assert outcome is not None
    return outcome


def events(world: World, payment_id: str) -> list[str]:
    """Return what happened to a payment, without the first part of each name."""
    found = world.get(f"/v1/payments/{payment_id}/events").json["data"]
    return [event["type"].removeprefix("payment.") for event in found]


# --- Authorisations that lapse ------------------------------------------------------------------


def test_an_overdue_authorisation_expires(world: World, lapse: Callable[[str], None]) -> None:
    """P11: all that is left is given back; the event names job and run."""
    payment_id = world.authorized(1000)
    lapse(payment_id)
    assert run(world, "expire-payments") == Outcome(job="expire-payments", outcome="ok", rows=1)
    payment = world.read(payment_id)
    assert (payment["status"], payment["end_reason"]) == ("expired", "expired")
    assert (payment["voided_minor"], payment["capture_before"]) == (1000, None)
    last = world.get(f"/v1/payments/{payment_id}/events").json["data"][-1]
    assert (last["type"], last["amount_minor"]) == ("payment.expired", 1000)
    assert last["actor"] == "job:expire-payments"


@pytest.mark.parametrize(
    ("refunded", "status"), [(0, "captured"), (100, "partially_refunded"), (400, "refunded")]
)
def test_what_was_captured_stays_when_the_rest_expires(
    world: World, lapse: Callable[[str], None], refunded: int, status: str
) -> None:
    """Section 3: expired, or by amounts; the end reason is for payments without a capture."""
    payment_id = world.authorized(1000, capture_method="manual_multiple")
    world.command(payment_id, "capture", {"amount_minor": 400})
    if refunded:
        world.command(payment_id, "refunds", {"amount_minor": refunded})
    lapse(payment_id)
    run(world, "expire-payments")
    payment = world.read(payment_id)
    assert (payment["status"], payment["end_reason"]) == (status, None)
    assert payment["voided_minor"] == 600


def test_what_is_not_overdue_stays(world: World) -> None:
    payment_id = world.authorized(1000)
    assert run(world, "expire-payments", expiry_warning_s=0).rows == 0
    assert world.read(payment_id)["version"] == 2


def test_a_lapse_is_told_once_before_it_comes(world: World) -> None:
    """P11: EXPIRY_WARNING_S before, an event with what would be lost; nothing else changes."""
    payment_id = world.authorized(1000)
    assert run(world, "expire-payments", expiry_warning_s=6 * DAY_S).rows == 0
    for rows in (1, 0):
        assert run(world, "expire-payments", expiry_warning_s=8 * DAY_S).rows == rows
    assert events(world, payment_id) == ["created", "authorized", "authorization_expiring"]
    last = world.get(f"/v1/payments/{payment_id}/events").json["data"][-1]
    assert (last["amount_minor"], last["status_from"], last["status_to"]) == (
        1000,
        "authorized",
        "authorized",
    )
    assert world.read(payment_id)["version"] == 3
    assert world.command(payment_id, "capture").status_code == 200


def test_what_has_lapsed_is_expired_and_not_warned_of(
    world: World, lapse: Callable[[str], None]
) -> None:
    payment_id = world.authorized(1000)
    lapse(payment_id)
    run(world, "expire-payments", expiry_warning_s=30 * DAY_S)
    assert events(world, payment_id) == ["created", "authorized", "expired"]


def test_a_payment_in_use_does_not_stop_the_others(
    world: World, lapse: Callable[[str], None], database: str
) -> None:
    """P11: each by its own statement; the next run takes what was left."""
    payments = [world.authorized(1000) for _ in range(3)]
    for payment_id in payments:
        lapse(payment_id)
    with psycopg.connect(database) as other:
        other.execute("SELECT FROM payments WHERE id = %s FOR UPDATE", [payments[1]])
        assert run(world, "expire-payments").rows == 2
    assert run(world, "expire-payments").rows == 1
    assert {world.read(payment_id)["status"] for payment_id in payments} == {"expired"}


def test_a_broken_payment_does_not_keep_the_others(
    world: World, lapse: Callable[[str], None], owner: Callable[..., None]
) -> None:
    """P11: the job names it and fails; what is due after it lapses."""
    payments = [world.authorized(1000) for _ in range(2)]
    for payment_id in payments:
        lapse(payment_id)
    owner(
        "ALTER TABLE payments ADD CONSTRAINT broken"
        f" CHECK (id <> '{payments[0]}' OR status <> 'expired') NOT VALID"
    )
    found = run(world, "expire-payments")
    assert (found.outcome, found.rows, found.is_finding) == ("failed", 1, True)
    assert payments[0] in str(found.error)
    assert [world.read(each)["status"] for each in payments] == ["authorized", "expired"]


def test_many_lapses_are_read_page_by_page(world: World, owner: Any) -> None:
    """OJ1: more than a page, of more than one tenant; a dry run only counts."""
    first = world.authorized(1000)
    count = PAGE_MAX + 20
    owner(
        "INSERT INTO payments SELECT (jsonb_populate_record(p, jsonb_build_object("
        "'id', gen_random_uuid(), 'capture_before', '2020-01-01T00:00:00Z'::timestamptz"
        " + n * interval '1 s'))).* FROM payments AS p CROSS JOIN generate_series(1, %s) AS n",
        count,
    )
    owner(
        "INSERT INTO payment_events SELECT (jsonb_populate_record(e, jsonb_build_object("
        "'payment_id', p.id, 'after', e.after || jsonb_build_object('capture_before',"
        " p.capture_before)))).* FROM payments AS p CROSS JOIN payment_events AS e"
        " WHERE p.id <> e.payment_id AND e.payment_id = %s",
        first,
    )
    owner(
        "UPDATE payment_events SET after = after || '{\"capture_before\": null}'"
        " WHERE type = 'payment.created'"
    )
    assert run(world, "expire-payments", Ask(dry_run=True), expiry_warning_s=0).rows == count
    assert run(world, "expire-payments", Ask(limit=7), expiry_warning_s=0).rows == 7
    assert run(world, "expire-payments", expiry_warning_s=0).rows == count - 7
    assert world.rows("SELECT count(*) FROM payments WHERE status = 'expired'") == [(count,)]


# --- A ledger that was off ----------------------------------------------------------------------


def live(world: World) -> list[str]:
    """Let payments do all that posts; return their ids."""
    plain = world.captured(1000, fee_minor=30)
    world.command(plain, "refunds", {"amount_minor": 300, "fee_minor": 10})
    pieces = world.authorized(5000, capture_method="manual_multiple")
    world.command(pieces, "capture", {"amount_minor": 1000, "fee_minor": 1000})
    world.command(pieces, "capture", {"amount_minor": 2000})
    fought = world.captured(2000)
    world.resolve(world.disputed(fought, 500), "won")
    lost = world.disputed(fought, 700)
    world.resolve(lost, "lost", fee_minor=15)
    world.resolve(lost, "won")
    world.resolve(world.disputed(fought, 800), "lost")
    world.command(world.authorized(), "void")
    return [plain, pieces, fought]


def test_what_was_missed_is_posted_as_if_it_had_been(silent_world: World, awake: World) -> None:
    """P34, P30: leg by leg, in order; twice changes nothing. sql/checks compare both ends."""
    live(awake)
    posted_at_once = balances(awake)
    live(silent_world)
    outcome = run(awake, "ledger-catch-up")
    assert (outcome.outcome, outcome.rows) == ("ok", 12)
    assert awake.rows("SELECT count(*) FROM payments WHERE unposted") == [(0,)]
    doubled = {code: (2 * dr, 2 * cr) for code, (dr, cr) in posted_at_once.items()}
    assert balances(awake) == doubled
    assert run(awake, "ledger-catch-up").rows == 0
    assert balances(awake) == doubled


def test_events_are_posted_in_their_order_and_by_force(silent_world: World, awake: World) -> None:
    """P34: it has happened, whatever the floors say."""
    (payment_id, *_) = live(silent_world)
    run(awake, "ledger-catch-up")
    rows = awake.rows(
        "SELECT split_part(reference, ':', 3)::int, forced FROM ledger_transactions"
        " WHERE split_part(reference, ':', 2) = %s ORDER BY posted_at",
        payment_id,
    )
    assert rows == [(2, True), (3, True)]


def test_once_posted_a_payment_goes_on(silent_world: World, awake: World) -> None:
    """P34, P8: the mark goes without a version or an event."""
    payment_id = silent_world.captured(1000)
    assert awake.command(payment_id, "refunds").json["code"] == "ledger_behind"
    run(awake, "ledger-catch-up")
    assert awake.read(payment_id)["version"] == 2
    assert awake.command(payment_id, "refunds").status_code == 201


def test_a_ledger_that_is_still_off_catches_up_with_nothing(silent_world: World) -> None:
    """P34."""
    silent_world.captured(1000)
    assert run(silent_world, "ledger-catch-up", ledger=False).rows == 0
    assert silent_world.rows("SELECT unposted FROM payments") == [(True,)]


def test_what_the_book_refuses_is_listed_and_the_rest_goes_on(
    silent_world: World, awake: World, owner: Any
) -> None:
    """P34: a finding, exit 3; once the account is open again the next run posts it."""
    mine = silent_world.captured(1000)
    awake.captured(1)
    owner("UPDATE ledger_balances SET status = 'frozen' WHERE floor = 0")
    silent_world.user_id = str(silent_world.new_user().id)
    other = silent_world.captured(500)
    outcome = run(awake, "ledger-catch-up")
    assert (outcome.outcome, outcome.is_finding) == ("failed", True)
    assert outcome.error == f"Finding: refused: {mine} account_frozen"
    assert awake.rows("SELECT id::text FROM payments WHERE unposted") == [(mine,)]
    owner("UPDATE ledger_balances SET status = 'open'")
    assert run(awake, "ledger-catch-up").rows == 1
    assert awake.command(other, "refunds").status_code == 201


def test_one_tenant_catches_up_alone(silent_world: World, awake: World) -> None:
    """`--tenant`, and `--dry-run` counts payments."""
    silent_world.captured(1000)
    silent_world.captured(1000)
    awake.services.tenants.create("other", "Other", "cli:test")
    assert run(awake, "ledger-catch-up", Ask(tenant_id="other")).rows == 0
    assert run(awake, "ledger-catch-up", Ask(dry_run=True)).rows == 2
    assert awake.rows("SELECT count(*) FROM ledger_transactions") == [(0,)]
    assert run(awake, "ledger-catch-up", Ask(tenant_id="default")).rows == 2


@pytest.fixture
def busy(silent_world: World) -> list[str]:
    """Payments with events to post, for several runs at once."""
    return [*live(silent_world), *(silent_world.captured(100) for _ in range(10))]


def test_runs_at_once_post_each_event_once(awake: World, busy: list[str]) -> None:
    """P30: the transaction's reference decides, whoever comes second."""
    barrier = threading.Barrier(4)

    def work() -> None:
        from observability import Context, begin  # noqa: PLC0415
        from services.jobs import Run  # noqa: PLC0415
        from services.payment_jobs import catch_up  # noqa: PLC0415

        begin(Context(request_id="r", actor="job:ledger-catch-up"))
        barrier.wait(30)
        asked = Run(ask=Ask(), stop=threading.Event(), batch_max=1000)
        list(catch_up(awake.services.db, PaymentJobSettings(ledger=True), asked))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    run(awake, "ledger-catch-up")
    assert awake.rows("SELECT count(*) FROM payments WHERE unposted") == [(0,)]
    assert awake.rows("SELECT count(*) FROM ledger_transactions") == [(22,)]


def test_commands_beside_a_catch_up_lose_no_posting(silent_world: World, awake: World) -> None:
    """P22, P34: a process whose ledger is still off goes on marking the payment."""
    payment_id = silent_world.authorized(10_000, capture_method="manual_multiple")
    done = threading.Event()

    def capture() -> None:
        for _ in range(20):
            answer = silent_world.command(payment_id, "capture", {"amount_minor": 10})
            assert answer.status_code == 200
        done.set()

    thread = threading.Thread(target=capture)
    thread.start()
    while not done.is_set():
        run(awake, "ledger-catch-up")
    thread.join()
    run(awake, "ledger-catch-up")
    assert awake.rows("SELECT unposted FROM payments") == [(False,)]
    assert awake.rows("SELECT count(*), sum(amounts[1]) FROM ledger_transactions") == [(20, 200)]
