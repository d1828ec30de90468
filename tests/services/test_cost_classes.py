"""Cost classes: what the table holds, found by index, read once a minute."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from errors import DatabaseUnavailable
from persistence.db import Database, DbSettings
from services.cost_classes import CLASSES_MAX, KEPT_S, CostClasses
from services.stored_hashes import CostClass, argon2_class, bcrypt_class
from tests.people import store_hash

if TYPE_CHECKING:
    from collections.abc import Iterator

CURRENT = argon2_class(65_536, 3, 1)
SALT_AND_DIGEST = "c29tZXNhbHQ$bQk8UB/VmZZF4Oo79iDXuL5/0ttZwg2f/5U52iv1cDc"
DIGITS = "." * 53


@pytest.fixture
def db(database: str) -> Iterator[Database]:
    opened = Database(database, DbSettings(pool_size=1))
    yield opened
    opened.close()


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def classes(db: Database, clock: Clock) -> CostClasses:
    return CostClasses(db, CURRENT, clock)


def store(database: str, *texts: str, legacy: bool = False) -> None:
    for text in texts:
        store_hash(database, text, legacy=legacy)


def found(classes: CostClasses) -> list[CostClass]:
    return [dummy.cost_class for dummy in classes.dummies()]


def test_an_empty_table_costs_what_new_hashes_cost(classes: CostClasses) -> None:
    """A25."""
    assert found(classes) == [CURRENT]


def test_each_kind_in_the_table_is_found_once(classes: CostClasses, database: str) -> None:
    """A25: hashes of an older store too, and the kinds of Argon2 that only imports bring."""
    store(
        database,
        *[f"$2a$10${DIGITS}", f"$2b$10${DIGITS}", f"$2y$10${DIGITS}"] * 3,
        *[f"{CURRENT}${SALT_AND_DIGEST}"] * 3,
        f"$argon2i$v=19$m=4096,t=3,p=1${SALT_AND_DIGEST}",
    )
    store(database, f"$2b$12${DIGITS}", f"$2b$12${DIGITS}", legacy=True)
    argon2i = CostClass("argon2i", (("m", 4096), ("t", 3), ("p", 1)))
    assert found(classes) == [CURRENT, bcrypt_class(10), bcrypt_class(12), argon2i]


def test_what_is_unusable_is_not_paid_for(classes: CostClasses, database: str) -> None:
    """A20, A25."""
    store(
        database, "no hash", "$2b$31$........", f"$argon2id$v=19$m=999999,t=3,p=1${SALT_AND_DIGEST}"
    )
    assert found(classes) == [CURRENT]


def test_at_most_four_are_paid_for_bcrypt_first(classes: CostClasses, database: str) -> None:
    """A25."""
    store(database, *[f"$argon2id$v=19$m={m},t=3,p=1${SALT_AND_DIGEST}" for m in range(64, 80)])
    store(database, f"$2b$12${DIGITS}")
    assert len(found(classes)) == CLASSES_MAX
    assert found(classes)[:2] == [CURRENT, bcrypt_class(12)]


def test_the_table_is_asked_once_a_minute(
    classes: CostClasses, clock: Clock, database: str
) -> None:
    """A25: with the same dummies, so that what they cost was paid before."""
    before = classes.dummies()
    store(database, f"$2b$12${DIGITS}")
    clock.now = KEPT_S - 1
    assert classes.dummies() is before
    clock.now = KEPT_S
    assert found(classes) == [CURRENT, bcrypt_class(12)]
    assert classes.dummies()[0] is before[0]


def test_without_the_table_the_last_ones_count(
    classes: CostClasses, clock: Clock, database: str, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A25: and it is asked again by the next, not a minute later."""
    store(database, f"$2b$12${DIGITS}")
    assert len(found(classes)) == 2
    clock.now = KEPT_S

    def away() -> None:
        raise DatabaseUnavailable

    with monkeypatch.context() as patch:
        patch.setattr(db, "read", away)
        assert len(found(classes)) == 2
    store(database, f"$2b$10${DIGITS}")
    assert len(found(classes)) == 3
