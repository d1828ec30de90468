"""What a process tells of itself: request context, log set-up, metric registry."""

from __future__ import annotations

import logging
import sys
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import structlog
from prometheus_client import Counter


@dataclass(slots=True)
class Context:
    """What belongs to one request, job or command. `deadline` is time.monotonic() seconds."""

    request_id: str = "-"
    tenant_id: str | None = None
    actor: str | None = None
    deadline: float | None = None
    db_statements: int = 0
    db_retries: int = 0
    db_ms: float = 0.0
    db_wait_ms: float = 0.0
    kv_ms: float = 0.0
    idempotency: str | None = None
    code: str | None = None
    holds_connection: bool = False


_context: ContextVar[Context | None] = ContextVar("strongroom_context", default=None)


def current() -> Context:
    """Return the context of this thread's request, job or command; one is made if there is none."""
    context = _context.get()
    return context if context is not None else begin(Context())


def begin(context: Context) -> Context:
    """Make `context` the current one of this thread."""
    _context.set(context)
    return context


# Labels come from closed sets: no tenant, no id (OM1).
db_retries_total = Counter("strongroom_db_retries_total", "Statements sent again", ["reason"])
db_outcome_unknown_total = Counter(
    "strongroom_db_outcome_unknown_total", "Writes whose answer was lost"
)
kv_calls_total = Counter("strongroom_kv_calls_total", "Calls of Redis", ["use", "outcome"])
kv_breaker_opened_total = Counter("strongroom_kv_breaker_opened_total", "Trips", ["cause"])
idempotency_total = Counter("strongroom_idempotency_total", "Keyed requests", ["outcome", "source"])
problems_total = Counter("strongroom_problems_total", "Problem answers", ["code"])
job_runs_total = Counter("strongroom_job_runs_total", "Job runs", ["job", "outcome"])
job_rows_total = Counter("strongroom_job_rows_total", "Rows that jobs changed", ["job"])


def set_up_logging(level: str = "info", *, json_lines: bool = True) -> None:
    """Write one JSON object a line to stderr, UTC times; readable lines on a terminal."""
    renderer: Any = (
        structlog.processors.JSONRenderer() if json_lines else structlog.dev.ConsoleRenderer()
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping()[level.upper()]
        ),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )


log: Any = structlog.get_logger()
