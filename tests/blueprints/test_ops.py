"""Probes, health and metrics: who is told what, and when it is a 503."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.blueprints.things import Framed, build, problem

if TYPE_CHECKING:
    import io

    from werkzeug.test import TestResponse

TOKEN = "metrics-token-0123456789"
FAR = {"REMOTE_ADDR": "192.0.2.7"}


def bearer(credential: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {credential}"}


def far(framed: Framed, path: str, headers: dict[str, str] | None = None) -> TestResponse:
    """Ask from another machine."""
    return framed.client.get(path, headers=headers or {}, environ_overrides=FAR)


def test_livez_touches_nothing(framed: Framed) -> None:
    """AC7: there is neither a database nor a Redis behind this application."""
    answer = far(framed, "/livez")
    assert (answer.status_code, answer.json) == (200, {"status": "pass"})


def test_readyz_tells_each_check(framed: Framed) -> None:
    """OH1: Redis warns, it never fails."""
    answer = far(framed, "/readyz")
    assert answer.status_code == 200
    assert answer.json == {"status": "warn", "checks": {"database": "pass", "redis": "warn"}}


@pytest.mark.parametrize("path", ["/readyz", "/healthz"])
def test_not_ready_is_503(framed: Framed, path: str) -> None:
    """OH1, AF3."""
    framed.health.checks = {"database": "fail"}
    answer = far(framed, path)
    assert (answer.status_code, answer.get_json()["status"]) == (503, "fail")
    assert answer.headers["Retry-After"] == "1"


def test_probes_that_fail_have_a_log_line(framed: Framed) -> None:
    """OL1."""
    framed.health.checks = {"database": "fail"}
    far(framed, "/readyz")
    assert [line["status"] for line in framed.lines()] == [503]


def test_livez_answers_in_overload(log: io.StringIO) -> None:
    """OH1: what waited too long is refused, a probe is not."""
    framed = build(log, TRUSTED_PROXY_HOPS="1")
    late = {"X-Request-Start": f"t={time.time() - 5:.3f}"}
    assert framed.client.get("/livez", headers=late).status_code == 200
    assert framed.client.get("/v1/things", headers=late).status_code == 503


FULL = {"status": "warn", "version": "1.2.3", "checks": {"database": "pass", "redis": "warn"}}


@pytest.mark.parametrize("address", ["127.0.0.1", "127.9.9.9", "::1"])
def test_healthz_tells_this_machine_everything(framed: Framed, address: str) -> None:
    """OH2."""
    answer = framed.client.get("/healthz", environ_overrides={"REMOTE_ADDR": address})
    assert answer.json == FULL


@pytest.mark.parametrize(
    ("headers", "told"),
    [
        ({}, {"status": "warn"}),
        (bearer("weak"), {"status": "warn"}),
        (bearer("unknown"), {"status": "warn"}),
        (bearer("operator"), FULL),
    ],
)
def test_healthz_tells_others_by_their_scope(
    framed: Framed, headers: dict[str, str], told: dict[str, Any]
) -> None:
    """OH2: `status` only, unless the key holds `ops:read`."""
    assert far(framed, "/healthz", headers).json == told


@pytest.mark.parametrize("path", ["/healthz", "/metrics"])
def test_behind_a_proxy_nobody_is_this_machine(log: io.StringIO, path: str) -> None:
    """OH2, Operations 6: loopback counts while hops = 0."""
    framed = build(log, TRUSTED_PROXY_HOPS="1")
    answer = framed.client.get(path)
    assert answer.status_code == 401 if path == "/metrics" else answer.json == {"status": "warn"}


def test_unix_socket_has_no_address(framed: Framed) -> None:
    answer = framed.client.get("/healthz", environ_overrides={"REMOTE_ADDR": ""})
    assert answer.json == {"status": "warn"}


def test_metrics_are_prometheus_text(framed: Framed) -> None:
    """Operations 8: requests by route template and status, problems by code."""
    framed.client.get("/v1/named/somebody")
    text = framed.client.get("/metrics").get_data(as_text=True)
    name = "strongroom_http_request_duration_seconds_count"
    assert f'{name}{{method="GET",route="/v1/named/<name>",status="401"}}' in text
    assert 'strongroom_problems_total{code="unauthenticated"}' in text
    assert "somebody" not in text


def test_metrics_tell_how_far_the_feed_lags(framed: Framed) -> None:
    """E3: asked for when it is scraped."""
    text = framed.client.get("/metrics").get_data(as_text=True)
    assert "strongroom_event_feed_lag_seconds 1.5" in text


def test_requests_without_a_route_share_one_label(framed: Framed) -> None:
    """OM1: labels are closed sets; a client cannot make series."""
    framed.client.open("/nowhere", method="ANYTHING")
    framed.client.get("/nowhere/else")
    text = framed.client.get("/metrics").get_data(as_text=True)
    assert 'method="-",route="-",status="404"' in text
    assert "ANYTHING" not in text


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        (bearer("unknown"), 401),
        (bearer(TOKEN + "x"), 401),
        ({"Authorization": TOKEN}, 401),
        (bearer("weak"), 403),
        (bearer("operator"), 200),
        (bearer(TOKEN), 200),
    ],
)
def test_metrics_of_others_need_a_credential(
    log: io.StringIO, headers: dict[str, str], status: int
) -> None:
    """Operations 6."""
    framed = build(log, METRICS_TOKEN=TOKEN)
    answer = far(framed, "/metrics", headers)
    assert answer.status_code == status
    if status != 200:
        problem(answer)


def test_no_metrics_token_opens_nothing(framed: Framed) -> None:
    assert far(framed, "/metrics", bearer("")).status_code == 401
    assert far(framed, "/metrics", bearer("None")).status_code == 401
