"""Bytes to JSON to a strict model, query string to a model, headers to values (AE1 to AE7).

The checked `json.loads` only refuses; the model then reads the same bytes (AE3).
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from pydantic import ValidationError
from pydantic_core import to_json

from blueprints import faults
from errors import (
    BodyTooLarge,
    Fault,
    IdempotencyKeyInvalid,
    InvalidHeader,
    InvalidJson,
    UnsupportedMediaType,
)
from services.idempotency import DRAFT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from wsgiref.types import WSGIEnvironment

    from blueprints.fields import Model

MOST_DEPTH = 16
LINES_TYPE = re.compile(r'application/x-ndjson(\s*;\s*charset="?utf-8"?)?\s*', re.IGNORECASE)
JSON_TYPE = re.compile(r'application/json(\s*;\s*charset="?utf-8"?)?\s*', re.IGNORECASE)
# RFC 7396: what every PATCH here is.
MERGE_PATCH = "application/merge-patch+json"
STREAM_TYPE = re.compile(r'([^\s;]+)(\s*;\s*charset="?utf-8"?)?\s*', re.IGNORECASE)
NOT_TEXT = re.compile("[\x00\ud800-\udfff]")
# Visible ASCII less quote, comma and backslash; the quoted form of RFC 8941 means the same (K2).
KEY = re.compile(r'("?)([!#-+\--\[\]-~]{1,255})\1')
ETAG = re.compile(r'"([!#-~]*)"')
VERSION = re.compile(r"[1-9][0-9]{0,17}")
INTEGER = re.compile(r"0|-?[1-9][0-9]{0,17}")
# Nothing ran and nothing will: this key was never one (K4).
ABOUT_KEYS: dict[str, Any] = {
    "idempotency_key": None,
    "see": f"{DRAFT}#section-2.1",
    "safe_new_key": True,
}
NO_VERSION = -1  # A version that nothing ever has: If-Match with it fails.


# --- Bodies -------------------------------------------------------------------------------------


def body(environ: WSGIEnvironment, most_bytes: int, lines_of: str | None = None) -> bytes:
    """Read the body, b"" if there is none. Raises BodyTooLarge unread, UnsupportedMediaType.

    `lines_of`: lines of JSON are taken too, as the array of that name.
    """
    declared = environ.get("CONTENT_LENGTH")
    if declared:
        if not (declared.isascii() and declared.isdigit()):
            raise InvalidHeader("Content-Length is not a number.")
        length = int(declared)
        if length > most_bytes:
            raise BodyTooLarge(f"A body has at most {most_bytes} bytes here.")
        raw: bytes = environ["wsgi.input"].read(length) if length else b""
        if len(raw) != length:
            raise InvalidJson("The body ended early.")
    elif environ.get("wsgi.input_terminated") and "HTTP_TRANSFER_ENCODING" in environ:
        raw = environ["wsgi.input"].read(most_bytes + 1)
        if len(raw) > most_bytes:
            raise BodyTooLarge(f"A body has at most {most_bytes} bytes here.")
    else:
        return b""
    if "HTTP_CONTENT_ENCODING" in environ:
        raise UnsupportedMediaType
    if lines_of and LINES_TYPE.fullmatch(environ.get("CONTENT_TYPE", "")):
        return _from_lines(raw, lines_of)
    if raw and environ.get("CONTENT_TYPE") != "application/json":
        _check_type(environ.get("CONTENT_TYPE", ""), environ["REQUEST_METHOD"])
    return raw


def stream(environ: WSGIEnvironment, kinds: tuple[str, ...]) -> tuple[str, Callable[[int], bytes]]:
    """Return the type of a body that nobody holds whole, and what reads a line of it.

    A line comes with at most so many bytes, b"" is the end. Raises UnsupportedMediaType; while it
    is read, InvalidJson for a body that ended early.
    """
    found = STREAM_TYPE.fullmatch(environ.get("CONTENT_TYPE", ""))
    kind = found[1].lower() if found else ""
    if kind not in kinds or "HTTP_CONTENT_ENCODING" in environ:
        raise UnsupportedMediaType
    declared = environ.get("CONTENT_LENGTH") or ""
    if declared and not (declared.isascii() and declared.isdigit()):
        raise InvalidHeader("Content-Length is not a number.")
    if not declared and "HTTP_TRANSFER_ENCODING" not in environ:
        return kind, lambda _: b""
    left = int(declared) if declared else None

    def read_line(most_bytes: int) -> bytes:
        nonlocal left
        most = most_bytes if left is None else min(left, most_bytes)
        line: bytes = environ["wsgi.input"].readline(most) if most else b""
        if left is not None:
            if left and not line:
                raise InvalidJson("The body ended early.")
            left -= len(line)
        return line

    return kind, read_line


def line(raw: bytes) -> Any:
    """Return the JSON of one line as `document` does. Raises InvalidJson, for NUL in a text too."""
    found = document(raw)
    if b"\\u" in raw and any(_not_text(found)):
        raise InvalidJson("A text holds a character that no text may hold.")
    return found


def _from_lines(raw: bytes, name: str) -> bytes:
    """Return lines of JSON as one document; what is no line of JSON makes it none."""
    lines = [line for line in raw.split(b"\n") if line.strip()]
    made = b'{"%b":[%b]}' % (name.encode(), b",".join(lines))
    if len(document(made)[name]) != len(lines):
        raise InvalidJson("A line is one JSON value.")
    return made


def _check_type(content_type: str, method: str) -> None:
    is_patch = method == "PATCH" and content_type.lower() == MERGE_PATCH
    if not is_patch and not JSON_TYPE.fullmatch(content_type):
        raise UnsupportedMediaType


def document(raw: bytes) -> Any:
    """Return the JSON document of `raw` as Python sees it. Raises InvalidJson (AE1)."""
    too_deep = InvalidJson(f"The body is nested more than {MOST_DEPTH} deep.")
    try:
        found = _DECODER.decode(raw.decode("utf-8"))
    except RecursionError:
        raise too_deep from None
    except UnicodeDecodeError as exc:
        raise InvalidJson("The body is not UTF-8.") from exc
    except _Refused as exc:
        raise InvalidJson(str(exc)) from exc
    except ValueError as exc:
        raise InvalidJson("The body is not JSON.") from exc
    if raw.count(b"{") + raw.count(b"[") > MOST_DEPTH and _is_deeper(found, MOST_DEPTH):
        raise too_deep
    return found


def parsed(model: type[Model], raw: bytes, found: Any) -> tuple[Model | None, list[Fault]]:
    """Read `raw`, whose document is `found`, into `model`: the model, or all its faults."""
    # Only an escape can bring NUL or a lone surrogate past UTF-8 and JSON (AE2).
    wrong = list(_not_text(found)) if b"\\u" in raw else []
    try:
        read = model.model_validate_json(raw)
    except ValidationError as exc:
        wrong += faults.of_body(exc)
        if not wrong:
            raise InvalidJson("The body holds a number that is too large.") from exc
        return None, wrong[: faults.MOST_FAULTS]
    return (None, wrong) if wrong else (read, [])


class _Refused(ValueError):
    """JSON that json.loads takes and RFC 7493 does not."""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise _Refused("A name stands twice in one object.")
    return made


def _finite(text: str) -> float:
    number = float(text)
    if number - number != 0:
        raise _Refused("A number is too large.")
    return number


def _constant(_: str) -> Any:
    raise _Refused("NaN and Infinity are not JSON.")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique, parse_float=_finite, parse_constant=_constant
)


def _is_deeper(found: Any, most: int) -> bool:
    """Tell whether arrays and objects stand in each other more than `most` deep."""
    level = [found]
    while level and most > 0:
        inner = (each.values() if isinstance(each, dict) else each for each in level)
        level = [one for each in inner for one in each if isinstance(one, dict | list)]
        most -= 1
    return bool(level)


def _not_text(found: Any, path: tuple[Any, ...] = ()) -> Iterator[Fault]:
    """Name every place whose name or string no text column can hold."""
    if isinstance(found, str):
        if NOT_TEXT.search(found):
            yield faults.fault("pointer", faults.pointer(path), "forbidden_character")
    elif isinstance(found, dict):
        for name, value in found.items():
            if NOT_TEXT.search(name):
                yield faults.fault("pointer", faults.pointer((*path, name)), "forbidden_character")
            yield from _not_text(value, (*path, name))
    elif isinstance(found, list):
        for place, value in enumerate(found):
            yield from _not_text(value, (*path, place))


# --- Query strings ------------------------------------------------------------------------------


class Query:
    """Reads query strings into one model: as a flat JSON object whose integers are digits.

    A member that is an array may be repeated; `a.b=c` is a member of the object `a`.
    """

    def __init__(self, model: type[Model]) -> None:
        """Learn from the model which names are arrays, objects, integers."""
        properties = model.model_json_schema()["properties"]
        self._kinds = {name: schema.get("type") for name, schema in properties.items()}
        self._model = model
        self._of_nothing = self._read([])  # Most requests have no query: it is read once.

    def read(self, pairs: list[tuple[str, str]]) -> tuple[Model | None, list[Fault]]:
        """Return the model, or all faults by parameter (AE6)."""
        return self._read(pairs) if pairs else self._of_nothing

    def _read(self, pairs: list[tuple[str, str]]) -> tuple[Model | None, list[Fault]]:
        wrong, members = _gathered(pairs, self._kinds)
        try:
            read = self._model.model_validate_json(to_json(members))
        except ValidationError as exc:
            return None, (wrong + faults.of_query(exc))[: faults.MOST_FAULTS]
        return (None, wrong) if wrong else (read, [])


def pairs(environ: WSGIEnvironment) -> list[tuple[str, str]]:
    """Return the query string's names and values in their order; bad UTF-8 as lone surrogates."""
    text = environ.get("QUERY_STRING", "")
    if not text:
        return []
    text = text.encode("latin-1").decode("utf-8", "surrogateescape")
    return parse_qsl(text, keep_blank_values=True, errors="surrogateescape")


def _gathered(
    given: list[tuple[str, str]], kinds: dict[str, str | None]
) -> tuple[list[Fault], dict[str, Any]]:
    wrong: list[Fault] = []
    members: dict[str, Any] = {}
    for name, value in given:
        shown = faults.pointer((name,))[1:]
        if NOT_TEXT.search(name) or NOT_TEXT.search(value):
            wrong.append(faults.fault("parameter", shown, "forbidden_character"))
            continue
        head, _, tail = name.partition(".")
        if tail and kinds.get(head) == "object":
            held = members.setdefault(head, {})
            key = tail
        else:
            held, key = members, name
        if kinds.get(key) == "array" and held is members:
            held.setdefault(key, []).append(value)
        elif key in held:
            wrong.append(faults.fault("parameter", shown, "repeated"))
        else:
            held[key] = _integer(value) if kinds.get(key) == "integer" else value
    return wrong, members


def _integer(value: str) -> int | str:
    return int(value) if INTEGER.fullmatch(value) else value


# --- Headers ------------------------------------------------------------------------------------


def idempotency_key(header: str) -> str:
    """Return the key of an Idempotency-Key header. Raises IdempotencyKeyInvalid (K2)."""
    match = KEY.fullmatch(header)
    if match is None:
        raise IdempotencyKeyInvalid(**ABOUT_KEYS)
    return match[2]


def if_match(header: str) -> int | None:
    """Return the version that If-Match names, None for `*`. A weak or foreign tag names none."""
    if header == "*":
        return None
    tag = ETAG.fullmatch(header.removeprefix("W/"))
    if tag is None:
        one: Fault = {"header": "If-Match", "code": "invalid_format", "detail": "One entity tag."}
        raise InvalidHeader("If-Match names one entity tag.", errors=(one,))
    if header.startswith("W/") or not VERSION.fullmatch(tag[1]):
        return NO_VERSION
    return int(tag[1])


def is_known(header: str | None, etag: str) -> bool:
    """Tell whether If-None-Match names this tag; weak or strong does not matter to it."""
    if header is None:
        return False
    tags = (tag.strip().removeprefix("W/") for tag in header.split(","))
    return header.strip() == "*" or etag in tags
