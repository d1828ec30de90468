"""The outermost layer: what belongs to every request, whatever answers it.

Request id and trace, deadline, shedding, host check, security headers, the canonical log line.
It is WSGI, not Flask hooks: so it also covers what fails outside Flask, and costs less.
"""

from __future__ import annotations

import os
import re
import time
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol, cast

from flask import current_app
from uuid_utils import uuid7
from werkzeug.middleware.proxy_fix import ProxyFix

import observability
from blueprints import problems
from blueprints.exchange import Exchange
from blueprints.slots import Slots
from errors import InvalidHeader, OutcomeUnknown, Overloaded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from flask import Flask
    from prometheus_client import Counter, Histogram

    from services import Services

POOL_EVERY_S = 5.0
QUEUE_BELIEVED_MS = 60_000  # Beyond it, somebody's clock is wrong.
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")
# W3C: version 00 has nothing behind its flags, ff is none, later ones may have more.
TRACEPARENT = re.compile(
    r"(?:00(?=.{53}$)|(?!00|ff)[0-9a-f]{2})"
    r"-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?"
)
REQUEST_START = re.compile(r"(?:t=)?([0-9]{10}(?:\.[0-9]{1,6})?)")
OK, BAD_REQUEST, INTERNAL_ERROR = 200, 400, 500
PROBES = frozenset({"/livez", "/readyz", "/healthz"})
HEADERS = (
    ("Cache-Control", "no-store"),
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Referrer-Policy", "no-referrer"),
    ("X-Content-Type-Options", "nosniff"),
)
OVER_TLS = ("Strict-Transport-Security", "max-age=63072000; includeSubDomains")


def services() -> Services:
    """Return what `create_app` has built."""
    return cast("Services", current_app.extensions["strongroom"])


def heavy_slots() -> Slots:
    """Return the slots of batches, exports and proofs: a quarter of all."""
    return cast("Slots", current_app.extensions["strongroom.heavy"])


class Tracing(Protocol):
    """What OpenTelemetry's extra does for a request; tracing.py is it."""

    def begin(self, now: Exchange, traceparent: str | None) -> None: ...
    def end(self, now: Exchange, method: str, seconds: float) -> None: ...


def install(app: Flask, held: Services, tracing: Tracing | None = None) -> None:
    """Put the layer around `app`. Call it before routes are registered."""
    app.extensions["strongroom"] = held
    heavy = max(1, held.config.web_threads // 4)
    app.extensions["strongroom.heavy"] = Slots("heavy", heavy, held.config.slot_wait_ms)
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False  # CORS is off: OPTIONS is 405.
    app.url_map.merge_slashes = False  # A redirect would be an answer of another shape (AF4).
    hops = held.config.trusted_proxy_hops
    layer: WSGIApplication = Frame(app.wsgi_app, held, tracing)
    if hops:
        layer = ProxyFix(layer, x_for=hops, x_proto=hops, x_host=hops)
    app.wsgi_app = layer  # type: ignore[method-assign, assignment]


class Frame:
    """A WSGI application around Flask's."""

    def __init__(
        self,
        inner: Callable[..., Iterable[bytes]],
        held: Services,
        tracing: Tracing | None = None,
    ) -> None:
        config = held.config
        self._inner = inner
        self._slots = Slots("slots", config.web_threads, config.slot_wait_ms)
        self._queue_max_ms = config.queue_max_ms
        self._kv, self._db = held.kv, held.db
        self._pool_due = 0.0
        self._deadline_s = config.request_deadline_ms / 1000
        self._hosts = frozenset(host.lower() for host in config.allowed_hosts)
        self._behind_proxy = config.trusted_proxy_hops > 0
        self._tracing = tracing

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request; whatever happens, there is an answer and a log line."""
        began = time.perf_counter()
        now = begin(environ)
        if self._tracing is not None:
            self._tracing.begin(now, environ.get("HTTP_TRACEPARENT"))
        observability.http_requests_in_flight.inc()
        over_tls = environ["wsgi.url_scheme"] == "https"

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            complete(now, headers, over_tls=over_tls)
            now.status = int(status[:3])
            return start_response(status, headers, exc_info)

        try:
            body = self._serve(environ, now, start)
        except Exception as exc:  # noqa: BLE001  # The last resort: no other layer has answered.
            body = problems.wsgi_answer(exc, environ, start)
        observability.http_requests_in_flight.dec()
        took_s = time.perf_counter() - began
        tell(now, environ, took_s, self._kv.state)
        if self._tracing is not None and now.spans is not None:
            self._tracing.end(now, environ["REQUEST_METHOD"], took_s)
        self._show_pool()
        observability.end()
        return _Answer(body, now) if now.after else body

    def _show_pool(self) -> None:
        """Show the pool now and then: no thread is needed for what changes with requests only."""
        now = time.monotonic()
        if now < self._pool_due:
            return
        self._pool_due = now + POOL_EVERY_S
        stats = self._db.stats()
        in_use = stats["size"] - stats["available"]
        observability.db_pool_connections.labels("available").set(stats["available"])
        observability.db_pool_connections.labels("in_use").set(in_use)
        observability.db_pool_waiting.set(stats["waiting"])

    def _serve(
        self, environ: WSGIEnvironment, now: Exchange, start: StartResponse
    ) -> Iterable[bytes]:
        """Answer within a slot; probes need none (OS1)."""
        self._admit(environ, now)
        if environ["PATH_INFO"] in PROBES:
            return self._inner(environ, start)
        self._slots.take()
        try:
            return self._inner(environ, start)
        finally:
            self._slots.give_back()

    def _admit(self, environ: WSGIEnvironment, now: Exchange) -> None:
        """Set the deadline. Raises Overloaded (OS2), InvalidHeader for a host that is not ours."""
        queued_ms = _queued_ms(environ) if self._behind_proxy else None
        now.queue_ms = queued_ms
        now.deadline = time.monotonic() + self._deadline_s - (queued_ms or 0) / 1000
        late = queued_ms is not None and queued_ms > self._queue_max_ms
        if late and environ["PATH_INFO"] not in PROBES:
            observability.http_shed_total.labels("queue").inc()
            raise Overloaded("The request waited too long before it came here.")
        if self._hosts and _host(environ) not in self._hosts:
            raise InvalidHeader(
                "This host is not served here.",
                errors=(
                    {"header": "Host", "code": "invalid_choice", "detail": "Not a name of ours."},
                ),
            )


class _Answer:
    """A body, and what happens once it has left."""

    __slots__ = ("_body", "_now")

    def __init__(self, body: Iterable[bytes], now: Exchange) -> None:
        self._body = body
        self._now = now

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._body)

    def close(self) -> None:
        """End the body, then do the rest in the request's context, but without its deadline."""
        try:
            close = getattr(self._body, "close", None)
            if close is not None:
                close()
        finally:
            self._now.deadline = None
            observability.begin(self._now)
            while self._now.after:
                _try(self._now.after.pop(0))
            observability.end()


def _try(action: Callable[[], object]) -> None:
    try:
        action()
    except Exception:  # noqa: BLE001  # The client has its answer; nothing may undo it.
        observability.log.exception("after_answer.failed")


def begin(environ: WSGIEnvironment) -> Exchange:
    """Begin this thread's request: its id, its trace."""
    fresh = uuid7()
    given = environ.get("HTTP_X_REQUEST_ID")
    now = Exchange(
        request_id=given if given and REQUEST_ID.fullmatch(given) else str(fresh),
        trace_id=fresh.hex,
        span_id=fresh.hex[16:],
    )
    if "HTTP_TRACEPARENT" in environ:
        parent = TRACEPARENT.fullmatch(environ["HTTP_TRACEPARENT"])
        now.trace_id = parent[1] if parent else now.trace_id
    observability.begin(now)
    return now


def _queued_ms(environ: WSGIEnvironment) -> float | None:
    """How long the proxy has held the request; None if it does not say so believably."""
    match = REQUEST_START.fullmatch(environ.get("HTTP_X_REQUEST_START", ""))
    if match is None:
        return None
    queued_ms = (time.time() - float(match[1])) * 1000
    return queued_ms if 0 <= queued_ms <= QUEUE_BELIEVED_MS else None


def _host(environ: WSGIEnvironment) -> str:
    host = environ.get("HTTP_HOST", "").lower()
    return re.sub(r":[0-9]*$", "", host)


def complete(now: Exchange, headers: list[tuple[str, str]], *, over_tls: bool) -> None:
    """Add to `headers` what every answer has; what a view has set itself stays."""
    headers.extend(now.answer_headers.items())
    if now.quota is not None:
        headers.extend(now.quota.headers.items())
    names = {name for name, _ in headers}
    headers.extend(one for one in HEADERS if one[0] not in names)
    headers.append(("X-Request-ID", now.request_id))
    if over_tls:
        headers.append(OVER_TLS)
    now.bytes_out = next((int(v) for name, v in headers if name == "Content-Length"), None)


@cache  # A closed set: a route answers to few methods, with few statuses.
def _request_metrics(method: str, route: str, status: int) -> tuple[Histogram, Counter]:
    labels = (method, route, status)
    return (
        observability.http_request_duration_seconds.labels(*labels),
        observability.http_requests_total.labels(*labels),
    )


@cache
def _use_case_metrics(use_case: str, outcome: str) -> tuple[Histogram, Counter]:
    return (
        observability.use_case_duration_seconds.labels(use_case, outcome),
        observability.use_cases_total.labels(use_case, outcome),
    )


def _count(now: Exchange, method: str, seconds: float) -> None:
    metrics = [_request_metrics(method if now.route else "-", now.route or "-", now.status)]
    if now.use_case:
        metrics.append(_use_case_metrics(now.use_case, _outcome(now)))
    for timer, counter in metrics:
        timer.observe(seconds)
        counter.inc()


def _outcome(now: Exchange) -> str:
    if now.code == OutcomeUnknown.code:
        return "unknown"
    if now.status >= INTERNAL_ERROR:
        return "failed"
    if now.status >= BAD_REQUEST:
        return "refused"
    return "replayed" if now.idempotency == "replayed" else "ok"


def tell(now: Exchange, environ: WSGIEnvironment, seconds: float, kv_state: str) -> None:
    """Count the request, and write its canonical line (OL1)."""
    method = environ["REQUEST_METHOD"]
    _count(now, method, seconds)
    if now.status == OK and environ["PATH_INFO"] in PROBES:
        return
    kind, _, actor_id = (now.actor or "").partition(":")
    agent, length = environ.get("HTTP_USER_AGENT"), environ.get("CONTENT_LENGTH") or ""
    fields = {
        "request_id": now.request_id,
        "trace_id": now.trace_id,
        "span_id": now.span_id,
        "tenant_id": now.tenant_id,
        "actor_kind": kind or None,
        "actor_id": actor_id or None,
        "session_id": now.session_id,
        "method": method,
        "route": now.route,
        "status": now.status,
        "code": now.code,
        "duration_ms": round(seconds * 1000, 3),
        "queue_ms": round(now.queue_ms, 3) if now.queue_ms is not None else None,
        "db_ms": round(now.db_ms, 3),
        "db_wait_ms": round(now.db_wait_ms, 3),
        "db_statements": now.db_statements,
        "db_retries": now.db_retries,
        "kv_ms": round(now.kv_ms, 3),
        "kv_state": kv_state,
        "idempotency": now.idempotency,
        "rate_policy": now.rate_policy,
        "bytes_in": int(length) if length.isdecimal() else 0,
        "bytes_out": now.bytes_out,
        "client_ip": environ.get("REMOTE_ADDR"),
        "user_agent": observability.redact(agent) if agent else None,
        "pid": os.getpid(),
    }
    observability.canonical(fields, "error" if now.status == INTERNAL_ERROR else "info")
