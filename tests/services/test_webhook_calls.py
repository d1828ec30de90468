"""One call of a webhook: to whom, how long, and what is told of the answer."""

from __future__ import annotations

import email.utils
import socket
import time
from typing import TYPE_CHECKING, Any

import pytest

from services.webhook_calls import WebhookCalls
from services.webhook_urls import UrlRefused, is_public, read_url
from tests.receivers import Authority, Receiver, receiving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from http.server import BaseHTTPRequestHandler
    from pathlib import Path

BODY = b'{"type":"payment.created"}'
HEADERS = {"webhook-id": "1-1"}

# Addresses that are not the open Internet's, in the forms in which they hide.
INSIDE = [
    "127.0.0.1", "127.255.255.254", "0.0.0.1", "0.1.2.3", "10.0.0.1", "10.255.255.255",
    "100.64.0.1", "100.127.255.255", "169.254.169.254", "169.254.0.1", "172.16.0.1",
    "172.31.255.255", "192.0.0.1", "192.0.0.170", "192.0.2.1", "192.88.99.1", "192.168.0.1",
    "192.168.255.255", "198.18.0.1", "198.19.255.255", "198.51.100.7", "203.0.113.7",
    "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255", "::1", "::", "::127.0.0.1",
    "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::ffff:0:127.0.0.1",
    "64:ff9b::127.0.0.1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "100::1", "2001::1",
    "2001:0:7f00:1::1", "2001:2::1", "2001:db8::1", "2001:10::1", "2002:7f00:1::1",
    "2002:a00:1::1", "2002:c0a8:101::1", "2620:4f:8000::1", "3fff::1", "5f00::1", "fc00::1",
    "fd12:3456::1", "fe80::1", "fe80::a9fe:a9fe", "fec0::1", "ff02::1", "ff0e::1",
]  # fmt: skip
# What resolvers of names take for addresses too.
WRITTEN = [
    "127.1", "2130706433", "0x7f000001", "0177.0.0.1",
    "0x7f.0.0.1", "localhost", "LOCALHOST", "a.localhost",
]  # fmt: skip
OUTSIDE = [
    "1.1.1.1", "8.8.8.8", "93.184.216.34", "172.15.0.1", "172.32.0.1", "192.167.255.255",
    "223.255.255.255", "100.63.255.255", "2606:4700:4700::1111", "2a00:1450:4001:800::200e",
    "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1",
]  # fmt: skip


def literal(address: str) -> str:
    return f"https://[{address}]/" if ":" in address else f"https://{address}/"


@pytest.fixture
def connects(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What was tried to be connected to."""
    tried: list[Any] = []

    def connect(_: socket.socket, address: Any) -> None:
        tried.append(address)
        raise ConnectionRefusedError

    monkeypatch.setattr(socket.socket, "connect", connect)
    return tried


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def receiver(authority: Authority) -> Iterator[Receiver]:
    with receiving(authority) as made:
        yield made


@pytest.fixture
def calls(authority: Authority) -> WebhookCalls:
    """Calls that may go to this machine, and trust the authority."""
    return WebhookCalls(allow_private=True, context=authority.trusting())


def to(*addresses: str) -> Callable[..., list[Any]]:
    """Return a resolver for which every name stands for these."""
    return lambda _host, port, **_: [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses
    ]


# --- Where it may go ----------------------------------------------------------------------------


def test_there_are_sixty_addresses_to_try() -> None:
    """W4."""
    assert len(set(INSIDE)) + len(WRITTEN) >= 60


@pytest.mark.parametrize("address", INSIDE)
def test_a_name_that_stands_for_an_inside_address_is_not_called(
    connects: list[Any], address: str
) -> None:
    """W4: 0 connects; nor if only one of its addresses is inside, wherever it stands."""
    for addresses in ([address], ["1.1.1.1", address], [address, "1.1.1.1"]):
        calls = WebhookCalls(resolve=to(*addresses))
        assert calls.post("https://shop.example.org/", BODY, {}).error == "address_not_public"
    assert connects == []


@pytest.mark.parametrize("host", [*INSIDE, *WRITTEN])
def test_an_inside_address_in_the_url_is_refused_at_once(connects: list[Any], host: str) -> None:
    """W4: before it is stored, in every writing; and if it were stored it would not be called."""
    calls = WebhookCalls()
    with pytest.raises(UrlRefused):
        calls.check(literal(host))
    assert calls.post(literal(host), BODY, {}).error in {
        "address_not_public",
        "name_not_resolved",
        "url_refused",
    }
    assert connects == []


@pytest.mark.parametrize("address", OUTSIDE)
def test_an_address_of_the_open_internet_is_called(connects: list[Any], address: str) -> None:
    """W4: also behind 6to4, NAT64 and mapping, if what they stand for is."""
    assert is_public(address)
    outcome = WebhookCalls(resolve=to(address)).post("https://shop.example.org/", BODY, {})
    assert outcome.error == "connection_failed"
    assert [each[:2] for each in connects] == [(address, 443)]


def test_what_is_no_address_is_not_public() -> None:
    """W4."""
    assert not is_public("shop.example.org")
    assert not is_public("fe80::1%eth0")


@pytest.mark.parametrize(
    ("url", "rule"),
    [
        ("http://shop.example.org/", "https"),
        ("ftp://shop.example.org/", "https"),
        ("HTTPS://shop.example.org/", "https"),
        ("https:/shop.example.org/", "https"),
        ("//shop.example.org/", "https"),
        ("https://shop.example.org/ x", "visible"),
        ("https://shop.example.org\\@127.0.0.1/", "visible"),
        ("https://shöp.example.org/", "visible"),
        ("https://shop.example.org/#part", "visible"),
        ("https://shop.example.org/\n", "visible"),
        ("https://ada@shop.example.org/", "user"),
        ("https://ada:secret@shop.example.org/", "user"),
        ("https://@shop.example.org/", "user"),
        ("https://shop.example.org:80/", "Port"),
        ("https://shop.example.org:22/", "Port"),
        ("https://shop.example.org:0/", "Port"),
        ("https://shop.example.org:99999/", "port"),
        ("https://shop.example.org:x/", "port"),
        ("https://", "https"),
        ("https:///path", "host"),
        ("https://[::1", "host"),
        ("https://[1.2.3.4]/", "host"),
        ("https://[v1.x]/", "host"),
        ("https://a..b/", "host"),
        ("https://-%41.example.org/", "host"),
        (f"https://{'a' * 64}.example.org/", "host"),
        (f"https://shop.example.org/{'a' * 2048}", "2048"),
    ],
)
def test_a_url_of_another_form_is_refused(url: str, rule: str) -> None:
    """W4: https, port 443 or 8443, no user information, 2048 characters, one reading."""
    with pytest.raises(UrlRefused, match=rule):
        read_url(url)


def test_a_url_is_read_once() -> None:
    """W4: what was checked is what is called."""
    read = read_url("https://Shop.example.org:8443/a/b;c?d=e&f=%41")
    assert (read.host, read.port, read.path) == ("shop.example.org", 8443, "/a/b;c?d=e&f=%41")
    assert read.authority == "shop.example.org:8443"
    assert read_url("https://shop.example.org").path == "/"
    assert read_url("https://[2606:4700::1]/").authority == "[2606:4700::1]"
    longest = f"https://shop.example.org/{'a' * (2048 - 25)}"
    assert read_url(longest).path.endswith("aaa")


def test_any_port_is_only_for_development() -> None:
    assert WebhookCalls(allow_private=True).check("https://localhost:4711/").port == 4711


# --- How it goes --------------------------------------------------------------------------------


def test_a_call_sends_body_and_headers(receiver: Receiver, calls: WebhookCalls) -> None:
    """W2, W3: 2xx delivers."""
    outcome = calls.post(receiver.url + "?a=b", BODY, HEADERS)
    assert (outcome.status, outcome.error, outcome.is_delivered) == (204, None, True)
    (request,) = receiver.received
    assert (request.path, request.body) == ("/hook?a=b", BODY)
    assert request.headers["host"] == f"localhost:{receiver.port}"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["user-agent"].startswith("Strongroom-Webhooks/")
    assert request.headers["webhook-id"] == "1-1"


def test_the_name_is_resolved_once(receiver: Receiver, authority: Authority) -> None:
    """W4: the checked address is connected to, whatever the name would stand for a moment later."""
    asked: list[str] = []

    def rebinding(host: str, port: int, **_: Any) -> list[Any]:
        asked.append(host)
        address = "127.0.0.1" if len(asked) == 1 else "127.0.0.2"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    calls = WebhookCalls(allow_private=True, context=authority.trusting(), resolve=rebinding)
    assert calls.post(receiver.url, BODY, {}).is_delivered
    assert asked == ["localhost"]


def test_the_next_address_is_tried_if_one_does_not_answer(
    receiver: Receiver, authority: Authority
) -> None:
    calls = WebhookCalls(
        allow_private=True, context=authority.trusting(), resolve=to("127.0.0.99", "127.0.0.1")
    )
    assert calls.post(receiver.url, BODY, {}).is_delivered


def test_a_certificate_for_another_name_is_refused(
    authority: Authority, calls: WebhookCalls
) -> None:
    """W4: it is looked at by the URL's name, not by the address."""
    with receiving(authority, "127.0.0.1") as other:
        assert calls.post(other.url, BODY, {}).error == "tls_failed"
        assert other.received == []


def test_a_certificate_of_an_unknown_authority_is_refused(receiver: Receiver) -> None:
    """W4."""
    outcome = WebhookCalls(allow_private=True).post(receiver.url, BODY, {})
    assert (outcome.status, outcome.error) == (None, "tls_failed")
    assert receiver.received == []


def test_a_redirect_is_not_followed(
    receiver: Receiver, authority: Authority, calls: WebhookCalls
) -> None:
    """W4: its status is told, and nobody is called."""
    with receiving(authority) as other:
        receiver.answer = lambda _: (302, {"Location": other.url})
        outcome = calls.post(receiver.url, BODY, {})
        assert (outcome.status, outcome.is_delivered) == (302, False)
        assert other.connections == 0


def test_no_proxy_is_asked(
    receiver: Receiver, calls: WebhookCalls, monkeypatch: pytest.MonkeyPatch
) -> None:
    """W4: whatever the environment says."""
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert calls.post(receiver.url, BODY, {}).is_delivered


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("120", 120), ("0", 0), ("999999999", 86_400), ("soon", 0), ("-5", 0), ("1.5", 0)],
)
def test_an_answer_may_ask_for_time(
    receiver: Receiver, calls: WebhookCalls, header: str, seconds: int
) -> None:
    """W3: Retry-After up to 24 h."""
    receiver.answer = lambda _: (503, {"Retry-After": header})
    outcome = calls.post(receiver.url, BODY, {})
    assert (outcome.status, outcome.retry_after_s) == (503, seconds)


def test_an_answer_may_ask_for_time_by_a_date(receiver: Receiver, calls: WebhookCalls) -> None:
    """W3."""
    receiver.answer = lambda _: (
        429,
        {"Retry-After": email.utils.formatdate(time.time() + 3600, usegmt=True)},
    )
    assert 3500 < calls.post(receiver.url, BODY, {}).retry_after_s <= 3600


def dripping(chunk: bytes) -> Callable[[BaseHTTPRequestHandler], None]:
    """Return what sends a little at a time for ever, so that no timeout of a read is reached."""

    def handle(handler: BaseHTTPRequestHandler) -> None:
        while True:
            handler.wfile.write(chunk)
            time.sleep(0.02)

    return handle


def test_a_call_ends_at_its_time_whatever_drips(receiver: Receiver, authority: Authority) -> None:
    """W3: 15 s in all, not 15 s for each byte."""
    calls = WebhookCalls(allow_private=True, context=authority.trusting(), answer_s=0.3)
    for chunk in (b"H", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: y\r\n"):
        receiver.handle = dripping(chunk)
        outcome = calls.post(receiver.url, BODY, {})
        assert (outcome.status, outcome.error) == (None, "timeout"), chunk


def test_an_answer_is_read_up_to_64_kib(receiver: Receiver, calls: WebhookCalls) -> None:
    """W4: the rest is left; the status counts."""
    sent: list[int] = []

    def handle(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        try:
            while True:
                handler.wfile.write(bytes(4096))
                sent.append(4096)
        except OSError:
            return

    receiver.handle = handle
    outcome = calls.post(receiver.url, BODY, {})
    assert outcome.is_delivered
    assert sum(sent) < 50_000_000


def test_an_answer_that_breaks_off_after_its_head_counts(
    receiver: Receiver, calls: WebhookCalls
) -> None:
    """W3: the receiver had it all when it said 200."""

    def handle(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
        handler.close_connection = True

    receiver.handle = handle
    assert calls.post(receiver.url, BODY, {}).is_delivered


@pytest.mark.parametrize("said", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n"])
def test_what_is_no_answer_is_told_by_a_code(
    receiver: Receiver, calls: WebhookCalls, said: bytes
) -> None:
    """W4: never by words of the other side."""

    def handle(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(said)
        handler.close_connection = True

    receiver.handle = handle
    outcome = calls.post(receiver.url, BODY, {})
    assert outcome.status is None
    assert outcome.error in {"connection_failed", "answer_unreadable"}


def test_a_name_that_stands_for_nothing_is_told(connects: list[Any]) -> None:
    """W3."""

    def unknown(*_: Any, **__: Any) -> list[Any]:
        raise socket.gaierror

    for resolve in (unknown, to()):
        outcome = WebhookCalls(resolve=resolve).post("https://shop.example.org/", BODY, {})
        assert outcome.error == "name_not_resolved"
    assert connects == []


def test_what_is_trusted_by_default_is_read_at_the_first_call(tmp_path: Path) -> None:
    """A start has no need of it."""
    assert "_context" not in vars(WebhookCalls())
