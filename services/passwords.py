"""Passwords: hashed, verified and judged. The only file that knows libpass (A13 to A26).

New hashes are Argon2id; bcrypt of an older store is verified, and replaced at the next log-in.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

from passlib.hash import argon2, bcrypt

from errors import AuthBusy, WeakPassword
from observability import log
from services import password_rules
from services.breaches import Breaches
from services.cost_classes import CostClasses
from services.hashing_gate import HashingGate
from services.stored_hashes import argon2_class, bcrypt_class, parse

if TYPE_CHECKING:
    from collections.abc import Iterable

    from config import Config
    from errors import Fault
    from persistence.db import Database
    from services.stored_hashes import CostClass, StoredHash

BCRYPT_COST = 12
# libpass wraps what its C libraries say, also that there was no memory, as one of these.
LIBRARY_ERRORS = (ValueError, TypeError, RuntimeError, MemoryError)


@dataclass(frozen=True, slots=True, kw_only=True)
class PasswordSettings:
    """`argon2` False: new hashes are bcrypt, and none is replaced (A19). Lengths in code points."""

    argon2: bool = True
    memory_kib: int = 65_536
    time_cost: int = 3
    parallelism: int = 1
    min_length: int = 8
    min_length_operator: int = 15


@dataclass(frozen=True, slots=True)
class NewHash:
    """What the columns password_hash, password_algo and password_params get."""

    text: str
    algo: str
    params: dict[str, int]


@dataclass(frozen=True, slots=True)
class Verified:
    """What became of a password. `new_hash`: it matched, and an upgrade is due (A17).

    `unusable`: there was no hash, or none that may be verified (A20).
    """

    outcome: Literal["match", "no_match", "unusable"]
    new_hash: NewHash | None = None


def passwords_of(config: Config, db: Database) -> Passwords:
    """Build it of the settings, for the application and for commands alike."""
    settings = PasswordSettings(
        argon2=config.feature_argon2_enabled,
        memory_kib=config.argon2_memory_kib,
        time_cost=config.argon2_time_cost,
        parallelism=config.argon2_parallelism,
        min_length=config.password_min_length,
        min_length_operator=config.password_min_length_operator,
    )
    gate = HashingGate(config.argon2_slots, config.argon2_queue_s)
    asked = config.feature_breach_check_enabled
    return Passwords(db, settings, gate, Breaches(config.breach_check_url) if asked else None)


class Passwords:
    """All hashing passes `gate`; no connection may be held meanwhile (A23)."""

    def __init__(
        self,
        db: Database,
        settings: PasswordSettings,
        gate: HashingGate,
        breaches: Breaches | None = None,
    ) -> None:
        """`breaches` None: no list of leaks is asked."""
        self._settings = settings
        self._gate = gate
        self._breaches = breaches
        self.current_class = _class_of_new(settings)
        self._classes = CostClasses(db, self.current_class)

    @property
    def cost_classes(self) -> tuple[CostClass, ...]:
        """What a failed try pays for: new hashes' class and those of the table; at most 4."""
        return tuple(dummy.cost_class for dummy in self._classes.dummies())

    # --- Hashing --------------------------------------------------------------------------------

    def hash(self, password: str) -> NewHash:
        """Hash a new password, about which `faults` was asked before.

        WeakPassword: too long to be hashed whole; ValidationFailed: no text (A21); AuthBusy.
        """
        text = password_rules.nfc(password)
        if len(text.encode()) > self._bytes_max:
            raise WeakPassword
        return self._gate.run(partial(self._hashed, text))

    def verify(self, stored: str | None, password: str) -> Verified:
        """Try a password against a stored hash; None: there is no such user, or no hash.

        A failed try costs the same for everybody (A25). ValidationFailed: no text (A21); AuthBusy.
        """
        text = password_rules.nfc(password)
        # Whoever made an imported hash may not have normalised.
        tried = (text,) if text == password else (text, password)
        dummies = self._classes.dummies()
        return self._gate.run(partial(self._verified, parse(stored), tried, dummies))

    def warm(self) -> None:
        """Pay now what the first try of each class pays more than those that follow."""
        self.verify(None, "nobody's")

    def _verified(
        self, stored: StoredHash | None, tried: tuple[str, ...], dummies: Iterable[StoredHash]
    ) -> Verified:
        if stored is not None:
            for text in tried:
                if matches(stored, text.encode()):
                    return Verified("match", self._upgrade(stored, tried[0], as_typed=text))
        for dummy in dummies:
            if stored is None or stored.cost_class != dummy.cost_class:
                for text in tried:
                    matches(dummy, text.encode())
        return Verified("no_match" if stored else "unusable")

    def _upgrade(self, stored: StoredHash, text: str, *, as_typed: str) -> NewHash | None:
        is_current = stored.cost_class == self.current_class and as_typed == text
        return self._hashed(text) if self._settings.argon2 and not is_current else None

    def _hashed(self, text: str) -> NewHash:
        params = dict(self.current_class.params)
        return NewHash(_made(self.current_class, text.encode()), self.current_class.algo, params)

    # --- Judging --------------------------------------------------------------------------------

    def minimum(self, role: str) -> int:
        """Return how many code points a password of this role has at least (A13)."""
        settings = self._settings
        return settings.min_length_operator if role == "operator" else settings.min_length

    def chosen(
        self,
        password: str,
        *,
        tenant_id: str,
        email: str,
        role: str,
        current_hash: str | None = None,
        pointer: str = "/password",
    ) -> NewHash:
        """Judge and hash a new password of a user with this role; WeakPassword, as `faults` says.

        ValidationFailed: no text (A21); AuthBusy.
        """
        found = self.faults(
            password,
            tenant_id=tenant_id,
            email=email,
            minimum=self.minimum(role),
            current_hash=current_hash,
            pointer=pointer,
        )
        if found:
            raise WeakPassword(errors=found)
        return self.hash(password)

    def faults(
        self,
        password: str,
        *,
        tenant_id: str,
        email: str,
        minimum: int,
        current_hash: str | None = None,
        pointer: str = "/password",
    ) -> tuple[Fault, ...]:
        """Return what makes a new password too weak, for WeakPassword (A13, A14).

        The old hash and the list of leaks are asked only about a password that is well otherwise.
        ValidationFailed: no text (A21); AuthBusy.
        """
        text = password_rules.nfc(password, pointer)
        found = password_rules.faults(
            text,
            tenant_id=tenant_id,
            email=email,
            minimum=minimum,
            bytes_max=self._bytes_max,
            pointer=pointer,
        )
        if not found and self._is_current(current_hash, text):
            return (password_rules.same_as_current(pointer),)
        if not found and self._breaches is not None and self._breaches.holds(text):
            return (password_rules.breached(pointer),)
        return found

    @property
    def _bytes_max(self) -> int:
        rules = password_rules
        return rules.BYTES_MAX if self._settings.argon2 else rules.BCRYPT_BYTES_MAX

    def _is_current(self, current_hash: str | None, text: str) -> bool:
        stored = parse(current_hash)
        return stored is not None and self._gate.run(partial(matches, stored, text.encode()))


def _class_of_new(settings: PasswordSettings) -> CostClass:
    if not settings.argon2:
        return bcrypt_class(BCRYPT_COST)
    return argon2_class(settings.memory_kib, settings.time_cost, settings.parallelism)


def matches(stored: StoredHash, secret: bytes) -> bool:
    """Tell whether the hash was made of `secret`; bcrypt gets the 72 bytes it reads (A18)."""
    try:
        if stored.cost_class.algo == "bcrypt":
            return bool(bcrypt.verify(secret[: password_rules.BCRYPT_BYTES_MAX], stored.text))
        return bool(argon2.verify(secret, stored.text))
    except LIBRARY_ERRORS as error:
        raise _failed(error) from None


def _made(each: CostClass, secret: bytes) -> str:
    params = dict(each.params)
    try:
        if each.algo == "bcrypt":
            return str(bcrypt.using(rounds=params["cost"], ident="2b").hash(secret))
        m, t, p = params["m"], params["t"], params["p"]
        made = argon2.using(type="ID", memory_cost=m, time_cost=t, parallelism=p).hash(secret)
        return str(made)
    except LIBRARY_ERRORS as error:
        raise _failed(error) from None


def _failed(error: Exception) -> AuthBusy:
    """Say that the library failed at what it can do: there was no memory left for it (A21)."""
    log.error("passwords.library_failed", error_type=type(error).__name__)
    return AuthBusy()
