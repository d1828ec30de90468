"""Passwords: hashed as today, verified as yesterday, and the same cost for everybody."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from passlib.hash import argon2, bcrypt

from errors import AuthBusy, ValidationFailed, WeakPassword
from persistence.db import Database, DbSettings
from services import passwords as module
from services.hashing_gate import HashingGate
from services.passwords import Passwords, PasswordSettings, matches
from services.stored_hashes import CostClass, argon2_class, bcrypt_class, parse
from tests.people import store_hash

if TYPE_CHECKING:
    from collections.abc import Iterator

CHEAP = PasswordSettings(memory_kib=64, time_cost=1)
CURRENT = argon2_class(64, 1, 1)
OLD = bcrypt.using(rounds=4, ident="2b")
PASSWORD = "correct horse battery staple"
# One text, as macOS types it and as others do.
NFD, NFC = "e\N{COMBINING ACUTE ACCENT}tude no. 9", "\N{LATIN SMALL LETTER E WITH ACUTE}tude no. 9"


@pytest.fixture
def db(database: str) -> Iterator[Database]:
    opened = Database(database, DbSettings(pool_size=2))
    yield opened
    opened.close()


@pytest.fixture
def passwords(db: Database) -> Passwords:
    return Passwords(db, CHEAP, HashingGate(1, 2))


@pytest.fixture
def bcrypt_only(db: Database) -> Passwords:
    return Passwords(db, replace(CHEAP, argon2=False), HashingGate(1, 2))


@pytest.fixture
def paid(monkeypatch: pytest.MonkeyPatch) -> list[CostClass]:
    """What is hashed from now on: the class of each, in order."""
    seen: list[CostClass] = []
    made = module._made

    def counted_match(stored: Any, secret: bytes) -> bool:
        seen.append(stored.cost_class)
        return matches(stored, secret)

    def counted_new(each: CostClass, secret: bytes) -> str:
        seen.append(each)
        return made(each, secret)

    monkeypatch.setattr(module, "matches", counted_match)
    monkeypatch.setattr(module, "_made", counted_new)
    return seen


# --- New hashes ---------------------------------------------------------------------------------


def test_new_hashes_are_argon2id_with_the_parameters_of_the_page(db: Database) -> None:
    """A16: and the columns repeat what the text says."""
    made = Passwords(db, PasswordSettings(), HashingGate(1, 2)).hash(PASSWORD)
    assert re.match(r"^\$argon2id\$v=19\$m=65536,t=3,p=1\$", made.text)
    assert (made.algo, made.params) == ("argon2id", {"m": 65_536, "t": 3, "p": 1})


def test_two_hashes_of_one_password_differ(passwords: Passwords) -> None:
    assert passwords.hash(PASSWORD).text != passwords.hash(PASSWORD).text


def test_a_password_matches_its_own_hash_and_no_other(passwords: Passwords) -> None:
    made = passwords.hash(PASSWORD)
    assert passwords.verify(made.text, PASSWORD) == module.Verified("match", None)
    assert passwords.verify(made.text, PASSWORD + " ") == module.Verified("no_match", None)


def test_nothing_is_cut_off(passwords: Passwords) -> None:
    """A13: neither at 72 bytes nor at the longest."""
    for length in (72, 255):
        made = passwords.hash("x" * length + "a")
        assert passwords.verify(made.text, "x" * length + "b").outcome == "no_match"


def test_one_text_in_two_forms_is_one_password(passwords: Passwords) -> None:
    """A15."""
    assert unicodedata.normalize("NFD", NFC) == NFD
    for typed, again in ((NFC, NFD), (NFD, NFC)):
        assert passwords.verify(passwords.hash(typed).text, again) == module.Verified("match")


@pytest.mark.parametrize("text", ["a\0bcdefgh", "\ud800abcdefg", "abcdefg\udfff", "\u0378abcdefg"])
def test_what_is_no_text_is_refused_before_it_is_hashed(
    passwords: Passwords, paid: list[CostClass], text: str
) -> None:
    """A21."""
    calls = (
        lambda: passwords.hash(text),
        lambda: passwords.verify(None, text),
        lambda: passwords.chosen(text, tenant_id="t", email="a@x.de", role="user"),
    )
    for call in calls:
        with pytest.raises(ValidationFailed) as caught:
            call()
        assert caught.value.errors[0]["code"] == "password_invalid"
    assert paid == []


@pytest.mark.parametrize(
    "text", ["\U0001f600" * 8, "\t\n\x01 tabs and bells", "אבגדהוזח", "x" * 4096]
)
def test_every_other_text_is_verified(passwords: Passwords, text: str) -> None:
    """A13, A21: no composition rules; a long wrong one is only wrong."""
    assert passwords.verify(passwords.hash("something else").text, text).outcome == "no_match"


# --- Old hashes ---------------------------------------------------------------------------------


@pytest.mark.parametrize("ident", ["2a", "2b", "2y"])
def test_bcrypt_is_verified_and_replaced(passwords: Passwords, ident: str) -> None:
    """A17."""
    old = bcrypt.using(rounds=4, ident=ident).hash(PASSWORD)
    found = passwords.verify(old, PASSWORD)
    assert found.outcome == "match"
    assert found.new_hash is not None
    assert passwords.verify(found.new_hash.text, PASSWORD) == module.Verified("match")


@pytest.mark.parametrize("other", [{"memory_cost": 32}, {"memory_cost": 128}, {"time_cost": 2}])
def test_other_parameters_are_replaced_higher_ones_too(
    passwords: Passwords, other: dict[str, int]
) -> None:
    """A17."""
    given = {"type": "ID", "memory_cost": 64, "time_cost": 1, "parallelism": 1, **other}
    found = passwords.verify(argon2.using(**given).hash(PASSWORD), PASSWORD)
    assert found.new_hash is not None
    assert found.new_hash.params == {"m": 64, "t": 1, "p": 1}


@pytest.mark.parametrize("type_", ["I", "D"])
def test_the_other_kinds_of_argon2_are_replaced(passwords: Passwords, type_: str) -> None:
    """A17."""
    old = argon2.using(type=type_, memory_cost=64, time_cost=1, parallelism=1).hash(PASSWORD)
    found = passwords.verify(old, PASSWORD)
    assert found.new_hash is not None
    assert found.new_hash.algo == "argon2id"


def test_a_wrong_password_never_rewrites(passwords: Passwords) -> None:
    """A17."""
    assert passwords.verify(OLD.hash(PASSWORD), "wrong") == module.Verified("no_match", None)


def test_more_than_72_bytes_are_verified_as_they_were_made_and_stored_whole(
    passwords: Passwords,
) -> None:
    """A18."""
    long = "é" * 36 + "the rest that bcrypt never read"
    found = passwords.verify(OLD.hash(long.encode()[:72]), long)
    assert found.new_hash is not None
    assert passwords.verify(found.new_hash.text, long).outcome == "match"
    assert passwords.verify(found.new_hash.text, "é" * 36).outcome == "no_match"


def test_an_imported_hash_of_unnormalised_text_matches_and_is_normalised(
    passwords: Passwords,
) -> None:
    """A15: also one that has today's parameters."""
    ours = argon2.using(type="ID", memory_cost=64, time_cost=1, parallelism=1)
    for old in (OLD.hash(NFD), ours.hash(NFD)):
        found = passwords.verify(old, NFD)
        assert found.new_hash is not None
        assert passwords.verify(found.new_hash.text, NFC) == module.Verified("match")


@pytest.mark.parametrize("stored", [None, "", "$2x$04$" + "a" * 53, "$argon2id$v=19$m=4294967295"])
def test_what_cannot_be_verified_is_unusable(passwords: Passwords, stored: str | None) -> None:
    """A20."""
    assert passwords.verify(stored, PASSWORD) == module.Verified("unusable", None)


def test_a_failing_library_is_busy_and_tells_nothing(
    passwords: Passwords, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A21: it puts the hash into its message, and says so when memory is short."""

    def without_memory(*_: Any) -> bool:
        raise ValueError("malformed argon2 hash (Memory allocation error: $argon2id$...)")

    monkeypatch.setattr(argon2, "verify", without_memory)
    with pytest.raises(AuthBusy) as caught:
        passwords.verify(passwords.hash(PASSWORD).text, PASSWORD)
    assert "argon2" not in str(caught.value)


# --- Without Argon2 -----------------------------------------------------------------------------


def test_without_argon2_new_hashes_are_bcrypt_that_others_can_read(bcrypt_only: Passwords) -> None:
    """A19."""
    made = bcrypt_only.hash(PASSWORD)
    assert made.text.startswith("$2b$12$")
    assert (made.algo, made.params) == ("bcrypt", {"cost": 12})
    assert bcrypt.verify(PASSWORD, made.text)


def test_without_argon2_more_than_72_bytes_are_refused(bcrypt_only: Passwords) -> None:
    """A19: not cut off."""
    with pytest.raises(WeakPassword) as caught:
        bcrypt_only.chosen("é" * 36 + "!", tenant_id="t", email="a@x.de", role="user")
    assert [fault["code"] for fault in caught.value.errors] == ["too_long"]
    with pytest.raises(WeakPassword):
        bcrypt_only.hash("é" * 36 + "!")


def test_without_argon2_nothing_is_replaced_and_argon2_still_matches(
    passwords: Passwords, bcrypt_only: Passwords
) -> None:
    """A19: neither up nor down; switched on again, the next log-in replaces."""
    old, new = OLD.hash(PASSWORD), passwords.hash(PASSWORD).text
    assert bcrypt_only.verify(old, PASSWORD) == module.Verified("match", None)
    assert bcrypt_only.verify(new, PASSWORD) == module.Verified("match", None)
    assert passwords.verify(old, PASSWORD).new_hash is not None


# --- What a try costs ---------------------------------------------------------------------------


def test_every_try_costs_one_argon2(passwords: Passwords, paid: list[CostClass]) -> None:
    """A25: right, wrong, unknown, unusable; with no other kind of hash in the table."""
    stored = passwords.hash(PASSWORD).text
    for given, typed in ((stored, PASSWORD), (stored, "wrong"), (None, "wrong"), ("?", "wrong")):
        paid.clear()
        passwords.verify(given, typed)
        assert paid == [CURRENT]


def test_a_failed_try_costs_every_class_once_whoever_it_is(
    passwords: Passwords, paid: list[CostClass], database: str
) -> None:
    """A25, A26: real or dummy, so nobody is told apart."""
    old, new = OLD.hash(PASSWORD), passwords.hash(PASSWORD).text
    store_hash(database, old)
    store_hash(database, OLD.using(rounds=5).hash(PASSWORD), legacy=True)
    everything = sorted([CURRENT, bcrypt_class(4), bcrypt_class(5)], key=str)
    for given in (old, new, None, "?"):
        paid.clear()
        passwords.verify(given, "wrong")
        assert sorted(paid, key=str) == everything


def test_a_right_password_under_an_old_hash_costs_both(
    passwords: Passwords, paid: list[CostClass], database: str
) -> None:
    """A25: one Argon2, for the upgrade."""
    store_hash(database, OLD.hash(PASSWORD))
    passwords.verify(OLD.hash(PASSWORD), PASSWORD)
    assert paid == [bcrypt_class(4), CURRENT]


def test_text_in_two_forms_costs_both_for_everybody(
    passwords: Passwords, paid: list[CostClass]
) -> None:
    """A15, A25."""
    for given in (passwords.hash(PASSWORD).text, None):
        paid.clear()
        passwords.verify(given, NFD)
        assert paid == [CURRENT, CURRENT]


def test_a_start_pays_for_every_class(
    passwords: Passwords, paid: list[CostClass], database: str
) -> None:
    """A25: what a library loads at first use is loaded before the first request."""
    store_hash(database, OLD.hash(PASSWORD))
    passwords.warm()
    assert paid == [CURRENT, bcrypt_class(4)] == list(passwords.cost_classes)


# --- What may be chosen -------------------------------------------------------------------------


def test_a_new_password_is_judged_and_hashed(passwords: Passwords) -> None:
    """A13, A14."""
    made = passwords.chosen(PASSWORD, tenant_id="acme", email="ada@x.de", role="operator")
    assert passwords.verify(made.text, PASSWORD).outcome == "match"


def test_an_operator_needs_15_characters_and_a_user_8(passwords: Passwords) -> None:
    """A13: code points after NFC."""
    assert (passwords.minimum("user"), passwords.minimum("operator")) == (8, 15)
    given = {"tenant_id": "acme", "email": "ada@x.de"}
    passwords.chosen("xk3-trev", role="user", **given)
    for role, text in (("user", "xk3-tre"), ("operator", "xk3-trevallion")):
        with pytest.raises(WeakPassword) as caught:
            passwords.chosen(text, role=role, pointer="/new_password", **given)
        assert caught.value.errors[0]["pointer"] == "/new_password"
        assert [fault["code"] for fault in caught.value.errors] == ["too_short"]


def test_the_old_password_is_not_a_new_one(passwords: Passwords) -> None:
    """A14: in either form of its text, and by a hash of another algorithm."""
    for old in (passwords.hash(NFC).text, OLD.hash(NFC)):
        found = passwords.faults(
            NFD, tenant_id="acme", email="ada@x.de", minimum=8, current_hash=old
        )
        assert [fault["code"] for fault in found] == ["same_as_current"]


def test_a_weak_password_is_refused_without_a_hash(
    passwords: Passwords, paid: list[CostClass]
) -> None:
    """A14: whoever sends short ones costs nothing."""
    old = OLD.hash("short")
    found = passwords.faults("short", tenant_id="acme", email="a@x.de", minimum=8, current_hash=old)
    assert [fault["code"] for fault in found] == ["too_short", "context_word"]
    assert paid == []


def test_hashing_with_a_connection_in_hand_is_a_bug(passwords: Passwords, db: Database) -> None:
    """A23."""
    with db.read(), pytest.raises(RuntimeError, match="A23"):
        passwords.hash(PASSWORD)


# --- Vectors that others have published -----------------------------------------------------------

# Argon2's reference implementation, src/test.c, version 19, without those of 256 MiB.
ARGON2_VECTORS = [
    ("password", "i$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$wWKIMhR9lyDFvRz9YTZweHKfbftvj+qf+YFY4NeBbtA"),
    ("password", "i$v=19$m=256,t=2,p=1$c29tZXNhbHQ$iekCn0Y3spW+sCcFanM2xBT63UP2sghkUoHLIUpWRS8"),
    ("password", "i$v=19$m=256,t=2,p=2$c29tZXNhbHQ$T/XOJ2mh1/TIpJHfCdQan76Q5esCFVoT5MAeIM1Oq2E"),
    ("password", "i$v=19$m=65536,t=1,p=1$c29tZXNhbHQ$0WgHXE2YXhPr6uVgz4uUw7XYoWxRkWtvSsLaOsEbvs8"),
    (
        "differentpassword",
        "i$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$FK6NoBr+qHAMI1jc73xTWNkCEoK9iGY6RWL1n7dNIu4",
    ),
    ("password", "i$v=19$m=65536,t=2,p=1$ZGlmZnNhbHQ$sDV8zPvvkfOGCw26RHsjSMvv7K2vmQq/6cxAcmxSEnE"),
    ("password", "id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"),
    ("password", "id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4"),
    ("password", "id$v=19$m=256,t=2,p=2$c29tZXNhbHQ$bQk8UB/VmZZF4Oo79iDXuL5/0ttZwg2f/5U52iv1cDc"),
    ("password", "id$v=19$m=65536,t=4,p=1$c29tZXNhbHQ$kCXUjmjvc5XMqQedpMTsOv+zyJEf5PhtGiUghW9jFyw"),
    (
        "differentpassword",
        "id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$C4TWUs9rDEvq7w3+J4umqA32aWKB1+DSiRuBfYxFj94",
    ),
    ("password", "id$v=19$m=65536,t=2,p=1$ZGlmZnNhbHQ$vfMrBczELrFdWP0ZsfhWsRPaHppYdP3MVEMIVlqoFBw"),
]
# Of pyca/bcrypt, tests/test_bcrypt.py: each letter, bytes that are no UTF-8, and 72 of them.
BCRYPT_VECTORS = [
    (b"Kk4DQuMMfZL9o", "$2b$04$cVWp4XaNU8a4v1uMRum2SO026BWLIoQMD/TXg5uZV.0P.uO8m3YEm"),
    (b"xhQPMmwh5ALzW", "$2b$04$nQn78dV0hGHf5wUBe0zOFu8n07ZbWWOKoGasZKRspZxtt.vBRNMIy"),
    (b"U*U", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"),
    (b"U*U*", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.VGOzA784oUp/Z0DY336zx7pLYAy0lwK"),
    (b"\xa3", "$2a$05$/OK.fbVrR/bpIqNJ5ianF.Sa7shbm4.OzKpvFnX1pQLmQW96oUlCq"),
    (b"\xa3", "$2y$05$/OK.fbVrR/bpIqNJ5ianF.Sa7shbm4.OzKpvFnX1pQLmQW96oUlCq"),
    (b"\xff\xff\xa3", "$2y$05$/OK.fbVrR/bpIqNJ5ianF.CE5elHaaO4EbggVDjb8P19RukzXSM3e"),
]


@pytest.mark.parametrize(("password", "rest"), ARGON2_VECTORS)
def test_argon2_of_the_reference_matches(password: str, rest: str) -> None:
    """Section 14 of the auth page."""
    stored = parse(f"$argon2{rest}")
    assert stored is not None
    assert matches(stored, password.encode())
    assert not matches(stored, password.replace("d", "e").encode())


@pytest.mark.parametrize(("secret", "text"), BCRYPT_VECTORS)
def test_bcrypt_of_its_library_matches(secret: bytes, text: str) -> None:
    """Section 14 of the auth page."""
    stored = parse(text)
    assert stored is not None
    assert matches(stored, secret)
    assert not matches(stored, secret + b"!")


def test_bcrypt_reads_72_bytes() -> None:
    """A18: what an old store made of more bytes, it made of the first 72."""
    stored = parse("$2b$04$xnFVhJsTzsFBTeP3PpgbMezt2PRDDVR0eoVmjW37UtJn2A8EUpkuu")
    assert stored is not None
    assert [matches(stored, b"\xaa" * length) for length in (71, 72, 73)] == [False, True, True]
