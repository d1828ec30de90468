"""Real receivers of webhooks: HTTPS on this machine, certified by an authority made here."""

from __future__ import annotations

import contextlib
import datetime as dt
import ssl
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PATIENCE_S = 30.0


class Authority:
    """An authority that signs certificates, whatever for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test authority")])
        made = self._builder(self._name, self._key)
        ca = x509.BasicConstraints(ca=True, path_length=0)
        self.file = folder / "authority.pem"
        self._write(self.file, made.add_extension(ca, critical=True).sign(self._key, _SHA))

    def certificate(self, name: str) -> tuple[Path, Path]:
        """Return the files of a certificate for a name or an address, and of its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        alternative = x509.SubjectAlternativeName([_general(name)])
        made = self._builder(subject, key).add_extension(alternative, critical=False)
        files = (self._folder / f"{name}.pem", self._folder / f"{name}.key")
        self._write(files[0], made.sign(self._key, _SHA))
        files[1].write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return files

    def trusting(self) -> ssl.SSLContext:
        """Return a client's context that trusts this authority alone."""
        return ssl.create_default_context(cafile=str(self.file))

    def _builder(self, subject: x509.Name, key: Any) -> x509.CertificateBuilder:
        now = dt.datetime.now(dt.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=1))
            .not_valid_after(now + dt.timedelta(days=1))
        )

    @staticmethod
    def _write(path: Path, certificate: x509.Certificate) -> None:
        path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))


_SHA = hashes.SHA256()


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


@dataclass(frozen=True)
class Received:
    """One request: its path, headers with lower-case names, and body."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def event_id(self) -> str:
        return self.headers["webhook-id"]


@dataclass
class Receiver:
    """An HTTPS server that keeps what it gets. `answer` gives (status, headers) of a request.

    `handle` may take the whole exchange over instead.
    """

    port: int = 0
    answer: Callable[[Received], tuple[int, dict[str, str]]] = lambda _: (204, {})
    handle: Callable[[BaseHTTPRequestHandler], None] | None = None
    received: list[Received] = field(default_factory=list)
    connections: int = 0
    changed: threading.Condition = field(default_factory=threading.Condition)

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}/hook"

    @property
    def ids(self) -> list[str]:
        """The ids of what has come, in its order."""
        return [each.event_id for each in self.received]

    def wait_for(self, count: int) -> list[Received]:
        """Wait until so many requests have come."""
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.received) >= count, PATIENCE_S)
        return self.received

    def take(self, request: Received) -> tuple[int, dict[str, str]]:
        with self.changed:
            self.received.append(request)
            self.changed.notify_all()
        return self.answer(request)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    receiver: Receiver

    def do_POST(self) -> None:
        if self.receiver.handle is not None:
            self.receiver.handle(self)
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = self.rfile.read(int(headers.get("content-length", 0)))
        status, answer = self.receiver.take(Received(self.path, headers, body))
        self.send_response(status)
        for name, value in {"Content-Length": "0", **answer}.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    context: ssl.SSLContext
    receiver: Receiver

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Speak TLS in the thread of the connection; a client that hangs up is no error."""
        self.receiver.connections += 1
        with (
            contextlib.suppress(OSError),
            self.context.wrap_socket(request, server_side=True) as secured,
        ):
            super().finish_request(secured, client_address)


@contextlib.contextmanager
def receiving(authority: Authority, name: str = "localhost") -> Iterator[Receiver]:
    """Run a receiver with a certificate for `name`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.certificate(name))
    receiver = Receiver()
    handler = type("Handler", (_Handler,), {"receiver": receiver})
    with _Server(("127.0.0.1", 0), handler) as server:
        server.context, server.receiver = context, receiver
        receiver.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield receiver
        finally:
            server.shutdown()
            thread.join()
