"""Stored hashes are read strictly, and within bounds, before a library sees them (A20)."""

from __future__ import annotations

import random

import pytest

from services.passwords import matches
from services.stored_hashes import CostClass, argon2_class, bcrypt_class, parse, parse_class

SALT, DIGEST = "c29tZXNhbHQ", "bQk8UB/VmZZF4Oo79iDXuL5/0ttZwg2f/5U52iv1cDc"
ARGON2 = f"$argon2id$v=19$m=256,t=2,p=2${SALT}${DIGEST}"
BCRYPT = "$2b$04$cVWp4XaNU8a4v1uMRum2SO026BWLIoQMD/TXg5uZV.0P.uO8m3YEm"


def test_a_hash_names_its_class() -> None:
    """A16, A25."""
    assert parse(ARGON2).cost_class == argon2_class(256, 2, 2)  # type: ignore[union-attr]
    assert parse(BCRYPT).cost_class == bcrypt_class(4)  # type: ignore[union-attr]


@pytest.mark.parametrize("letter", "aby")
def test_the_letter_of_bcrypt_is_no_class_of_its_own(letter: str) -> None:
    """A17, A25: they take the same time."""
    found = parse(BCRYPT.replace("$2b$", f"$2{letter}$"))
    assert found is not None
    assert found.cost_class == bcrypt_class(4)


@pytest.mark.parametrize(
    "text",
    [
        ARGON2.replace("m=256", "m=262144"),
        ARGON2.replace("t=2", "t=10"),
        ARGON2.replace("p=2", "p=8"),
        ARGON2.replace("m=256", "m=16"),
        ARGON2.replace("argon2id", "argon2i"),
        ARGON2.replace("argon2id", "argon2d"),
        BCRYPT.replace("$04$", "$15$"),
    ],
)
def test_the_bounds_themselves_may_be_verified(text: str) -> None:
    """A20."""
    assert parse(text) is not None


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "plain text",
        "$1$abcdefgh$0123456789012345678901",
        ARGON2.replace("m=256", "m=262145"),
        ARGON2.replace("m=256", "m=4294967295"),
        ARGON2.replace("m=256", "m=15"),
        ARGON2.replace("m=256", "m=0256"),
        ARGON2.replace("m=256", "m=-256"),
        ARGON2.replace("m=256", "m=٢٥٦"),
        ARGON2.replace("t=2", "t=11"),
        ARGON2.replace("t=2", "t=0"),
        ARGON2.replace("p=2", "p=9"),
        ARGON2.replace("p=2", "p=0"),
        ARGON2.replace("v=19", "v=16"),
        ARGON2.replace("v=19$", ""),
        ARGON2.replace("m=256,t=2", "t=2,m=256"),
        ARGON2.replace("p=2", "p=2,keyid=aaaa"),
        ARGON2.replace("argon2id", "argon2ii"),
        ARGON2.replace(SALT, "c29tZQ"),
        ARGON2.replace(SALT, SALT + "="),
        ARGON2.replace(SALT, "c29tZXNhbHR"),
        ARGON2.replace(SALT, "A" * 90),
        ARGON2.replace(DIGEST, DIGEST[:20]),
        ARGON2.replace(DIGEST, DIGEST[:-2]),
        ARGON2 + "\n",
        " " + ARGON2,
        ARGON2 + "$",
        BCRYPT.replace("$2b$", "$2x$"),
        BCRYPT.replace("$2b$", "$2$"),
        BCRYPT.replace("$04$", "$03$"),
        BCRYPT.replace("$04$", "$16$"),
        BCRYPT.replace("$04$", "$31$"),
        BCRYPT.replace("$04$", "$4$"),
        BCRYPT[:-1],
        BCRYPT + "x",
        BCRYPT.replace("c", "é"),
        "$2b$" * 100_000,
    ],
)
def test_what_is_malformed_or_too_dear_is_unusable(text: str | None) -> None:
    """A20: no library, no allocation, no exception."""
    assert parse(text) is None


def test_unused_bits_of_bcrypt_digits_are_no_difference() -> None:
    """Some writers left them set; the library would warn, and one of its successors refuse."""
    salted, digested = BCRYPT[:28] + "P" + BCRYPT[29:], BCRYPT[:-1] + "n"
    for text in (salted, digested):
        stored = parse(text)
        assert stored is not None
        assert stored.text == BCRYPT
        assert matches(stored, b"Kk4DQuMMfZL9o")


@pytest.mark.parametrize("each", [argon2_class(65_536, 3, 1), bcrypt_class(12)])
def test_a_class_is_known_by_how_its_hashes_begin(each: CostClass) -> None:
    """A25: users_password_class_idx keeps the beginning."""
    example = parse(each.example())
    assert example is not None
    assert example.cost_class == each == parse_class(str(each))
    assert example.text.startswith(f"{each}$")


@pytest.mark.parametrize("beginning", ["$2b$31", "$2x$12", "$argon2id$v=19$m=999999,t=3,p=1", "?"])
def test_nothing_of_an_unusable_class_is_paid_for(beginning: str) -> None:
    """A20, A25."""
    assert parse_class(beginning) is None


def test_what_is_let_through_is_what_the_library_takes() -> None:
    """A20, A21: hashes with characters changed at random are unusable, or verify to no match."""
    seed = random.SystemRandom().getrandbits(32)
    print(f"seed {seed}")  # noqa: T201 - shown when it fails.
    drawn = random.Random(seed)
    digits = "./ABYZabyz0149+$=,-"
    taken = 0
    for _ in range(600):
        base = drawn.choice([ARGON2.replace("m=256", "m=64"), BCRYPT])
        place = drawn.randrange(len(base))
        stored = parse(base[:place] + drawn.choice(digits) + base[place + 1 :])
        if stored is not None and not _is_dear(stored.cost_class):
            taken += 1
            matches(stored, b"not it")
    assert taken > 50


def _is_dear(each: CostClass) -> bool:
    given = dict(each.params)
    return given.get("cost", 4) > 5 or given.get("m", 64) > 1024
