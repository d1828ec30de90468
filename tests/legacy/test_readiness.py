"""Who is ready during a move, and what a writer is told while a phase changes (D3, D4, D7)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from legacy import metrics
from tests.world import World

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.legacy.shops import Shop

    Make = Callable[..., Shop]


def readiness(world: World) -> tuple[int, str | None]:
    """The status of /readyz, and why; asked anew, as a second later."""
    health: Any = world.services.health
    vars(health)["_seen_until"] = 0.0
    status = int(world.get("/readyz").status_code)
    reasons = world.get("/healthz").json["reasons"]
    return status, reasons.get("legacy")


def test_a_process_without_the_permission_is_not_ready(shop_world: Make) -> None:
    """D3: in phases 2 to 4, whatever the fleet does; it obeys the phase all the same."""
    world = shop_world(2)
    assert readiness(world) == (503, "legacy_flag_conflict")
    assert world.get("/readyz").json["checks"]["legacy"] == "fail"
    assert world.payment(900)
    for phase in (1, 5):
        world.in_phase(phase)
        assert readiness(world) == (200, None)


def test_a_process_with_it_is_ready(shop_world: Make) -> None:
    """D3, D4: unless its ledger differs from the move's; finished, nothing is asked."""
    both = {"FEATURE_DUAL_WRITE_USERS": "true", "FEATURE_DUAL_WRITE_PAYMENTS": "true"}
    world = shop_world(3, **both)
    assert readiness(world) == (200, None)
    world.rows("UPDATE migration_state SET ledger_enabled = false RETURNING 1")
    assert readiness(world) == (503, "legacy_ledger_conflict")
    world.rows("UPDATE migration_state SET finished_at = now() RETURNING 1")
    assert readiness(world) == (200, None)
    assert "legacy" not in world.get("/readyz").json["checks"]


def test_a_process_without_the_map_is_not_ready_and_writes_nothing(
    database: str, tmp_path: Path, owner: Callable[..., None]
) -> None:
    """D4, D5: phases 1 to 4; the gate refuses it."""
    world = World(database, tmp_path)
    try:
        assert readiness(world) == (200, None)
        owner("SELECT legacy_switch('payments', true)")
        owner(
            "INSERT INTO migration_state (tenant_id, domain, phase, moved_by, adapter)"
            " VALUES ('default', 'payments', 2, 'test', 'sqlite')"
        )
        assert readiness(world) == (503, "legacy_config_missing")
        body = {"amount_minor": 900, "currency": "EUR", "user_id": world.user_id}
        refused = world.post("/v1/payments", body)
        assert (refused.status_code, refused.json["code"]) == (503, "legacy_config_missing")
        # MF3: its routes come with the map, and nobody has to take them away.
        assert world.get("/v1/ops/migration").status_code == 404
    finally:
        world.close()


@pytest.mark.parametrize("phase", [2, 4])
def test_a_writer_that_waits_too_long_is_told_why(
    shop_world: Make, database_owner: str, phase: int
) -> None:
    """D7: at the gate, by either path; afterwards it goes on as before."""
    world = shop_world(2, DB_LOCK_TIMEOUT_MS="300", IDEMPOTENCY_WAIT_MS="0")
    world.in_phase(phase)
    body = {"amount_minor": 900, "currency": "EUR", "user_id": world.user_id}
    with psycopg.connect(database_owner) as switch:
        switch.execute("SELECT pg_advisory_xact_lock(1397902407, hashtext('default/payments'))")
        answer = world.post("/v1/payments", body)
        assert (answer.status_code, answer.json["code"]) == (503, "migration_switching")
        assert answer.headers["Retry-After"] == "1"
    assert world.post("/v1/payments", body).status_code == 201


RUN = (
    "INSERT INTO drift_runs (tenant_id, run_id, domain, level, phase, truth, status, different,"
    " trigger, run_by, started_at, finished_at) VALUES ('default', gen_random_uuid(), 'payments',"
    " %s, 3, 'legacy', %s, %s, 'command', 'cli:test', now() - %s * interval '1 minute',"
    " now() - %s * interval '1 minute') RETURNING 1"
)


def test_healthz_tells_phases_and_when_both_sides_were_alike(shop_world: Make) -> None:
    """OH2: of whole comparisons; one of totals alone, or one that failed, proves nothing."""
    both = {"FEATURE_DUAL_WRITE_USERS": "true", "FEATURE_DUAL_WRITE_PAYMENTS": "true"}
    world = shop_world(3, **both)
    for level, status, different, age in (
        (1, "clean", 0, 90),
        (1, "clean", 0, 60),
        (3, "drift", 2, 30),
        (0, "clean", 0, 10),
        (1, "failed", 0, 5),
    ):
        world.rows(RUN, level, status, different, age, age)
    told = world.get("/healthz").json
    assert told["phases"] == {"default/users": 3, "default/payments": 3}
    drift = told["drift"]["default/payments"]
    assert drift.pop("clean_age_s") in range(3_600, 4_000)
    assert drift.pop("clean_at") < drift.pop("at")
    assert drift == {"mismatches": 2}
    assert set(told["drift"]["default/users"].values()) == {None}
    world.rows("UPDATE migration_state SET finished_at = now() RETURNING 1")
    readiness(world)
    assert "phases" not in world.get("/healthz").json


def test_the_metrics_of_a_move_are_measured_when_somebody_asks(shop_world: Make) -> None:
    """2.7."""
    world = shop_world(3)
    world.rows(
        "INSERT INTO mirror_marks (tenant_id, domain, entity_id, origin)"
        " VALUES ('default', 'payments', '7', 'test') RETURNING 1"
    )
    text = world.get("/metrics").get_data(as_text=True)
    labels = '{domain="payments",tenant="default"}'
    assert f"strongroom_legacy_phase{labels} 3.0" in text
    assert f"strongroom_legacy_mirror_backlog{labels} 1.0" in text
    assert f"strongroom_legacy_intents_pending{labels} 0.0" in text
    named = {each._name for each in vars(metrics).values() if hasattr(each, "_name")}
    assert named == {
        f"strongroom_legacy_{name}"
        for name in (
            *("phase", "mirror_backlog", "mirror_lag_seconds", "intents_pending", "rejects"),
            *("drift_rows", "shadow", "switch_hold_seconds"),
        )
    }
