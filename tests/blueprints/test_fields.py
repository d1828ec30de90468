"""Field types: what each takes and refuses, and by which code."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import pytest
from pydantic import ValidationError

from blueprints import faults
from blueprints.fields import (
    AmountMinor,
    Answer,
    Currency,
    Cursor,
    FeeMinor,
    Id,
    Integer,
    Limit,
    Maybe,
    Metadata,
    Model,
    Reference,
    Text,
    Timestamp,
)

THING = "0198c5a0-7d1f-7c3a-9d2e-5b6f7a8c9d0e"


class Everything(Model):
    amount_minor: Maybe[AmountMinor] = None
    fee_minor: Maybe[FeeMinor] = None
    number: Maybe[Integer] = None
    currency: Maybe[Currency] = None
    id: Maybe[Id] = None
    text: Maybe[Text] = None
    reference: Maybe[Reference] = None
    metadata: Maybe[Metadata] = None
    at: Maybe[Timestamp] = None
    cursor: Maybe[Cursor] = None
    limit: Maybe[Limit] = None
    final: Maybe[bool] = None


def refused(name: str, value: str) -> list[tuple[str, str]]:
    """Return pointer and code of every fault of `{"name": value}`; value is JSON text."""
    with pytest.raises(ValidationError) as caught:
        Everything.model_validate_json(f'{{"{name}": {value}}}')
    return [(one["pointer"], one["code"]) for one in faults.of_body(caught.value)]


def taken(name: str, value: str) -> Any:
    return getattr(Everything.model_validate_json(f'{{"{name}": {value}}}'), name)


@pytest.mark.parametrize("value", ["1.0", "1e3", '"1"', "true", "null", "[1]", "{}", "1E0"])
def test_amount_that_is_no_integer_is_refused(value: str) -> None:
    """P2, AE4."""
    assert refused("amount_minor", value) == [("/amount_minor", "amount_not_integer")]


@pytest.mark.parametrize("value", ["0", "-1", "-0", "1000000000000000", "9" * 400])
def test_amount_out_of_range_is_refused(value: str) -> None:
    """P1, P2."""
    assert refused("amount_minor", value) == [("/amount_minor", "amount_out_of_range")]


@pytest.mark.parametrize("value", [1, 999_999_999_999_999])
def test_amount_at_its_limits_is_taken(value: int) -> None:
    """P1."""
    assert taken("amount_minor", str(value)) == value


def test_fee_may_be_nothing() -> None:
    assert taken("fee_minor", "0") == 0
    assert refused("fee_minor", "-1") == [("/fee_minor", "amount_out_of_range")]


@pytest.mark.parametrize("value", [2**53 - 1, -(2**53) + 1])
def test_integer_is_exact_in_every_client(value: int) -> None:
    """AE4."""
    assert taken("number", str(value)) == value
    beyond = value + (1 if value > 0 else -1)
    assert refused("number", str(beyond)) == [("/number", "out_of_range")]


@pytest.mark.parametrize("value", ["usd", "USD\\n", "US", "USDX", "U$D", "", " USD", "\\uff35SD"])
def test_currency_matches_whole(value: str) -> None:
    """P4."""
    assert refused("currency", f'"{value}"') == [("/currency", "invalid_format")]


@pytest.mark.parametrize(
    "value", [THING.upper(), f"urn:uuid:{THING}", f"{{{THING}}}", THING.replace("-", ""), "", "1"]
)
def test_id_has_36_lower_case_characters(value: str) -> None:
    """AE6."""
    assert refused("id", f'"{value}"') == [("/id", "invalid_format")]


def test_id_is_read_as_uuid() -> None:
    assert taken("id", f'"{THING}"') == UUID(THING)
    assert refused("id", "7") == [("/id", "invalid_type")]


@pytest.mark.parametrize("value", ["", " a", "a ", "a\\n", "é", "a" * 101])
def test_reference_is_printable_ascii_without_outer_spaces(value: str) -> None:
    """P12."""
    assert refused("reference", f'"{value}"') == [("/reference", "invalid_format")]


@pytest.mark.parametrize("value", ["a", "a b", "~" * 100])
def test_reference_of_a_client_is_taken(value: str) -> None:
    """P12."""
    assert taken("reference", f'"{value}"') == value


@pytest.mark.parametrize(
    ("value", "pointer", "code"),
    [
        ({"a b": "x"}, "/metadata/a b", "invalid_format"),
        ({"": "x"}, "/metadata/", "invalid_format"),
        ({"a" * 41: "x"}, "/metadata/" + "a" * 41, "invalid_format"),
        ({"a": 1}, "/metadata/a", "invalid_type"),
        ({"a": None}, "/metadata/a", "invalid_type"),
        ({"a": {"b": "c"}}, "/metadata/a", "invalid_type"),
        ({"a": "x" * 501}, "/metadata/a", "too_long"),
        ({str(i): "x" for i in range(51)}, "/metadata", "too_many"),
        ({str(i): "é" * 250 for i in range(17)}, "/metadata", "too_large"),
        ([], "/metadata", "invalid_type"),
    ],
)
def test_metadata_is_small_and_flat(value: Any, pointer: str, code: str) -> None:
    """P14."""
    assert refused("metadata", json.dumps(value)) == [(pointer, code)]


def test_metadata_of_8_kib_is_taken() -> None:
    """P14."""
    full = {f"{i:03}": "x" * 497 for i in range(16)} | {"abc": "x" * 189}
    assert sum(len(k) + len(v) for k, v in full.items()) == 8_192
    assert taken("metadata", json.dumps(full)) == full


@pytest.mark.parametrize(
    "value", ['"2026-01-31T12:00:00"', '"2026-01-31"', '"soon"', '"2026-13-01T00:00:00Z"']
)
def test_time_is_rfc_3339_with_offset(value: str) -> None:
    assert refused("at", value) == [("/at", "invalid_format")]


def test_time_is_kept_in_utc() -> None:
    """PostgreSQL refuses an offset of 16 hours or more, which RFC 3339 allows."""
    read = taken("at", '"2026-01-31T12:00:00-16:50"')
    assert read.isoformat() == "2026-02-01T04:50:00+00:00"


@pytest.mark.parametrize("value", ["0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00"])
def test_time_beyond_the_calendar_is_refused(value: str) -> None:
    assert refused("at", f'"{value}"') == [("/at", "out_of_range")]


@pytest.mark.parametrize("value", ["0", "1700000000", "1.5", "true"])
def test_time_is_a_string(value: str) -> None:
    assert refused("at", value) == [("/at", "invalid_type")]


@pytest.mark.parametrize("name", list(Everything.model_fields))
def test_what_may_be_left_out_may_not_be_null(name: str) -> None:
    """P2: null is no amount; and for every other member the same."""
    assert refused(name, "null")[0][0] == f"/{name}"


def test_all_faults_are_told_at_once() -> None:
    """AE5."""
    text = '{"amount_minor": "5", "final": 1, "text": "", "limit": 201, "x/y~z": 0}'
    with pytest.raises(ValidationError) as caught:
        Everything.model_validate_json(text)
    found = {one["pointer"]: one["code"] for one in faults.of_body(caught.value)}
    assert found == {
        "/amount_minor": "amount_not_integer",
        "/final": "invalid_type",
        "/text": "too_short",
        "/limit": "out_of_range",
        "/x~1y~0z": "unknown_field",
    }


def test_no_more_than_a_hundred_faults_are_told() -> None:
    text = json.dumps({f"x{i}": i for i in range(500)})
    with pytest.raises(ValidationError) as caught:
        Everything.model_validate_json(text)
    assert len(faults.of_body(caught.value)) == faults.MOST_FAULTS


def test_pointer_is_short_and_printable() -> None:
    """AF4: a name is shown so that it can be found, not echoed at any length."""
    assert faults.pointer(("a" * 65, "\x00\ud800b", 3)) == f"/{'a' * 64}…/\ufffd\ufffdb/3"


def test_model_cannot_be_changed() -> None:
    """AE4."""
    read = Everything(limit=3)
    with pytest.raises(ValidationError):
        read.limit = 4


def test_answer_drops_what_it_does_not_name() -> None:
    """AE8: a new column never leaks."""

    class Shown(Answer):
        id: UUID

    shown = Shown.model_validate({"id": THING, "secret": "x"})
    assert shown.model_dump_json() == f'{{"id":"{THING}"}}'


def test_maybe_of_what_has_no_null_is_a_bug() -> None:
    with pytest.raises(TypeError, match="Bug"):

        class Wrong(Model):
            name: Maybe[None] = None
