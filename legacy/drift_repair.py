"""Repair: the mirror copies, truth to follower, what a comparison has found (V5)."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from uuid_utils.compat import uuid7

from legacy.links import NEW_READS
from legacy.merging import ACTOR
from legacy.rows import mirror_marks, mirrored_payments, mirrored_users
from legacy.store import StoreRow, VersionStale
from observability import current

if TYPE_CHECKING:
    from legacy.drift_report import Ask, Item
    from legacy.mirror import Scope
    from persistence.db import Conn, Database

WRITE_S = 10


def can_repair(ask: Ask, scope: Scope, item: Item) -> bool:
    """Tell whether it may: what only the follower has goes if that was said, a payment never."""
    if item.columns == ["id"]:
        return False  # There twice: which of the two is right is not for us to say.
    if item.kind == _extra(scope):
        return ask.allow_delete and ask.domain == "users"
    return True


def _extra(scope: Scope) -> str:
    """Return the kind of a row that only the follower has."""
    return "missing_in_new" if scope.state.phase >= NEW_READS else "missing_in_legacy"


def repair(db: Database, scope: Scope, items: list[Item]) -> None:
    """Mark the keys for the mirror.

    A follower at the truth's version or above it takes nothing: the truth's is raised first.
    """
    is_new = scope.state.phase >= NEW_READS
    same = [item.entity_id for item in items if _is_not_newer(item)]
    if same and not is_new:
        _raise_theirs(scope, same)
    if is_new:
        _delete_theirs(scope, [item for item in items if item.kind == _extra(scope)])
    with db.transaction() as conn:
        if same and is_new:
            _raise_ours(conn, scope, same)
        keys = [item.entity_id for item in items]
        mirror_marks.mark(conn, **scope.named, entity_ids=keys, origin="repair")


def _is_not_newer(item: Item) -> bool:
    if item.truth_version is None or item.follower_version is None:
        return False
    return item.truth_version <= item.follower_version


def _raise_ours(conn: Conn, scope: Scope, keys: list[str]) -> None:
    named = {"tenant_id": scope.state.tenant_id, "legacy_ids": keys}
    if scope.state.domain == "users":
        mirrored_users.touch(conn, **named)  # type: ignore[arg-type]
    else:
        by = {"actor": ACTOR, "request_id": current().request_id}
        mirrored_payments.touch(conn, **named, **by)  # type: ignore[arg-type]


def _raise_theirs(scope: Scope, keys: list[str]) -> None:
    """Write rows of legacy as they are; what somebody writes meanwhile is newer anyway."""
    store = scope.link.store
    for row in store.get_many(keys).values():
        until = datetime.now(UTC) + timedelta(seconds=WRITE_S)
        with suppress(VersionStale):
            store.replace(row.row, row.version, str(uuid7()), until)


def _delete_theirs(scope: Scope, items: list[Item]) -> None:
    """Take users away that new does not have: no row of new could tell the mirror to."""
    for item in items:
        version = (item.follower_version or 0) + 1
        gone = StoreRow(item.entity_id, version, {"legacy_id": item.entity_id}, None, deleted=True)
        scope.link.store.follow(gone)
