"""What an endpoint is owed, under random orders of everything that changes it (W1)."""

from __future__ import annotations

import random
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import pytest

from errors import NotFound
from repos import webhooks
from services.webhook_queue import WebhookQueue

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.world import World

URL = "https://shop.example.org/"


def test_who_is_not_there_is_owed_nothing(world: World) -> None:
    with pytest.raises(NotFound):
        WebhookQueue(world.services.db).fan_out("default", uuid4(), 10)


def order(world: World) -> list[tuple[object, ...]]:
    """Ask sql/checks/webhooks_order.sql, as every test does at its end."""
    import persistence.sql_files as files  # noqa: PLC0415  # Here alone.

    return world.rows((files.ROOT / "checks" / "webhooks_order.sql").read_text())


def test_the_first_pending_event_of_a_payment_is_due_whatever_happens(world: World) -> None:
    """W1: fan-out, outcomes and repeats at once, from four threads; the seed is printed."""
    seed = random.randrange(10**6)
    sys.stderr.write(f"seed {seed}\n")
    db = world.services.db
    endpoint_id = world.services.webhooks.create("default", URL, "cli:test")[0].id
    payments = [world.authorized() for _ in range(4)]
    queue = WebhookQueue(db)

    def fan_out(_: random.Random) -> None:
        queue.fan_out("default", endpoint_id, 3)

    def settle(rng: random.Random) -> None:
        token = uuid4()
        with db.write() as conn:
            claimed = webhooks.claim_delivery(
                conn,
                tenant_id="default",
                endpoint_id=endpoint_id,
                lease_token=token,
                lease_ms=60_000,
            )
        if claimed is None:
            return
        queue.finish(
            "default",
            endpoint_id,
            claimed.payment_id,
            seq=claimed.seq,
            lease_token=token,
            state=rng.choice(["delivered", "pending", "failed"]),
            delay_ms=0,
            status=None,
            error=None,
            is_gone=False,
            failing_max_s=999_999,
            audit_id=uuid4(),
            subject="job:test",
        )

    def repeat(rng: random.Random) -> None:
        queue.repeat("default", endpoint_id, UUID(rng.choice(payments)), rng.choice([1, 2]))

    acts: list[Callable[[random.Random], None]] = [fan_out, settle, settle, settle, repeat]

    def act(number: int) -> None:
        rng = random.Random(seed + number)
        for _ in range(25):
            rng.choice(acts)(rng)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(act, range(4)))
    assert order(world) == []
