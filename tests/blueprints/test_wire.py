"""What gunicorn refuses before there is a request, over a real socket to a real gunicorn."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from blueprints import wire
from persistence.embedded_process import wait_until
from tests.conftest import ROOT
from tests.faults.service import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flask import Flask

    from tests.blueprints.things import Framed

PATIENCE_S = 60.0


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Port of a gunicorn without stores: nothing that is asked here reaches them."""
    port, var_dir = free_port(), tmp_path_factory.mktemp("refusals")
    environ = {
        **os.environ,
        "BIND": f"127.0.0.1:{port}",
        "DATABASE_URL": f"postgresql://u@/db?host={var_dir}",
        "REDIS_URL": "off",
        "VAR_DIR": str(var_dir / "var"),
        "WEB_CONCURRENCY": "1",
        "LOG_FORMAT": "json",
    }
    command = [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py", "wsgi:app"]
    log = var_dir / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(command, cwd=ROOT, env=environ, stdout=out, stderr=out)
    assert wait_until(lambda: answers(port), PATIENCE_S), log.read_text()
    yield port
    process.terminate()
    process.wait(PATIENCE_S)


def answers(port: int) -> bool:
    try:
        return ask(port, b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")[0] == 200
    except OSError:
        return False


def ask(port: int, raw: bytes) -> tuple[int, dict[str, str], bytes]:
    """Send bytes; return status, headers and body of the answer."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as conn:
        conn.sendall(raw)
        received = b""
        while chunk := conn.recv(65536):
            received += chunk
    head, _, body = received.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    return int(status.split()[1]), headers, body


@pytest.mark.parametrize(
    ("raw", "status", "code"),
    [
        (b"NONSENSE\r\n\r\n", 400, "invalid_request"),
        (b"GET /livez HTTP/9.9\r\n\r\n", 400, "invalid_request"),
        (b"GET /livez HTTP/1.1\r\nBad Header: x\r\n\r\n", 400, "invalid_request"),
        (b"GET /" + b"a" * 5000 + b" HTTP/1.1\r\n\r\n", 414, "request_line_too_long"),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * 9000 + b"\r\n\r\n", 431, "headers_too_large"),
        (b"GET / HTTP/1.1\r\n" + b"X: 1\r\n" * 70 + b"\r\n", 431, "headers_too_large"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_read_is_a_problem_document(
    port: int, raw: bytes, status: int, code: str
) -> None:
    """AF4: one shape for every refusal, and nothing of what was sent comes back."""
    found_status, headers, body = ask(port, raw)
    found = json.loads(body)
    assert (found_status, found["code"], found["status"]) == (status, code, status)
    assert headers["Content-Type"] == "application/problem+json"
    assert headers["X-Request-ID"] == found["request_id"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Connection"] == "close"
    assert int(headers["Content-Length"]) == len(body)
    assert b"NONSENSE" not in body
    assert b"aaaa" not in body


class LimitRequestLine(Exception):
    """Named like gunicorn's."""


class InvalidResponseHeader(LimitRequestLine):
    """Named like gunicorn's for what the application sent."""


def test_a_refusal_has_its_line_in_the_log(framed: Framed) -> None:
    """OL1."""
    app: Flask = framed.app
    answer = wire.refusal(app, LimitRequestLine("secret"), "192.0.2.7")
    assert answer is not None
    assert answer.startswith(b"HTTP/1.1 414 ")
    (line,) = framed.lines()
    assert (line["status"], line["code"]) == (414, "request_line_too_long")
    assert (line["client_ip"], line["route"]) == ("192.0.2.7", None)


@pytest.mark.parametrize("exc", [ZeroDivisionError(), InvalidResponseHeader()])
def test_other_failures_are_left_to_gunicorn(framed: Framed, exc: Exception) -> None:
    assert wire.refusal(framed.app, exc, "") is None
