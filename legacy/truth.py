"""Who decides about a domain now, and legacy's row of an id of ours: what every path asks (D8)."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from errors import NotFound
from legacy import names
from legacy.links import NEW_READS, NoLink
from legacy.refusals import DomainFollowsLegacy, LegacyDown
from legacy.rows import mirrored_users, phases
from legacy.store import LegacyUnavailable, RowRejected, StoreRow

if TYPE_CHECKING:
    from collections.abc import Iterator
    from uuid import UUID

    from legacy.mirror import Mirror, Scope
    from legacy.rows.phases import StateRow
    from persistence.db import Database

AGAIN = {"Retry-After": "1"}


@dataclass(frozen=True, slots=True)
class Truth:
    """Asked at the start of each use case; nothing of it is kept (D8)."""

    db: Database
    mirror: Mirror

    def state(self, tenant_id: str, domain: str) -> StateRow | None:
        """Return where a domain stands; None: it is not on its way."""
        with self.db.read() as conn:
            state = phases.get(conn, tenant_id=tenant_id, domain=domain)
        return None if state is None or state.finished_at is not None else state

    def legacy(self, tenant_id: str, domain: str) -> Scope | None:
        """Return a domain that legacy decides about, with its store; None: new does. LegacyDown."""
        return self.scope(self.state(tenant_id, domain))

    def scope(self, state: StateRow | None) -> Scope | None:
        """Return the same of a state that was read already."""
        if state is None or state.phase >= NEW_READS:
            return None
        with reached():
            found = self.mirror.scope(state)
        return replace(found, link=found.link.guarded())


@contextmanager
def reached() -> Iterator[None]:
    """Say LegacyDown for a store that is away, or that this process was given no map for."""
    try:
        yield
    except (LegacyUnavailable, NoLink) as error:
        raise LegacyDown(headers=AGAIN) from error


def of_legacy(scope: Scope, our_id: UUID, rows: list[Any]) -> StoreRow:
    """Return legacy's row of this id of ours; `rows`: what new has of it. NotFound."""
    store = scope.link.store
    try:
        known = rows[0].legacy_id if rows and rows[0].legacy_id else str(our_id)
        found = store.get_many([known]).get(known) or store.find("id", str(our_id))
        if found is None and not rows and (named := names.find(scope.link, str(our_id))):
            found = store.get_many([named]).get(named)
    except RowRejected as error:
        raise DomainFollowsLegacy(f"This row breaks a rule: {error.code}.") from error
    if found is None or found.deleted:
        raise NotFound
    return found


def user_key(truth: Truth, scope: Scope, user_id: UUID) -> str | None:
    """Return the legacy id of a user of ours; None: there is no such user."""
    tenant_id = scope.state.tenant_id
    with truth.db.read() as conn:
        rows = mirrored_users.read(conn, tenant_id=tenant_id, legacy_ids=[], user_ids=[user_id])
    if rows and rows[0].legacy_id is not None:
        return rows[0].legacy_id
    people = truth.legacy(tenant_id, "users")
    if people is None:
        return None
    try:
        with reached():
            return of_legacy(people, user_id, rows).id
    except NotFound:
        return None
