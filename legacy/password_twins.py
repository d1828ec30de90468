"""A second hash beside ours, for a store that knows bcrypt only (D40, D41).

A password that is changed during a move is hashed twice: a way back must not revive the old one.
Who only logs in keeps the hash there is while legacy decides.
"""

from __future__ import annotations

from dataclasses import replace
from threading import local
from typing import TYPE_CHECKING, Any, Self

from services import password_rules

if TYPE_CHECKING:
    from collections.abc import Callable

    from legacy.truth import Truth
    from services.passwords import Passwords

_now = local()


class keeps_hash:  # noqa: N801 - used as a with block.
    """While legacy decides about users a log-in stores no better hash (D40)."""

    def __enter__(self) -> Self:
        _now.keeps_hash = True
        return self

    def __exit__(self, *_: object) -> None:
        _now.keeps_hash = False


class PasswordTwins:
    """Stands in front of Passwords: `faults` is asked before `hash`, by the same thread."""

    def __init__(self, inner: Passwords, bcrypt: Passwords, truth: Truth) -> None:
        """`bcrypt`: hashes as the store knows it."""
        self._faults: Callable[..., Any] = inner.faults
        self._hash: Callable[..., Any] = inner.hash
        self._verify: Callable[..., Any] = inner.verify
        self._bcrypt = bcrypt
        self._truth = truth

    def stand_in(self, inner: Any) -> None:
        """Take the place of these methods: every service holds the same object."""
        inner.faults, inner.hash, inner.verify = self.faults, self.hash, self.verify

    def faults(self, password: str, *, tenant_id: str, **asked: Any) -> Any:
        """As Passwords.faults; what bcrypt would cut off is too long while a tenant moves."""
        found = self._faults(password, tenant_id=tenant_id, **asked)
        _now.doubles = self._truth.state(tenant_id, "users") is not None
        if found or not _now.doubles:
            return found
        limits: dict[str, Any] = {"minimum": asked["minimum"], "email": asked["email"]}
        return password_rules.faults(
            password_rules.nfc(password),
            tenant_id=tenant_id,
            bytes_max=password_rules.BCRYPT_BYTES_MAX,
            pointer=asked.get("pointer", "/password"),
            **limits,
        )

    def hash(self, password: str) -> Any:
        """As Passwords.hash; the bcrypt hash is kept for the statement that stores this one."""
        made = self._hash(password)
        if getattr(_now, "doubles", False):
            twin = made if made.algo == "bcrypt" else self._bcrypt.hash(password)
            _now.made = made.text, twin.text
        return made

    def verify(self, stored: str | None, password: str) -> Any:
        """As Passwords.verify; without a new hash where that could not be stored."""
        found = self._verify(stored, password)
        return replace(found, new_hash=None) if getattr(_now, "keeps_hash", False) else found


def twin_of(text: Any) -> str | None:
    """Return the bcrypt hash that was made with this one; None: none was."""
    made, twin = getattr(_now, "made", (None, None))
    return twin if text is not None and made == text else None
