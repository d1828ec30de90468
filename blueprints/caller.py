"""Where a request came from, as sessions and audit rows keep it."""

from __future__ import annotations

from flask import request

from blueprints.exchange import exchange
from observability import redact
from repos.audit import Caller
from services.api_keys import as_inet

USER_AGENT_MAX = 256


def caller() -> Caller:
    """Return who sends this request; a secret in its User-Agent is kept nowhere."""
    agent = request.headers.get("User-Agent")
    return Caller(
        address=as_inet(request.remote_addr or ""),
        user_agent=redact(agent)[:USER_AGENT_MAX] if agent else None,
        request_id=exchange().request_id,
    )
