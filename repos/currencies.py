"""Currencies: reference data, the same for every tenant."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from persistence.statements import statement

if TYPE_CHECKING:
    from datetime import date

    from persistence.db import Conn


@dataclass(frozen=True, slots=True, kw_only=True)
class CurrencyRow:
    """A currency of ISO 4217, as the list of `published_on` has it.

    `exponent`: digits after the decimal point; None: it has no minor unit (metals).
    """

    code: str
    numeric_code: int
    name: str
    exponent: int | None
    published_on: date
    withdrawn_on: date | None


LIST_ALL = statement("currencies/list_all", CurrencyRow)


def list_all(conn: Conn) -> list[CurrencyRow]:
    """Every currency, by code."""
    return LIST_ALL.all(conn)
