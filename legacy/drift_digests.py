"""Digests of both sides, from the whole down to the keys that differ (V1, V2)."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from legacy.canonical import key_hash

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from legacy.ours_in_sql import OurSide
    from legacy.store import LegacyStore

T = TypeVar("T")
K = TypeVar("K")


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What digests say. `rows`: of legacy, of new; `keys` differ; `twice`: pairs of doubled ids."""

    rows: tuple[int, int]
    keys: list[str] = field(default_factory=list)
    twice: set[int] = field(default_factory=set)


def compare(store: LegacyStore, ours: OurSide) -> Found:
    """Return the keys that differ: each finer scan is of the buckets that differed only."""
    theirs, mine = both(lambda: store.digest(b""), lambda: ours.digest(b""))
    total, of_new = (sum(n for n, _ in side.values()) for side in (theirs, mine))
    buckets = unequal(theirs, mine)
    if not buckets:
        return Found(rows=(total, of_new))
    theirs, mine = both(lambda: store.deep_digest(buckets), lambda: ours.deep_digest(buckets))
    pairs = unequal(theirs, mine)
    listed, known = both(lambda: store.hashes_in(pairs), lambda: ours.hashes_in(pairs))
    return Found(
        rows=(total, of_new),
        keys=unequal(dict(listed), dict(known)),
        twice={pair_of(key) for key in doubled(key for key, _ in listed)},
    )


def both(theirs: Callable[[], T], ours: Callable[[], T]) -> tuple[T, T]:
    """Ask both sides at the same time; each has a snapshot of its own (V4)."""
    with ThreadPoolExecutor(max_workers=1) as threads:
        asked = threads.submit(theirs)
        mine = ours()
        return asked.result(), mine


def unequal(theirs: Mapping[K, object], mine: Mapping[K, object]) -> list[K]:
    """Return the keys of what differs, ordered by their text."""
    found = (key for key in {*theirs, *mine} if theirs.get(key) != mine.get(key))
    return sorted(found, key=str)


def pair_of(key: str) -> int:
    """Return the first two bytes of a key's hash, as a number: its fine bucket."""
    return int.from_bytes(key_hash(key)[:2], "big")


def doubled(ids: Iterable[str]) -> list[str]:
    """Return the ids that are there twice."""
    seen: set[str] = set()
    return sorted({key for key in ids if key in seen or seen.add(key)})  # type: ignore[func-returns-value]
