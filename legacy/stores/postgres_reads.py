"""What is read of a legacy table in PostgreSQL, and what its columns have to be."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from functools import cached_property
from typing import TYPE_CHECKING, Any

from legacy.canonical_sql import identifier
from legacy.store import Capabilities, LegacyError, Unsupported
from legacy.stores import reading
from legacy.stores.postgres_ddl import beside, prepare_sql
from legacy.stores.postgres_session import Facts, read_facts
from legacy.stores.reading import Held, is_same, source_of, status_texts, store_row, store_rows
from legacy.transforms import UUID_TEXT, write

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager

    import psycopg

    from legacy.columns import ColumnMap
    from legacy.store import StoreRow

BIGINT = range(-(2**63), 2**63)

_TOMBSTONES = (
    "SELECT m.entity_id, m.version, m.op_id FROM {mirror} AS m"
    " WHERE m.domain = %s AND m.deleted AND m.entity_id = ANY(%s::text[])"
)


def _value(given: Any) -> Any:
    """Return text; bytes that are none stay bytes, as a server without encoding gives them."""
    if not isinstance(given, bytes):
        return given
    try:
        return given.decode()
    except UnicodeDecodeError:
        return given


def _fits(type_: str, text: str) -> bool:
    """Tell whether a column of this type can hold the text, spelt as it would be there."""
    if type_ in {"smallint", "integer", "bigint"}:
        is_number = re.fullmatch(r"0|-?[1-9][0-9]{0,18}", text)
        return is_number is not None and int(text) in BIGINT
    if type_ == "uuid":
        return re.fullmatch(UUID_TEXT, text) is not None
    return "\x00" not in text


class PostgresReads(ABC):
    """The reading half of PostgresStore, and its capabilities."""

    def __init__(self, mapping: ColumnMap, connections: Any, timeout_ms: int) -> None:
        self._map = mapping
        self._connections = connections
        self._timeout_ms = timeout_ms
        self._table = identifier(mapping.config.table)
        self._mirror = beside(mapping.config.table, "strongroom_mirror")
        self._queue = beside(mapping.config.table, "strongroom_queue")
        self._id = identifier(mapping.id_source)

    @abstractmethod
    def _used(
        self, legacy_id: str = "", *, limited: bool = True
    ) -> AbstractContextManager[psycopg.Connection[Any]]:
        """Lend a connection; `limited`: for no longer than the timeout."""

    # --- What it can ----------------------------------------------------------------------------

    @cached_property
    def facts(self) -> Facts:
        """What the catalogue says; read at first use."""
        with self._used() as connection:
            return read_facts(connection, self._map, self._table, self._mirror)

    @property
    def capabilities(self) -> Capabilities:
        """What the configuration and the table allow."""
        by_trigger = self._map.config.capture == "trigger"
        return Capabilities(
            writes=True,
            same_transaction=not self._map.config.dsn,
            capture="trigger" if by_trigger else "poll" if self._map.config.capture else None,
            versions=by_trigger,
            fence=by_trigger,
            ids=self.facts.sequence is not None,
        )

    def _need(self, capability: str) -> None:
        if not getattr(self.capabilities, capability):
            raise Unsupported(capability)

    def prepare_sql(self) -> str:
        """Return what the owner of the table runs before the move; it may be run again."""
        with self._used() as connection:
            ((role,),) = connection.execute("SELECT current_user").fetchall()
        config = self._map.config
        by_trigger = config.capture == "trigger"
        return prepare_sql(
            config.domain, config.table, self._map.id_source, role, capture=by_trigger
        )

    def ping(self) -> None:
        """Raise LegacyUnavailable, or LegacyError with all that is wrong with the table."""
        with self._used() as connection:
            facts = read_facts(connection, self._map, self._table, self._mirror)
        faults = [
            *self._column_faults(facts.types),
            *([] if facts.is_prepared else ["not prepared"]),
        ]
        if faults:
            raise LegacyError(f"{self._map.config.table}: {'; '.join(faults)}")

    def _column_faults(self, types: dict[str, str]) -> Iterator[str]:
        if not types:
            yield "no such table"
            return
        yield from (f"no column {name}" for name in self._map.sources if name not in types)
        for mapped in self._map.config.columns:
            declared = types.get(mapped.source, "")
            if declared == "timestamp without time zone" and mapped.zone is None:
                yield f"{mapped.source} is a timestamp without time zone: say which, by `zone`"
            if declared == "timestamp with time zone" and mapped.zone is not None:
                yield f"{mapped.source} has its time zone: leave `zone` out"
            if mapped.how in {"minor", "decimal"} and declared in {"real", "double precision"}:
                yield f"{mapped.source} is a float: money is not"

    # --- Rows -----------------------------------------------------------------------------------

    def _cast(self, name: str) -> str:
        """Return a parameter of the column's type, without the length that would cut it."""
        return f"%s::text::{self.facts.types.get(name, 'text')}"

    @property
    def _id_cast(self) -> str:
        return f"%s::text::{self.facts.id_type}"

    def _may_be(self, legacy_id: str) -> bool:
        """Tell whether the id could be there: what its type cannot hold is no error."""
        return _fits(self.facts.id_type, legacy_id)

    def _select(self) -> str:
        columns = "".join(f", l.{identifier(name)}::text" for name in self._map.sources)
        return (
            f"SELECT l.{self._id}::text, coalesce(m.version, 1), m.op_id{columns}"
            f" FROM {self._table} AS l LEFT JOIN {self._mirror} AS m"
            f" ON m.domain = '{self._map.domain}'"
            f' AND m.entity_id = l.{self._id}::text COLLATE "C"'
        )

    def _held(self, row: tuple[Any, ...]) -> Held:
        legacy_id, version, op_id, *values = map(_value, row)
        return Held(
            str(legacy_id), dict(zip(self._map.sources, values, strict=True)), version, op_id
        )

    def _held_in(self, connection: psycopg.Connection[Any], legacy_id: str) -> Held | None:
        keys = [legacy_id] if self._may_be(legacy_id) else []
        return next(iter(self._many_in(connection, keys)), None)

    def _many_in(self, connection: psycopg.Connection[Any], keys: Sequence[str]) -> list[Held]:
        mine = f"%s::text[]::{self.facts.id_type}[]"
        query = f"{self._select()} WHERE l.{self._id} = ANY({mine})"
        rows = map(self._held, connection.execute(query.encode(), ([*keys],)).fetchall())
        tombstones = _TOMBSTONES.format(mirror=self._mirror)
        gone = connection.execute(tombstones.encode(), (self._map.domain, [*keys])).fetchall()
        found = {each: Held(each, None, version, op_id) for each, version, op_id in gone}
        found |= {held.id: held for held in rows}
        return [*found.values()]

    def get_many(self, ids: Sequence[str]) -> dict[str, StoreRow]:
        """See LegacyStore."""
        keys = [legacy_id for legacy_id in ids if self._may_be(legacy_id)]
        with self._used() as connection:
            found = self._many_in(connection, keys)
        return store_rows(self._map, found)

    def find(self, field: str, value: Any) -> StoreRow | None:
        """See LegacyStore. An index on lower(column) serves addresses that are spelt otherwise."""
        name = source_of(self._map, field)
        source, given = f"l.{identifier(name)}", self._cast(name)
        raw = write(self._map.by_name[field], value)
        if not _fits(self.facts.types.get(name, "text"), str(raw)):
            return None
        found = self._first(f"{source} = {given}", field, value, raw)
        if found is None and field == "email":
            found = self._first(f"lower({source}) = lower({given})", field, value, raw)
        return found

    def _first(self, condition: str, field: str, value: Any, raw: Any) -> StoreRow | None:
        query = f"{self._select()} WHERE {condition} ORDER BY l.{self._id}"
        with self._used() as connection:
            held = [self._held(row) for row in connection.execute(query.encode(), (str(raw),))]
        rows = (store_row(self._map, each) for each in held)
        return next((row for row in rows if is_same(field, row.row[field], value)), None)

    def page(self, filters: dict[str, Any], after: str | None, limit: int) -> list[StoreRow]:
        """See LegacyStore."""
        conditions, values = self._conditions(filters)

        def scan(after: str | None, step: int) -> list[Held]:
            start = [f"l.{self._id} > {self._id_cast}"] if after is not None else []
            where = " AND ".join(["true", *conditions, *start])
            query = f"{self._select()} WHERE {where} ORDER BY l.{self._id} LIMIT {step}"
            last = [after] if after is not None else []
            with self._used() as connection:
                rows = connection.execute(query.encode(), [*values, *last]).fetchall()
            return [self._held(row) for row in rows]

        return reading.page(self._map, scan, filters, after, limit)

    def _conditions(self, filters: dict[str, Any]) -> tuple[list[str], list[Any]]:
        """Return what the server can leave out by itself; the page looks again."""
        conditions, values = [], []
        if "user_legacy_id" in filters and self._map.domain == "payments":
            name = source_of(self._map, "user_id")
            if _fits(self.facts.types[name], filters["user_legacy_id"]):
                conditions.append(f"l.{identifier(name)} = {self._cast(name)}")
                values.append(filters["user_legacy_id"])
            else:
                conditions.append("false")
        texts = status_texts(self._map, filters["status"]) if "status" in filters else None
        if texts is not None:
            status = identifier(source_of(self._map, "status"))
            conditions.append(f"l.{status}::text = ANY(%s::text[])")
            values.append(texts)
        return conditions, values

    def scan_ids(self, after: str | None, limit: int) -> list[str]:
        """See LegacyStore."""
        where = "" if after is None else f"WHERE l.{self._id} > {self._id_cast}"
        query = (
            f"SELECT l.{self._id}::text FROM {self._table} AS l {where}"
            f" ORDER BY l.{self._id} LIMIT {limit}"
        )
        with self._used() as connection:
            rows = connection.execute(query.encode(), [] if after is None else [after]).fetchall()
        return [legacy_id for (legacy_id,) in rows]

    def close(self) -> None:
        """Close idle connections."""
        self._connections.close()
