"""Under which legacy id a store has an id of ours that new does not know yet (D26).

An id that was made of a legacy id cannot be read backwards, so all ids are made until one is it.
Until the backfill has finished that happens; then new knows every id. What was found is kept: it
never changes.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

from errors import DeadlineExceeded
from observability import current

if TYPE_CHECKING:
    from legacy.links import Link

IDS_AT_ONCE = 5_000
KEPT_MAX = 100_000


def note(link: Link, our_id: str, legacy_id: str) -> None:
    """Keep what was seen."""
    if len(link.names) >= KEPT_MAX:
        link.names.clear()
    link.names[our_id] = legacy_id


def find(link: Link, our_id: str) -> str | None:
    """Return the legacy id of an id of ours; None: there is none. DeadlineExceeded."""
    if our_id in link.names or not _are_made(link):
        return link.names.get(our_id)
    after: str | None = None
    while ids := link.store.scan_ids(after, IDS_AT_ONCE):
        for legacy_id in ids:
            if link.compare.our_id(legacy_id) == our_id:
                note(link, our_id, legacy_id)
                return legacy_id
        after = ids[-1]
        deadline = current().deadline
        if deadline is not None and monotonic() > deadline:
            raise DeadlineExceeded(headers={"Retry-After": "1"})
    return None


def _are_made(link: Link) -> bool:
    """Tell whether ids of ours are made of legacy ones, and not the same."""
    return link.compare.our_id("1") != "1"
