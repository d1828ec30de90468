"""Mails that were written with what causes them, sent by the job `send-mail` (A50)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from observability import log
from repos import mail_outbox
from services.mail import MailNotSent, Message
from services.mail_texts import text_of
from services.one_time_tokens import OneTimeToken

if TYPE_CHECKING:
    from collections.abc import Iterator

    from persistence.db import Database
    from repos.mail_outbox import DueRow, MailRow
    from services.jobs import Run
    from services.mail import Mailer
    from services.one_time_tokens import OneTimeTokens

FIRST_RETRY_S, LAST_RETRY_S = 5, 3600
ERROR_MAX = 500


class MailOutbox:
    """Sends what is due. A mail may come twice if its sender dies: a lost one would be worse."""

    def __init__(self, db: Database, mailer: Mailer, tokens: OneTimeTokens, link_base: str) -> None:
        self._db = db
        self._mailer = mailer
        self._tokens = tokens
        self._link_base = link_base

    def send_due(self, run: Run) -> Iterator[int]:
        """Send every mail that is due, one a batch: no connection is held while it leaves."""
        sent_any = True
        while sent_any:
            sent_any = False
            with self._db.read() as conn:
                due = mail_outbox.list_due(conn, row_limit=run.batch)
            if run.ask.dry_run:
                yield len(due)
                return
            for row in due:
                if run.ask.tenant_id in {None, row.tenant_id}:
                    sent_any = True
                    yield self._send(row)

    def _send(self, due: DueRow) -> int:
        """Send one mail; how many left: 0 or 1."""
        with self._db.write() as conn:
            mail = mail_outbox.claim(conn, tenant_id=due.tenant_id, mail_id=due.id)
        if mail is None:
            return 0
        if mail.is_void:
            return self._finish(mail, error="dropped: its link no longer works, or it is too old")
        try:
            self._mailer.send(self._message(mail))
        except MailNotSent as error:
            log.warning("mail.not_sent", template=mail.template, error=str(error))
            retry_s = None if error.is_final else retry_after_s(mail.attempts)
            return self._finish(mail, error=str(error)[:ERROR_MAX], retry_s=retry_s)
        except KeyError:
            return self._finish(mail, error="dropped: the master key of its link is gone")
        return self._finish(mail, is_sent=True)

    def _message(self, mail: MailRow) -> Message:
        token = None
        if mail.purpose and mail.master_key_id and mail.nonce:
            token = self._tokens.write(
                OneTimeToken(
                    mail.master_key_id, mail.tenant_id, mail.user_id, mail.purpose, mail.nonce
                )
            )
        subject, text = text_of(mail.template, self._link_base, token)
        return Message(mail_id=str(mail.id), to_address=mail.to_address, subject=subject, text=text)

    def _finish(
        self,
        mail: MailRow,
        *,
        is_sent: bool = False,
        error: str | None = None,
        retry_s: int | None = None,
    ) -> int:
        with self._db.write() as conn:
            mail_outbox.finish(
                conn,
                tenant_id=mail.tenant_id,
                mail_id=mail.id,
                is_sent=is_sent,
                retry_s=retry_s,
                error=error,
            )
        return int(is_sent)


def retry_after_s(attempts: int) -> int:
    """Return the wait after so many failed attempts: 5 s, doubled up to an hour."""
    return min(FIRST_RETRY_S << min(attempts - 1, 20), LAST_RETRY_S)
