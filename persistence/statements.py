"""The SQL catalogue: `statement("payments/capture", CaptureRow)` at module level of a repo.

A statement knows its file, its parameters and its row type; how it is sent is the handle's matter.
"""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast, overload

from psycopg.types.json import Jsonb

from persistence import sql_files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from psycopg import Cursor

    from persistence.db import Conn

Row = TypeVar("Row")

# Every statement of the repos by its name, for check-sql and the contract tests.
REGISTRY: dict[str, Statement[Any]] = {}


@overload
def statement(name: str, row: type[Row], *, root: Path = ...) -> Statement[Row]: ...
@overload
def statement(name: str, row: Any = ..., *, root: Path = ...) -> Statement[Any]: ...
def statement(name: str, row: Any = int, *, root: Path = sql_files.ROOT) -> Statement[Any]:
    """Load `sql/<name>.sql`, whose rows are `row`: a row dataclass, or the type of its one column.

    Raises SqlFileError with every fault of the file: a broken catalogue stops the boot.
    """
    made = Statement[Any](sql_files.load(name, root), row)
    if root.is_relative_to(sql_files.ROOT.parent):  # A folder of ours, and none of a test's.
        REGISTRY[name] = made
    return made


class Statement(Generic[Row]):
    """One SQL file with its row type; made once, by `statement`, and shared by all threads."""

    __slots__ = (
        "_bind", "_columns", "_json", "_make", "_names", "claims_key", "file", "is_write",
        "name", "query", "returns", "row",
    )  # fmt: skip

    def __init__(self, file: sql_files.SqlFile, row: Any) -> None:
        self.file = file
        self.name = file.name
        self.row = row
        self.returns = file.returns
        self.is_write = file.kind == "write"
        self.claims_key = file.claims == "key"
        # AQ5: the header goes along; as the text is sent once a connection, it costs nothing.
        self.query = file.query.encode()
        self._names = frozenset(param.name for param in file.params)
        self._json = [i for i, param in enumerate(file.params) if param.type in ("json", "jsonb")]
        self._bind = _binder([param.name for param in file.params])
        self._make = _row_maker(row)
        self._columns: list[str] | None = None

    def one(self, conn: Conn, **params: Any) -> Row:
        """Send it and return its only row."""
        rows = self._rows(conn, "one", params)
        if len(rows) != 1:
            raise RuntimeError(f"Bug: {self.name} gave {len(rows)} rows, not one")
        return rows[0]

    def one_or_none(self, conn: Conn, **params: Any) -> Row | None:
        """Send it and return its row, or None if there is none."""
        rows = self._rows(conn, "0..1", params)
        if len(rows) > 1:
            raise RuntimeError(f"Bug: {self.name} gave {len(rows)} rows, not one or none")
        return rows[0] if rows else None

    def all(self, conn: Conn, **params: Any) -> list[Row]:
        """Send it and return all rows."""
        return self._rows(conn, "many", params)

    def count(self, conn: Conn, **params: Any) -> int:
        """Send it and return how many rows it changed."""
        return conn.run(self, self._values("count", params)).rowcount

    def stream(self, conn: Conn, batch: int, **params: Any) -> Iterator[Row]:
        """Yield all rows of a snapshot, `batch` rows a round trip."""
        return cast("Iterator[Row]", conn.stream(self, self._values("many", params), batch))

    def row_factory(self, cursor: Cursor[Any]) -> Callable[[Sequence[Any]], Row]:
        """Return what makes a row of a tuple; the first time, compare the columns with the row."""
        if self._columns is None and cursor.description:
            self._columns = self._check_columns([column.name for column in cursor.description])
        return cast("Callable[[Sequence[Any]], Row]", self._make)

    def _rows(self, conn: Conn, returns: str, params: dict[str, Any]) -> list[Row]:
        return conn.run(self, self._values(returns, params)).fetchall()

    def _values(self, returns: str, params: dict[str, Any]) -> Sequence[Any]:
        """Return the parameters in the order of the header; nothing was sent if this raises."""
        if returns != self.returns:
            raise RuntimeError(f"Bug: {self.name} returns {self.returns}, it was asked {returns}")
        if params.keys() != self._names:
            wrong = sorted(params.keys() ^ self._names)
            raise TypeError(f"Bug: {self.name}: missing or unknown parameters {wrong}")
        values = self._bind(params)
        return _wrap_json(values, self._json) if self._json else values

    def _check_columns(self, columns: list[str]) -> list[str]:
        expected = [field.name for field in fields(self.row)] if is_dataclass(self.row) else None
        if columns != expected and (expected is not None or len(columns) != 1):
            raise RuntimeError(f"Bug: {self.name} gives {columns}, its row type is {self.row}")
        return columns


def _binder(names: list[str]) -> Callable[[Mapping[str, Any]], Sequence[Any]]:
    """Return what orders parameters: itemgetter gives a tuple from two names on."""
    if len(names) > 1:
        return itemgetter(*names)
    return lambda params: [params[name] for name in names]


def _wrap_json(values: Sequence[Any], places: list[int]) -> list[Any]:
    """Mark what goes into jsonb; a text is taken as JSON text already."""
    wrapped = list(values)
    for i in places:
        if not isinstance(wrapped[i], str | None):
            wrapped[i] = Jsonb(wrapped[i])
    return wrapped


def _row_maker(row: Any) -> Callable[[Sequence[Any]], Any]:
    """Return what makes a row of a tuple of column values, without looking at the type again.

    The slots are set directly: a frozen dataclass's own __init__ takes twice as long.
    """
    if not is_dataclass(row):
        return itemgetter(0)
    is_fast = vars(row)["__dataclass_params__"].frozen and "__slots__" in vars(row)
    if not (is_fast and all(field.kw_only for field in fields(row))):
        raise TypeError(f"Bug: {row} is not a frozen, slotted, keyword-only dataclass")
    setters = [attrgetter(f"{field.name}.__set__")(row) for field in fields(row)]
    new = object.__new__

    def make(values: Sequence[Any]) -> Any:
        made = new(cast("type[Any]", row))
        for put, value in zip(setters, values, strict=False):
            put(made, value)
        return made

    return make
