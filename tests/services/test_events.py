"""The feed beside writers: what is served, what is held back, and for how long."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

from errors import Contention
from services.actors import Actor
from services.epochs import Epochs

if TYPE_CHECKING:
    from services.events import FeedPage
    from tests.world import World

ACTOR = Actor("default", "key:test", frozenset())


def page(world: World, after: str | None = None, limit: int = 1000) -> FeedPage:
    return world.services.events.page(ACTOR, after, [], limit)


def payments(found: FeedPage) -> list[str]:
    return [event["payment_id"] for event in found.events]


def test_an_open_transaction_holds_the_feed_back(world: World, database: str) -> None:
    """E3: anywhere on the server; the gauge tells for how long."""
    before = world.payment()
    with psycopg.connect(database) as slow:
        slow.execute("SELECT pg_current_xact_id()")
        after = world.payment()
        held = page(world)
        assert payments(held) == [before]
        assert held.caught_up
        assert world.services.health.event_feed_lag_s() > 0
    assert payments(page(world, held.next_after)) == [after]
    assert world.services.health.event_feed_lag_s() == 0


def test_a_page_looks_at_a_bounded_number_of_events(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """E3: with types it may be empty before the end; the position goes on all the same."""
    monkeypatch.setattr("services.events.SCAN_ROWS", 2)
    for _ in range(3):
        world.payment()
    types = ["payment.captured"]
    first = world.services.events.page(ACTOR, None, types, 1)
    assert (first.events, first.caught_up) == ([], False)
    second = world.services.events.page(ACTOR, first.next_after, types, 1)
    assert (second.events, second.caught_up) == ([], True)
    assert payments(page(world, second.next_after)) == []


LATE = """
INSERT INTO payment_events
    (tenant_id, payment_id, seq, type, status_to, after, actor, request_id, key, created_at)
SELECT tenant_id, payment_id, seq + 1, type, status_to, after, actor, request_id, key, created_at
FROM payment_events WHERE payment_id = %s
RETURNING xid > pg_current_xact_id(), xid = (SELECT xid FROM payment_events WHERE payment_id = %s)
"""


def test_an_event_never_comes_before_an_earlier_one_of_its_payment(
    world: World, database: str
) -> None:
    """E2: who waited for a payment may hold a lesser transaction id than who was let in first."""
    with psycopg.connect(database) as waiter:
        waiter.execute("SELECT pg_current_xact_id()")
        payment_id = world.payment()
        found = waiter.execute(LATE, (payment_id, payment_id)).fetchone()
        waiter.rollback()
    assert found == (True, True)


# --- Epochs -------------------------------------------------------------------------------------


def restore(owner: str, ahead: int = 1_000_000) -> None:
    """Do to transaction ids what a logical restore does: stored ones lie ahead of the server."""
    with psycopg.connect(owner, autocommit=True) as conn:
        conn.execute(
            "UPDATE payment_events SET xid = (xid::text::bigint + %s)::text::xid8", (ahead,)
        )


def test_a_restored_database_is_stale_until_an_epoch_begins(
    world: World, database_owner: str
) -> None:
    """E4."""
    old = [world.payment(), world.payment()]
    epochs = Epochs(world.services.db)
    assert epochs.current() == (1, False)

    restore(database_owner)

    assert epochs.current() == (1, True)
    assert epochs.begin("restored from Tuesday's dump", "cli:ada") == 2
    assert epochs.current() == (2, False)
    new = world.payment()
    assert payments(page(world)) == [*old, new]


def test_a_reader_goes_on_in_the_next_epoch(world: World, database_owner: str) -> None:
    """E4: what it has read is passed, what was restored and unread is served, then what is new."""
    restore(database_owner)
    world.payment()
    unread = world.payment()
    position = page(world, limit=1).next_after
    Epochs(world.services.db).begin("restored", "cli:ada")
    new = world.payment()
    assert payments(page(world, position)) == [unread, new]


def test_an_epoch_is_audited(world: World) -> None:
    """E4: who began it, and why."""
    Epochs(world.services.db).begin("a drill", "cli:ada")
    rows = world.rows(
        "SELECT tenant_id, subject, reason, details FROM audit_log"
        " WHERE event = 'event_epoch_begun'"
    )
    assert rows == [("-", "cli:ada", "a drill", {"epoch": 2})]


def test_an_epoch_waits_for_the_writers_of_the_one_before(world: World, database: str) -> None:
    """E4: none of them is committed behind the first event of the new epoch."""
    with psycopg.connect(database) as writer:
        writer.execute("UPDATE payments SET unposted = unposted WHERE tenant_id = 'default'")
        with pytest.raises(Contention):
            Epochs(world.services.db).begin("too early", "cli:ada")
    assert Epochs(world.services.db).current() == (1, False)
