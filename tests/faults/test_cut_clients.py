"""Clients and workers that go away in the middle, over gunicorn (OS1, P25)."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import struct
import time
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from persistence.embedded_process import wait_until
from tests.blueprints.test_payment_exports import EXPORTS, MANY
from tests.faults.service import PATIENCE_S, Client, Service
from tests.world import PATIENT, new_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from persistence.embedded import EmbeddedServers

# More than all the buffers between a cursor and a client hold: 30 MB.
ROWS = 20_000
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: what close sends, as for a process that died.


@pytest.fixture(scope="module")
def service(
    shared_servers: EmbeddedServers, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """Gunicorn over a book of many payments."""
    assert shared_servers.owner_url is not None
    place = tmp_path_factory.mktemp("cut") / "app"
    with Service(shared_servers, place, None, **PATIENT) as started:
        with psycopg.connect(shared_servers.owner_url, autocommit=True) as conn:
            conn.execute(MANY, [started.user_id, 1, ROWS])
        yield started


@pytest.fixture
def conn(service: Service) -> Iterator[psycopg.Connection[Any]]:
    """A connection that looks at the service's own."""
    with psycopg.connect(service.database_url, autocommit=True) as made:
        yield made


def test_a_cut_connection_frees_the_database(
    service: Service, conn: psycopg.Connection[Any]
) -> None:
    """OS1: however many clients are cut in the middle of an export, the next is served."""

    def running() -> int:
        row = conn.execute(EXPORTS).fetchone()
        assert row is not None
        return int(row[0])

    for _ in range(3):
        with socket.create_connection(("127.0.0.1", service.port)) as cut:
            head = f"GET /v1/payments/export HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {service.api_key}\r\n\r\n"  # noqa: E501
            cut.sendall(head.encode())
            assert cut.recv(12) == b"HTTP/1.1 200"
            assert running() == 1
        assert wait_until(lambda: running() == 0, 60)
    client = Client(service)
    status, length, last = client.export()
    client.close()
    assert status == 200
    assert last["count"] >= ROWS
    assert length > ROWS * 1_000


# --- A capture that waits for its payment -------------------------------------------------------

WAITING = (
    "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    " AND starts_with(query, '-- payments/capture:')"
)
CAPTURES = "SELECT count(*)::int FROM payment_captures WHERE payment_id = %s"


def cut_client(_: Service, sent: socket.socket) -> None:
    """The client dies; nobody tells its request."""
    sent.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    sent.close()


def killed_workers(service: Service, sent: socket.socket) -> None:
    """All workers die, and with them the connection that waits in the database."""
    for pid in service.workers():
        os.kill(pid, signal.SIGKILL)
    sent.close()


@pytest.mark.parametrize("cut", [cut_client, killed_workers], ids=lambda each: each.__name__)
def test_a_capture_that_is_cut_while_it_waits_happens_once(
    service: Service,
    conn: psycopg.Connection[Any],
    cut: Callable[[Service, socket.socket], None],
) -> None:
    """P25: it runs on or it never ran; the same key tells which, and is no other's meanwhile."""
    payment_id, key = authorized(service), new_key()
    path = f"/v1/payments/{payment_id}/capture"
    with psycopg.connect(service.database_url) as other:
        other.execute("SELECT FROM payments WHERE id = %s FOR UPDATE", [payment_id])
        sent = socket.create_connection(("127.0.0.1", service.port))
        sent.sendall(request(service, path, key))
        (pid,) = first_row(conn, WAITING)
        cut(service, sent)
        if cut is cut_client:
            status, _, told = ask(service, path, key)
            assert (status, told["code"]) in IN_FLIGHT
            assert (told["retryable"], told["safe_new_key"]) == (True, False)
        other.rollback()
        assert wait_until(lambda: conn.execute(WAITING).fetchone() is None, PATIENCE_S)
    busy = "SELECT 1 FROM pg_stat_activity WHERE pid = %s AND state = 'active'"
    assert wait_until(lambda: conn.execute(busy, [pid]).fetchone() is None, PATIENCE_S)
    (ran_on,) = first_row(conn, CAPTURES, payment_id)
    status, headers, first = insist(service, path, key)
    assert status == 200
    assert headers["Idempotency-Status"] == ("replayed" if ran_on else "stored")
    assert insist(service, path, key)[2] == first
    assert first_row(conn, CAPTURES, payment_id) == (1,)


# The mark in Redis says so; if it ended meanwhile, the lock does.
IN_FLIGHT = {(409, "idempotency_in_progress"), (503, "contention")}


def authorized(service: Service) -> str:
    client = Client(service)
    body = {"amount_minor": 1_000, "currency": "EUR", "user_id": service.user_id}
    payment_id = str(client.insist("/v1/payments", body)["id"])
    client.insist(f"/v1/payments/{payment_id}/authorize", {})
    client.close()
    return payment_id


def request(service: Service, path: str, key: str) -> bytes:
    """Return a POST as it is sent."""
    lines = [
        f"POST {path} HTTP/1.1",
        "Host: x",
        f"Authorization: Bearer {service.api_key}",
        f"Idempotency-Key: {key}",
        "Content-Type: application/json",
        "Content-Length: 2",
    ]
    return "\r\n".join([*lines, "", "{}"]).encode()


def first_row(conn: psycopg.Connection[Any], query: str, *params: Any) -> tuple[Any, ...]:
    """Return the first row, as soon as there is one."""
    until = time.monotonic() + PATIENCE_S
    while (row := conn.execute(query.encode(), params).fetchone()) is None:
        assert time.monotonic() < until, query
        time.sleep(0.005)
    return tuple(row)


def ask(service: Service, path: str, key: str) -> tuple[int, Any, dict[str, Any]]:
    """Send one request on a connection of its own; return status, headers, JSON."""
    link = http.client.HTTPConnection("127.0.0.1", service.port, timeout=PATIENCE_S)
    headers = {"Authorization": f"Bearer {service.api_key}", "Content-Type": "application/json"}
    link.request("POST", path, "{}", {**headers, "Idempotency-Key": key})
    answer = link.getresponse()
    found = answer.status, answer.headers, json.loads(answer.read())
    link.close()
    return found


def insist(service: Service, path: str, key: str) -> tuple[int, Any, dict[str, Any]]:
    """Repeat a request with its key until it is told, as clients do."""
    until = time.monotonic() + PATIENCE_S
    while True:
        assert time.monotonic() < until, path
        try:
            found = ask(service, path, key)
        except (OSError, http.client.HTTPException):
            continue
        if not found[2].get("retryable"):
            return found
        time.sleep(0.01)
