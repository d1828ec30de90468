"""How mail leaves: to real sockets over TLS, to files, to a terminal."""

from __future__ import annotations

import base64
import contextlib
import datetime as dt
import io
import socket
import ssl
import threading
from email import message_from_bytes, policy
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from services.mail import ConsoleMailer, FileMailer, MailNotSent, Message, SmtpMailer, rendered

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SENDER = "Our Shop <no-reply@example.org>"
MESSAGE = Message(
    mail_id="0198c5a0", to_address="ada@example.org", subject="Grüße", text="A link:\n\nx=y" * 9
)


class SmtpServer:
    """An SMTP server as far as a client needs one: it keeps what it is sent."""

    def __init__(self, context: ssl.SSLContext, *, implicit: bool = False) -> None:
        self.context, self.implicit = context, implicit
        self.offers_tls = True
        self.answers: dict[str, str] = {}
        self.said: list[str] = []
        self.data = b""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        self._listener.close()
        with socket.socket() as knock:  # Wakes what still waits in accept.
            knock.connect_ex(("127.0.0.1", self.port))
        self._thread.join(10)

    def _serve(self) -> None:
        try:
            conn, _ = self._listener.accept()
        except OSError:
            return
        with contextlib.ExitStack() as opened, contextlib.suppress(OSError):
            conn = opened.enter_context(conn)
            if self.implicit:
                conn = opened.enter_context(self.context.wrap_socket(conn, server_side=True))
            self._talk(conn, opened)

    def _talk(self, conn: socket.socket, opened: contextlib.ExitStack) -> None:
        lines = conn.makefile("rb")
        conn.sendall(b"220 mail.test\r\n")
        while line := lines.readline():
            word = line.decode().strip()
            self.said.append(word)
            verb = word.split(" ", maxsplit=1)[0].upper()
            if verb == "DATA":
                conn.sendall(b"354 go on\r\n")
                while (part := lines.readline()) != b".\r\n":
                    self.data += part
                conn.sendall(b"250 taken\r\n")
                continue
            conn.sendall(self._answer(verb).encode())
            if verb == "QUIT":
                return
            if verb == "STARTTLS":
                conn = opened.enter_context(self.context.wrap_socket(conn, server_side=True))
                lines = conn.makefile("rb")

    def _answer(self, verb: str) -> str:
        if verb == "EHLO":
            tls = "250-STARTTLS\r\n" if self.offers_tls else ""
            return f"250-mail.test\r\n{tls}250 AUTH PLAIN\r\n"
        known = {"STARTTLS": "220 go on", "AUTH": "235 fine", "QUIT": "221 bye"}
        return self.answers.get(verb, known.get(verb, "250 fine")) + "\r\n"


@pytest.fixture(scope="module")
def contexts(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """TLS for a server called localhost, and for a client who trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    pem = serialization.Encoding.PEM
    plain = serialization.NoEncryption()
    path.write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain)
        + certificate.public_bytes(pem)
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(path)
    return server, ssl.create_default_context(cafile=str(path))


@pytest.fixture
def server(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> Iterator[SmtpServer]:
    made = SmtpServer(contexts[0])
    yield made
    made.close()


def test_mail_is_sent_over_starttls(
    server: SmtpServer, contexts: tuple[ssl.SSLContext, ssl.SSLContext]
) -> None:
    """Section 8: the certificate is checked; user and password only within TLS."""
    url = f"smtp://us%40er:p%3Ass@localhost:{server.port}"
    SmtpMailer(url, SENDER, contexts[1]).send(MESSAGE)
    said = [line.split(" size=")[0] for line in server.said]
    assert said.index("STARTTLS") < said.index("mail FROM:<no-reply@example.org>")
    (login,) = [line for line in server.said if line.startswith("AUTH")]
    assert base64.b64decode(login.split()[-1]) == b"\0us@er\0p:ss"
    mail = message_from_bytes(server.data, policy=policy.default)
    assert mail["To"] == "ada@example.org"
    assert mail["Subject"] == "Grüße"
    assert mail["From"] == SENDER
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail.get_content().replace("\r\n", "\n").strip() == MESSAGE.text.strip()


def test_mail_is_sent_over_tls_from_the_start(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    implicit = SmtpServer(contexts[0], implicit=True)
    SmtpMailer(f"smtps://localhost:{implicit.port}", SENDER, contexts[1]).send(MESSAGE)
    implicit.close()
    assert b"x=y" in implicit.data


def test_a_server_without_tls_gets_nothing(
    server: SmtpServer, contexts: tuple[ssl.SSLContext, ssl.SSLContext]
) -> None:
    """Section 8: never in plain text."""
    server.offers_tls = False
    with pytest.raises(MailNotSent, match="SMTPNotSupportedError"):
        SmtpMailer(f"smtp://a:b@localhost:{server.port}", SENDER, contexts[1]).send(MESSAGE)
    assert not [line for line in server.said if line.startswith(("AUTH", "MAIL"))]


def test_an_unknown_certificate_gets_nothing(server: SmtpServer) -> None:
    """Section 8: certificate and name are checked."""
    with pytest.raises(MailNotSent, match="SSLCertVerificationError"):
        SmtpMailer(f"smtp://a:b@localhost:{server.port}", SENDER).send(MESSAGE)
    assert server.said[-1] == "STARTTLS"


def test_another_name_gets_nothing(
    server: SmtpServer, contexts: tuple[ssl.SSLContext, ssl.SSLContext]
) -> None:
    with pytest.raises(MailNotSent, match="SSLCertVerificationError"):
        SmtpMailer(f"smtp://127.0.0.1:{server.port}", SENDER, contexts[1]).send(MESSAGE)


@pytest.mark.parametrize(("code", "is_final"), [(550, True), (450, False)])
def test_a_refused_recipient_is_final_if_it_is_for_good(
    server: SmtpServer,
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
    code: int,
    *,
    is_final: bool,
) -> None:
    """A50: what the server says is kept as a number: its text may hold addresses."""
    server.answers["RCPT"] = f"{code} ada@example.org is not here"
    with pytest.raises(MailNotSent, match=str(code)) as caught:
        SmtpMailer(f"smtp://localhost:{server.port}", SENDER, contexts[1]).send(MESSAGE)
    assert caught.value.is_final is is_final
    assert "ada" not in str(caught.value)


def test_a_busy_or_absent_server_is_tried_again(
    server: SmtpServer, contexts: tuple[ssl.SSLContext, ssl.SSLContext]
) -> None:
    server.answers["MAIL"] = "451 later"
    with pytest.raises(MailNotSent, match="SMTPSenderRefused 451") as caught:
        SmtpMailer(f"smtp://localhost:{server.port}", SENDER, contexts[1]).send(MESSAGE)
    assert not caught.value.is_final
    with pytest.raises(MailNotSent, match="ConnectionRefusedError"):
        SmtpMailer("smtp://127.0.0.1:1", SENDER, contexts[1]).send(MESSAGE)


def test_files_hold_whole_mails(tmp_path: Path) -> None:
    """Section 8: development's outbox; a mail that is sent again is the same file."""
    mailer = FileMailer(tmp_path / "mail", SENDER)
    mailer.send(MESSAGE)
    mailer.send(MESSAGE)
    (path,) = (tmp_path / "mail").iterdir()
    assert path.name == "0198c5a0.eml"
    assert path.stat().st_mode & 0o777 == 0o600
    mail = message_from_bytes(path.read_bytes(), policy=policy.default)
    assert "x=y" in mail.get_content()


def test_a_folder_that_cannot_be_written_is_tried_again(tmp_path: Path) -> None:
    (tmp_path / "mail").write_text("a file")
    with pytest.raises(MailNotSent):
        FileMailer(tmp_path / "mail", SENDER).send(MESSAGE)


def test_a_terminal_shows_the_link() -> None:
    shown = io.StringIO()
    ConsoleMailer(SENDER, shown).send(MESSAGE)
    assert shown.getvalue().startswith(f"From: {SENDER}\nTo: ada@example.org\nSubject: Grüße\n\n")
    assert "A link:" in shown.getvalue()


def test_no_header_can_be_smuggled_in() -> None:
    """A51."""
    bad = Message(mail_id="1", to_address="a@b.de\r\nBcc: c@d.de", subject="x", text="y")
    with pytest.raises(ValueError, match="linefeed"):
        rendered(bad, SENDER)
