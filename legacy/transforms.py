"""Values of a legacy column and ours, there and back: nothing is guessed, nothing is rounded.

A value of the legacy side may come typed (SQLite, JSON) or as the text that PostgreSQL and CSV
give: both are read by the same rules, which legacy/canonical_sql.py says again in SQL.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from legacy.ours import OurColumn

# PostgreSQL takes these texts too, apart from months and days that do not exist. The years keep
# every offset within what both calendars can hold.
MOMENT = (
    r"(?!0000|0001|9999)[0-9]{4}-[0-9]{2}-[0-9]{2}"
    r"[T ]([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]([.][0-9]{1,6})?"
)
OFFSET = r"(Z|[+-](0[0-9]|1[0-5])(:?[0-5][0-9])?)"
UUID_TEXT = r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
INTEGER = r"-?(0|[1-9][0-9]{0,17})"
AMOUNT = r"-?[0-9]{1,15}([.][0-9]{1,15})?"
TRUE, FALSE = ("true", "t", "1"), ("false", "f", "0")
PRECISIONS = {"s": 1_000_000, "ms": 1_000, "us": 1}


class Unreadable(ValueError):
    """A value is not what its column should hold; its text is a code."""

    def __init__(self, code: str) -> None:
        self.code = code
        super().__init__(code)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapped:
    """A line of the column map: our column, the legacy column it is `from`, and `how`.

    `words`, `back`: of a map, legacy text to ours, and ours to what is written. `precision`: the
    smallest step of a timestamp over there. `value`: of a const, which has no legacy column.
    """

    ours: OurColumn
    how: str
    source: str = ""
    zone: str | None = None
    precision: str = "us"
    words: Mapping[str, str] | None = None
    back: Mapping[str, bool | int | str] | None = None
    value: str | bool | None = None


def read(mapped: Mapped, raw: Any, exponent: int | None = None) -> Any:
    """Return our value of a legacy one; Unreadable. `exponent`: of the row's currency.

    An id comes back as text, as it stands there.
    """
    if mapped.how == "const":
        return mapped.value
    if raw is None:
        # Ours is never NULL: no metadata and empty metadata are the same (V3).
        return {} if mapped.how == "metadata" else None
    return _READ[mapped.how](mapped, spelt(raw, mapped.how), exponent)


def write(mapped: Mapped, value: Any, exponent: int | None = None) -> Any:
    """Return what the legacy column gets for our value; ValueError: it cannot hold it."""
    if value is None:
        return None
    return _WRITE[mapped.how](mapped, value, exponent)


def spelt(raw: Any, how: str = "text") -> str:
    """Return a legacy value as text; Unreadable for floats, and for bytes that are no UTF-8."""
    if isinstance(raw, str) and "\x00" not in raw and _is_unicode(raw):
        return raw  # As nearly all of them.
    if isinstance(raw, bool):
        return "true" if raw else "false"
    if isinstance(raw, int):
        return str(raw)
    if isinstance(raw, float):
        raise Unreadable("amount_float" if how in {"minor", "decimal"} else "value_invalid")
    if isinstance(raw, dict) and how == "metadata":
        return json.dumps(raw)
    if not isinstance(raw, str | bytes):
        raise Unreadable("value_invalid")
    raise Unreadable("encoding_invalid")


def _is_unicode(text: str) -> bool:
    try:
        return text.isascii() or text.encode() != b""
    except UnicodeEncodeError:
        return False


# --- There --------------------------------------------------------------------------------------


def _as_it_is(_: Mapped, text: str, __: int | None) -> str:
    return text


def _integer(_: Mapped, text: str, __: int | None) -> str:
    if not re.fullmatch(INTEGER, text):
        raise Unreadable("value_invalid")
    return text


def _flag(_: Mapped, text: str, __: int | None) -> bool:
    if text not in TRUE + FALSE:
        raise Unreadable("value_invalid")
    return text in TRUE


def _moment(mapped: Mapped, text: str, _: int | None) -> datetime:
    naive, aware = re.fullmatch(MOMENT, text), re.fullmatch(MOMENT + OFFSET, text)
    if not naive and not aware:
        raise Unreadable("timestamp_invalid")
    if naive and mapped.zone is None:
        raise Unreadable("timestamp_without_zone")
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:  # A month or a day that does not exist.
        raise Unreadable("timestamp_invalid") from None
    moment = moment if aware else _local(moment, str(mapped.zone))
    return _truncated(moment.astimezone(UTC), mapped.precision)


def _local(naive: datetime, zone: str) -> datetime:
    """Return the moment of a clock on a wall: of two as PostgreSQL takes it, the later one.

    An hour that a clock skipped is read by the offset before. Both have the smaller offset.
    """
    both = [naive.replace(tzinfo=_zone(zone), fold=fold) for fold in (0, 1)]
    return min(both, key=lambda moment: moment.utcoffset() or UTC.utcoffset(None))


@cache
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


def _truncated(moment: datetime, precision: str) -> datetime:
    step = PRECISIONS[precision]
    return moment.replace(microsecond=moment.microsecond // step * step)


def _minor(_: Mapped, text: str, __: int | None) -> int:
    return _amount(text, 0)


def _decimal(_: Mapped, text: str, exponent: int | None) -> int:
    if exponent is None:
        raise Unreadable("currency_unknown")
    return _amount(text, exponent)


def _amount(text: str, exponent: int) -> int:
    """Return an amount in minor units, exactly: 10.990 of a currency with cents is 1099."""
    if not re.fullmatch(AMOUNT, text):
        raise Unreadable("amount_invalid")
    whole, _, fraction = text.partition(".")
    if fraction[exponent:].strip("0"):
        raise Unreadable("amount_fractional")
    return int(whole + fraction[:exponent].ljust(exponent, "0"))


def _word(mapped: Mapped, text: str, _: int | None) -> str:
    words = mapped.words or {}
    if text not in words and words.keys() <= {"true", "false"}:
        text = {"1": "true", "t": "true", "0": "false", "f": "false"}.get(text, text)
    if text not in words:
        raise Unreadable("value_unmapped")
    return words[text]


def _names_and_texts(_: Mapped, text: str, __: int | None) -> dict[str, str]:
    try:
        given = json.loads(text)
        texts = [*given.keys(), *given.values()]
        fits = all(isinstance(each, str) and "\x00" not in each for each in texts)
        whole = "".join(texts) if fits else "\ud800"
        whole.encode()
    except (ValueError, AttributeError, RecursionError):
        raise Unreadable("metadata_invalid") from None
    return dict(given)


_READ: dict[str, Callable[[Mapped, str, int | None], Any]] = {
    "text": _as_it_is,
    "uuid": _as_it_is,
    "uuid8": _as_it_is,
    "user_id": _as_it_is,
    "password": _as_it_is,
    "int": _integer,
    "bool": _flag,
    "timestamp": _moment,
    "minor": _minor,
    "decimal": _decimal,
    "map": _word,
    "metadata": _names_and_texts,
}

# --- And back -----------------------------------------------------------------------------------


def _unchanged(_: Mapped, value: Any, __: int | None) -> Any:
    return value


def _integer_back(_: Mapped, value: str, __: int | None) -> int:
    if not re.fullmatch(INTEGER, value):
        raise ValueError("The legacy column holds integers only.")
    return int(value)


def _moment_back(mapped: Mapped, value: datetime, _: int | None) -> str:
    moment = _truncated(value, mapped.precision)
    text = {"s": "seconds", "ms": "milliseconds", "us": "microseconds"}[mapped.precision]
    if mapped.zone is None:
        return moment.astimezone(UTC).isoformat(" ", text)
    return moment.astimezone(_zone(mapped.zone)).replace(tzinfo=None).isoformat(" ", text)


def _decimal_back(_: Mapped, value: int, exponent: int | None) -> str:
    if exponent is None:
        raise ValueError("This currency has no minor unit.")
    digits = str(abs(value)).rjust(exponent + 1, "0")
    whole = digits if not exponent else f"{digits[:-exponent]}.{digits[-exponent:]}"
    return whole if value >= 0 else f"-{whole}"


def _word_back(mapped: Mapped, value: str, _: int | None) -> bool | int | str:
    back = mapped.back or {}
    if value not in back:  # Of currencies a map has only some.
        raise ValueError("The map does not say what this becomes.")
    return back[value]


def _metadata_back(_: Mapped, value: dict[str, str], __: int | None) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)


_WRITE: dict[str, Callable[[Mapped, Any, int | None], Any]] = {
    **dict.fromkeys(_READ, _unchanged),
    "int": _integer_back,
    "timestamp": _moment_back,
    "decimal": _decimal_back,
    "map": _word_back,
    "metadata": _metadata_back,
}
