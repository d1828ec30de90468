"""Traces, the extra: what is exported, and that nothing is without being asked for (OM3)."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from blueprints import hooks
from tests.world import World
from tracing import Tracing, to_collector

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from opentelemetry.sdk.trace import ReadableSpan

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def traced(world: World, exporter: InMemorySpanExporter) -> World:
    """The service whose spans stay in memory, of 0 % of the traces that nobody has begun."""
    frame: Any = world.app.wsgi_app
    assert isinstance(frame, hooks.Frame)
    frame._tracing = Tracing(SimpleSpanProcessor(exporter), 0.0, "1.2.3")
    return world


def sampled(flags: str = "01") -> dict[str, str]:
    return {"traceparent": f"00-{TRACE}-{PARENT}-{flags}"}


def server(spans: Sequence[ReadableSpan]) -> ReadableSpan:
    (found,) = [span for span in spans if span.kind is SpanKind.SERVER]
    return found


def test_a_request_is_a_span_below_its_callers(
    traced: World, exporter: InMemorySpanExporter
) -> None:
    """OM3, OL2: the caller's trace goes on, by template, status and request id."""
    payment_id = traced.payment()
    answer = traced.get(f"/v1/payments/{payment_id}", **sampled())
    spans = exporter.get_finished_spans()
    own = server(spans)
    assert own.name == "GET /v1/payments/<payment_id>"
    assert f"{own.context.trace_id:032x}" == TRACE
    assert own.parent is not None
    assert f"{own.parent.span_id:016x}" == PARENT
    assert dict(own.attributes or {}) == {
        "http.request.method": "GET",
        "http.response.status_code": 200,
        "http.route": "/v1/payments/<payment_id>",
        "strongroom.request_id": answer.headers["X-Request-ID"],
    }


def test_statements_are_spans_below_the_request(
    traced: World, exporter: InMemorySpanExporter
) -> None:
    """OM3: by the names of their files, without SQL and without values."""
    traced.get(f"/v1/payments/{traced.payment()}", **sampled())
    spans = exporter.get_finished_spans()
    calls = [span for span in spans if span.kind is SpanKind.CLIENT]
    assert "payments/get" in {span.name for span in calls}
    own = server(spans)
    for span in calls:
        assert span.parent is not None
        assert span.parent.span_id == own.context.span_id
        assert (span.start_time or 0) <= (span.end_time or 0) <= (own.end_time or 0)
        assert not span.attributes


def test_redis_is_a_span_too(cached_world: World, exporter: InMemorySpanExporter) -> None:
    """OM3: the one trip of a request."""
    frame: Any = cached_world.app.wsgi_app
    frame._tracing = Tracing(SimpleSpanProcessor(exporter), 0.0, "1.2.3")
    given = {"amount_minor": 100, "currency": "EUR", "user_id": cached_world.user_id}
    cached_world.post("/v1/payments", given, traceparent=sampled()["traceparent"])
    names = [span.name for span in exporter.get_finished_spans()]
    assert len([name for name in names if name.startswith("redis ")]) == 1


@pytest.mark.parametrize("headers", [{}, sampled("00"), {"traceparent": "rubbish"}])
def test_what_is_not_sampled_leaves_nothing(
    traced: World, exporter: InMemorySpanExporter, headers: dict[str, str]
) -> None:
    """OM3: parent-based; of the rest the share that is asked for, here none."""
    traced.get("/v1/payments", **headers)
    assert exporter.get_finished_spans() == ()


def test_a_share_of_the_rest_is_traced(world: World, exporter: InMemorySpanExporter) -> None:
    """OM3: here all; a refusal too."""
    frame: Any = world.app.wsgi_app
    frame._tracing = Tracing(SimpleSpanProcessor(exporter), 1.0, "1.2.3")
    world.app.test_client().get("/nowhere", buffered=True)
    own = server(exporter.get_finished_spans())
    assert (own.name, own.parent) == ("GET", None)


def test_nothing_is_traced_by_default(world: World) -> None:
    """OM3: off."""
    frame: Any = world.app.wsgi_app
    assert frame._tracing is None


# --- To a collector -----------------------------------------------------------------------------


class Collector(BaseHTTPRequestHandler):
    """Takes what OTLP/HTTP sends."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.taken.append((self.path, json.loads(body)))  # type: ignore[attr-defined]
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def collector() -> Iterator[HTTPServer]:
    with HTTPServer(("127.0.0.1", 0), Collector) as made:
        made.taken = []  # type: ignore[attr-defined]
        thread = threading.Thread(target=made.serve_forever)
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def test_spans_reach_a_collector_as_otlp(collector: HTTPServer, world: World) -> None:
    """OM3: ids in hex, times and integers as texts, as the JSON form of OTLP has them."""
    tracing = to_collector(f"http://127.0.0.1:{collector.server_port}/", 1.0, "1.2.3")
    frame: Any = world.app.wsgi_app
    frame._tracing = tracing
    world.get("/v1/payments", **sampled())
    tracing.close()
    (path, body), *_ = collector.taken  # type: ignore[attr-defined]
    assert path == "/v1/traces"
    resource = body["resourceSpans"][0]
    named = {each["key"]: each["value"] for each in resource["resource"]["attributes"]}
    assert named["service.name"] == {"stringValue": "strongroom"}
    own = next(each for each in resource["scopeSpans"][0]["spans"] if each["kind"] == 2)
    assert (own["traceId"], own["parentSpanId"]) == (TRACE, PARENT)
    assert own["startTimeUnixNano"].isdecimal()
    facts = {each["key"]: each["value"] for each in own["attributes"]}
    assert facts["http.response.status_code"] == {"intValue": "200"}


def test_a_collector_that_is_away_harms_nobody(world: World) -> None:
    """OM3: its spans are lost, and nobody waits for it."""
    tracing = to_collector("http://127.0.0.1:9", 1.0, "1.2.3")
    frame: Any = world.app.wsgi_app
    frame._tracing = tracing
    assert world.get("/v1/payments").status_code == 200
    tracing.close()


def test_the_settings_make_it(database: str, tmp_path: Path) -> None:
    """OM3: OTEL_ENABLED with an endpoint."""
    made = World(
        database,
        tmp_path,
        OTEL_ENABLED="true",
        OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9",
        OTEL_SAMPLE_RATIO="0.5",
    )
    frame: Any = made.app.wsgi_app
    assert isinstance(frame._tracing, Tracing)
    frame._tracing.close()
    made.close()
