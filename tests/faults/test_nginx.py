"""deploy/nginx.conf in a real nginx before a real gunicorn: what it passes on, bounds, refuses."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import ssl
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from persistence.embedded_process import alive, wait_until
from tests.faults.front import HOST, Fronted
from tests.faults.load import Load
from tests.faults.service import Client, children_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from persistence.embedded import EmbeddedServers

pytestmark = pytest.mark.needs("nginx")
RELOADS = int(os.environ.get("FAULT_RELOADS", "1"))


@pytest.fixture(scope="module")
def front(
    shared_servers: EmbeddedServers, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Fronted]:
    """One start for all, since a start takes seconds."""
    log = tmp_path_factory.mktemp("front") / "app"
    with Fronted(shared_servers, log, LOG_LEVEL="info") as started:
        yield started


Answer = tuple[int, dict[str, str], bytes]


def ask(
    front: Fronted, path: str, method: str = "GET", body: bytes = b"", **headers: str
) -> Answer:
    """Ask by a connection of its own; an underscore in a header's name is a dash."""
    with contextlib.closing(front.connection()) as connection:
        return _on(connection, path, method, body, **headers)


def _on(
    connection: http.client.HTTPConnection, path: str, method: str, body: bytes, **headers: str
) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, body or None, named)
    return _told(connection)


def _told(connection: http.client.HTTPConnection) -> Answer:
    answer = connection.getresponse()
    return answer.status, dict(answer.getheaders()), answer.read()


def code(answer: Answer) -> tuple[int, str]:
    assert answer[1]["Content-Type"] == "application/problem+json"
    return answer[0], json.loads(answer[2])["code"]


# --- What is passed on --------------------------------------------------------------------------


def test_forged_forwarding_headers_are_replaced(front: Fronted) -> None:
    """OR5, OL2: the service believes one proxy, and that proxy says what it saw itself."""
    answer = ask(
        front,
        "/v1/payments?from=nginx",
        X_Forwarded_For="6.6.6.6",
        X_Forwarded_Host="evil.example",
        X_Forwarded_Proto="http",
        X_Request_ID="forged-request-id",
        X_Request_Start="t=1.0",
    )
    assert code(answer) == (401, "unauthenticated")
    assert answer[1]["X-Request-ID"] != "forged-request-id"
    assert answer[1]["Strict-Transport-Security"]
    line = front.line(answer[1]["X-Request-ID"])
    assert line["client_ip"] == "127.0.0.1"
    assert line["queue_ms"] < 60_000


def test_connections_to_the_service_are_kept(front: Fronted) -> None:
    """Section 10: 50 requests of one client need one connection behind nginx too."""
    before = _connections(front)
    with contextlib.closing(front.connection()) as connection:
        answers = [_on(connection, "/livez", "GET", b"") for _ in range(50)]
    assert {status for status, _, _ in answers} == {200}
    assert len(_connections(front) - before) <= 1
    assert _connections(front)


def _connections(front: Fronted) -> set[str]:
    """Return the inodes of the service's accepted connections, as the kernel lists them."""
    rows = [row.split() for row in Path("/proc/net/unix").read_text().splitlines()]
    return {row[6] for row in rows if row[-1] == str(front.socket) and row[5] == "03"}


# --- What is bounded and refused ----------------------------------------------------------------


def test_a_large_body_is_refused_by_nginx(front: Fronted) -> None:
    """AE7, AF4; batches may be larger."""
    large = b"x" * 70_000
    assert code(ask(front, "/v1/payments", "POST", large)) == (413, "body_too_large")
    assert ask(front, "/v1/ledger/transactions/batch", "POST", large)[0] != 413


def test_oversized_headers_are_refused(front: Fronted) -> None:
    """AF4: by nginx what it does not take, by gunicorn what is too much in number."""
    assert code(ask(front, "/livez", X_Large="x" * 9_000)) == (431, "headers_too_large")
    assert code(ask(front, "/livez?" + "x" * 9_000)) == (414, "request_line_too_long")
    many: Any = {f"X_Number_{number}": "1" for number in range(80)}
    assert code(ask(front, "/livez", **many)) == (431, "headers_too_large")
    assert ask(front, "/livez")[0] == 200


def test_metrics_are_not_for_everybody(front: Fronted) -> None:
    """OH2: of health one word."""
    assert ask(front, "/metrics")[0] == 404
    assert ask(front, "/healthz")[2] in {b'{"status":"pass"}', b'{"status":"warn"}'}


def test_plain_http_and_other_hosts_get_nothing(front: Fronted) -> None:
    """Section 10."""
    plain = http.client.HTTPConnection("127.0.0.1", front.plain_port, timeout=30)
    with contextlib.closing(plain):
        plain.request("GET", "/livez")
        assert plain.getresponse().status == 403
    with pytest.raises(ssl.SSLError):
        front.handshake("evil.example")


def test_many_logins_from_one_address_are_refused_by_nginx(front: Fronted) -> None:
    """OR1: 10 a second and 20 at once; others are served meanwhile."""
    connections = [front.connection() for _ in range(60)]
    for connection in connections:
        connection.connect()
    for connection in connections:  # All at once, so that no speed of ours matters.
        connection.request("POST", "/v1/auth/login", b"{}")
    found = [_told(connection) for connection in connections]
    for connection in connections:
        connection.close()
    refused = [answer for answer in found if b"urn:nginx" in answer[2]]
    assert {code(answer) for answer in refused} == {(429, "rate_limited")}
    assert refused[0][1]["Retry-After"] == "1"
    assert ask(front, "/livez")[0] == 200


# --- Slow clients -------------------------------------------------------------------------------


def test_slow_clients_reach_nobody_but_nginx(front: Fronted) -> None:
    """F11: 100 half headers and 100 half bodies, ten times our threads, cost a connection each."""
    half = f"POST /v1/payments HTTP/1.1\r\nHost: {HOST}\r\nContent-Le".encode()
    slow = [front.trickle(half) for _ in range(100)]
    slow += [front.trickle(half + b"ngth: 900\r\n\r\n{") for _ in range(100)]
    client = Client(front)
    for number in range(5):
        client.pay(100 + 2 * number)
    client.close()
    assert len(client.acknowledged) == 10
    # Each of them would be one more; what nginx keeps idle, 16 a process, depends on the CPUs.
    assert len(_connections(front)) < 100
    for each in slow:
        each.close()


def test_connections_of_one_address_are_bounded(front: Fronted) -> None:
    """F11: 200 with a request under way; one more is refused, and none is once they are gone."""
    half = f"POST /v1/payments HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 60000\r\n\r\n{{".encode()
    slow: list[ssl.SSLSocket] = []
    for number in range(200):
        slow.append(front.trickle(half))
        if number % 5 == 0:
            _go_on(slow)
    assert wait_until(lambda: _go_on(slow) and ask(front, "/livez")[0] == 429, 60)
    assert code(ask(front, "/livez")) == (429, "rate_limited")
    for each in slow:
        each.close()
    assert wait_until(lambda: ask(front, "/livez")[0] == 200, 60)


def _go_on(slow: list[ssl.SSLSocket]) -> bool:
    """Send one byte more of each: nginx gives up who is silent for 5 s, which is soon over."""
    for each in slow:
        each.sendall(b" ")
    return True


def test_a_body_that_does_not_come_is_given_up(front: Fronted) -> None:
    """F11: after 5 s, by nginx."""
    half = f"POST /v1/payments HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 9\r\n\r\n{{".encode()
    conn = front.trickle(half)
    assert conn.recv(1000) == b"" or b" 408 " in conn.recv(1000)
    conn.close()


# --- Planned work under load --------------------------------------------------------------------


@pytest.mark.timeout(600)  # Two starts, on a machine that may be busy.
def test_reloads_under_load_fail_nobody(front: Fronted) -> None:
    """F12, LV2, OS4: HUP; the old workers serve until the new ones can."""
    with Load(front) as load:
        for _ in range(RELOADS):
            load.more(50)
            before = set(front.workers())
            os.kill(front.pid, signal.SIGHUP)
            assert wait_until(lambda old=before: not old & set(front.workers()), 150)  # type: ignore[misc]
        load.more(50)
    _assert_nobody_failed(front, load, f"{RELOADS} reloads")


@pytest.mark.timeout(600)  # Two starts, on a machine that may be busy.
def test_a_rolling_restart_under_load_fails_nobody(front: Fronted) -> None:
    """F12, LV2: USR2 starts a second master on the same socket, TERM ends the first."""
    with Load(front) as load:
        load.more(50)
        old = front.pid
        front.pid = _second_master(front)
        load.more(50)
        os.kill(old, signal.SIGTERM)
        assert wait_until(lambda: not alive(old), 150)
        load.more(50)
    _assert_nobody_failed(front, load, "a rolling restart")


def _second_master(front: Fronted) -> int:
    """Return the pid of the new master, once it has as many workers ready as the old one."""
    workers = set(front.workers())
    goal = _ready(front) + len(workers)
    os.kill(front.pid, signal.SIGUSR2)
    assert wait_until(lambda: _ready(front) == goal, 150), front.output.read_text()[-4000:]
    (new,) = set(children_of(front.pid)) - workers
    return new


def _ready(front: Fronted) -> int:
    return sum(line["event"].startswith("Worker ready") for line in front.lines())


def _assert_nobody_failed(front: Fronted, load: Load, event: str) -> None:
    sys.stderr.write(f"{event}: {load.answered} requests, {len(load.failed)} failed\n")
    assert load.failed == [], (front.folder / "error.log").read_text()[-3000:]
