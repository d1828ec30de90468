"""The lines of a column map: `status = { from = "is_active", as = "map", map = .., back = .. }`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from legacy.ours import DOMAINS, TRANSFORMS, OurColumn
from legacy.transforms import PRECISIONS, Mapped, spelt

if TYPE_CHECKING:
    from collections.abc import Iterator

IDENTIFIER = r"[A-Za-z_][A-Za-z0-9_]{0,62}"
# Which keys a line has besides `as`; a `?` marks those it may leave out.
KEYS = {
    **dict.fromkeys(TRANSFORMS, ("from",)),
    "timestamp": ("from", "zone?", "precision?"),
    "map": ("from", "map", "back"),
    "const": ("value",),
}


def lines(domain: str, columns: dict[str, Any]) -> tuple[tuple[Mapped, ...], list[str]]:
    """Return the mapped columns in the order of the canonical row, and every fault."""
    ours = DOMAINS[domain]
    faults = [f"{name}: {domain} has no such column" for name in columns if name not in ours]
    mapped: list[Mapped] = []
    for name, column in ours.items():
        if name in columns:
            found = [*_faults(column, columns[name])]
            faults += [f"{name}: {fault}" for fault in found]
            mapped += [] if found else [_mapped(column, columns[name])]
        elif column.is_required and columns:
            faults.append(f"{name}: missing")
    return tuple(mapped), faults + _twice(mapped)


def _twice(mapped: list[Mapped]) -> list[str]:
    """Name lines that would write the same legacy column."""
    owners: dict[str, str] = {}
    faults = []
    for each in mapped:
        owner = owners.setdefault(each.source, each.ours.name)
        if each.source and owner != each.ours.name:
            faults.append(f"{each.ours.name}: {each.source} is what {owner} is from")
    return faults


def _mapped(column: OurColumn, line: dict[str, Any]) -> Mapped:
    words = line.get("map")
    return Mapped(
        ours=column,
        how=line["as"],
        source=line.get("from", ""),
        zone=line.get("zone"),
        precision=line.get("precision", "us"),
        words=words,
        back=line.get("back"),
        value=line.get("value"),
    )


def _faults(column: OurColumn, line: Any) -> Iterator[str]:
    if not isinstance(line, dict):
        yield "a table such as { from = .., as = .. }"
        return
    how = line.get("as")
    if how not in TRANSFORMS:
        yield f"as: one of {', '.join(TRANSFORMS)}"
    elif column.kind not in TRANSFORMS[how]:
        fitting = [each for each, kinds in TRANSFORMS.items() if column.kind in kinds]
        yield f"as: {how} does not make a {column.kind}; {', '.join(fitting)} would"
    else:
        yield from _key_faults(KEYS[how], line)
        yield from _value_faults(column, line)


def _key_faults(keys: tuple[str, ...], line: dict[str, Any]) -> Iterator[str]:
    known = {"as", *(key.rstrip("?") for key in keys)}
    for key in line.keys() - known:
        yield f"{key}: unknown here; known: {', '.join(sorted(known))}"
    for key in keys:
        if not key.endswith("?") and key not in line:
            yield f"{key}: missing"


def _value_faults(column: OurColumn, line: dict[str, Any]) -> Iterator[str]:
    source = line.get("from")
    if source is not None and not re.fullmatch(IDENTIFIER, str(source)):
        yield "from: no plain identifier"
    if "zone" in line and not _is_zone(line["zone"]):
        yield "zone: no time zone of the IANA database"
    if "precision" in line and line["precision"] not in PRECISIONS:
        yield f"precision: one of {', '.join(PRECISIONS)}"
    if "value" in line and not _is_value(column, line["value"]):
        yield f"value: nothing that {column.name} may hold"
    if line["as"] == "map" and "map" in line and "back" in line:
        yield from _map_faults(column, line["map"], line["back"])


def _is_zone(name: Any) -> bool:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, TypeError, OSError):
        return False
    return True


def _is_value(column: OurColumn, value: Any) -> bool:
    if column.kind == "flag":
        return isinstance(value, bool)
    if column.kind == "word":
        return value in column.words
    if column.kind == "currency":
        return isinstance(value, str) and re.fullmatch("[A-Z]{3}", value) is not None
    return isinstance(value, str) and 0 < len(value) <= column.length_max


def _map_faults(column: OurColumn, words: Any, back: Any) -> Iterator[str]:
    """What is written has to be read again, and every value of ours has to be written."""
    if not isinstance(words, dict) or not isinstance(back, dict) or not words:
        yield "map, back: tables with a line for each value"
        return
    for value in words.values():
        if not _is_value(column, value):
            yield f"map: {value!r} is nothing that {column.name} may hold"
    # Of currencies there are too many: `back` has those that `map` leads to.
    ours = column.words or tuple(dict.fromkeys(words.values()))
    if lacking := [value for value in ours if value not in back]:
        yield f"back: lacks {', '.join(map(str, lacking))}"
    if unknown := [value for value in back if value not in ours]:
        yield f"back: {', '.join(unknown)} is nothing that {column.name} may hold"
    for ours_value, theirs in back.items():
        if not isinstance(theirs, bool | int | str) or spelt(theirs) not in words:
            yield f"back: what {ours_value} becomes is not in map"
