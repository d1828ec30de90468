"""What is measured when somebody asks for it: of the whole installation, not of one process."""

from __future__ import annotations

import math
from datetime import datetime
from typing import TYPE_CHECKING

import observability as seen

if TYPE_CHECKING:
    from services.health import Health


def measure(health: Health) -> None:
    """Set the gauges that the stores can tell, as far as they answer now."""
    told = health.healthz()
    seen.build_info.labels(told.get("version")).set(1)
    for flag, is_on in told.get("flags", {}).items():
        seen.feature_flag.labels(flag).set(is_on)
    if told.get("schema"):
        seen.schema_version.set(told["schema"]["head"])
    for job in told.get("jobs", ()):
        seen.job_late.labels(job["job"]).set(job["late"])
        if job["last_success_at"]:
            ended = datetime.fromisoformat(job["last_success_at"])
            seen.job_last_success_timestamp_seconds.labels(job["job"]).set(ended.timestamp())
    seen.event_feed_lag_seconds.set(health.event_feed_lag_s())
    _measure_ledger(health)


def _measure_ledger(health: Health) -> None:
    state = health.ledger()
    if state is None:  # Nobody could say: an old value would look like a good one.
        seen.ledger_seal_lag_seconds.set(math.nan)
        return
    seen.ledger_seal_lag_seconds.set(state.seal_lag_ms / 1000)
    seen.ledger_verify_ok.set(state.verified_ok)
    if state.verified_at is not None:
        seen.ledger_verify_timestamp_seconds.set(state.verified_at.timestamp())
