"""Spans of requests and of their calls of the stores, for OpenTelemetry (OM3).

An extra: app.py imports this only with OTEL_ENABLED, which needs requirements-otel.txt. Spans have
the ids that the log line has. They are made when the request is over, from times that are measured
anyway, so that a request that is not sampled pays for nothing.
"""

from __future__ import annotations

import json
import re
import time
from collections import defaultdict
from secrets import randbits
from typing import TYPE_CHECKING, Any, Protocol

import urllib3
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import Decision, TraceIdRatioBased
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from opentelemetry.sdk.trace import SpanProcessor


FLAGS = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-([0-9a-f]{16})-([0-9a-f]{2})")
SAMPLED = 1
SERVER_ERROR = 500
TIMEOUT_S = 5.0
# OTLP's numbers of kinds; the API's own begin at 0.
KINDS = {SpanKind.SERVER: 2, SpanKind.CLIENT: 3}


class Traced(Protocol):
    """What is asked of a request: blueprints.exchange.Exchange is one."""

    request_id: str
    trace_id: str
    span_id: str
    parent_id: str
    route: str | None
    status: int
    spans: list[tuple[str, int, int]] | None


class Tracing:
    """Decides which requests are traced, and hands their spans to a processor."""

    def __init__(self, processor: SpanProcessor, ratio: float, version: str) -> None:
        self._processor = processor
        self._sampler = TraceIdRatioBased(ratio)
        attributes = {"service.name": "strongroom", "service.version": version}
        self._resource = Resource.create(attributes)

    def begin(self, now: Traced, traceparent: str | None) -> None:
        """Let spans be noted if the caller's trace is sampled; without one, for our share."""
        given = FLAGS.match(traceparent or "")
        if given:
            now.parent_id = given[1]
            is_sampled = bool(int(given[2], 16) & SAMPLED)
        else:
            asked = self._sampler.should_sample(None, int(now.trace_id, 16), "")
            is_sampled = asked.decision is Decision.RECORD_AND_SAMPLE
        if is_sampled:
            now.spans = []

    def end(self, now: Traced, method: str, seconds: float) -> None:
        """Hand over the request's span and those of its calls, which it noted as they ended."""
        own = _context(now, now.span_id)
        calls, now.spans = now.spans or [], None
        for name, ended_ns, took_ns in calls:
            self._emit(name, SpanKind.CLIENT, _context(now), own, (ended_ns, took_ns), {})
        facts: dict[str, Any] = {
            "http.request.method": method,
            "http.response.status_code": now.status,
            "strongroom.request_id": now.request_id,
        }
        if now.route:
            facts["http.route"] = now.route
        parent = _context(now, now.parent_id) if now.parent_id else None
        name = f"{method} {now.route}" if now.route else method
        times = (time.time_ns(), int(seconds * 1e9))
        self._emit(name, SpanKind.SERVER, own, parent, times, facts)

    def close(self) -> None:
        """Send what is waiting."""
        self._processor.shutdown()

    def _emit(
        self,
        name: str,
        kind: SpanKind,
        context: SpanContext,
        parent: SpanContext | None,
        times: tuple[int, int],
        attributes: Mapping[str, Any],
    ) -> None:
        failed = attributes.get("http.response.status_code", 0) >= SERVER_ERROR
        self._processor.on_end(
            ReadableSpan(
                name=name,
                context=context,
                parent=parent,
                kind=kind,
                resource=self._resource,
                attributes=attributes,
                status=Status(StatusCode.ERROR if failed else StatusCode.UNSET),
                start_time=times[0] - times[1],
                end_time=times[0],
            )
        )


def _context(now: Traced, span_id: str | None = None) -> SpanContext:
    number = int(span_id, 16) if span_id else randbits(64) or 1
    return SpanContext(int(now.trace_id, 16), number, is_remote=False, trace_flags=TraceFlags(1))


class OtlpJson(SpanExporter):
    """Sends spans to a collector by OTLP/HTTP as JSON (opentelemetry-proto 1.0, its JSON form)."""

    def __init__(self, endpoint: str) -> None:
        self._url = f"{endpoint.rstrip('/')}/v1/traces"
        self._http = urllib3.PoolManager(timeout=TIMEOUT_S, retries=False)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send one batch; what a collector does not take is lost, and nobody waits for it."""
        body = json.dumps({"resourceSpans": _by_resource(spans)})
        headers = {"Content-Type": "application/json"}
        try:
            answer = self._http.request("POST", self._url, body=body, headers=headers)
        except urllib3.exceptions.HTTPError:
            return SpanExportResult.FAILURE
        taken = answer.status < 300  # noqa: PLR2004
        return SpanExportResult.SUCCESS if taken else SpanExportResult.FAILURE

    def shutdown(self) -> None:
        """Close the connections."""
        self._http.clear()


def _by_resource(spans: Iterable[ReadableSpan]) -> list[dict[str, Any]]:
    found: dict[Resource, list[dict[str, Any]]] = defaultdict(list)
    for span in spans:
        found[span.resource].append(_span(span))
    return [
        {
            "resource": {"attributes": _attributes(resource.attributes)},
            "scopeSpans": [{"scope": {"name": "strongroom"}, "spans": made}],
        }
        for resource, made in found.items()
    ]


def _span(span: ReadableSpan) -> dict[str, Any]:
    parent = {"parentSpanId": f"{span.parent.span_id:016x}"} if span.parent else {}
    return parent | {
        "traceId": f"{span.context.trace_id:032x}",
        "spanId": f"{span.context.span_id:016x}",
        "name": span.name,
        "kind": KINDS[span.kind],
        "startTimeUnixNano": str(span.start_time),
        "endTimeUnixNano": str(span.end_time),
        "attributes": _attributes(span.attributes or {}),
        "status": {"code": span.status.status_code.value},
    }


def _attributes(given: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "key": name,
            "value": {"intValue": str(value)} if isinstance(value, int) else {"stringValue": value},
        }
        for name, value in given.items()
    ]


def to_collector(endpoint: str, ratio: float, version: str) -> Tracing:
    """Return the tracing of a process: its spans go to `endpoint` in batches, by a thread."""
    return Tracing(BatchSpanProcessor(OtlpJson(endpoint)), ratio, version)
