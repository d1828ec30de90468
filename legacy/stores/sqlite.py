"""A legacy table in a SQLite file: one writer at a time, by BEGIN IMMEDIATE (D43)."""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING, Any

from legacy.store import Duplicate, LegacyError, LegacyUnavailable, RowRejected, TooLate
from legacy.stores.connections import Connections
from legacy.stores.sqlite_compares import SqliteCompares
from legacy.stores.sqlite_reads import identifier
from legacy.stores.writing import RowWrites

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from legacy.columns import ColumnMap, Raw

_CONSTRAINTS = {
    sqlite3.SQLITE_CONSTRAINT_UNIQUE,
    sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY,
    sqlite3.SQLITE_CONSTRAINT_ROWID,
}
# Nothing that waiting mends: a table, a column or a right is lacking.
_LASTING = {sqlite3.SQLITE_ERROR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_NOTADB}


def _text(data: bytes) -> Any:
    """Return text, or the bytes that are none: one such row shall not stop a batch (D25)."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data


class SqliteStore(SqliteCompares, RowWrites[sqlite3.Connection]):
    """`prepare_sql` has to have been run. Each call waits up to `timeout_ms` for the file's lock.

    Foreign keys are kept, whatever the legacy program does.
    """

    def __init__(self, mapping: ColumnMap, *, timeout_ms: int = 500, overlap_s: int = 300) -> None:
        super().__init__(mapping, Connections(self._connect), overlap_s)
        self._timeout_s = timeout_ms / 1000

    def _connect(self) -> sqlite3.Connection:
        try:
            connection = sqlite3.connect(
                f"{Path(self._map.config.dsn).absolute().as_uri()}?mode=rw",
                uri=True,
                timeout=self._timeout_s,
                isolation_level=None,
                check_same_thread=False,
            )
            connection.text_factory = _text
            connection.execute("PRAGMA foreign_keys = ON")
        except sqlite3.Error as exc:
            raise LegacyUnavailable(f"SQLite: {exc.sqlite_errorname}") from None
        return connection

    @contextmanager
    def _used(self, legacy_id: str = "") -> Iterator[sqlite3.Connection]:
        """Lend a connection, and say what went wrong in the words of the protocol."""
        with self._connections.use() as connection:
            try:
                yield connection
            except sqlite3.IntegrityError as exc:
                raise self._refusal(exc, legacy_id) from exc
            except sqlite3.Error as exc:
                if getattr(exc, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF in _LASTING:
                    raise LegacyError(f"SQLite: {exc}") from exc
                raise LegacyUnavailable(f"SQLite: {exc.sqlite_errorname}") from exc

    def _refusal(self, exc: sqlite3.IntegrityError, legacy_id: str) -> LegacyError:
        """Tell which column was taken: SQLite says it in its text alone."""
        if exc.sqlite_errorcode not in _CONSTRAINTS:
            return RowRejected(legacy_id, "refused_by_legacy", ())
        named = str(exc).rpartition(".")[2]
        fields = {mapped.source: name for name, mapped in self._map.by_name.items()}
        return Duplicate(fields.get(named, named))

    @contextmanager
    def _writing(self, legacy_id: str = "") -> Iterator[sqlite3.Connection]:
        """Hold the only writer's place until the block has ended, as us: no trigger captures it."""
        with self._used(legacy_id) as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                self._set_ours(connection, 1)
                yield connection
                self._set_ours(connection, 0)
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def _set_ours(self, connection: sqlite3.Connection, ours: int) -> None:
        statement = "UPDATE strongroom_state SET ours = ? WHERE domain = ?"
        if not connection.execute(statement, (ours, self._map.domain)).rowcount:
            raise LegacyError(f"{self._map.domain}: not prepared for the move")

    # --- Writes ---------------------------------------------------------------------------------

    def _refuse_late(self, connection: sqlite3.Connection, not_after: datetime) -> None:
        """Raise TooLate by SQLite's clock, once the write lock is held (D12)."""
        limit = not_after.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
        late = connection.execute("SELECT strftime('%Y-%m-%d %H:%M:%f', 'now') > ?", (limit,))
        if late.fetchone() == (1,):
            raise TooLate

    def _delete(self, connection: sqlite3.Connection, legacy_id: str) -> None:
        connection.execute(f"DELETE FROM {self._table} WHERE {self._id} = ?", (legacy_id,))

    def _insert(self, connection: sqlite3.Connection, raw: Raw) -> None:
        names = ", ".join(map(identifier, raw))
        marks = ", ".join("?" * len(raw))
        statement = f"INSERT INTO {self._table} ({names}) VALUES ({marks})"
        connection.execute(statement, [*raw.values()])

    def _update(self, connection: sqlite3.Connection, legacy_id: str, raw: Raw) -> bool:
        given = {name: value for name, value in raw.items() if name != self._map.id_source}
        changes = ", ".join(f"{identifier(name)} = ?" for name in given)
        statement = f"UPDATE {self._table} SET {changes} WHERE {self._id} = ?"
        return bool(connection.execute(statement, [*given.values(), legacy_id]).rowcount)

    def _note(
        self,
        connection: sqlite3.Connection,
        legacy_id: str,
        version: int,
        op_id: str | None,
        *,
        deleted: bool,
    ) -> None:
        connection.execute(
            "INSERT OR REPLACE INTO strongroom_mirror (domain, entity_id, version, op_id, deleted)"
            " VALUES (?, ?, ?, ?, ?)",
            (self._map.domain, legacy_id, version, op_id, deleted),
        )

    # --- Ids, capture and fence -----------------------------------------------------------------

    def allocate_ids(self, n: int) -> list[str]:
        """See LegacyStore; of an AUTOINCREMENT key, whose counter is moved on."""
        self._need("ids")
        with self._writing() as connection:
            table = self._map.config.table
            connection.execute(
                "INSERT INTO sqlite_sequence (name, seq) SELECT ?, 0"
                " WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = ?)",
                (table, table),
            )
            ((last,),) = connection.execute(
                "UPDATE sqlite_sequence SET seq = seq + ? WHERE name = ? RETURNING seq", (n, table)
            ).fetchall()
        return [str(number) for number in range(last - n + 1, last + 1)]

    def fence(self) -> None:
        """See LegacyStore: one writer at a time, so none is under way when this commits."""
        self._need("fence")
        self._set_fenced(1)

    def unfence(self) -> None:
        """See LegacyStore."""
        if self.capabilities.fence:
            self._set_fenced(0)

    def _set_fenced(self, fenced: int) -> None:
        with self._writing() as connection:
            statement = "UPDATE strongroom_state SET fenced = ? WHERE domain = ?"
            connection.execute(statement, (fenced, self._map.domain))
