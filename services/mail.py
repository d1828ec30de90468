"""The port through which mail leaves: `Mailer.send(message)`, by SMTP, to files, or to the log.

Whoever sends retries: a mailer raises MailNotSent and keeps nothing.
"""

from __future__ import annotations

import smtplib
import ssl
import sys
from dataclasses import dataclass
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate, make_msgid
from typing import TYPE_CHECKING, Protocol, TextIO
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from pathlib import Path

SMTP_TIMEOUT_S = 10.0
PORTS = {"smtp": 587, "smtps": 465}
LINE_MAX = 998  # RFC 5322, 2.1.1.


class MailNotSent(Exception):
    """The mail was not taken. `is_final`: it never will be, the address itself was refused."""

    def __init__(self, why: str, *, is_final: bool = False) -> None:
        self.is_final = is_final
        super().__init__(why)


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A mail in plain text. `mail_id` names its file, and is its Message-ID's first part."""

    mail_id: str
    to_address: str
    subject: str
    text: str


class Mailer(Protocol):
    """Sends one message, or raises MailNotSent."""

    def send(self, message: Message) -> None: ...


def rendered(message: Message, sender: str) -> EmailMessage:
    """Return the message as RFC 5322 wants it; automatic answers are not asked for."""
    made = EmailMessage(policy=SMTP)
    made["From"] = sender
    made["To"] = message.to_address
    made["Subject"] = message.subject
    made["Date"] = formatdate()
    domain = sender.rpartition("@")[2].rstrip("> ")
    made["Message-ID"] = make_msgid(message.mail_id, domain)
    made["Auto-Submitted"] = "auto-generated"
    # A link stands whole in what is sent and kept, where the text allows it.
    is_plain = message.text.isascii() and max(map(len, message.text.splitlines())) <= LINE_MAX
    made.set_content(message.text, cte="7bit" if is_plain else "quoted-printable")
    return made


class SmtpMailer:
    """Sends by SMTP, over TLS whose certificate and name are checked; 10 s for each step."""

    def __init__(self, url: str, sender: str, context: ssl.SSLContext | None = None) -> None:
        """`url`: smtp://user:password@host:587 (STARTTLS) or smtps://... (TLS from the start)."""
        parts = urlsplit(url)
        self._scheme, self._host = parts.scheme, parts.hostname or ""
        self._port = parts.port or PORTS[parts.scheme]
        self._user = unquote(parts.username or "")
        self._password = unquote(parts.password or "")
        self._sender = sender
        self._context = context or ssl.create_default_context()

    def send(self, message: Message) -> None:
        """Hand the message to the server; what it says is kept as its number only."""
        try:
            with self._connected() as server:
                if self._user:
                    server.login(self._user, self._password)
                server.send_message(rendered(message, self._sender))
        except smtplib.SMTPRecipientsRefused as error:
            codes = [code for code, _ in error.recipients.values()]
            raise MailNotSent(f"recipient refused: {codes}", is_final=min(codes) >= 500) from error  # noqa: PLR2004
        except smtplib.SMTPResponseException as error:
            raise MailNotSent(f"{type(error).__name__} {error.smtp_code}") from error
        except (OSError, smtplib.SMTPException, UnicodeError) as error:
            raise MailNotSent(type(error).__name__) from error

    def _connected(self) -> smtplib.SMTP:
        if self._scheme == "smtps":
            return smtplib.SMTP_SSL(
                self._host, self._port, timeout=SMTP_TIMEOUT_S, context=self._context
            )
        server = smtplib.SMTP(self._host, self._port, timeout=SMTP_TIMEOUT_S)
        try:
            server.starttls(context=self._context)  # Raises where it is not offered: never plain.
        except BaseException:
            server.close()
            raise
        return server


class FileMailer:
    """Writes each mail as an .eml file into a folder: development's outbox."""

    def __init__(self, folder: Path, sender: str) -> None:
        self._folder = folder
        self._sender = sender

    def send(self, message: Message) -> None:
        """Write `<mail_id>.eml`, whole or not at all; sent again it is the same file."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            draft = self._folder / f"{message.mail_id}.new"
            draft.touch(mode=0o600)
            draft.write_bytes(rendered(message, self._sender).as_bytes())
            draft.replace(self._folder / f"{message.mail_id}.eml")
        except OSError as error:
            raise MailNotSent(type(error).__name__) from error


class ConsoleMailer:
    """Prints each mail on stderr, links included: for a developer's terminal."""

    def __init__(self, sender: str, stream: TextIO | None = None) -> None:
        self._sender = sender
        self._stream = stream

    def send(self, message: Message) -> None:
        """Print the message."""
        stream = self._stream or sys.stderr
        head = f"From: {self._sender}\nTo: {message.to_address}\nSubject: {message.subject}"
        stream.write(f"{head}\n\n{message.text}\n")
        stream.flush()
