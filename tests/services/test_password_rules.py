"""Which passwords are too weak, and why."""

from __future__ import annotations

from pathlib import Path

import pytest

from services import password_rules
from services.password_rules import faults, nfc

LIST = Path(password_rules.__file__).with_name("common_passwords.txt")


def codes(
    text: str,
    *,
    tenant_id: str = "acme",
    email: str = "Ada.Lovelace+pay@Example.COM",
    least: int = 8,
) -> list[str]:
    found = faults(
        text, tenant_id=tenant_id, email=email, minimum=least, bytes_max=1024, pointer="/password"
    )
    assert all(fault["pointer"] == "/password" and fault["detail"] for fault in found)
    return [fault["code"] for fault in found]


@pytest.mark.parametrize(
    "text",
    [
        "xk3-trev",
        "qv7 " * 16,
        "\N{GRINNING FACE}" * 8,
        "x" * 256,
        "\N{GRINNING FACE}" * 256,
        "no upper case no digits",
    ],
)
def test_length_counts_and_composition_does_not(text: str) -> None:
    """A13: 8 to 256 code points, 64 always allowed."""
    assert codes(text) == []


def test_too_short_and_too_long_are_counted_in_code_points() -> None:
    """A13: and 1024 bytes, which 256 code points of four bytes just reach."""
    assert codes("xk3-tre") == ["too_short"]
    assert codes("\N{GRINNING FACE}" * 7) == ["too_short"]
    assert codes("x" * 257) == ["too_long"]


def test_length_counts_after_nfc() -> None:
    """A13: eight letters with an accent each are eight, however they are typed."""
    assert len(nfc("e\N{COMBINING ACUTE ACCENT}" * 8)) == 8
    assert codes(nfc("e\N{COMBINING ACUTE ACCENT}" * 7)) == ["too_short"]


@pytest.mark.parametrize("text", ["password", "PassWord", "iloveyou", "1234567890", "qwertyuiop"])
def test_common_passwords_are_refused_in_any_case(text: str) -> None:
    """A14."""
    assert codes(text) == ["common"]


def test_the_bundled_list_is_long_enough_and_in_order() -> None:
    """A14: 10,000 or more entries of 8 or more characters, case-folded, with its licence."""
    lines = LIST.read_text("utf-8").splitlines()
    entries = [line for line in lines if not line.startswith("#")]
    assert len(entries) >= 10_000
    assert entries == sorted(set(entries))
    assert all(len(entry) >= 8 and entry == entry.casefold() for entry in entries)
    assert "# Copyright (c) 2016 Daniel Wolf" in lines


@pytest.mark.parametrize(
    "text",
    [
        "acme1234",
        "ACME-2026",
        "strongroom1",
        "StrongRoom!!",
        "lovelace12",
        "Lovelace.ada",
        "example1!",
        "ada.lovelace+pay",
        "acme-ada-pay9",
    ],
)
def test_a_password_of_what_anybody_knows_is_refused(text: str) -> None:
    """A14: tenant, product, parts of the address."""
    assert codes(text) == ["context_word"]


@pytest.mark.parametrize("text", ["acme-xk3tre", "adamant quince", "my strongroom is blue"])
def test_such_a_word_may_be_in_it(text: str) -> None:
    """A14: six characters of one's own are left."""
    assert codes(text) == []


def test_a_short_address_does_not_eat_the_password() -> None:
    """A14: `a@b.io` would take every a, b and io out of it."""
    assert codes("banana-aubergine", email="a@b.io", tenant_id="b") == []


def test_every_fault_is_named_at_once() -> None:
    """A14."""
    assert codes("acme", least=15) == ["too_short", "context_word"]
    assert codes("password", email="password@x.de", least=15) == [
        "too_short",
        "common",
        "context_word",
    ]


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("\u1e9b\u0323", "\u1e9b\u0323"),
        ("\u0044\u0307\u0323", "\u1e0c\u0307"),
        ("\u1100\u1161\u11a8", "\uac01"),
        ("\u212b", "\u00c5"),
        ("\ufb01", "\ufb01"),
        ("\u0958", "\u0915\u093c"),
        ("\u2126", "\u03a9"),
        ("a\u0315\u0300\u05ae\u0062", "\u00e0\u05ae\u0315b"),
    ],
)
def test_nfc_is_that_of_unicode(text: str, normal: str) -> None:
    """A15: lines of NormalizationTest.txt; compatibility characters stay what they are."""
    assert nfc(text) == normal
    assert nfc(normal) == normal
