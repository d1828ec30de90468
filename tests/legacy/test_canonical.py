"""The canonical row byte by byte, and digests of many rows (V1, V2)."""

from __future__ import annotations

import random
import uuid
from datetime import UTC, datetime, timedelta, timezone
from hashlib import sha256
from typing import Any

import pytest

from legacy import canonical


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, b"\x00"),
        ("", b"\x01\x00\x00\x00\x00"),
        ("Ä", b"\x01\x00\x00\x00\x02\xc3\x84"),
        (-12, b"\x01\x00\x00\x00\x03-12"),
        (True, b"\x01\x00\x00\x00\x01t"),
        (False, b"\x01\x00\x00\x00\x01f"),
        (datetime(1970, 1, 1, 0, 0, 1, 5, UTC), b"\x01\x00\x00\x00\x071000005"),
        (datetime(1969, 12, 31, 23, 59, 59, 999999, UTC), b"\x01\x00\x00\x00\x02-1"),
        ({}, b"\x02\x00\x00\x00\x00"),
    ],
)
def test_a_value_has_one_form(value: Any, expected: bytes) -> None:
    """V1: NULL, text, integers in decimal, booleans, microseconds, metadata."""
    assert canonical.encode(value) == expected


def test_metadata_is_ordered_by_bytes() -> None:
    """V1: not by the order they were given in, nor by a collation."""
    given = {"b": "1", "ä": "2", "B": "3", "a": "4"}
    inner = b"".join(canonical.encode(text) for text in ("B", "3", "a", "4", "b", "1", "ä", "2"))
    assert canonical.encode(given) == b"\x02\x00\x00\x00\x04" + inner


def test_a_moment_is_the_same_in_every_zone() -> None:
    """V1: microseconds since 1970 UTC."""
    moment = datetime(2024, 5, 6, 7, 8, 9, 10, UTC)
    there = moment.astimezone(timezone(timedelta(hours=-7)))
    assert canonical.encode(moment) == canonical.encode(there)


@pytest.mark.parametrize("value", [1.0, b"x", [], uuid.UUID(int=1)])
def test_a_row_holds_no_floats_and_no_bytes(value: Any) -> None:
    """V1."""
    with pytest.raises(TypeError, match="Bug"):
        canonical.encode(value)


def test_columns_do_not_run_into_each_other() -> None:
    """V1: lengths stand before values, so that "ab", "c" is not "a", "bc"; nor NULL ''."""
    rows = [("ab", "c"), ("a", "bc"), ("abc", ""), ("abc", None), (None, "abc"), ({"ab": "c"},)]
    hashes = {canonical.row_hash(map(canonical.encode, row)) for row in rows}
    assert len(hashes) == len(rows)


def test_a_row_begins_with_its_version() -> None:
    """V1."""
    assert canonical.row_hash([b"\x00"]) == sha256(b"SR1\x00").digest()


def test_a_row_that_is_there_twice_is_seen() -> None:
    """V2: XOR would give zero."""
    once, twice = canonical.Digest(), canonical.Digest()
    hashed = canonical.row_hash([b"x"])
    once.add("7", hashed)
    twice.add("7", hashed)
    twice.add("7", hashed)
    first = canonical.key_hash("7")[0]
    signed = int.from_bytes(hashed[:8], "big", signed=True)
    assert once.result() == {first: (1, signed)}
    assert twice.result() == {first: (2, 2 * signed)}


def test_a_prefix_divides_a_bucket_by_the_next_byte() -> None:
    """V2: the buckets of level 2 sum to the bucket of level 1."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")  # noqa: T201 - shown if the test fails.
    draw = random.Random(seed)
    rows = {str(draw.randrange(10**9)): draw.randbytes(32) for _ in range(3000)}
    whole = canonical.Digest()
    for key, hashed in rows.items():
        whole.add(key, hashed)
    for bucket, total in whole.result().items():
        part = canonical.Digest(bytes([bucket]))
        for key, hashed in rows.items():
            part.add(key, hashed)
        counts, sums = zip(*part.result().values(), strict=True)
        assert (sum(counts), sum(sums)) == total


def test_ids_of_ours_differ_by_tenant_domain_and_id() -> None:
    """D26: UUIDv8, the same in every run, and no two parts run into each other."""
    assert str(canonical.uuid8("default", "users", "7")) == "efefb6f2-d122-803f-a646-552c26684a47"
    found = {
        canonical.uuid8(*parts)
        for parts in [("a", "b", "c"), ("ab", "", "c"), ("a", "bc", ""), ("a", "b", "C")]
    }
    assert len(found) == 4
    assert {each.version for each in found} == {8}
