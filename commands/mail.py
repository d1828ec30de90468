"""Which mailer the settings name, and the outbox that sends by it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.mail import ConsoleMailer, FileMailer, SmtpMailer
from services.mail_outbox import MailOutbox
from services.one_time_tokens import OneTimeTokens

if TYPE_CHECKING:
    from config import Config
    from persistence.db import Database
    from services.mail import Mailer


def make_mailer(config: Config) -> Mailer:
    """Return the mailer of MAILER; nothing is connected yet."""
    if config.mailer == "smtp" and config.smtp_url is not None:
        return SmtpMailer(config.smtp_url.get_secret_value(), config.mail_from)
    if config.mailer == "console":
        return ConsoleMailer(config.mail_from)
    return FileMailer(config.var_dir / "mail", config.mail_from)


def make_outbox(config: Config, db: Database) -> MailOutbox:
    """Return what the job `send-mail` sends by."""
    tokens = OneTimeTokens(config.subkeys("one-time"))
    return MailOutbox(db, make_mailer(config), tokens, config.mail_link_base)
