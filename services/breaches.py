"""Asks a list of leaked passwords by the first 5 hex digits of a SHA-1 (A22).

The list learns one of a million prefixes, never the password. Without an answer in time the
password passes: a list that is away must not stop anybody from changing a password.
"""

from __future__ import annotations

import hashlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from typing import TYPE_CHECKING
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from observability import log, password_breach_checks_total

if TYPE_CHECKING:
    from collections.abc import Callable

TIMEOUT_S = 1.0
PREFIX_DIGITS = 5
ANSWER_MAX_BYTES = 1_048_576  # A range has about 40 kB.
FAILURES_MAX = 3  # In a row, then nobody is asked for a while.
OPEN_S = 30.0


class Breaches:
    """The range query of haveibeenpwned.com, or of a copy that answers alike at `url`."""

    def __init__(self, url: str, clock: Callable[[], float] = time.monotonic) -> None:
        """`url` is followed by the 5 digits; `clock` counts seconds."""
        self._url = url
        self._clock = clock
        self._lock = threading.Lock()
        self._failures = 0
        self._open_until = 0.0
        # A thread of its own bounds the whole question: no time limit of a socket covers DNS.
        self._threads = ThreadPoolExecutor(2, "breaches")

    def holds(self, password: str) -> bool:
        """Tell whether the list holds the password; False too if it does not say so in 1 s."""
        digest = hashlib.sha1(password.encode(), usedforsecurity=False).hexdigest().upper()
        answer = self._ask(digest[:PREFIX_DIGITS])
        if answer is None:
            password_breach_checks_total.labels("unanswered").inc()
            return False
        found = _count(answer, digest[PREFIX_DIGITS:]) > 0
        password_breach_checks_total.labels("found" if found else "clear").inc()
        return found

    def _ask(self, prefix: str) -> str | None:
        if self._clock() < self._open_until:
            return None
        question = self._threads.submit(self._fetch, prefix)
        try:
            answer = question.result(TIMEOUT_S)
        except (OSError, HTTPException, ValueError) as error:  # TimeoutError is an OSError.
            question.cancel()
            self._note(type(error).__name__)
            return None
        self._note(None)
        return answer

    def _fetch(self, prefix: str) -> str:
        # Add-Padding hides from onlookers how long the answer is; padded lines count 0.
        request = Request(self._url + prefix, headers={"Add-Padding": "true"})  # noqa: S310
        try:
            with urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310  # See config.py.
                return str(answer.read(ANSWER_MAX_BYTES).decode("ascii"))
        except HTTPError as error:
            error.close()  # It is an answer too, and holds its connection.
            raise

    def _note(self, failure: str | None) -> None:
        with self._lock:
            self._failures = self._failures + 1 if failure else 0
            if self._failures >= FAILURES_MAX:
                self._failures = 0
                self._open_until = self._clock() + OPEN_S
                log.warning("breaches.not_asked", seconds=OPEN_S, cause=failure)


def _count(answer: str, suffix: str) -> int:
    """Return how often the password leaked, by the line `SUFFIX:COUNT`; 0 without one."""
    for line in answer.splitlines():
        name, _, count = line.partition(":")
        if name.strip().upper() == suffix and count.strip().isdecimal():
            return int(count)
    return 0
