"""One call of a webhook: to an address that was checked, with a certificate for its name (W3, W4).

The name is resolved anew for each call, every address has to be public, and the connection goes to
a checked address: nothing resolves the name a second time. No redirect is followed and no proxy is
asked. Of the answer only the status is told: who can set a URL must not read what we can reach.
"""

from __future__ import annotations

import contextlib
import email.utils
import logging
import re
import socket
import ssl
import time
from dataclasses import dataclass
from functools import cached_property
from http.client import HTTPException
from threading import Timer
from typing import TYPE_CHECKING, Any

from urllib3.connection import HTTPSConnection
from urllib3.exceptions import HTTPError

from services.webhook_urls import Target, UrlRefused, is_public, read_url

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ANSWER_S = 15.0
CONNECT_S = 5.0
ANSWER_MAX_BYTES = 65_536
RETRY_AFTER_MAX_S = 86_400
# What urllib3, http.client, sockets and TLS raise when the other side does what it should not.
FAILURES = (HTTPError, HTTPException, OSError, ValueError)
# It would log what the other side has sent.
logging.getLogger("urllib3.connection").setLevel(logging.ERROR)
HEADERS = {"Content-Type": "application/json", "User-Agent": "Strongroom-Webhooks/1"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a call ended. `status` None: no answer came, and `error` says why, by a code.

    `retry_after_s`: what the answer asks for, 0 if nothing.
    """

    status: int | None = None
    error: str | None = None
    retry_after_s: int = 0
    duration_ms: int = 0

    @property
    def is_delivered(self) -> bool:
        """Whether the receiver has it."""
        return self.status is not None and 200 <= self.status < 300  # noqa: PLR2004


class NoAnswer(Exception):
    """There was no answer; the text is the code that says why."""


class WebhookCalls:
    """Makes calls. `allow_private`: any address and port may be called, for development."""

    def __init__(
        self,
        *,
        allow_private: bool = False,
        context: ssl.SSLContext | None = None,
        resolve: Callable[..., list[Any]] = socket.getaddrinfo,
        answer_s: float = ANSWER_S,
    ) -> None:
        """`context` says whose certificates are trusted: None is the system's authorities."""
        self._allow_private = allow_private
        self._given_context = context
        self._resolve = resolve
        self._answer_s = answer_s

    @cached_property
    def _context(self) -> ssl.SSLContext:
        """Reads the system's authorities once, and not before the first call."""
        return self._given_context or ssl.create_default_context()

    def check(self, url: str) -> Target:
        """Return what a URL asks for. Raises UrlRefused, for what needs no resolver to refuse."""
        target = read_url(url, any_port=self._allow_private)
        if not self._allow_private and _is_inside(target.host):
            raise UrlRefused("An address of the open Internet.")
        return target

    def post(self, url: str, body: bytes, headers: dict[str, str]) -> Outcome:
        """POST `body`; whatever goes wrong is an outcome."""
        began = time.monotonic()
        status, error, retry_after_s = None, None, 0
        try:
            status, retry_after_s = self._post(url, body, headers, began + self._answer_s)
        except UrlRefused:
            error = "url_refused"
        except NoAnswer as reason:
            error = str(reason)
        except FAILURES as cause:
            error = _said(cause, is_late=time.monotonic() >= began + self._answer_s)
        took_ms = int((time.monotonic() - began) * 1000)
        return Outcome(status=status, error=error, retry_after_s=retry_after_s, duration_ms=took_ms)

    def _post(
        self, url: str, body: bytes, headers: dict[str, str], until: float
    ) -> tuple[int, int]:
        target = read_url(url, any_port=self._allow_private)
        connection = self._connected(target, self._addresses(target), until)
        with contextlib.closing(connection), _cut_off(connection.sock, until):
            connection.request(
                "POST",
                target.path,
                body=body,
                headers={"Host": target.authority, **HEADERS, **headers},
                preload_content=False,
                decode_content=False,
            )
            answer = connection.getresponse()
            if time.monotonic() >= until:  # Cut off within its head, which then looks whole.
                raise NoAnswer("timeout")
            # It has been received now; what else the answer holds only lets the other side end.
            with contextlib.suppress(*FAILURES):
                answer.read(ANSWER_MAX_BYTES)
            return answer.status, _retry_after_s(answer.headers.get("Retry-After"))

    def _addresses(self, target: Target) -> list[str]:
        """Return what the name stands for now. NoAnswer: for nothing, or for a place inside."""
        try:
            found = self._resolve(target.host, target.port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            raise NoAnswer("name_not_resolved") from None
        addresses = list(dict.fromkeys(entry[4][0] for entry in found))
        if not addresses:
            raise NoAnswer("name_not_resolved")
        if not (self._allow_private or all(map(is_public, addresses))):
            raise NoAnswer("address_not_public")
        return addresses

    def _connected(self, target: Target, addresses: list[str], until: float) -> HTTPSConnection:
        """Connect to the first address that answers, with a certificate for the name."""
        for place, address in enumerate(addresses, 1):
            left_s = until - time.monotonic()
            if left_s <= 0:
                break
            connection = HTTPSConnection(
                address,
                target.port,
                timeout=min(CONNECT_S, left_s),
                ssl_context=self._context,
                server_hostname=target.host,
            )
            try:
                connection.connect()
            except (HTTPError, OSError):
                connection.close()
                if place == len(addresses):
                    raise
            else:
                return connection
        raise NoAnswer("timeout")


@contextlib.contextmanager
def _cut_off(sock: Any, until: float) -> Iterator[None]:
    """End the connection at the deadline: a timeout of a socket starts anew with each byte."""
    left_s = max(0.0, until - time.monotonic())
    sock.settimeout(left_s + 1)
    timer = Timer(left_s, _shut_down, [sock])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _shut_down(sock: Any) -> None:
    with contextlib.suppress(OSError):
        # Not the method of the TLS socket: that one would take the session from its reader.
        socket.socket.shutdown(sock, socket.SHUT_RDWR)


def _is_inside(host: str) -> bool:
    """Tell whether a host is a literal address that is not public, in any writing, or localhost."""
    if re.fullmatch(r"(.*\.)?localhost\.?", host, re.IGNORECASE):
        return True
    try:
        found = socket.getaddrinfo(host, None, flags=socket.AI_NUMERICHOST)
    except OSError:
        return False
    return not all(is_public(str(entry[4][0])) for entry in found)


def _said(cause: Exception, *, is_late: bool) -> str:
    """Return the code of what went wrong; no text of the other side comes through."""
    chain = (cause, cause.__cause__, cause.__context__)
    if is_late or any(isinstance(each, TimeoutError) for each in chain):
        return "timeout"
    if any(isinstance(each, ssl.SSLError) for each in chain):
        return "tls_failed"
    if any(isinstance(each, ConnectionError | OSError) for each in chain):
        return "connection_failed"
    return "answer_unreadable"


def _retry_after_s(header: str | None) -> int:
    """Return the wait that the answer asks for, in seconds or as a date; 0 if it cannot be read."""
    if header is None:
        return 0
    if re.fullmatch(r"[0-9]{1,9}", header.strip()):
        wait_s = float(header)
    else:
        try:
            wait_s = email.utils.parsedate_to_datetime(header).timestamp() - time.time()
        except (ValueError, OverflowError):
            return 0
    return int(min(max(wait_s, 0), RETRY_AFTER_MAX_S))
