"""What is read of a SQLite file, and what its columns have to be."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property
from typing import TYPE_CHECKING, Any

from legacy.store import Capabilities, LegacyError, Unsupported
from legacy.stores import reading
from legacy.stores.reading import Held, is_same, source_of, status_texts, store_row, store_rows
from legacy.stores.sqlite_ddl import prepare_sql
from legacy.transforms import write

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager

    from legacy.columns import ColumnMap
    from legacy.store import StoreRow
    from legacy.stores.connections import Connections

KEYS_MAX = 1000  # Of one statement; a batch has no more.
_TOMBSTONES = (
    "SELECT entity_id, version, op_id FROM strongroom_mirror"
    " WHERE domain = ? AND deleted AND entity_id IN ({marks})"
)


def identifier(name: str) -> str:
    """Return a quoted name."""
    return '"' + name.replace('"', '""') + '"'


class SqliteReads(ABC):
    """The reading half of SqliteStore, and its capabilities."""

    def __init__(self, mapping: ColumnMap, connections: Connections[sqlite3.Connection]) -> None:
        self._map = mapping
        self._connections = connections
        self._table = identifier(mapping.config.table)
        self._id = identifier(mapping.id_source)

    @abstractmethod
    def _used(self, legacy_id: str = "") -> AbstractContextManager[sqlite3.Connection]: ...

    # --- What it can ----------------------------------------------------------------------------

    @cached_property
    def capabilities(self) -> Capabilities:
        """What the configuration and the table allow. Asks the file once."""
        by_trigger = self._map.config.capture == "trigger"
        return Capabilities(
            writes=True,
            capture="trigger" if by_trigger else "poll" if self._map.config.capture else None,
            versions=by_trigger,
            fence=by_trigger,
            ids=self._counts_up(),
        )

    def _counts_up(self) -> bool:
        with self._used() as connection:
            sql = "SELECT sql FROM sqlite_master WHERE type = 'table' AND name = ?"
            ((text,),) = connection.execute(sql, (self._map.config.table,)).fetchall() or [("",)]
        return "AUTOINCREMENT" in text.upper()

    def _need(self, capability: str) -> None:
        if not getattr(self.capabilities, capability):
            raise Unsupported(capability)

    def prepare_sql(self) -> str:
        """Return what the owner of the file runs before the move; it may be run again."""
        config = self._map.config
        by_trigger = config.capture == "trigger"
        return prepare_sql(config.domain, config.table, self._map.id_source, capture=by_trigger)

    def ping(self) -> None:
        """Raise LegacyUnavailable, or LegacyError with all that is wrong with the table."""
        with self._used() as connection:
            table = self._map.config.table
            rows = connection.execute("SELECT name, type FROM pragma_table_info(?)", (table,))
            types = dict(rows.fetchall())
            prepared = connection.execute(
                "SELECT 1 FROM sqlite_master WHERE name = 'strongroom_mirror'"
            ).fetchone()
        if faults := [*self._column_faults(types), *([] if prepared else ["not prepared"])]:
            raise LegacyError(f"{table}: {'; '.join(faults)}")

    def _column_faults(self, types: dict[str, str]) -> Iterator[str]:
        if not types:
            yield "no such table"
        for name in self._map.sources if types else []:
            if name not in types:
                yield f"no column {name}"
        for mapped in self._map.config.columns:
            declared = types.get(mapped.source, "TEXT").upper()
            if mapped.how == "decimal" and not ("CHAR" in declared or "TEXT" in declared):
                # Any other type turns 10.10 into a float.
                yield f"{mapped.source} holds major units and is no TEXT"

    # --- Rows -----------------------------------------------------------------------------------

    def _select(self) -> str:
        columns = "".join(f", l.{identifier(name)}" for name in self._map.sources)
        return (
            f"SELECT CAST(l.{self._id} AS TEXT), coalesce(m.version, 1), m.op_id{columns}"
            f" FROM {self._table} AS l LEFT JOIN strongroom_mirror AS m"
            f" ON m.domain = '{self._map.domain}' AND m.entity_id = CAST(l.{self._id} AS TEXT)"
        )

    def _held(self, row: tuple[Any, ...]) -> Held:
        legacy_id, version, op_id, *values = row
        return Held(
            str(legacy_id), dict(zip(self._map.sources, values, strict=True)), version, op_id
        )

    def _held_in(self, connection: sqlite3.Connection, legacy_id: str) -> Held | None:
        """Return a row or tombstone, as this connection sees it."""
        return next(iter(self._many_in(connection, [legacy_id])), None)

    def _many_in(self, connection: sqlite3.Connection, ids: Sequence[str]) -> list[Held]:
        found: dict[str, Held] = {}
        for start in range(0, len(ids), KEYS_MAX):
            keys = ids[start : start + KEYS_MAX]
            marks = ", ".join("?" * len(keys))
            query = f"{self._select()} WHERE l.{self._id} IN ({marks})"
            rows = map(self._held, connection.execute(query, keys))
            gone = connection.execute(_TOMBSTONES.format(marks=marks), [self._map.domain, *keys])
            found |= {each: Held(each, None, version, op_id) for each, version, op_id in gone}
            # "1e1" is the number 10 to SQLite, and no id that was asked for.
            asked = set(keys)
            found |= {held.id: held for held in rows if held.id in asked}
        return [*found.values()]

    def get_many(self, ids: Sequence[str]) -> dict[str, StoreRow]:
        """See LegacyStore."""
        with self._used() as connection:
            found = self._many_in(connection, ids)
        return store_rows(self._map, found)

    def find(self, field: str, value: Any) -> StoreRow | None:
        """See LegacyStore. An address that is spelt otherwise over there is looked for in all."""
        source = f"l.{identifier(source_of(self._map, field))}"
        raw = write(self._map.by_name[field], value)
        found = self._first(f"{source} = ?", field, value, raw)
        if found is None and field == "email":
            found = self._first(f"lower({source}) = lower(?)", field, value, raw)
        return found

    def _first(self, condition: str, field: str, value: Any, raw: Any) -> StoreRow | None:
        query = f"{self._select()} WHERE {condition} ORDER BY l.{self._id}"
        with self._used() as connection:
            held = [self._held(row) for row in connection.execute(query, (raw,))]
        rows = (store_row(self._map, each) for each in held)
        return next((row for row in rows if is_same(field, row.row[field], value)), None)

    def page(self, filters: dict[str, Any], after: str | None, limit: int) -> list[StoreRow]:
        """See LegacyStore."""
        conditions, values = self._conditions(filters)

        def scan(after: str | None, step: int) -> list[Held]:
            start = [f"l.{self._id} > ?"] if after is not None else []
            where = " AND ".join(["true", *conditions, *start])
            query = f"{self._select()} WHERE {where} ORDER BY l.{self._id} LIMIT {step}"
            last = [after] if after is not None else []
            with self._used() as connection:
                return [self._held(row) for row in connection.execute(query, [*values, *last])]

        return reading.page(self._map, scan, filters, after, limit)

    def _conditions(self, filters: dict[str, Any]) -> tuple[list[str], list[Any]]:
        """Return what the file can leave out by itself; the page looks again."""
        conditions, values = [], []
        if "user_legacy_id" in filters and self._map.domain == "payments":
            conditions.append(f"l.{identifier(source_of(self._map, 'user_id'))} = ?")
            values.append(filters["user_legacy_id"])
        texts = status_texts(self._map, filters["status"]) if "status" in filters else None
        if texts is not None:
            marks = ", ".join("?" * len(texts))
            status = identifier(source_of(self._map, "status"))
            conditions.append(f"CAST(l.{status} AS TEXT) IN ({marks})")
            values += texts
        return conditions, values

    def scan_ids(self, after: str | None, limit: int) -> list[str]:
        """See LegacyStore."""
        where = "" if after is None else f"WHERE {self._id} > ?"
        query = (
            f"SELECT CAST({self._id} AS TEXT) FROM {self._table} {where}"
            f" ORDER BY {self._id} LIMIT {limit}"
        )
        with self._used() as connection:
            rows = connection.execute(query, [] if after is None else [after])
            return [str(legacy_id) for (legacy_id,) in rows]

    def close(self) -> None:
        """Close idle connections."""
        self._connections.close()
