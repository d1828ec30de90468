"""Writes to users: each is one statement, which the gate refuses where legacy decides (D5, 2.3).

Then it is rehearsed over legacy's row and rolled back; the row that it came to is written to
legacy by an intent; and it runs for good, with all that it does beside the row: sessions, mails,
audit. So no rule about users stands here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from errors import OutcomeUnknown
from legacy.apply import apply
from legacy.intents import Write
from legacy.mirror import store_terms
from legacy.password_twins import twin_of
from legacy.refusals import DomainFollowsLegacy
from legacy.rehearsal import RolledBack
from legacy.rows import mirrored_users, phases
from legacy.truth import AGAIN, reached

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from legacy.intents import Intents
    from legacy.mirror import Scope
    from legacy.people import People
    from legacy.rows.mirrored_users import CopyRow
    from legacy.store import StoreRow
    from legacy.truth import Truth
    from persistence.db import Conn, Database
    from persistence.statements import Statement


@dataclass(frozen=True, slots=True)
class Result:
    """What a statement gave, once its connection is somebody else's."""

    rows: list[Any]
    rowcount: int

    def fetchall(self) -> list[Any]:
        """Return all rows, as a cursor does."""
        return self.rows


@dataclass(frozen=True, slots=True)
class Change:
    """A statement about one user, with its parameters by name."""

    statement: Statement[Any]
    values: Sequence[Any]
    named: dict[str, Any]

    @property
    def tenant_id(self) -> str:
        """Whose user it is."""
        return str(self.named["tenant_id"])

    @property
    def user_id(self) -> UUID:
        """Which user it is about."""
        user_id: UUID = self.named["user_id"]
        return user_id

    def run(self, conn: Conn, *, raises: bool) -> Result:
        """Send it, and keep the bcrypt hash of a new password beside ours (D41)."""
        done = _kept(conn.run(self.statement, self.values))
        twin = twin_of(self.named.get("password_hash"))
        if twin is not None:
            mirrored_users.keep_hash(
                conn,
                tenant_id=self.tenant_id,
                user_id=self.user_id,
                password_hash=self.named["password_hash"],
                legacy_hash=twin,
                raises=raises,
            )
        return done


class UsersDb:
    """The database as services of users have it."""

    def __init__(self, db: Database, writes: UserWrites) -> None:
        self._db = db
        self._writes = writes

    def __getattr__(self, name: str) -> Any:
        """Return every other way to the database."""
        return getattr(self._db, name)

    def write(self) -> _Handle:
        """As Database.write."""
        return _Handle(self._db, self._writes)


class _Handle:
    """A handle for one statement: it takes its connection when that is sent."""

    def __init__(self, db: Database, writes: UserWrites) -> None:
        self._db = db
        self._writes = writes

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is held."""

    def run(self, statement: Statement[Any], values: Sequence[Any]) -> Result:
        """Send a write here, or to legacy where that decides; LG001 says so."""
        named = dict(zip((param.name for param in statement.file.params), values, strict=True))
        change = Change(statement, values, named)
        try:
            return self._straight(change)
        except DomainFollowsLegacy:
            return self._writes.run(change)

    def _straight(self, change: Change) -> Result:
        if twin_of(change.named.get("password_hash")) is None:
            with self._db.write() as conn:
                return _kept(conn.run(change.statement, change.values))
        with self._db.transaction() as conn:
            return change.run(conn, raises=True)


class UserWrites:
    """Runs writes to users while legacy decides about them."""

    def __init__(self, truth: Truth, people: People, intents: Intents) -> None:
        self._truth = truth
        self._people = people
        self._intents = intents

    def run(self, change: Change) -> Result:
        """Run a write that the gate has refused. LegacyDown, and what an intent may raise."""
        scope = self._truth.legacy(change.tenant_id, "users")
        if scope is None:  # It has moved in between: once more.
            with self._truth.db.transaction() as conn:
                return change.run(conn, raises=True)
        if scope.link.writers == "legacy":
            raise DomainFollowsLegacy  # D30.
        email = change.named.get("email")
        found = self._people.bring_in(scope, email=email, user_id=change.user_id)
        with reached():
            write = self._rehearsed(scope, change, found)
            if write is None:
                return self._here(change)
            landed: list[Result] = []

            def land(conn: Conn, sent: StoreRow) -> None:
                landed.append(_land(conn, scope, change, sent))

            self._intents.run(scope, write, land)
        if not landed:  # Legacy has it, and new cannot have it: the mirror says why.
            raise OutcomeUnknown(headers=AGAIN)
        return landed[0]

    def _here(self, change: Change) -> Result:
        """Run what changes nothing that legacy has."""
        with self._truth.db.transaction() as conn:
            phases.begin_mirror(conn)
            return change.run(conn, raises=False)

    def _rehearsed(self, scope: Scope, change: Change, found: dict[str, StoreRow]) -> Write | None:
        """Return the write that a statement comes to; None: none that legacy has to know."""
        before: CopyRow | None = None
        try:
            with self._truth.db.transaction() as conn:
                phases.begin_mirror(conn)
                before = _read(conn, change)
                change.run(conn, raises=False)
                raise RolledBack(None, _read(conn, change))  # noqa: TRY301 - nothing is to stay.
        except RolledBack as done:
            after = done.row
        if after is None or (before is not None and before.version == after.version):
            return None
        if before is not None and before.legacy_id not in found:
            return None  # An operator of ours, whom legacy has never had.
        legacy_id = _new_id(scope, change) if before is None else str(before.legacy_id)
        return Write(
            entity_id=legacy_id,
            op=change.statement.name,
            expected_version=0 if before is None else found[legacy_id].version,
            row_after={**store_terms(after), "legacy_id": legacy_id},
            answer={},
        )


def _land(conn: Conn, scope: Scope, change: Change, sent: StoreRow) -> Result:
    """Run the statement for good; what it does not come to any more, legacy's row says."""
    phases.begin_mirror(conn)
    done = change.run(conn, raises=False)
    mirrored_users.set_legacy_id(
        conn, tenant_id=change.tenant_id, user_id=change.user_id, legacy_id=sent.id
    )
    now = _read(conn, change)
    if now is None or now.version < sent.version:
        apply(conn, scope.target, sent.id, sent)
    return done


def _read(conn: Conn, change: Change) -> CopyRow | None:
    rows = mirrored_users.read(
        conn, tenant_id=change.tenant_id, legacy_ids=[], user_ids=[change.user_id]
    )
    return rows[0] if rows else None


def _new_id(scope: Scope, change: Change) -> str:
    if not scope.link.store.capabilities.ids:
        return str(change.user_id)
    (legacy_id,) = scope.link.store.allocate_ids(1)
    return legacy_id


def _kept(cursor: Any) -> Result:
    return Result(cursor.fetchall() if cursor.description else [], cursor.rowcount)
