"""What the move tells of itself: counted as it happens, or measured when somebody asks (2.7)."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

_OF_DOMAIN = ["tenant", "domain"]


def _gauge(name: str, said: str) -> Gauge:
    full = f"strongroom_legacy_{name}"
    return Gauge(full, said, _OF_DOMAIN, multiprocess_mode="livemostrecent")


phase = _gauge("phase", "Phase of a move: 1 to 5, 6 finished")
mirror_backlog = _gauge("mirror_backlog", "Keys that are to be copied")
mirror_lag_seconds = _gauge("mirror_lag_seconds", "For how long the oldest of them has waited")
intents_pending = _gauge("intents_pending", "Writes to legacy that are on their way")
rejects = _gauge("rejects", "Rows that break a rule, and are not waived")
drift_rows = Gauge(
    "strongroom_legacy_drift_rows",
    "Rows that the last comparison found, by kind",
    [*_OF_DOMAIN, "kind"],
    multiprocess_mode="livemostrecent",
)
shadow_total = Counter(
    "strongroom_legacy_shadow_total",
    "Shadow reads: matched, mismatched, ignored, failed, dropped",
    ["result"],
)
switch_hold_seconds = Histogram(
    "strongroom_legacy_switch_hold_seconds",
    "For how long writers waited for a change of phase",
    buckets=(0.01, 0.05, 0.1, 0.25, 0.5, 1, 2, 3, 5),
)
