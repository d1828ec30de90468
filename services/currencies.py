"""Exponents of currencies, kept in the process, and amounts as people write them (P5)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from observability import cache_total
from repos import currencies

if TYPE_CHECKING:
    from collections.abc import Callable

    from persistence.db import Database
    from repos.currencies import CurrencyRow

KEPT_S = 60  # Currencies change once or twice a year, by a migration.


def decimal_text(amount_minor: int, exponent: int) -> str:
    """Return `amount_minor` in major units: 1099 with exponent 2 is "10.99", -5 is "-0.05"."""
    sign = "-" if amount_minor < 0 else ""
    digits = str(abs(amount_minor)).rjust(exponent + 1, "0")
    if not exponent:
        return sign + digits
    return f"{sign}{digits[:-exponent]}.{digits[-exponent:]}"


class Currencies:
    """What the table `currencies` says, at most a minute old."""

    def __init__(self, db: Database, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._db = db
        self._monotonic = monotonic
        # One assignment replaces both, so threads need no lock: at worst two of them read.
        self._kept: tuple[float, dict[str, CurrencyRow]] = (float("-inf"), {})

    def list_all(self) -> list[CurrencyRow]:
        """Return every currency, by code."""
        return [*self._read().values()]

    def exponent(self, code: str) -> int | None:
        """Return the digits after the decimal point; None: no minor unit, or no such currency.

        May ask the database: not to be called while a connection is held (AW2).
        """
        row = self._read(code).get(code)
        return None if row is None else row.exponent

    def _read(self, code: str | None = None) -> dict[str, CurrencyRow]:
        """Return what is kept, if it is young and has `code`; else what the table says now."""
        read_at, kept = self._kept
        now = self._monotonic()
        is_old = now - read_at > KEPT_S or (code is not None and code not in kept)
        cache_total.labels("currencies", "miss" if is_old else "hit").inc()
        if is_old:
            with self._db.read() as conn:
                kept = {row.code: row for row in currencies.list_all(conn)}
            self._kept = (now, kept)
        return kept

    def decimal(self, amount_minor: int, code: str) -> str | None:
        """Return `amount_minor` in major units of `code`; None where it has no minor unit."""
        exponent = self.exponent(code)
        return None if exponent is None else decimal_text(amount_minor, exponent)

    def with_decimals(self, data: dict[str, Any], code: str) -> dict[str, Any]:
        """Add `x_decimal` for each `x_minor` of `data`, and return it."""
        amounts = [name for name in data if name.endswith("_minor")]
        for name in amounts:
            minor = data[name]
            decimal = None if minor is None else self.decimal(minor, code)
            data[name.removesuffix("_minor") + "_decimal"] = decimal
        return data
