"""What a process tells of itself: request context, log set-up, metric registry."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import sys
import time
import traceback
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TextIO

import structlog
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    start_http_server,
)
from prometheus_client.multiprocess import MultiProcessCollector


@dataclass(slots=True)
class Context:
    """What belongs to one request, job or command. `deadline` is time.monotonic() seconds."""

    request_id: str = "-"
    tenant_id: str | None = None
    actor: str | None = None
    session_id: str | None = None
    deadline: float | None = None
    db_statements: int = 0
    db_retries: int = 0
    db_ms: float = 0.0
    db_wait_ms: float = 0.0
    kv_ms: float = 0.0
    idempotency: str | None = None
    rate_policy: str | None = None
    code: str | None = None
    holds_connection: bool = False
    # Calls of the stores as (name, end, length), ns; None: this work is not traced.
    spans: list[tuple[str, int, int]] | None = None

    def note(self, name: str, took_s: float) -> None:
        """Keep a call that has just ended, if this work is traced."""
        if self.spans is not None:
            self.spans.append((name, time.time_ns(), int(took_s * 1e9)))


_context: ContextVar[Context | None] = ContextVar("strongroom_context", default=None)


def current() -> Context:
    """Return the context of this thread's request, job or command; one is made if there is none."""
    context = _context.get()
    return context if context is not None else begin(Context())


def begin(context: Context) -> Context:
    """Make `context` the current one of this thread."""
    _context.set(context)
    return context


def end() -> None:
    """Forget this thread's context: what comes next has a deadline of its own, or none."""
    _context.set(None)


# Labels come from closed sets: no tenant, no id (OM1).
REQUEST_BUCKETS_S = (
    0.001, 0.0025, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 1, 2.5, 5,
)  # fmt: skip
STORE_BUCKETS_S = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5)
db_retries_total = Counter("strongroom_db_retries_total", "Statements sent again", ["reason"])
db_outcome_unknown_total = Counter(
    "strongroom_db_outcome_unknown_total", "Writes whose answer was lost"
)
kv_calls_total = Counter("strongroom_kv_calls_total", "Calls of Redis", ["use", "outcome"])
kv_breaker_opened_total = Counter("strongroom_kv_breaker_opened_total", "Trips", ["cause"])
idempotency_total = Counter("strongroom_idempotency_total", "Keyed requests", ["outcome", "source"])
argon2_in_flight = Gauge(
    "strongroom_argon2_in_flight", "Passwords being hashed", multiprocess_mode="livesum"
)
argon2_wait_seconds = Histogram(
    "strongroom_argon2_wait_seconds",
    "Waits for a thread that hashes",
    buckets=(0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2),
)
password_breach_checks_total = Counter(
    "strongroom_password_breach_checks_total", "Questions to the list of leaks", ["outcome"]
)
rate_limit_total = Counter(
    "strongroom_rate_limit_total", "Requests counted", ["policy", "decision", "store"]
)
http_shed_total = Counter("strongroom_http_shed_total", "Requests refused unread", ["reason"])
problems_total = Counter("strongroom_problems_total", "Problem answers", ["code"])
job_runs_total = Counter("strongroom_job_runs_total", "Job runs", ["job", "outcome"])
job_rows_total = Counter("strongroom_job_rows_total", "Rows that jobs changed", ["job"])
webhook_deliveries_total = Counter(
    "strongroom_webhook_deliveries_total", "Attempts to deliver a webhook", ["outcome"]
)
event_feed_lag_seconds = Gauge(
    "strongroom_event_feed_lag_seconds",
    "For how long the oldest committed event has waited to be served; NaN: nobody could say",
    multiprocess_mode="livemostrecent",
)
ledger_seals_total = Counter("strongroom_ledger_seals_total", "Checkpoints that were signed")
ledger_seal_stops_total = Counter(
    "strongroom_ledger_seal_stops_total", "Trees that did not continue what was signed"
)
ledger_late_rows_total = Counter(
    "strongroom_ledger_late_rows_total", "Transactions that came behind the watermark"
)
auth_events_total = Counter(
    "strongroom_auth_events_total",
    "What became of log-ins, sessions and links",
    ["event", "outcome"],
)
http_request_duration_seconds = Histogram(
    "strongroom_http_request_duration_seconds",
    "Requests by their time; its count is their number",
    ["method", "route", "status"],
    buckets=REQUEST_BUCKETS_S,
)
http_requests_total = Counter(
    "strongroom_http_requests_total", "Requests", ["method", "route", "status"]
)
http_requests_in_flight = Gauge(
    "strongroom_http_requests_in_flight", "Requests being served", multiprocess_mode="livesum"
)
use_cases_total = Counter(
    "strongroom_use_cases_total",
    "Calls by what they asked for: ok, replayed, refused, failed, unknown",
    ["use_case", "outcome"],
)
use_case_duration_seconds = Histogram(
    "strongroom_use_case_duration_seconds",
    "Their time",
    ["use_case", "outcome"],
    buckets=REQUEST_BUCKETS_S,
)
db_pool_connections = Gauge(
    "strongroom_db_pool_connections",
    "Connections of the pools: available, in use",
    ["state"],
    multiprocess_mode="livesum",
)
db_pool_waiting = Gauge(
    "strongroom_db_pool_waiting", "Requests that wait for one", multiprocess_mode="livesum"
)
db_pool_wait_seconds = Histogram(
    "strongroom_db_pool_wait_seconds", "Waits for a connection", buckets=STORE_BUCKETS_S
)
db_statements_total = Counter(
    "strongroom_db_statements_total", "Statements sent", ["statement", "outcome"]
)
db_statement_seconds_total = Counter(
    "strongroom_db_statement_seconds_total", "Their time", ["statement", "outcome"]
)
kv_breaker_state = Gauge(
    "strongroom_kv_breaker_state",
    "0 closed, 1 half-open, 2 open",
    multiprocess_mode="livemostrecent",
)
kv_call_duration_seconds = Histogram(
    "strongroom_kv_call_duration_seconds", "Trips to Redis", ["use"], buckets=STORE_BUCKETS_S
)
cache_total = Counter(
    "strongroom_cache_total", "Looks into a cache: hit, miss, bypass", ["use", "result"]
)
ledger_postings_total = Counter("strongroom_ledger_postings_total", "Transactions posted", ["kind"])
ledger_seal_lag_seconds = Gauge(
    "strongroom_ledger_seal_lag_seconds",
    "Age of the oldest posting without a seal",
    multiprocess_mode="livemostrecent",
)
ledger_verify_ok = Gauge(
    "strongroom_ledger_verify_ok",
    "1: the last whole check of every book was clean",
    multiprocess_mode="livemostrecent",
)
ledger_verify_timestamp_seconds = Gauge(
    "strongroom_ledger_verify_timestamp_seconds",
    "When the book that was longest not checked was",
    multiprocess_mode="livemostrecent",
)
job_duration_seconds = Histogram(
    "strongroom_job_duration_seconds",
    "Time of a run",
    ["job", "outcome"],
    buckets=(0.01, 0.1, 1, 10, 60, 600),
)
job_last_success_timestamp_seconds = Gauge(
    "strongroom_job_last_success_timestamp_seconds",
    "When a job last ended well, whoever ran it",
    ["job"],
    multiprocess_mode="livemostrecent",
)
job_late = Gauge(
    "strongroom_job_late",
    "1: a job has missed three of its intervals",
    ["job"],
    multiprocess_mode="livemostrecent",
)
build_info = Gauge(
    "strongroom_build_info", "The release", ["version"], multiprocess_mode="livemostrecent"
)
feature_flag = Gauge(
    "strongroom_feature_flag", "1: on", ["flag"], multiprocess_mode="livemostrecent"
)
schema_version = Gauge(
    "strongroom_schema_version",
    "The newest migration that is applied",
    multiprocess_mode="livemostrecent",
)


def count_auth(event: str, outcome: str = "ok") -> None:
    """Count an event of the audit log; `outcome` is ok, failed or throttled."""
    auth_events_total.labels(event, outcome).inc()


METRICS_TYPE = CONTENT_TYPE_LATEST


def metrics() -> bytes:
    """Return all metrics as Prometheus' text, of all workers if they share a directory."""
    registry = REGISTRY
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)


def serve_metrics(port: int) -> None:
    """Serve this process's own metrics to this machine, as a worker without HTTP does."""
    start_http_server(port, addr="127.0.0.1")


# --- Log lines (OL1 to OL4) ---------------------------------------------------------------------

FIELD_MAX_CHARS = 2_048
LINE_MAX_CHARS = 16_384
FRAMES_MAX = 20
SECRET_NAMES = re.compile("password|secret|token|authorization|credential|cookie|dsn|api_key$")
SECRET_VALUES = re.compile(
    r"sr[krod]_[\w.-]+"  # API keys, refresh, one-time and device tokens
    r"|eyJ[\w-]{8,}\.[\w-]+\.[\w-]*"  # access tokens
    r"|\$(?:argon2|2[abxy]\$)[^\s\"']+"  # password hashes
    r"|(?:postgres(?:ql)?|rediss?)[\w+]*://[^\s\"']+|password=\S+"  # DSNs
    r"|\b[0-9a-f]{64}\b"  # digests
    r"|(?i:bearer|basic)\s+[\w.~+/=-]+"
    r"|[\w.+-]+@[\w-]+(?:\.[\w-]+)+"  # e-mail addresses
)
_encode = json.JSONEncoder(separators=(",", ":"), default=str, check_circular=False).encode
_stream: TextIO | None = None


def set_up_logging(
    level: str = "info", *, json_lines: bool = True, file: TextIO | None = None
) -> None:
    """Write one JSON object a line with UTC times, or readable lines for a terminal.

    `file`: None is stdout, where a server logs. Commands give stderr: their stdout is the answer.
    What gunicorn, psycopg and others log follows from level warning on.
    """
    global _stream  # noqa: PLW0603  # One log per process, as structlog's own configuration.
    _stream = (file or sys.stdout) if json_lines and level in {"debug", "info"} else None
    renderer: Any = _render if json_lines else structlog.dev.ConsoleRenderer()
    structlog.configure(
        processors=[_times_and_level, _exception, _redacted, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping()[level.upper()]
        ),
        logger_factory=structlog.WriteLoggerFactory(file=file or sys.stdout),
        cache_logger_on_first_use=False,  # Else the first set-up of a process would be its last.
    )
    root = logging.getLogger()
    if not any(isinstance(handler, ForeignLogs) for handler in root.handlers):
        root.addHandler(ForeignLogs(logging.WARNING))


class ForeignLogs(logging.Handler):
    """Takes what libraries log by the standard library into our log."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record as one of our lines."""
        write = log.error if record.levelno >= logging.ERROR else log.warning
        write("library", logger=record.name, text=record.getMessage(), exc_info=record.exc_info)


def canonical(fields: dict[str, Any], level: str = "info") -> None:
    """Write the line `request`, whose values the caller has made safe.

    One a request, so it goes past structlog's processors: 8 us instead of 20 (measured).
    """
    if _stream is None:
        log.log(logging.getLevelNamesMapping()[level.upper()], "request", **fields)
        return
    line = _encode({"ts": _utc_now(), "level": level, "event": "request"} | fields)
    _stream.write(line + "\n")
    _stream.flush()


def redact(text: str) -> str:
    """Replace what looks like a credential or an address, and cut what is too long (OL3, OL4)."""
    return SECRET_VALUES.sub("***", text[:FIELD_MAX_CHARS])


def _utc_now() -> str:
    now = time.time()
    return f"{_second(int(now))}.{int(now % 1 * 1e6):06}Z"


@lru_cache(maxsize=2)
def _second(whole: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole))


def _times_and_level(_: Any, level: str, fields: Any) -> Any:
    """Put first what every line has; lines of a request name it."""
    context = _context.get()
    named = {"request_id": context.request_id} if context and context.request_id != "-" else {}
    return {"ts": _utc_now(), "level": level, **named, **fields}


def _exception(_: Any, __: str, fields: Any) -> Any:
    """Say what was raised where, without locals; `error_group` is the same for the same fault."""
    given = fields.pop("exc_info", None)
    exc = given[1] if isinstance(given, tuple) else sys.exc_info()[1] if given is True else given
    if isinstance(exc, BaseException):
        frames = traceback.extract_tb(exc.__traceback__)[-FRAMES_MAX:]
        places = [f"{Path(frame.filename).name}:{frame.name}" for frame in frames]
        fields["error_type"] = type(exc).__name__
        fields["error"] = str(exc)
        fields["frames"] = [f"{f.filename}:{f.lineno} {f.name}" for f in frames]
        group = "|".join([type(exc).__name__, *places])
        fields["error_group"] = hashlib.sha256(group.encode()).hexdigest()[:12]
    return fields


def _redacted(_: Any, __: str, fields: Any) -> Any:
    return {
        name: "***" if SECRET_NAMES.search(name) else redact(value)
        if isinstance(value, str) else value
        for name, value in fields.items()
    }  # fmt: skip


def _render(_: Any, __: str, fields: Any) -> str:
    line = _encode(fields)
    if len(line) <= LINE_MAX_CHARS:
        return line
    kept = ("ts", "level", "request_id", "event", "error_type", "error_group")
    return _encode({name: fields[name] for name in kept if name in fields} | {"cut": True})


log: Any = structlog.get_logger()
