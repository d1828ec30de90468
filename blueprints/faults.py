"""What is wrong with a request, as `errors[]` of a problem: place, stable code, sentence (AE5).

pydantic's own messages can quote the input, and its types change with its releases: neither is
sent. The value never is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

from pydantic_core.core_schema import ErrorType

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic import ValidationError

    from errors import Fault

MOST_FAULTS = 100
MOST_NAME = 64
PYDANTIC_TYPES = frozenset(get_args(ErrorType))

# The type of pydantic's error: our code, and the sentence; {} are filled from its limits.
CODES: dict[str, tuple[str, str]] = {
    "missing": ("missing", "This is required."),
    "extra_forbidden": ("unknown_field", "There is no such member here."),
    "greater_than_equal": ("out_of_range", "At least {ge}."),
    "less_than_equal": ("out_of_range", "At most {le}."),
    "string_too_short": ("too_short", "At least {min_length} characters."),
    "string_too_long": ("too_long", "At most {max_length} characters."),
    "too_short": ("too_few", "At least {min_length}."),
    "too_long": ("too_many", "At most {max_length}."),
    "string_pattern_mismatch": ("invalid_format", "This has not the form that is wanted."),
    "uuid_parsing": ("invalid_format", "An id has 36 lower-case characters."),
    "datetime_parsing": ("invalid_format", "A time is written as in RFC 3339."),
    "datetime_from_date_parsing": ("invalid_format", "A time is written as in RFC 3339."),
    "datetime_object_invalid": ("invalid_format", "A time is written as in RFC 3339."),
    "timezone_aware": ("invalid_format", "A time needs an offset, or Z."),
    "literal_error": ("invalid_choice", "One of {expected}."),
    "int_type": ("not_integer", "This must be an integer."),
    "int_parsing_size": ("out_of_range", "This integer is too large."),
    "string_type": ("invalid_type", "This must be a string."),
    "bool_type": ("invalid_type", "This must be true or false."),
    "dict_type": ("invalid_type", "This must be an object."),
    "model_type": ("invalid_type", "This must be an object."),
    "list_type": ("invalid_type", "This must be an array."),
    "tuple_type": ("invalid_type", "This must be an array."),
    "datetime_type": ("invalid_type", "This must be a time as a string."),
    "uuid_type": ("invalid_type", "This must be a string."),
    "repeated": ("repeated", "This stands more than once."),
    "forbidden_character": ("forbidden_character", "NUL and lone surrogates are not text."),
}
# P1 and P2: a member called *_minor is an amount.
AMOUNT_CODES = {
    "not_integer": ("amount_not_integer", "An amount is an integer of minor units."),
    "out_of_range": ("amount_out_of_range", ""),
}


def fault(place: str, name: str, kind: str, limits: dict[str, Any] | None = None) -> Fault:
    """Make one fault. `place` is pointer, parameter or header; `kind` is pydantic's error type."""
    code, detail = CODES.get(kind, ("invalid_value", "This does not fit."))
    detail = detail.format_map(limits) if limits else detail
    if name.endswith("_minor") and code in AMOUNT_CODES:
        code, instead = AMOUNT_CODES[code]
        detail = instead or detail
    return {place: name, "code": code, "detail": detail}  # type: ignore[misc]


def of_body(error: ValidationError) -> list[Fault]:
    """All faults of a body, by JSON pointer."""
    return [_one("pointer", pointer(e["loc"]), e) for e in _listed(error)]


def by_place(error: ValidationError) -> dict[int, list[Fault]]:
    """All faults of the items of an array, by the item's place; pointers lead on from it."""
    found: dict[int, list[Fault]] = {}
    for each in error.errors(include_url=False, include_input=False):
        place, *path = each["loc"]
        kept = found.setdefault(int(place), [])
        if len(kept) < MOST_FAULTS:
            kept.append(_one("pointer", pointer(path), each))
    return found


def of_query(error: ValidationError) -> list[Fault]:
    """All faults of a query string, by parameter; the place in a repeated one is left out."""
    return [_one("parameter", _parameter(e["loc"]), e) for e in _listed(error)]


def pointer(path: Iterable[Any]) -> str:
    """Return the JSON pointer (RFC 6901); long names are cut, what is not text is replaced."""
    return "".join("/" + _token(part) for part in path if part != "[key]")


def _listed(error: ValidationError) -> list[Any]:
    """Leave out what the JSON reader of pydantic says: our own has spoken before it."""
    found = error.errors(include_url=False, include_input=False)
    return [one for one in found[:MOST_FAULTS] if one["type"] != "json_invalid"]


def _one(place: str, name: str, found: Any) -> Fault:
    if found["type"] in PYDANTIC_TYPES:
        return fault(place, name, found["type"], found.get("ctx"))
    # One of ours (PydanticCustomError): its type is the code, its text quotes nothing.
    return {place: name, "code": found["type"], "detail": found["msg"]}  # type: ignore[misc]


def _parameter(path: Iterable[Any]) -> str:
    return ".".join(_clean(str(part)) for part in path if isinstance(part, str) and part != "[key]")


def _token(part: Any) -> str:
    return _clean(str(part)).replace("~", "~0").replace("/", "~1")


def _clean(name: str) -> str:
    printable = "".join(c if c.isprintable() else "\ufffd" for c in name[:MOST_NAME])
    return printable if len(name) <= MOST_NAME else printable + "…"
