"""Canonical JSON: one text for one value, byte for byte as RFC 8785 has it (LM1)."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.canonical_json import MOST_INTEGER, canonical, digest

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-MOST_INTEGER, MOST_INTEGER)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=5), inner),
)


def test_names_stand_in_the_order_of_utf_16() -> None:
    """RFC 8785, 3.2.3: a character beyond the first plane sorts before U+FB33."""
    given_names = {
        "\u20ac": "Euro Sign", "\r": "Carriage Return", "\ufb33": "Hebrew Letter Dalet",
        "1": "One", "\U0001f600": "Emoji", "\u0080": "Control", "\u00f6": "Latin Small Letter O",
    }  # fmt: skip
    ordered = list(json.loads(canonical(given_names)).values())
    assert ordered == [
        "Carriage Return", "One", "Control", "Latin Small Letter O", "Euro Sign", "Emoji",
        "Hebrew Letter Dalet",
    ]  # fmt: skip


def test_texts_are_escaped_as_rfc_8785_says() -> None:
    """Section 3.2.2.2, with the example of 3.2.2."""
    text = "\u20ac$\u000f\u000aA'\u0042\u0022\u005c\\\"/"
    assert canonical({"string": text}) == (
        '{"string":"\u20ac$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'.encode()
    )
    assert canonical("\b\t\n\f\r\x1f\x7f\u2028") == '"\\b\\t\\n\\f\\r\\u001f\x7f\u2028"'.encode()


def test_all_levels_are_ordered_and_nothing_is_added() -> None:
    """Section 3.2.1: no white space; lists keep their order."""
    value = {"b": [3, 1, {"d": None, "c": True}], "a": {"z": -5, "y": ""}}
    assert canonical(value) == b'{"a":{"y":"","z":-5},"b":[3,1,{"c":true,"d":null}]}'


@pytest.mark.parametrize(
    "value", [1.5, 1.0, float("nan"), MOST_INTEGER + 1, -MOST_INTEGER - 1, b"x", {1: 2}, "\ud800"]
)
def test_what_readers_take_differently_is_refused(value: Any) -> None:
    """RFC 7493: no float, no integer that a double rounds, no lone surrogate."""
    with pytest.raises(ValueError, match=r"Only objects|surrogates"):
        canonical([value])


@given(VALUES)
def test_a_value_survives_and_its_text_is_the_only_one(value: Any) -> None:
    """LM1: reading and writing again gives the same bytes."""
    text = canonical(value)
    assert json.loads(text) == value
    assert canonical(json.loads(text)) == text


def test_the_hash_is_of_the_text() -> None:
    """LM1: metadata_sha256."""
    assert digest({"b": "2", "a": "1"}) == hashlib.sha256(b'{"a":"1","b":"2"}').digest()
