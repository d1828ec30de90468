"""The list of leaks is asked by five digits, for a second, and never needed (A22)."""

from __future__ import annotations

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from observability import password_breach_checks_total
from services.breaches import FAILURES_MAX, OPEN_S, Breaches

if TYPE_CHECKING:
    from collections.abc import Iterator

LEAKED = "correct horse battery staple"
DIGEST = hashlib.sha1(LEAKED.encode(), usedforsecurity=False).hexdigest().upper()


class List(ThreadingHTTPServer):
    """A list of leaks; `answer` is sent to everybody, None: nobody is answered."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Asked)
        self.answer: str | None = ""
        self.status = 200
        self.asked: list[tuple[str, str | None]] = []
        self.silence = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/range/"


class Asked(BaseHTTPRequestHandler):
    server: List

    def do_GET(self) -> None:
        self.server.asked.append((self.path, self.headers["Add-Padding"]))
        if self.server.answer is None:
            self.server.silence.wait(30)
            return
        self.send_response(self.server.status)
        self.end_headers()
        self.wfile.write(self.server.answer.encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def leaks() -> Iterator[List]:
    server = List()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.silence.set()
    server.shutdown()
    server.server_close()
    thread.join()


def counted(outcome: str) -> float:
    return float(password_breach_checks_total.labels(outcome)._value.get())


def test_a_leaked_password_is_found_by_five_digits(leaks: List) -> None:
    """A22: nothing else leaves the process."""
    leaks.answer = f"{'0' * 35}:3\r\n{DIGEST[5:]}:42\r\n"
    before = counted("found")
    assert Breaches(leaks.url).holds(LEAKED)
    assert leaks.asked == [(f"/range/{DIGEST[:5]}", "true")]
    assert counted("found") == before + 1


@pytest.mark.parametrize(
    "answer", ["", f"{'0' * 35}:3\r\n", f"{DIGEST[5:]}:0\r\n", f"{DIGEST[5:]}", "<html>:1"]
)
def test_what_is_not_in_the_answer_has_not_leaked(leaks: List, answer: str) -> None:
    """A22: a count of 0 is padding."""
    leaks.answer = answer
    before = counted("clear")
    assert not Breaches(leaks.url).holds(LEAKED)
    assert counted("clear") == before + 1


def test_without_an_answer_the_password_passes_and_is_counted(leaks: List) -> None:
    """A22: silence, an error, no server, no HTTP."""
    before = counted("unanswered")
    leaks.answer = None
    assert not Breaches(leaks.url).holds(LEAKED)
    leaks.answer, leaks.status = f"{DIGEST[5:]}:1", 500
    assert not Breaches(leaks.url).holds(LEAKED)
    leaks.answer, leaks.status = f"{DIGEST[5:]}:1\nü", 200
    assert not Breaches(leaks.url).holds(LEAKED)
    assert not Breaches("http://127.0.0.1:1/").holds(LEAKED)
    assert counted("unanswered") == before + 4


def test_a_list_that_is_away_is_left_alone_for_a_while(leaks: List) -> None:
    """A22: the breaker."""
    now = 0.0
    breaches = Breaches(leaks.url, lambda: now)
    leaks.answer, leaks.status = f"{DIGEST[5:]}:1", 503
    for _ in range(FAILURES_MAX + 5):
        assert not breaches.holds(LEAKED)
    assert len(leaks.asked) == FAILURES_MAX
    now, leaks.status = OPEN_S, 200
    assert breaches.holds(LEAKED)
