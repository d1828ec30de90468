"""Whether single keys differ, for certain: truth, follower, truth, with nothing on its way (V4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from legacy.drift_report import Item
from legacy.links import NEW_READS
from legacy.mirror import read_new, store_terms
from legacy.rows import drift_runs
from legacy.store import RowRejected, RowsRejected, StoreRow

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from legacy.mirror import Scope
    from persistence.db import Database


def settled(db: Database, scope: Scope, keys: Sequence[str]) -> Iterator[tuple[str, Item | None]]:
    """Yield the keys that stand still, each with what differs; None: nothing does."""
    quiet = [key for key in keys if key not in busy(db, scope, keys)]
    if scope.state.phase < NEW_READS:
        before, ours = _theirs(scope, quiet), _ours(db, scope, quiet)
        theirs = after = _theirs(scope, quiet)
    else:
        before, theirs = _ours(db, scope, quiet), _theirs(scope, quiet)
        ours = after = _ours(db, scope, quiet)
    still_busy = busy(db, scope, quiet)
    for key in quiet:
        if before.get(key) == after.get(key) and key not in still_busy:
            yield key, _item(scope, key, theirs.get(key), ours.get(key))


def busy(db: Database, scope: Scope, keys: Sequence[str]) -> set[str]:
    """Return the keys that are on their way: marked, or in a pending intent."""
    with db.read() as conn:
        found = drift_runs.list_busy(conn, **scope.named, entity_ids=keys)
    return {key for key in found if key is not None}


def _ours(db: Database, scope: Scope, keys: list[str]) -> dict[str, Any]:
    with db.read() as conn:
        rows = read_new(conn, scope, keys)
    return {row.legacy_id or str(row.id): row for row in rows}


class _Broken:
    """A row of legacy that breaks our rules: two of them are the same if their faults are."""

    def __init__(self, error: RowRejected) -> None:
        self.columns = list(error.columns)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Broken) and self.columns == other.columns

    __hash__ = None  # type: ignore[assignment] # Compared, never a key.


def _theirs(scope: Scope, keys: list[str]) -> dict[str, StoreRow | _Broken]:
    try:
        return {**scope.link.store.get_many(keys)}
    except RowsRejected as error:
        return {**error.rows, **{each.id: _Broken(each) for each in error.rejected}}


def _item(scope: Scope, key: str, theirs: StoreRow | _Broken | None, ours: Any) -> Item | None:
    if isinstance(theirs, _Broken):
        # What was set aside has a gate of its own.
        found = None if ours is None else ("different", theirs.columns)
        return found and _made(scope, key, found, (None, ours.version))
    is_gone = theirs is None or theirs.deleted
    if is_gone and (ours is None or ours.status == "deleted"):
        return None
    found = ("missing_in_legacy", [])
    if theirs is not None and not is_gone:
        found = ("missing_in_new", [])
        if ours is not None:
            found = ("different", scope.link.compare.differing(theirs.row, store_terms(ours)))
    if found == ("different", []):
        return None
    versions = (theirs.version if theirs else None, ours.version if ours else None)
    return _made(scope, key, found, versions)


def _made(
    scope: Scope, key: str, found: tuple[str, list[str]], versions: tuple[int | None, int | None]
) -> Item:
    truth, follower = versions if scope.state.phase < NEW_READS else versions[::-1]
    return Item(
        entity_id=key,
        kind=found[0],
        columns=found[1],
        truth_version=truth,
        follower_version=follower,
    )
