"""Metrics: what the page, the rules and the dashboard name is what the code counts (OM1, OM2)."""

from __future__ import annotations

import json
import re
import subprocess
from typing import Any

import pytest
from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.metrics import MetricWrapperBase

import observability
from tests.contract.tree import ROOT, text

# Section 8 of the operations page: kind, name, labels.
NAMED = {
    "http_request_duration_seconds": (Histogram, "method route status"),
    "http_requests_total": (Counter, "method route status"),
    "http_shed_total": (Counter, "reason"),
    "problems_total": (Counter, "code"),
    "http_requests_in_flight": (Gauge, ""),
    "use_cases_total": (Counter, "use_case outcome"),
    "use_case_duration_seconds": (Histogram, "use_case outcome"),
    "db_pool_connections": (Gauge, "state"),
    "db_pool_waiting": (Gauge, ""),
    "db_pool_wait_seconds": (Histogram, ""),
    "db_retries_total": (Counter, "reason"),
    "db_outcome_unknown_total": (Counter, ""),
    "db_statements_total": (Counter, "statement outcome"),
    "db_statement_seconds_total": (Counter, "statement outcome"),
    "kv_breaker_state": (Gauge, ""),
    "kv_breaker_opened_total": (Counter, "cause"),
    "kv_call_duration_seconds": (Histogram, "use"),
    "kv_calls_total": (Counter, "use outcome"),
    "cache_total": (Counter, "use result"),
    "idempotency_total": (Counter, "outcome source"),
    "rate_limit_total": (Counter, "policy decision store"),
    "argon2_in_flight": (Gauge, ""),
    "argon2_wait_seconds": (Histogram, ""),
    "auth_events_total": (Counter, "event outcome"),
    "webhook_deliveries_total": (Counter, "outcome"),
    "ledger_postings_total": (Counter, "kind"),
    "ledger_seal_lag_seconds": (Gauge, ""),
    "ledger_verify_ok": (Gauge, ""),
    "ledger_verify_timestamp_seconds": (Gauge, ""),
    "job_runs_total": (Counter, "job outcome"),
    "job_rows_total": (Counter, "job"),
    "job_duration_seconds": (Histogram, "job outcome"),
    "job_last_success_timestamp_seconds": (Gauge, "job"),
    "event_feed_lag_seconds": (Gauge, ""),
    "build_info": (Gauge, "version"),
    "feature_flag": (Gauge, "flag"),
    "schema_version": (Gauge, ""),
}
SUFFIXES = "_bucket|_count|_sum"


def metrics() -> dict[str, MetricWrapperBase]:
    """Return every metric of the registry module by its name in code."""
    found = vars(observability).items()
    return {name: each for name, each in found if isinstance(each, MetricWrapperBase)}


@pytest.mark.parametrize("name", NAMED)
def test_every_metric_of_the_page_is_counted(name: str) -> None:
    """OM1: by this kind, with these labels."""
    kind, labels = NAMED[name]
    metric: Any = metrics()[name]
    assert type(metric) is kind
    assert " ".join(metric._labelnames) == labels


def test_a_metric_is_called_as_in_the_code() -> None:
    """OM1: the prefix is ours."""
    for name, metric in metrics().items():
        assert f"strongroom_{name}" in {metric._name, f"{metric._name}_total"}


def test_gauges_of_several_processes_are_summed_or_the_newest() -> None:
    """OM1."""
    gauges = [each for each in metrics().values() if isinstance(each, Gauge)]
    assert {each._multiprocess_mode for each in gauges} == {"livesum", "livemostrecent"}


def used(content: str) -> set[str]:
    return {
        re.sub(f"({SUFFIXES})$", "", name)
        for name in re.findall(r"\bstrongroom_([a-z_0-9]+)", content)
    }


def test_rules_and_dashboard_use_what_there_is() -> None:
    """OM2: no panel and no alarm waits for a number that never comes."""
    rules, board = text("deploy/alerts.yaml"), text("deploy/dashboard.json")
    known = {*metrics(), *(each.removesuffix("_total") for each in metrics())}
    assert len(used(rules)) > 8
    assert used(rules) - known == set()
    assert used(board) - known == set()
    assert {"use_cases_total", "use_case_duration_seconds", "cache_total"} <= used(board)


def test_rules_and_dashboard_ask_for_labels_that_there_are() -> None:
    """OM2: a sum over a label that no metric has is one line, and an alarm on it stays silent."""
    known = {label for metric in metrics().values() for label in metric._labelnames}
    known |= {"le", "instance"}  # Of histograms, and Prometheus' own.
    content = text("deploy/alerts.yaml") + text("deploy/dashboard.json")
    asked = {
        label.strip()
        for group in re.findall(r"\bby \(([^)]*)\)", content)
        for label in group.split(",")
    }
    asked |= set(re.findall(r"[{,]\s*(\w+)(?:=~|!~|!=|=)\\?\"", content))
    assert len(asked) > 4
    assert asked - known == set()


def test_the_page_of_alarms_names_each() -> None:
    """OM2: each has a line that says what to do, and each that is told exists."""
    alerts = set(re.findall(r"- alert: (\w+)", text("deploy/alerts.yaml")))
    listed = re.findall(r"^\| `(Strongroom\w+)` \|", text("docs/operations.md"), re.MULTILINE)
    assert sorted(listed) == sorted(alerts)


def test_the_dashboard_is_whole() -> None:
    """Each panel has a title, a place of its own and a question to Prometheus."""
    board = json.loads(text("deploy/dashboard.json"))
    panels = [each for each in board["panels"] if each["type"] != "row"]
    assert len(panels) >= 12
    assert len({(p["gridPos"]["x"], p["gridPos"]["y"]) for p in panels}) == len(panels)
    for panel in panels:
        assert panel["title"]
        assert all(target["expr"] for target in panel["targets"])


@pytest.mark.needs("promtool")
def test_promtool_finds_the_rules_valid() -> None:
    """OM2: promtool comes with Debian's package prometheus."""
    command = ["promtool", "check", "rules", str(ROOT / "deploy/alerts.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
