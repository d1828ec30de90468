"""A legacy table in PostgreSQL: another server by its DSN, or a schema of our own database (D43).

Every column is read as text, so that no value of a type can break a batch.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from legacy.canonical_sql import identifier
from legacy.store import LegacyError, TooLate
from legacy.stores.connections import Connections
from legacy.stores.postgres_compares import PostgresCompares
from legacy.stores.postgres_ddl import beside
from legacy.stores.postgres_session import connect, deadline, errors_of
from legacy.stores.writing import RowWrites

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from datetime import datetime

    import psycopg

    from legacy.columns import ColumnMap, Raw

LOCK_CLASS = 0x53524C48  # Beside the gate's of our own database.
_LATE = "SELECT clock_timestamp() > %s::timestamptz"
_NOTE = """
INSERT INTO {mirror} AS m (domain, entity_id, version, op_id, deleted)
VALUES (%s, %s, %s, %s, %s)
ON CONFLICT (domain, entity_id) DO UPDATE SET
    version = excluded.version, op_id = excluded.op_id, deleted = excluded.deleted
"""


class _Borrowed:
    """A connection of somebody else's transaction, in the place of our own connections."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection

    @contextmanager
    def use(self) -> Iterator[psycopg.Connection[Any]]:
        """Lend it; for this transaction it is one of ours."""
        self._connection.execute("SELECT set_config('strongroom.mirror', 'on', true)")
        yield self._connection

    def close(self) -> None:
        """It is not ours to close."""


class PostgresStore(PostgresCompares, RowWrites["psycopg.Connection[Any]"]):
    """`prepare_sql` has to have been run. A call takes at most `timeout_ms`, comparisons as long
    as they need. `our_database_url`: where the table is if the configuration has no DSN.
    """

    def __init__(
        self,
        mapping: ColumnMap,
        *,
        our_database_url: str = "",
        timeout_ms: int = 500,
        overlap_s: int = 300,
    ) -> None:
        dsn = mapping.config.dsn or our_database_url
        connections: Any = Connections(lambda: connect(dsn, timeout_ms))
        super().__init__(mapping, connections, timeout_ms, overlap_s)

    def within(self, connection: psycopg.Connection[Any]) -> PostgresStore:
        """Return this store in a transaction of our own database: what it does commits with that.

        A write that fails leaves the transaction usable. Raises LegacyError for another database.
        """
        if self._map.config.dsn:
            raise LegacyError("the store is in another database")
        store = PostgresStore.__new__(PostgresStore)
        PostgresCompares.__init__(store, self._map, _Borrowed(connection), self._timeout_ms, 0)
        store.__dict__["facts"] = self.facts
        return store

    @contextmanager
    def _writing(self, legacy_id: str) -> Iterator[psycopg.Connection[Any]]:
        """Hold the row: against our own writers by a lock, against the program's by its row."""
        may_be = self._may_be(legacy_id)
        with self._used(legacy_id) as connection, connection.transaction():
            lock = "SELECT pg_advisory_xact_lock(%s::integer, hashtext(%s))"
            connection.execute(lock, (LOCK_CLASS, f"{self._map.domain}/{legacy_id}"))
            if may_be:
                row = f"SELECT FROM {self._table} AS l WHERE l.{self._id} = %s FOR UPDATE"
                connection.execute(row.encode(), (legacy_id,))
            yield connection

    def _refuse_late(self, connection: psycopg.Connection[Any], not_after: datetime) -> None:
        """Raise TooLate by the server's clock, once the row is held (D12)."""
        if connection.execute(_LATE, (not_after,)).fetchone() == (True,):
            raise TooLate

    def _insert(self, connection: psycopg.Connection[Any], raw: Raw) -> None:
        names = ", ".join(map(identifier, raw))
        marks = ", ".join(map(self._cast, raw))
        overriding = "OVERRIDING SYSTEM VALUE " if self.facts.is_always else ""
        statement = f"INSERT INTO {self._table} ({names}) {overriding}VALUES ({marks})"
        connection.execute(statement.encode(), self._texts(raw))

    def _update(self, connection: psycopg.Connection[Any], legacy_id: str, raw: Raw) -> bool:
        given = {name: value for name, value in raw.items() if name != self._map.id_source}
        changes = ", ".join(f"{identifier(name)} = {self._cast(name)}" for name in given)
        statement = f"UPDATE {self._table} SET {changes} WHERE {self._id} = %s"
        values = [*self._texts(given), legacy_id]
        return bool(connection.execute(statement.encode(), values).rowcount)

    def _delete(self, connection: psycopg.Connection[Any], legacy_id: str) -> None:
        statement = f"DELETE FROM {self._table} WHERE {self._id} = %s"
        connection.execute(statement.encode(), (legacy_id,))

    def _note(
        self,
        connection: psycopg.Connection[Any],
        legacy_id: str,
        version: int,
        op_id: str | None,
        *,
        deleted: bool,
    ) -> None:
        values = (self._map.domain, legacy_id, version, op_id, deleted)
        connection.execute(_NOTE.format(mirror=self._mirror).encode(), values)

    def _texts(self, raw: Raw) -> list[str | None]:
        """Return values as texts that their columns take: a boolean may be a number there."""
        return [self._text(name, value) for name, value in raw.items()]

    def _text(self, name: str, value: Any) -> str | None:
        if isinstance(value, bool):
            is_number = self.facts.types.get(name) in {"smallint", "integer", "bigint", "numeric"}
            return str(int(value)) if is_number else str(value).lower()
        return None if value is None else str(value)

    # --- Ids and fence --------------------------------------------------------------------------

    def allocate_ids(self, n: int) -> list[str]:
        """See LegacyStore; of the sequence that belongs to the id."""
        self._need("ids")
        query = "SELECT nextval(%s::regclass)::text FROM generate_series(1, %s)"
        with self._used() as connection:
            rows = connection.execute(query, (self.facts.sequence, n)).fetchall()
        return [legacy_id for (legacy_id,) in rows]

    def fence(self) -> None:
        """See LegacyStore. It waits for the program's transactions, at most for the timeout."""
        self._need("fence")
        self._switch(fenced=True)

    def unfence(self) -> None:
        """See LegacyStore."""
        if self.capabilities.fence:
            self._switch(fenced=False)

    def _switch(self, *, fenced: bool) -> None:
        name = beside(self._map.config.table, f"strongroom_{self._map.domain}_switch")
        with self._used() as connection:
            connection.execute(f"SELECT {name}(%s)".encode(), (fenced,))

    @contextmanager
    def _used(
        self, legacy_id: str = "", *, limited: bool = True
    ) -> Iterator[psycopg.Connection[Any]]:
        timeout_ms = self._timeout_ms if limited else None
        fields = self.__dict__["facts"].unique if "facts" in self.__dict__ else {}
        with (
            self._lent() as connection,
            errors_of(legacy_id, fields),
            deadline(connection, timeout_ms),
        ):
            yield connection

    def _lent(self) -> AbstractContextManager[psycopg.Connection[Any]]:
        lent: AbstractContextManager[psycopg.Connection[Any]] = self._connections.use()
        return lent
