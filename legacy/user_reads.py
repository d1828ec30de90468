"""Reading users where legacy decides: its row, under what new knows and it cannot hold (2.1).

Operators whom legacy has never had live here: they are found here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from errors import NotFound
from legacy import names
from legacy.apply_users import user_row
from legacy.merging import NotApplied
from legacy.refusals import DomainFollowsLegacy
from legacy.rows import mirrored_users
from legacy.store import RowRejected, RowsRejected, StoreRow
from legacy.truth import of_legacy, reached
from repos.users import UserRow
from services.users import normalise_email

if TYPE_CHECKING:
    from uuid import UUID

    from legacy.mirror import Scope
    from legacy.rows.mirrored_users import CopyRow
    from legacy.shadow import Shadow
    from legacy.truth import Truth
    from services.cursors import Cursors

LIST = "legacy_users"


class UserReads:
    """Users and lists of them, each by the path of the phase."""

    def __init__(self, inner: Any, truth: Truth, shadow: Shadow) -> None:
        self._inner = inner
        self._truth = truth
        self._shadow = shadow

    def __getattr__(self, name: str) -> Any:
        """Return what is not wrapped."""
        return getattr(self._inner, name)

    def find_by_id(self, tenant_id: str, user_id: UUID) -> UserRow:
        """As Users.find_by_id; LegacyDown."""
        state = self._truth.state(tenant_id, "users")
        scope = self._truth.scope(state)
        found: UserRow
        if scope is None:
            found = self._inner.find_by_id(tenant_id, user_id)
        else:
            found = self._one(scope, user_id)
        self._shadow.offer(state, user_id)
        return found

    def _one(self, scope: Scope, user_id: UUID) -> UserRow:
        with self._truth.db.read() as conn:
            rows = mirrored_users.read(
                conn, tenant_id=scope.state.tenant_id, legacy_ids=[], user_ids=[user_id]
            )
        if rows and _is_ours_alone(rows[0]):
            here: UserRow = self._inner.find_by_id(scope.state.tenant_id, user_id)
            return here
        with reached():
            found = of_legacy(scope, user_id, rows)
        return _user(scope, found, rows[0] if rows else None)

    def find_by_email(self, tenant_id: str, email: str) -> UserRow:
        """As Users.find_by_email; LegacyDown."""
        scope = self._truth.legacy(tenant_id, "users")
        found: UserRow
        if scope is None:
            found = self._inner.find_by_email(tenant_id, email)
            return found
        rows = find_by_email(self._truth, scope, email)
        if not rows:
            raise NotFound
        return rows[0]


class ListReads:
    """AdminQueries, its list of users by the path of the phase."""

    def __init__(self, inner: Any, truth: Truth, cursors: Cursors) -> None:
        self._inner = inner
        self._truth = truth
        self._cursors = cursors

    def __getattr__(self, name: str) -> Any:
        """Return what is not wrapped."""
        return getattr(self._inner, name)

    def users(
        self,
        tenant_id: str,
        limit: int,
        cursor: str | None = None,
        *,
        email: str | None = None,
        status: str | None = None,
    ) -> tuple[list[UserRow], str | None]:
        """As AdminQueries.users, by legacy's ids; operators whom legacy never had are left out."""
        scope = self._truth.legacy(tenant_id, "users")
        if scope is None:
            rows, next_cursor = self._inner.users(
                tenant_id, limit, cursor, email=email, status=status
            )
            return rows, next_cursor
        bound = {"tenant": tenant_id, "email": email, "status": status}
        after = self._cursors.read(LIST, cursor, bound)[0] if cursor else None
        if email is not None:
            found = find_by_email(self._truth, scope, email)
            return [row for row in found if status in {None, row.status}], None
        asked = {} if status is None else {"status": status}
        with reached():
            page = _good(scope, asked, after, limit + 1)
        last = page[limit - 1].id if len(page) > limit else None
        shown = _shown(self._truth, scope, page[:limit])
        return shown, None if last is None else self._cursors.sign(LIST, [last], bound)


def find_by_email(truth: Truth, scope: Scope, email: str) -> list[UserRow]:
    """Return the user with an address, or none. ValidationFailed: no address."""
    normalise_email(email)
    with reached():
        try:
            found = scope.link.store.find("email", email)
        except RowRejected as error:
            raise DomainFollowsLegacy(f"This row breaks a rule: {error.code}.") from error
    return [] if found is None else _shown(truth, scope, [found])


def _good(scope: Scope, asked: dict[str, Any], after: str | None, limit: int) -> list[StoreRow]:
    try:
        return scope.link.store.page(asked, after, limit)
    except RowsRejected as error:
        return list(error.rows.values())


def _shown(truth: Truth, scope: Scope, found: list[StoreRow]) -> list[UserRow]:
    ids = [row.id for row in found]
    with truth.db.read() as conn:
        had = mirrored_users.read(
            conn, tenant_id=scope.state.tenant_id, legacy_ids=ids, user_ids=[]
        )
    here = {row.legacy_id: row for row in had}
    return [_user(scope, row, here.get(row.id)) for row in found]


def _user(scope: Scope, found: StoreRow, had: CopyRow | None) -> UserRow:
    try:
        row = user_row(scope.target, found.id, found.row, had)
    except NotApplied as error:
        raise DomainFollowsLegacy(f"This row breaks a rule: {error.code}.") from error
    names.note(scope.link, row["id"], found.id)
    return UserRow(
        tenant_id=scope.state.tenant_id,
        id=had.id if had else found.row["id"],
        email=row["email"],
        email_verified=row["email_verified"],
        display_name=row["display_name"],
        role=row["role"],
        status=row["status"],
        created_at=found.row["created_at"]
        if had is None or "created_at" in scope.link.columns
        else had.created_at,
    )


def _is_ours_alone(row: CopyRow) -> bool:
    return row.legacy_id is None and row.role == "operator"
