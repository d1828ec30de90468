"""What is measured when somebody asks: of the whole installation, from its stores."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import observability
from services.health import Health
from services.scrape import measure

if TYPE_CHECKING:
    import pytest
    from prometheus_client import Gauge

    from tests.world import World


def value(metric: Gauge, *labels: str) -> float:
    child = metric.labels(*labels) if labels else metric
    return float(child._value.get())


def test_a_scrape_shows_release_flags_schema_and_books(world: World) -> None:
    """Operations 8: a captured payment without a seal has an age."""
    world.command(world.authorized(), "capture")
    health: Health = world.services.health
    health._seen_until = 0.0
    measure(health)
    assert value(observability.feature_flag, "FEATURE_LEDGER_ENABLED") == 1
    assert value(observability.schema_version) > 10
    assert value(observability.ledger_seal_lag_seconds) > 0
    assert value(observability.ledger_verify_ok) == 1
    assert health.healthz()["ledger"]["verified_ok"] is True
    assert health.healthz()["ledger"]["sealed_through"] is None


def test_what_nobody_could_say_is_no_number(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """An old value would look like a good one."""
    monkeypatch.setattr(Health, "ledger", lambda _: None)
    measure(world.services.health)
    assert math.isnan(value(observability.ledger_seal_lag_seconds))


def test_metrics_count_what_was_done(world: World) -> None:
    """Operations 8: use cases by outcome, statements by file, postings by kind."""
    before = observability.metrics().decode()
    assert before
    payment_id = world.authorized()
    world.command(payment_id, "capture", key="once-0001")
    world.command(payment_id, "capture", key="once-0001")
    text = world.get("/metrics").get_data(as_text=True)
    for wanted in (
        'strongroom_use_cases_total{outcome="ok",use_case="payments.capture"}',
        'strongroom_use_cases_total{outcome="replayed",use_case="payments.capture"}',
        'strongroom_db_statements_total{outcome="ok",statement="payments/capture"}',
        'strongroom_ledger_postings_total{kind="capture"}',
        'strongroom_db_pool_connections{state="available"}',
        "strongroom_db_pool_wait_seconds_bucket",
        "strongroom_http_requests_in_flight 1.0",
        'strongroom_http_requests_total{method="POST",route="/v1/payments",status="201"}',
    ):
        assert wanted in text
