"""How an API key is written: its form, its check, its randomness."""

from __future__ import annotations

import re
from hashlib import sha256

import pytest

from errors import ApiKeyInvalid
from services.api_key_texts import read_key, write_key

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
# Its CRC-32 is 0xBA0C1E04, in base 62: 3PEtMK.
EXAMPLE = "srk_default_000000000000_" + "0" * 43


def test_a_key_has_the_form_that_secret_scanners_and_people_are_told() -> None:
    key = write_key("my-shop")
    assert re.fullmatch(r"srk_my-shop_[0-9A-Za-z]{12}_[0-9A-Za-z]{43}[0-9A-Za-z]{6}", key)
    assert read_key(key).tenant_id == "my-shop"
    assert read_key(key).digest == sha256(key.encode()).digest()


def test_the_check_is_crc_32_in_base_62() -> None:
    assert read_key(EXAMPLE + "3PEtMK").key_id == "000000000000"


def test_keys_are_drawn_at_random() -> None:
    drawn = [write_key("default") for _ in range(200)]
    assert len({key[12:24] for key in drawn}) == len({key[25:68] for key in drawn}) == 200
    assert set("".join(key[25:68] for key in drawn)) == set(ALPHABET)
    assert len({key[25] for key in drawn}) > 30  # No bit of the 256 is always 0.


def test_a_line_end_after_a_key_is_refused() -> None:
    with pytest.raises(ApiKeyInvalid):
        read_key(write_key("default") + "\n")
