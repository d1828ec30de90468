"""kill -9 of the worker in the middle of a refresh: whoever asks again goes on (section 16, A30).

FAULT_KILLS sets the number of kills: 200 in `make faults`; FAULT_SEED repeats their moments.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import sys
import time
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from tests.faults.service import PATIENCE_S, Service

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from persistence.embedded import EmbeddedServers

KILLS = int(os.environ.get("FAULT_KILLS", "2"))
SEED = int(os.environ.get("FAULT_SEED", str(random.randrange(10**6))))
WHO = {"email": "ada@example.org", "password": "correct horse battery staple"}
SETTINGS = {
    "WEB_CONCURRENCY": "1",  # So it is the one that serves.
    "REFRESH_GRACE_S": "300",
    "RATE_LIMIT_ENABLED": "false",
    "LOGIN_IP_PER_MINUTE": "100000",
    "ARGON2_MEMORY_KIB": "8192",
    "ARGON2_TIME_COST": "1",
    "JWT_ALG": "EdDSA",
}


@pytest.fixture
def service(shared_servers: EmbeddedServers, tmp_path: Path) -> Iterator[Service]:
    """One worker, without Redis: PostgreSQL alone knows what was done."""
    sys.stderr.write(f"FAULT_SEED={SEED}\n")
    with Service(shared_servers, tmp_path / "app", "off", **SETTINGS) as started:
        yield started


def sent(service: Service, path: str, body: dict[str, Any]) -> http.client.HTTPConnection:
    """Send a request, and read no answer yet. A busy machine may take its time to answer."""
    link = http.client.HTTPConnection("127.0.0.1", service.port, timeout=PATIENCE_S)
    link.request("POST", f"/v1/auth{path}", json.dumps(body), {"Content-Type": "application/json"})
    return link


def answer(link: http.client.HTTPConnection) -> dict[str, Any] | None:
    """Return the tokens of an answer; None: it was cut off, or says "not now"."""
    try:
        response = link.getresponse()
        found: dict[str, Any] = json.loads(response.read())
    except (OSError, http.client.HTTPException):
        return None
    finally:
        link.close()
    assert response.status < 300 or found["retryable"], found
    return found if response.status < 300 else None


def insisted(service: Service, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """Send the same until it is answered."""
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        try:
            found = answer(sent(service, path, body))
        except OSError:
            found = None
        if found is not None:
            return found
        time.sleep(0.01)
    raise AssertionError(f"no answer within {PATIENCE_S} s: {path}")


def refreshed(service: Service, tokens: dict[str, Any]) -> dict[str, Any]:
    return insisted(service, "/refresh", {"refresh_token": tokens["refresh_token"]})


def test_a_refresh_that_was_killed_is_asked_for_again(service: Service) -> None:
    """A30, A31: the same successor, whether answer or commit was cut off; one generation."""
    draw, cut = random.Random(SEED), 0
    with contextlib.closing(sent(service, "/register", WHO)) as link:
        link.getresponse().read()
    for _ in range(KILLS):
        first = insisted(service, "/login", WHO)
        began = time.perf_counter()
        second = refreshed(service, first)
        took_s = time.perf_counter() - began
        link = sent(service, "/refresh", {"refresh_token": second["refresh_token"]})
        time.sleep(draw.uniform(0, took_s))
        service.kill_worker(0)
        third = answer(link)
        cut += third is None
        again = refreshed(service, second)
        assert third is None or again["refresh_token"] == third["refresh_token"]
        refreshed(service, again)
    sys.stderr.write(f"{cut} of {KILLS} answers were cut off\n")
    with psycopg.connect(service.database_url) as conn:
        rows = conn.execute("SELECT generation, revoked_reason FROM auth_sessions").fetchall()
    # The first is the registration's; beyond MAX_SESSIONS_PER_USER the oldest are evicted.
    assert {generation for generation, _ in rows} - {0} == {3}
    assert {reason for _, reason in rows} <= {None, "evicted"}
