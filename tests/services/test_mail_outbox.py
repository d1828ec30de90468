"""Mails: written with their cause, sent later, dropped when they mean nothing (A50)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from repos.mail_outbox import DueRow
from services.jobs import Ask
from services.mail import MailNotSent
from services.mail_outbox import MailOutbox, retry_after_s
from services.mail_texts import TEXTS, text_of
from services.one_time_tokens import PURPOSES, OneTimeTokens
from tests.clients import new_email

if TYPE_CHECKING:
    from services.mail import Message
    from tests.clients import People


class Refusing:
    """A mail server that takes nothing; kept is what it was given."""

    def __init__(self, *, is_final: bool = False) -> None:
        self.is_final = is_final
        self.given: list[Message] = []

    def send(self, message: Message) -> None:
        self.given.append(message)
        raise MailNotSent("SMTPServerDisconnected", is_final=self.is_final)


def outbox(people: People, mailer: Any) -> MailOutbox:
    tokens = OneTimeTokens(people.services.config.subkeys("one-time"))
    return MailOutbox(people.services.db, mailer, tokens, "https://shop.example")


def asked(people: People) -> str:
    """Let somebody ask for a link, and return the address."""
    email = new_email()
    people.signed_up(email)
    people.ask("POST", "/password/forgot", {"email": email})
    return email


def waiting(people: People) -> list[tuple[Any, ...]]:
    return people.rows(
        "SELECT attempts, round(extract(epoch FROM next_attempt_at - now()))::int,"
        " sent_at IS NOT NULL, last_error FROM mail_outbox"
    )


def test_a_mail_leaves_once(people: People) -> None:
    email = asked(people)
    assert len(people.mails(email)) == 1
    assert waiting(people) == [(1, None, True, None)]
    people.change("DELETE FROM login_throttle")
    (before,) = people.mail_dir.iterdir()
    before.unlink()
    assert people.mails(email) == []


def test_neither_row_nor_outbox_holds_the_link(people: People) -> None:
    """Section 8: the sender makes it again."""
    email = asked(people)
    token = people.link(email)
    rows = people.rows("SELECT o::text, m::text FROM one_time_tokens AS o, mail_outbox AS m")
    assert token.removeprefix("sro_")[:20] not in str(rows)


def test_a_failure_is_tried_again_later_and_later(people: People) -> None:
    """A50: 5 s to 1 h."""
    asked(people)
    mailer = Refusing()
    for wait_s in (5, 10, 20):
        people.run_job("send-mail", outbox(people, mailer).send_due)
        ((attempts, due_s, sent, error),) = waiting(people)
        assert (due_s, sent, error) == (wait_s, False, "SMTPServerDisconnected")
        people.change("UPDATE mail_outbox SET next_attempt_at = now()")
    assert attempts == len(mailer.given) == 3
    assert [retry_after_s(n) for n in (1, 10, 11, 1000)] == [5, 2560, 3600, 3600]
    assert len(people.mails()) == 1


def test_an_address_that_is_refused_for_good_is_given_up(people: People) -> None:
    asked(people)
    people.run_job("send-mail", outbox(people, Refusing(is_final=True)).send_due)
    assert waiting(people) == [(1, None, False, "SMTPServerDisconnected")]


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE one_time_tokens SET expires_at = now()",
        "UPDATE one_time_tokens SET consumed_at = now()",
        "UPDATE users SET session_epoch = session_epoch + 1, version = version + 1",
        "UPDATE users SET status = 'disabled'",
        "UPDATE one_time_tokens SET master_key_id = 'gone'",
    ],
)
def test_a_mail_whose_link_is_void_is_dropped(people: People, change: str) -> None:
    """A50."""
    asked(people)
    people.change(change)
    assert people.mails() == []
    ((_, due, sent, error),) = waiting(people)
    assert (due, sent) == (None, False)
    assert error.startswith("dropped: ")


def test_a_notice_is_dropped_after_three_days(people: People) -> None:
    tokens = people.signed_up()
    second = people.refresh(tokens["refresh_token"]).json
    people.refresh(second["refresh_token"])
    people.refresh(tokens["refresh_token"])
    people.change("UPDATE mail_outbox SET created_at = now() - interval '3 days 1 minute'")
    assert people.mails() == []


def test_a_sender_that_died_leaves_the_mail_due(people: People) -> None:
    """OJ3: taken for a minute; twice is better than never."""
    asked(people)

    class Dying:
        def send(self, _: Message) -> None:
            raise MemoryError

    with pytest.raises(AssertionError, match="MemoryError"):
        people.run_job("send-mail", outbox(people, Dying()).send_due)
    ((_, due_s, sent, _),) = waiting(people)
    assert (50 <= due_s <= 60, sent) == (True, False)
    people.change("UPDATE mail_outbox SET next_attempt_at = now()")
    assert len(people.mails()) == 1


def test_a_mail_that_another_sender_has_is_left_to_it(people: People) -> None:
    asked(people)
    mailer = Refusing()
    sender = outbox(people, mailer)
    ((tenant_id, mail_id),) = people.rows("SELECT tenant_id, id FROM mail_outbox")
    people.change("UPDATE mail_outbox SET next_attempt_at = now() + interval '1 minute'")
    assert sender._send(DueRow(tenant_id=tenant_id, id=mail_id)) == 0
    assert mailer.given == []


def test_a_run_by_hand_may_count_or_choose_a_tenant(people: People) -> None:
    """OJ1."""
    asked(people)
    sender = outbox(people, Refusing())
    assert people.run_job("send-mail", sender.send_due, Ask(dry_run=True)) == 1
    assert people.run_job("send-mail", sender.send_due, Ask(tenant_id="acme")) == 0
    assert waiting(people)[0][0] == 0


def test_every_mail_says_what_to_do() -> None:
    """Section 8: those with a link have it, the others do not."""
    for template, text in TEXTS.items():
        subject, body = text_of(template, "https://shop.example", "sro_x")
        assert ("{link}" in text.body) is (template in PURPOSES)
        assert ("https://shop.example/" in body) is (template in PURPOSES)
        assert subject
        assert "{" not in body
        assert max(map(len, body.splitlines())) < 100
