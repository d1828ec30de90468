"""The answer about currencies (P3, P4)."""

from __future__ import annotations

from datetime import date
from typing import Annotated

from pydantic import Field, computed_field

from blueprints.fields import Answer, Currency, Integer


class CurrencyAnswer(Answer):
    """A currency of ISO 4217."""

    code: Currency
    numeric_code: Integer
    name: str
    exponent: Annotated[
        Integer | None,
        Field(description="Digits after the decimal point; null: no minor unit.", examples=[2]),
    ]
    published_on: Annotated[date, Field(description="The list that says so.")]
    withdrawn_on: date | None

    @computed_field(description="Whether a new payment may be in it.")  # type: ignore[prop-decorator]
    @property
    def payable(self) -> bool:
        """P4: it has a minor unit, and was not withdrawn."""
        return self.exponent is not None and self.withdrawn_on is None


class CurrencyList(Answer):
    """All currencies, by code."""

    data: list[CurrencyAnswer]
