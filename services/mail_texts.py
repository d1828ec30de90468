"""What our mails say. Plain text: a link must be seen to be trusted.

A link is MAIL_LINK_BASE, a path and the token as its fragment, which no server's log holds (A51).
"""

from __future__ import annotations

from typing import NamedTuple


class Text(NamedTuple):
    """A mail's subject and text; `path` is where its link leads, "" if it has none."""

    subject: str
    body: str
    path: str = ""


_IGNORE = "If it was not you, ignore this mail: nothing has changed."
_ALARM = (
    'If it was not you, set a new password now by "forgot password", and tell us.\n'
    "All other devices have been logged out."
)
TEXTS: dict[str, Text] = {
    "verify": Text(
        "Please confirm your e-mail address",
        "Somebody registered with this address. If it was you, open this link within 24 hours:\n"
        "\n{link}\n\n"
        "If it was not you, do not open it: without it nobody can log in with your address.",
        "/verify-email",
    ),
    "reset": Text(
        "Set a new password",
        "Somebody asked for a new password for your account. Open this link within an hour:\n"
        "\n{link}\n\n" + _IGNORE,
        "/reset-password",
    ),
    "email_change": Text(
        "Please confirm your new e-mail address",
        "Somebody wants to use this address for an account. If it was you, open this link within\n"
        "24 hours; you are then logged out everywhere:\n"
        "\n{link}\n\n" + _IGNORE,
        "/verify-email",
    ),
    "already_registered": Text(
        "You have an account already",
        "Somebody registered with your address, which has an account. Log in as usual; if you\n"
        "have forgotten the password, ask for a new one.\n" + _IGNORE,
    ),
    "password_changed": Text(
        "Your password was changed", "The password of your account was changed.\n" + _ALARM
    ),
    "password_reset": Text(
        "Your password was changed",
        "The password of your account was changed by a link that we mailed you.\n" + _ALARM,
    ),
    "email_changed": Text(
        "Your e-mail address was changed",
        "Your account has another e-mail address now, and this one is no longer used.\n"
        "If it was not you, tell us at once: you cannot get the account back by mail.",
    ),
    "refresh_reuse_detected": Text(
        "A device was logged out",
        "A device of yours was logged out because its session was used twice. Either a copy of\n"
        "it was stolen, or an application repeats old requests. Log in again there; if you do\n"
        "not know why this happened, change your password.",
    ),
}


def text_of(template: str, link_base: str, token: str | None) -> tuple[str, str]:
    """Return subject and text of a mail; `token` None: it has no link."""
    text = TEXTS[template]
    link = f"{link_base}{text.path}#token={token}"
    return text.subject, text.body.replace("{link}", link) + "\n"
