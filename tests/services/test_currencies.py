"""Currencies: how many digits, how an amount is written, and how often the table is read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

import observability
from persistence.db import Database, DbSettings
from services.currencies import KEPT_S, Currencies, decimal_text

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def db(database: str) -> Iterator[Database]:
    opened = Database(database, DbSettings(pool_size=1))
    yield opened
    opened.close()


@pytest.mark.parametrize(
    ("amount_minor", "exponent", "text"),
    [
        (1099, 2, "10.99"),
        (5, 2, "0.05"),
        (0, 2, "0.00"),
        (-5, 2, "-0.05"),
        (-1234, 2, "-12.34"),
        (500, 0, "500"),
        (0, 0, "0"),
        (-7, 0, "-7"),
        (1, 3, "0.001"),
        (12345, 4, "1.2345"),
        (999_999_999_999_999, 2, "9999999999999.99"),
        (4_611_686_018_427_387_904, 4, "461168601842738.7904"),
    ],
)
def test_amounts_are_written_in_major_units(amount_minor: int, exponent: int, text: str) -> None:
    """P5: integer arithmetic, never rounded."""
    assert decimal_text(amount_minor, exponent) == text


@pytest.mark.parametrize(("code", "exponent"), [("EUR", 2), ("JPY", 0), ("KWD", 3), ("CLF", 4)])
def test_exponents_are_those_of_the_table(db: Database, code: str, exponent: int) -> None:
    """P3."""
    assert Currencies(db).exponent(code) == exponent


@pytest.mark.parametrize("code", ["XAU", "QQQ"])
def test_without_a_minor_unit_there_is_no_decimal(db: Database, code: str) -> None:
    """P4: metals have none; an unknown code neither."""
    assert Currencies(db).decimal(100, code) is None


def test_an_amount_is_written_in_its_currency(db: Database) -> None:
    """P5."""
    assert Currencies(db).decimal(1099, "EUR") == "10.99"


def test_the_table_is_read_once_a_minute(db: Database) -> None:
    """P3: reference data costs a request nothing."""
    now = 1000.0
    currencies = Currencies(db, lambda: now)
    context = observability.current()
    sent = context.db_statements

    for _ in range(10):
        currencies.exponent("EUR")
    assert context.db_statements == sent + 1

    now += KEPT_S + 1
    currencies.exponent("EUR")
    assert context.db_statements == sent + 2


def test_a_new_currency_is_known_at_once(db: Database, database_owner: str) -> None:
    """P3: a code that is not kept is looked up."""
    currencies = Currencies(db)
    currencies.exponent("EUR")
    with psycopg.connect(database_owner, autocommit=True) as conn:
        conn.execute(
            "INSERT INTO currencies (code, numeric_code, name, exponent, published_on)"
            " VALUES ('QQQ', 1, 'Quark', 2, '2026-01-02')"
        )

    assert currencies.exponent("QQQ") == 2
