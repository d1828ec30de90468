"""The feed read while writers commit in any order: none missed, none twice, none out of order."""

from __future__ import annotations

import os
import random
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from uuid_utils.compat import uuid7

from persistence.db import Database, DbSettings
from repos import payments
from services.actors import Actor
from tests.world import World, new_key

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from uuid import UUID

    from persistence.db import Conn

ROUNDS = int(os.environ.get("RACE_ROUNDS", "20"))
SEED = int(os.environ.get("RACE_SEED", str(random.randrange(10**6))))
WRITERS = 16
READER = Actor("default", "key:reader", frozenset())
PATIENCE_S = 30


class Reader:
    """Reads the feed page by page and keeps what it was given."""

    def __init__(self, world: World) -> None:
        self._events = world.services.events
        self._after: str | None = None
        self.seen: list[str] = []

    def read_to(self, number: int) -> None:
        """Read until so many were given: an ANALYZE beside the test holds the feed back too."""
        while len(self.seen) < number:
            self.read()

    def read(self) -> None:
        """Read to the present end, in pages of a few."""
        while True:
            page = self._events.page(READER, self._after, [], 7)
            self.seen += [event["id"] for event in page.events]
            self._after = page.next_after
            if page.caught_up:
                return


@pytest.fixture
def db(database: str) -> Iterator[Database]:
    sys.stderr.write(f"RACE_SEED={SEED}\n")
    settings = DbSettings(
        pool_size=WRITERS,
        transaction_timeout_ms=50_000,
        idle_transaction_timeout_ms=50_000,
        request_deadline_ms=60_000,
    )
    made = Database(database, settings)
    yield made
    made.close()


def create(conn: Conn, user_id: str) -> UUID:
    """Create a payment by the service's own statement, in a transaction that stays open."""
    payment_id = uuid7()
    made = payments.create(
        conn,
        tenant_id="default",
        payment_id=payment_id,
        user_id=user_id,  # type: ignore[arg-type]  # psycopg takes its text.
        reference=None,
        amount_minor=100,
        currency="EUR",
        capture_method="manual",
        description=None,
        metadata="{}",
        duplicate_window_s=0,
        scope="key:writer",
        key=new_key(),
        operation="POST /v1/payments",
        fingerprint=bytes(32),
        fingerprint_version=1,
        ttl_s=86_400,
        actor="key:writer",
        request_id="writer",
    )
    assert made is not None
    return payment_id


class Writer:
    """A transaction with an event, which commits when it is told to."""

    def __init__(self, db: Database, user_id: str, pool: ThreadPoolExecutor) -> None:
        self._db, self._user_id = db, user_id
        self._has_written, self._may_commit = threading.Event(), threading.Event()
        self._done = pool.submit(self._write)

    def _write(self) -> None:
        with self._db.transaction() as conn:
            create(conn, self._user_id)
            self._has_written.set()
            assert self._may_commit.wait(PATIENCE_S)

    def wait_until_written(self) -> None:
        assert self._has_written.wait(PATIENCE_S)

    def commit(self) -> None:
        self._may_commit.set()
        self._done.result(PATIENCE_S)


def in_order(world: World) -> list[str]:
    """Return the ids of all events as the feed should have served them."""
    return [
        f"{payment_id}-{seq}"
        for payment_id, seq in world.rows(
            "SELECT payment_id, seq FROM payment_events ORDER BY epoch, xid, payment_id, seq"
        )
    ]


def test_commits_in_any_order_are_read_once_each(world: World, db: Database) -> None:
    """E3: 16 transactions with ids drawn in one order, committed in another; read between."""
    rng, reader = random.Random(SEED), Reader(world)
    with ThreadPoolExecutor(WRITERS) as pool:
        for _ in range(ROUNDS):
            writers = [Writer(db, world.user_id, pool) for _ in range(WRITERS)]
            for writer in writers:
                writer.wait_until_written()
            rng.shuffle(writers)
            for writer in writers:
                writer.commit()
                reader.read()
    reader.read_to(ROUNDS * WRITERS)
    assert len(reader.seen) == ROUNDS * WRITERS
    assert reader.seen == in_order(world)


@pytest.fixture
def busy_world(database: str, tmp_path: Path) -> Iterator[World]:
    """The service with a connection for every writer and the reader."""
    made = World(database, tmp_path, DB_POOL_SIZE=str(WRITERS + 1), DB_POOL_TIMEOUT_MS="30000")
    yield made
    made.close()


def patiently(world: World, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """Ask again under the same key while the service is too busy, as clients do."""
    key = new_key()
    while (answer := world.post(path, body, key=key)).status_code == 503:
        pass
    assert answer.status_code in {200, 201}, answer.json
    return dict(answer.json)


def test_a_reader_beside_busy_writers_misses_nothing(busy_world: World) -> None:
    """E3: 16 clients that create and capture as fast as they can."""
    world = busy_world
    reader, stop = Reader(world), threading.Event()

    def pay(_: int) -> None:
        for _ in range(ROUNDS):
            body = {"amount_minor": 100, "currency": "EUR", "user_id": world.user_id}
            made = patiently(world, "/v1/payments", body)
            patiently(world, f"/v1/payments/{made['id']}/capture", {})

    def read_on() -> None:
        while not stop.is_set():
            reader.read()

    with ThreadPoolExecutor(WRITERS + 1) as pool:
        reading = pool.submit(read_on)
        try:
            list(pool.map(pay, range(WRITERS)))
        finally:
            stop.set()
        reading.result(PATIENCE_S)
    reader.read_to(2 * ROUNDS * WRITERS)
    assert len(reader.seen) == 2 * ROUNDS * WRITERS
    assert reader.seen == in_order(world)
