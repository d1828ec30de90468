"""SQLite files keep the contract (T13), and what only they can do wrong is seen."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from legacy.contract import CapturingStoreContract, LegacyStoreContract
from legacy.contract_rows import LATER, NOON, ids_for, make, payment, user
from legacy.store import (
    Duplicate,
    LegacyError,
    LegacyUnavailable,
    RowRejected,
    RowsRejected,
    StoreRow,
    Unsupported,
)
from legacy.stores.sqlite import SqliteStore
from tests.legacy.maps import maps, shop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SCHEMA = """
CREATE TABLE customers (
    id INTEGER PRIMARY KEY AUTOINCREMENT, mail TEXT UNIQUE COLLATE NOCASE, pw TEXT, name TEXT,
    verified INTEGER NOT NULL DEFAULT 0, created TEXT, updated TEXT, is_active INTEGER DEFAULT 1,
    shoe_size INTEGER DEFAULT 42
);
CREATE TABLE orders (
    id INTEGER PRIMARY KEY AUTOINCREMENT, customer TEXT NOT NULL, order_no INTEGER, amount TEXT,
    currency TEXT, what TEXT, extra TEXT, refunded INTEGER, "until" TEXT, created TEXT, state TEXT,
    CHECK (length(what) < 100)
);
"""
CREATED, UPDATED = "2024-01-01 00:00:00", "2024-01-02 00:00:00Z"


class Program:
    """The shop's own program, which knows its table."""

    def __init__(self, path: Path) -> None:
        self._conn = sqlite3.connect(path, timeout=10)

    def run(self, statement: str, *values: Any) -> None:
        """Execute and commit."""
        with self._conn:
            self._conn.execute(statement, values)

    def insert(self, legacy_id: str, email: str, verb: str = "INSERT") -> None:
        """Add a customer."""
        self.run(
            f"{verb} INTO customers (id, mail, name, created, updated) VALUES (?, ?, 'Ada', ?, ?)",
            *(legacy_id, email, CREATED, UPDATED),
        )

    def rename(self, legacy_id: str, display_name: str) -> None:
        """Change a customer."""
        self.run("UPDATE customers SET name = ? WHERE id = ?", display_name, legacy_id)

    def delete(self, legacy_id: str) -> None:
        """Remove a customer."""
        self.run("DELETE FROM customers WHERE id = ?", legacy_id)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A shop's file; its name needs quoting in a URI."""
    file = tmp_path / "shop #1.db"
    with sqlite3.connect(file) as conn:
        conn.executescript(SCHEMA)
    conn.close()
    return file


@pytest.fixture
def program(path: Path) -> Iterator[Program]:
    made = Program(path)
    yield made
    made._conn.close()


@pytest.fixture
def opened(path: Path) -> Iterator[Callable[..., SqliteStore]]:
    """Return prepared stores of a domain, with lines of configuration."""
    stores = []

    def make(domain: str, *lines: str, timeout_ms: int = 10_000) -> SqliteStore:
        head = "\n".join(['adapter = "sqlite"', f'path = "{path}"', *lines])
        text = shop(head) if domain == "payments" else shop(head).partition("[payments]")[0]
        store = SqliteStore(maps(text)[domain], timeout_ms=timeout_ms, overlap_s=300)
        with sqlite3.connect(path) as conn:
            conn.executescript(store.prepare_sql())
        conn.close()
        stores.append(store)
        return store

    yield make
    for store in stores:
        store.close()


@pytest.fixture
def store(opened: Callable[..., SqliteStore]) -> SqliteStore:
    return opened("users", 'capture = "trigger"')


@pytest.fixture
def payments(opened: Callable[..., SqliteStore]) -> SqliteStore:
    return opened("payments", 'capture = "trigger"')


class TestCapturingSqliteStore(CapturingStoreContract):
    pass


class TestSqliteStoreOfOurs(LegacyStoreContract):
    @pytest.fixture
    def store(self, opened: Callable[..., SqliteStore]) -> SqliteStore:
        return opened("users")


# --- Rows that break our rules ------------------------------------------------------------------


def _order(program: Program, amount: Any) -> None:
    program.run(
        "INSERT INTO orders (customer, amount, currency, refunded, created, state)"
        " VALUES ('7', ?, 'EUR', 0, ?, 'paid')",
        *(amount, UPDATED),
    )


def test_a_float_as_money_is_rejected(path: Path, opened: Callable[..., SqliteStore]) -> None:
    """D43: in a column without type the file keeps what it was given; others go on."""
    program = Program(path)
    program.run("DROP TABLE orders")
    program.run(SCHEMA.split(";")[1].replace("amount TEXT", "amount"))
    payments = opened("payments")
    for amount in (10.99, "10.99", 11):
        _order(program, amount)
    program._conn.close()
    with pytest.raises(RowsRejected) as caught:
        payments.get_many(["1", "2", "3"])
    assert (caught.value.id, caught.value.code) == ("1", "amount_float")
    assert [row.row["amount_minor"] for row in caught.value.rows.values()] == [1099, 1100]
    assert payments.count().by == {("captured", "EUR"): (3, 2199)}
    assert sum(count for count, _ in payments.digest(b"").values()) == 3


@pytest.mark.parametrize("name", ["X'416EE9'", "X'00'"])
def test_a_foreign_encoding_is_rejected(store: SqliteStore, program: Program, name: str) -> None:
    """D25: neither text in another encoding, nor a BLOB, stops a batch."""
    program.insert("1", "a@x.de")
    program.insert("2", "b@x.de")
    program.run(f"UPDATE customers SET name = CAST({name} AS TEXT) WHERE id = 1")
    with pytest.raises(RowsRejected) as caught:
        store.get_many(["1", "2"])
    assert (caught.value.code, caught.value.columns) == ("encoding_invalid", ("display_name",))
    assert list(caught.value.rows) == ["2"]
    with pytest.raises(RowsRejected):
        store.page({}, None, 5)
    assert store.scan_ids(None, 5) == ["1", "2"]


def test_what_the_shop_refuses_is_a_reject(payments: SqliteStore) -> None:
    """D25: its CHECK is not ours; the row keeps its version."""
    (legacy_id,) = ids_for(payments, 1)
    payments.create(payment(legacy_id, "7"), "op", LATER)
    with pytest.raises(RowRejected, match="refused_by_legacy"):
        payments.replace(payment(legacy_id, "7", description="x" * 200), 1, "op-2", LATER)
    assert payments.get_many([legacy_id])[legacy_id].version == 1


def test_columns_that_are_not_mapped_are_left_alone(store: SqliteStore, program: Program) -> None:
    """D23: what the shop keeps for itself survives our writes."""
    program.insert("1", "a@x.de")
    program.run("UPDATE customers SET shoe_size = 37")
    version = store.get_many(["1"])["1"].version
    store.replace(user("1", "b@x.de"), version, "op", LATER)
    assert store.follow(StoreRow("1", 9, user("1", "c@x.de"), None))
    rows = program._conn.execute("SELECT mail, shoe_size FROM customers").fetchall()
    assert rows == [("c@x.de", 37)]


# --- The program's own ways ---------------------------------------------------------------------


def test_a_replaced_row_is_captured(store: SqliteStore, program: Program) -> None:
    """D30: INSERT OR REPLACE fires no trigger for the row that goes."""
    program.insert("1", "a@x.de")
    program.insert("1", "b@x.de", "INSERT OR REPLACE")
    found = store.get_many(["1"])["1"]
    assert (found.version, found.row["email"]) == (2, "b@x.de")


def test_a_changed_id_is_a_new_row_and_a_tombstone(store: SqliteStore, program: Program) -> None:
    """D30."""
    program.insert("1", "a@x.de")
    store.ack(store.tail(9))
    program.run("UPDATE customers SET id = 5 WHERE id = 1")
    found = store.get_many(["1", "5"])
    assert [(row.id, row.deleted) for row in found.values()] == [("1", True), ("5", False)]
    assert [each.legacy_id for each in store.tail(9)] == ["1", "5"]


def test_what_was_not_committed_is_not_captured(store: SqliteStore, program: Program) -> None:
    """D30: the queue is of the program's own transaction."""
    conn = program._conn
    conn.execute("INSERT INTO customers (id, mail) VALUES (1, 'a@x.de')")
    assert store.tail(9) == []
    conn.rollback()
    assert store.tail(9) == []


def test_domains_of_one_file_are_fenced_apart(
    store: SqliteStore, payments: SqliteStore, program: Program
) -> None:
    """D31: and captured apart."""
    store.fence()
    _order(program, "1.00")
    assert [each.legacy_id for each in payments.tail(9)] == ["1"]
    assert store.tail(9) == []
    payments.fence()
    with pytest.raises(sqlite3.IntegrityError, match="strongroom: fenced"):
        _order(program, "1.00")


def test_preparing_twice_changes_nothing(store: SqliteStore, program: Program) -> None:
    """D30: versions, queue and fence stay."""
    program.insert("1", "a@x.de")
    program.rename("1", "Bea")
    store.fence()
    program._conn.executescript(store.prepare_sql())
    assert store.get_many(["1"])["1"].version == 2
    with pytest.raises(sqlite3.IntegrityError, match="fenced"):
        program.rename("1", "Cea")


# --- A store that is not well -------------------------------------------------------------------


def test_a_locked_file_is_unavailable_for_writes(
    opened: Callable[..., SqliteStore], program: Program
) -> None:
    """MF1: within the timeout; reads go on, and nothing was written."""
    store = opened("users", timeout_ms=50)
    (legacy_id,) = make(store, 1)
    program._conn.execute("BEGIN IMMEDIATE")
    with pytest.raises(LegacyUnavailable, match="SQLITE_BUSY"):
        store.replace(user(legacy_id), 1, "op-2", LATER)
    assert store.get_many([legacy_id])[legacy_id].version == 1
    program._conn.rollback()
    assert store.replace(user(legacy_id), 1, "op-2", LATER).version == 2


def test_a_file_that_is_gone_is_unavailable(tmp_path: Path) -> None:
    """MF1: it is not made anew."""
    text = shop(f'adapter = "sqlite"\npath = "{tmp_path}/gone.db"')
    store = SqliteStore(maps(text)["users"])
    with pytest.raises(LegacyUnavailable, match="SQLITE_CANTOPEN"):
        store.ping()
    assert list(tmp_path.iterdir()) == []


def test_a_writer_that_died_leaves_nothing(store: SqliteStore, program: Program) -> None:
    """MF2: neither its row, nor the word that lets triggers be silent."""

    def die() -> None:
        with store._writing() as conn:
            conn.execute("INSERT INTO customers (id, mail) VALUES (1, 'a@x.de')")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        die()
    program.insert("2", "b@x.de")
    assert store.scan_ids(None, 9) == ["2"]
    assert [each.legacy_id for each in store.tail(9)] == ["2"]


def test_all_that_lacks_is_said_at_once(path: Path, program: Program) -> None:
    """D42: columns, a type that would make money a float, and the preparation."""
    program.run("DROP TABLE orders")
    program.run("CREATE TABLE orders (id INTEGER PRIMARY KEY, customer TEXT, amount NUMERIC)")
    text = shop(f'adapter = "sqlite"\npath = "{path}"')
    with pytest.raises(LegacyError) as caught:
        SqliteStore(maps(text)["payments"]).ping()
    assert str(caught.value) == (
        "orders: no column order_no; no column currency; no column what; no column extra;"
        " no column state; no column until; no column refunded; no column created;"
        " amount holds major units and is no TEXT; not prepared"
    )
    with pytest.raises(LegacyError, match="no such table"):
        SqliteStore(maps(shop(f'adapter = "sqlite"\npath = "{path}"', ("a", "b")))["users"]).ping()


def test_a_store_that_is_not_prepared_is_not_written(path: Path) -> None:
    """D23."""
    store = SqliteStore(maps(shop(f'adapter = "sqlite"\npath = "{path}"'))["users"])
    with pytest.raises(LegacyError, match="strongroom_state"):
        store.create(user("1"), "op", LATER)


def test_ids_that_the_file_may_give_again_are_not_taken(path: Path, program: Program) -> None:
    """D26: without AUTOINCREMENT the next id depends on the rows that are there."""
    program.run("DROP TABLE customers")
    program.run(SCHEMA.split(";", maxsplit=1)[0].replace(" AUTOINCREMENT", ""))
    store = SqliteStore(maps(shop(f'adapter = "sqlite"\npath = "{path}"'))["users"])
    assert not store.capabilities.ids
    with pytest.raises(Unsupported):
        store.allocate_ids(1)
    store.close()


def test_the_program_goes_on_after_the_ids_that_we_took(
    store: SqliteStore, program: Program
) -> None:
    """D26: taken before any row was there."""
    assert store.allocate_ids(3) == ["1", "2", "3"]
    program.run("INSERT INTO customers (mail) VALUES ('a@x.de')")
    assert store.scan_ids(None, 9) == ["4"]


def test_an_address_in_other_letters_is_the_same_to_the_shop(store: SqliteStore) -> None:
    """D10: its index has NOCASE; it decides."""
    first, second = ids_for(store, 2)
    store.create(user(first, "Ada@x.de"), "a", LATER)
    with pytest.raises(Duplicate) as caught:
        store.create(user(second, "ADA@x.de"), "b", LATER)
    assert caught.value.field == "email"


# --- Polling ------------------------------------------------------------------------------------


def _touch(program: Program, legacy_id: str, minute: int) -> None:
    moment = f"2024-06-01 12:{minute:02}:00Z"
    program.run("UPDATE customers SET updated = ? WHERE id = ?", moment, legacy_id)


def test_polling_tells_of_each_change_once(
    opened: Callable[..., SqliteStore], program: Program
) -> None:
    """D30: rows within the overlap are looked at again, and told of if they changed again."""
    store = opened("users", 'writers = "legacy"', 'capture = "poll"')
    for number in range(1, 4):
        program.insert(str(number), f"u{number}@x.de")
        _touch(program, str(number), number)
    assert [each.legacy_id for each in store.tail(2)] == ["1", "2"]
    batch = store.tail(9)
    assert [each.legacy_id for each in batch] == ["1", "2", "3"]
    store.ack(batch)
    assert store.tail(9) == []
    _touch(program, "1", 2)  # Late: older than what was seen, within the overlap.
    assert [each.legacy_id for each in store.tail(9)] == ["1"]
    assert store.capabilities.capture == "poll"
    assert not store.capabilities.versions
    assert not store.capabilities.fence


def test_times_are_kept_as_fine_as_the_map_says(store: SqliteStore, program: Program) -> None:
    """V3: milliseconds here, by the clock on the wall in Berlin."""
    (legacy_id,) = ids_for(store, 1)
    moment = datetime(2024, 7, 1, 10, 0, 0, 123456, UTC)
    made = store.create(user(legacy_id, created_at=moment, updated_at=NOON), "op", LATER)
    assert made.row["created_at"] == moment.replace(microsecond=123000)
    rows = program._conn.execute("SELECT created FROM customers").fetchall()
    assert rows == [("2024-07-01 12:00:00.123",)]


def test_what_a_trigger_of_the_shop_changes_is_refused(
    store: SqliteStore, program: Program
) -> None:
    """D25: the row as it would stand there is not the one that was given; nothing is written."""
    program.run(
        "CREATE TRIGGER shout AFTER UPDATE OF name ON customers BEGIN"
        " UPDATE customers SET name = upper(NEW.name) WHERE id = NEW.id; END"
    )
    (legacy_id,) = make(store, 1)
    with pytest.raises(RowRejected) as caught:
        store.replace(user(legacy_id, display_name="Bea"), 1, "op-2", LATER)
    assert (caught.value.code, caught.value.columns) == ("changed_by_legacy", ("display_name",))
    assert store.get_many([legacy_id])[legacy_id].version == 1
    assert store.replace(user(legacy_id, display_name="BEA"), 1, "op-3", LATER).version == 2
