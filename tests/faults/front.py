"""The service behind a real nginx with deploy/nginx.conf, whose paths and ports are the test's."""

from __future__ import annotations

import http.client
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from tests.conftest import ROOT, program
from tests.faults.service import Service, free_port
from tests.persistence.certificates import make_certificate

if TYPE_CHECKING:
    from types import TracebackType

    from persistence.embedded import EmbeddedServers

HOST = "api.example.org"


class HttpsConnection(http.client.HTTPConnection):
    """A connection to 127.0.0.1 that asks for our name."""

    def __init__(self, port: int, certificate: Path) -> None:
        super().__init__("127.0.0.1", port, timeout=30)
        self._context = ssl.create_default_context(cafile=str(certificate))

    def connect(self) -> None:
        """Connect, and check that the other side is HOST."""
        raw = socket.create_connection(("127.0.0.1", self.port), timeout=30)
        self.sock = self._context.wrap_socket(raw, server_hostname=HOST)

    def putheader(self, header: str | bytes, *values: object) -> None:
        """Name our host, whatever address was connected to."""
        super().putheader(header, *((HOST,) if header == "Host" else values))  # type: ignore[arg-type]


class Fronted(Service):
    """gunicorn on a Unix socket, nginx with TLS before it."""

    def __init__(self, servers: EmbeddedServers, var_dir: Path, **settings: str) -> None:
        # A socket's path has 107 bytes at most.
        self.folder = Path(tempfile.mkdtemp(prefix="front-"))
        self.socket = self.folder / "http.sock"
        more = {
            "BIND": f"unix:{self.socket}",
            "TRUSTED_PROXY_HOPS": "1",
            "ALLOWED_HOSTS": HOST,
            "PUBLIC_URL": f"https://{HOST}",
            **settings,
        }
        super().__init__(servers, var_dir, None, **more)
        self.plain_port = free_port()
        self.certificate = make_certificate(self.folder, HOST)
        self.config = self.folder / "nginx.conf"
        self.config.write_text(self._adapted())
        self._nginx: subprocess.Popen[bytes] | None = None

    def _adapted(self) -> str:
        """Put our paths and ports into the file as it is deployed."""
        here = {
            "/run/strongroom/http.sock": str(self.socket),
            "/etc/strongroom/tls/fullchain.pem": str(self.certificate),
            "/etc/strongroom/tls/privkey.pem": str(self.certificate),
            "/var/log/nginx/strongroom.log": f"{self.folder}/access.log",
            "/var/log/nginx/error.log": f"{self.folder}/error.log",
            "pid /run/nginx.pid;": f"pid {self.folder}/nginx.pid; daemon off; user root;",
            "listen 80 ": f"listen 127.0.0.1:{self.plain_port} ",
            "listen 443 ": f"listen 127.0.0.1:{self.port} ",
        }
        text = (ROOT / "deploy/nginx.conf").read_text("utf-8")
        for theirs, ours in here.items():
            assert theirs in text, theirs
            text = text.replace(theirs, ours)
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        places = "".join(f"{kind}_temp_path {self.folder}/{kind};\n" for kind in kinds)
        return text.replace("http {", f"http {{\n{places}", 1)

    def __enter__(self) -> Self:
        nginx = program("nginx")
        assert nginx, "A test that needs nginx says so by its mark."
        self._nginx = subprocess.Popen([nginx, "-c", str(self.config), "-p", str(self.folder)])
        return super().__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        super().__exit__(kind, value, traceback)
        assert self._nginx is not None
        self._nginx.send_signal(signal.SIGQUIT)
        self._nginx.wait(60)
        shutil.rmtree(self.folder)

    def connection(self) -> http.client.HTTPConnection:
        """Return a new connection to nginx."""
        return HttpsConnection(self.port, self.certificate)

    def handshake(self, name: str) -> ssl.SSLSocket:
        """Return a connection that asked for a host by `name`. Raises ssl.SSLError."""
        context = ssl.create_default_context(cafile=str(self.certificate))
        raw = socket.create_connection(("127.0.0.1", self.port), timeout=30)
        try:
            return context.wrap_socket(raw, server_hostname=name)
        except BaseException:
            raw.close()
            raise

    def trickle(self, beginning: bytes) -> ssl.SSLSocket:
        """Return a connection on which no more than the beginning of a request was sent."""
        conn = self.handshake(HOST)
        conn.sendall(beginning)
        return conn

    def line(self, request_id: str) -> dict[str, Any]:
        """Return the service's line of a request."""
        return next(line for line in self.lines() if line.get("request_id") == request_id)
