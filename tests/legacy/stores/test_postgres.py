"""PostgreSQL by DSN and in our own database keep the contract (T13), with real sessions beside."""

from __future__ import annotations

import threading
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from legacy.contract import CapturingStoreContract, LegacyStoreContract
from legacy.contract_rows import LATER, ids_for, make, payment, user
from legacy.store import (
    Duplicate,
    LegacyError,
    LegacyUnavailable,
    RowRejected,
    RowsRejected,
    StoreRow,
    TooLate,
    VersionStale,
)
from legacy.stores.postgres import PostgresStore
from tests.legacy.maps import maps, shop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.database  # Runs on 16 too.

SCHEMA = """
CREATE SCHEMA shop;
CREATE TABLE shop.customers (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, mail varchar(300), pw text, name text,
    verified boolean NOT NULL DEFAULT false, created timestamp(3), updated timestamptz,
    is_active smallint NOT NULL DEFAULT 1, shoe_size integer DEFAULT 42
);
CREATE UNIQUE INDEX customers_mail ON shop.customers (lower(mail));
CREATE TABLE shop.orders (
    id bigserial PRIMARY KEY, customer bigint NOT NULL, order_no integer, amount numeric(12, 2),
    currency char(3), what text CHECK (length(what) < 100), extra jsonb, refunded bigint,
    "until" timestamptz, created timestamptz, state varchar(10)
);
"""
CREATED, UPDATED = "2024-01-01 00:00:00", "2024-01-02 00:00:00Z"
TABLES = ("shop.customers", "shop.orders")


class Program:
    """The shop's own program, which knows its table."""

    def __init__(self, url: str) -> None:
        self.conn = psycopg.connect(url, autocommit=True)

    def run(self, statement: str, *values: Any) -> None:
        """Execute and commit."""
        self.conn.execute(statement.encode(), values or None)

    def insert(self, legacy_id: str, email: str) -> None:
        """Add a customer."""
        self.run(
            "INSERT INTO shop.customers (id, mail, name, created, updated)"
            " OVERRIDING SYSTEM VALUE VALUES (%s, %s, 'Ada', %s, %s)",
            *(legacy_id, email, CREATED, UPDATED),
        )

    def rename(self, legacy_id: str, display_name: str) -> None:
        """Change a customer."""
        self.run("UPDATE shop.customers SET name = %s WHERE id = %s", display_name, legacy_id)

    def delete(self, legacy_id: str) -> None:
        """Remove a customer."""
        self.run("DELETE FROM shop.customers WHERE id = %s", legacy_id)


@pytest.fixture
def program(empty_database: str) -> Iterator[Program]:
    made = Program(empty_database)
    made.run(SCHEMA)
    yield made
    made.conn.close()


@pytest.fixture
def opened(empty_database: str, program: Program) -> Iterator[Callable[..., PostgresStore]]:
    """Return prepared stores of a domain: in another database, as its owner, or in our own."""
    stores = []

    def make(
        domain: str, *lines: str, is_ours: bool = False, timeout_ms: int = 20_000, dsn: str = ""
    ) -> PostgresStore:
        dsn = dsn or empty_database
        place = [] if is_ours else ['dsn_env = "DSN"']
        text = shop("\n".join(['adapter = "postgres"', *place, *lines]), TABLES)
        text = text if domain == "payments" else text.partition("[payments]")[0]
        # Only these columns have a zone of their own here.
        mapping = maps(text, {"DSN": dsn})[domain]
        store = PostgresStore(mapping, our_database_url=empty_database, timeout_ms=timeout_ms)
        program.run(store.prepare_sql())
        stores.append(store)
        return store

    yield make
    for store in stores:
        store.close()


@pytest.fixture
def store(opened: Callable[..., PostgresStore]) -> PostgresStore:
    return opened("users", 'capture = "trigger"')


@pytest.fixture
def payments(opened: Callable[..., PostgresStore]) -> PostgresStore:
    return opened("payments", 'capture = "trigger"')


class TestCapturingPostgresStore(CapturingStoreContract):
    pass


class TestPostgresStoreInOurDatabase(LegacyStoreContract):
    @pytest.fixture
    def store(self, opened: Callable[..., PostgresStore]) -> PostgresStore:
        return opened("users", is_ours=True)

    @pytest.fixture
    def payments(self, opened: Callable[..., PostgresStore]) -> PostgresStore:
        return opened("payments", is_ours=True)


# --- In our own transaction ---------------------------------------------------------------------


def test_our_transaction_and_the_legacy_row_commit_together(
    opened: Callable[..., PostgresStore], program: Program, empty_database: str
) -> None:
    """D43: same_transaction; what rolls back leaves nothing on either side."""
    store = opened("users", 'capture = "trigger"', is_ours=True)
    program.run("CREATE TABLE ours (id text)")
    assert store.capabilities.same_transaction
    first, second = ids_for(store, 2)
    with psycopg.connect(empty_database) as conn:
        for legacy_id, end in ((first, conn.rollback), (second, conn.commit)):
            conn.execute("INSERT INTO ours VALUES (%s)", (legacy_id,))
            made = store.within(conn).create(user(legacy_id), "op", LATER)
            assert (made.version, store.get_many([legacy_id])) == (1, {})
            end()
        found = conn.execute("SELECT id FROM ours").fetchall()
    assert (found, store.scan_ids(None, 9)) == ([(second,)], [second])
    assert store.tail(9) == []


def test_a_refused_write_leaves_our_transaction_usable(
    opened: Callable[..., PostgresStore], empty_database: str
) -> None:
    """D43: "address taken" is an answer, not the end of the transaction."""
    store = opened("users", is_ours=True)
    first, second = make(store, 2)
    with psycopg.connect(empty_database) as conn:
        inside = store.within(conn)
        with pytest.raises(Duplicate):
            inside.replace(user(second, f"u{first}@example.org"), 1, "op-x", LATER)
        assert inside.replace(user(second, "new@example.org"), 1, "op-y", LATER).version == 2
    assert store.get_many([second])[second].version == 2


def test_a_setting_of_ours_ends_with_our_transaction(
    opened: Callable[..., PostgresStore], empty_database: str
) -> None:
    """D30: what the session writes later is captured again."""
    store = opened("users", 'capture = "trigger"', is_ours=True)
    (legacy_id,) = ids_for(store, 1)
    with psycopg.connect(empty_database) as conn:
        store.within(conn).create(user(legacy_id), "op", LATER)
        conn.commit()
        conn.execute("UPDATE shop.customers SET name = 'Bea'")
        conn.commit()
    assert [each.legacy_id for each in store.tail(9)] == [legacy_id]


def test_another_database_has_no_part_in_our_transaction(
    store: PostgresStore, program: Program
) -> None:
    """D43."""
    assert not store.capabilities.same_transaction
    with pytest.raises(LegacyError, match="another database"):
        store.within(program.conn)


# --- Beside a program that writes ---------------------------------------------------------------


def test_a_write_waits_for_the_program_and_sees_its_version(
    store: PostgresStore, program: Program, empty_database: str
) -> None:
    """D23: the program was first, so what we decided before is stale."""
    program.insert("1", "a@x.de")
    results: list[Any] = []

    def replace() -> None:
        try:
            results.append(store.replace(user("1"), 1, "op", LATER))
        except VersionStale as exc:
            results.append(exc.found)

    with psycopg.connect(empty_database) as conn:
        conn.execute("UPDATE shop.customers SET name = 'Bea' WHERE id = 1")
        thread = threading.Thread(target=replace)
        thread.start()
        _wait_for_lock(program)
        conn.commit()
    thread.join()
    assert [(row.version, row.row["display_name"]) for row in results] == [(2, "Bea")]


def test_a_fence_waits_for_writers_under_way(
    store: PostgresStore, program: Program, empty_database: str
) -> None:
    """D31: after it nobody commits what was begun before."""
    program.insert("1", "a@x.de")
    store.ack(store.tail(9))
    with psycopg.connect(empty_database) as conn:
        conn.execute("UPDATE shop.customers SET name = 'Bea' WHERE id = 1")
        thread = threading.Thread(target=store.fence)
        thread.start()
        _wait_for_lock(program)
        conn.commit()
        thread.join()
        assert [each.legacy_id for each in store.tail(9)] == ["1"]
        with pytest.raises(psycopg.errors.RaiseException, match="strongroom: fenced"):
            conn.execute("UPDATE shop.customers SET name = 'Cea'")


def test_a_fence_holds_whatever_the_snapshot(
    store: PostgresStore, program: Program, empty_database: str
) -> None:
    """D31, D6: a transaction that began before does not see older rules."""
    program.insert("1", "a@x.de")
    with psycopg.connect(empty_database) as conn:
        conn.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        conn.execute("SELECT 1")
        store.fence()
        with pytest.raises(psycopg.errors.RaiseException, match="strongroom: fenced"):
            conn.execute("DELETE FROM shop.customers")
    for statement in ("TRUNCATE shop.customers", "UPDATE shop.customers SET name = '' WHERE false"):
        with pytest.raises(psycopg.errors.RaiseException, match="strongroom: fenced"):
            program.run(statement)


def _wait_for_lock(program: Program) -> None:
    """Return when another session waits for a lock."""
    query = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    while program.conn.execute(f"{query} AND datname = current_database()").fetchone() is None:
        pass


def test_a_late_commit_is_not_lost(
    store: PostgresStore, program: Program, empty_database: str
) -> None:
    """D30: its entry has a lower number than one that was acknowledged."""
    with psycopg.connect(empty_database) as conn:
        conn.execute(
            "INSERT INTO shop.customers (id, mail) OVERRIDING SYSTEM VALUE VALUES (1, 'a@x.de')"
        )
        program.insert("2", "b@x.de")
        batch = store.tail(9)
        store.ack(batch)
        conn.commit()
    late = store.tail(9)
    assert [each.legacy_id for each in batch + late] == ["2", "1"]
    assert late[0].batch_id < batch[0].batch_id


def test_emptying_a_table_is_captured(store: PostgresStore, program: Program) -> None:
    """D30: TRUNCATE fires no trigger of rows."""
    program.insert("1", "a@x.de")
    program.insert("2", "b@x.de")
    store.ack(store.tail(9))
    program.run("TRUNCATE shop.customers")
    assert {each.legacy_id for each in store.tail(9)} == {"1", "2"}
    assert [row.deleted for row in store.get_many(["1", "2"]).values()] == [True, True]


def test_a_changed_id_is_a_new_row_and_a_tombstone(store: PostgresStore, program: Program) -> None:
    """D30."""
    program.run("ALTER TABLE shop.customers ALTER COLUMN id SET GENERATED BY DEFAULT")
    program.insert("1", "a@x.de")
    store.ack(store.tail(9))
    program.run("UPDATE shop.customers SET id = 5")
    assert {row.id: row.deleted for row in store.get_many(["1", "5"]).values()} == {
        "1": True,
        "5": False,
    }
    assert [each.legacy_id for each in store.tail(9)] == ["1", "5"]


def test_a_program_without_rights_on_our_tables_is_captured(
    store: PostgresStore, program: Program, postgres: Any
) -> None:
    """D30: the shop's role knows its own table and nothing else."""
    name = program.conn.info.dbname
    role = f"shop_{name[-12:]}"
    superuser = Program(postgres.url(name))
    superuser.run(f"CREATE ROLE {role}")
    try:
        superuser.run(f"GRANT USAGE ON SCHEMA shop TO {role}")
        superuser.run(f"GRANT ALL ON shop.customers TO {role}")
        superuser.run(f"SET ROLE {role}")
        superuser.insert("1", "a@x.de")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            superuser.run("SELECT shop.strongroom_users_switch(false)")
        assert [each.legacy_id for each in store.tail(9)] == ["1"]
    finally:
        superuser.run("RESET ROLE")
        superuser.run(f"DROP OWNED BY {role}")
        superuser.run(f"DROP ROLE {role}")
        superuser.conn.close()


def test_preparing_twice_changes_nothing(store: PostgresStore, program: Program) -> None:
    """D31: a fence that is up stays up."""
    program.insert("1", "a@x.de")
    store.fence()
    program.run(store.prepare_sql())
    with pytest.raises(psycopg.errors.RaiseException, match="strongroom: fenced"):
        program.rename("1", "Bea")
    assert [each.legacy_id for each in store.tail(9)] == ["1"]


# --- Rows ---------------------------------------------------------------------------------------


def test_what_a_column_would_round_is_refused(payments: PostgresStore) -> None:
    """D42, D25: numeric(12, 2) holds no third digit; nothing is altered in silence."""
    (legacy_id,) = ids_for(payments, 1)
    with pytest.raises(RowRejected) as caught:
        payments.create(payment(legacy_id, "7", currency="KWD"), "op", LATER)
    assert (caught.value.code, caught.value.columns) == ("changed_by_legacy", ("amount_minor",))
    assert payments.get_many([legacy_id]) == {}


@pytest.mark.parametrize("change", [{"description": "x" * 200}, {"reference": str(2**40)}])
def test_what_the_shop_refuses_is_a_reject(payments: PostgresStore, change: dict[str, Any]) -> None:
    """D25: its CHECK, and a number that its column cannot hold."""
    (legacy_id,) = ids_for(payments, 1)
    row = StoreRow(legacy_id, 4, payment(legacy_id, "7", **change), None)
    with pytest.raises(RowRejected, match="refused_by_legacy"):
        payments.follow(row)
    assert payments.get_many([legacy_id]) == {}


def test_values_that_no_driver_reads_are_rejected_alone(
    store: PostgresStore, program: Program
) -> None:
    """D25: infinity, and years before Christ, stop neither batch nor digest."""
    for number, moment in enumerate([UPDATED, "infinity", "0044-03-15 BC", "12024-01-01"], 1):
        program.insert(str(number), f"u{number}@x.de")
        program.run("UPDATE shop.customers SET updated = %s WHERE id = %s", moment, number)
    with pytest.raises(RowsRejected) as caught:
        store.get_many(["1", "2", "3", "4"])
    assert [(each.id, each.code) for each in caught.value.rejected] == [
        (legacy_id, "timestamp_invalid") for legacy_id in ("2", "3", "4")
    ]
    assert list(caught.value.rows) == ["1"]
    assert sum(count for count, _ in store.digest(b"").values()) == 4


def test_server_and_python_hash_the_same(payments: PostgresStore) -> None:
    """V1, V3: also what the server would fall back on."""
    for number, legacy_id in enumerate(ids_for(payments, 9)):
        metadata = {"ä": "😀", "b": str(number)} if number % 2 else {}
        row = payment(legacy_id, "7", metadata=metadata, description=None if number % 3 else "x")
        payments.create(row, legacy_id, LATER)
    by_python = {held.id: payments._map.hash_of_raw(held.raw or {}) for held in payments._all()}
    assert payments.hashes(b"") == by_python
    assert len(by_python) == 9


def test_the_server_s_clock_decides(store: PostgresStore, program: Program) -> None:
    """D12: by its own clock, read once the row is held."""
    ((now,),) = program.conn.execute("SELECT clock_timestamp()").fetchall()
    (legacy_id,) = ids_for(store, 1)
    with pytest.raises(TooLate):
        store.create(user(legacy_id), "op", now)


# --- A server that is not well ------------------------------------------------------------------


def test_a_row_that_is_held_is_unavailable_in_time(
    opened: Callable[..., PostgresStore], program: Program, empty_database: str
) -> None:
    """MF1: the call ends by its timeout; nothing was written."""
    store = opened("users", timeout_ms=100)
    program.insert("1", "a@x.de")
    with psycopg.connect(empty_database) as conn:
        conn.execute("SELECT FROM shop.customers FOR UPDATE")
        with pytest.raises(LegacyUnavailable):
            store.replace(user("1"), 1, "op", LATER)
    assert store.replace(user("1"), 1, "op", LATER).version == 2


def test_a_lost_connection_is_replaced(store: PostgresStore, program: Program) -> None:
    """MF1: one call fails, the next one is served."""
    make(store, 1)
    program.run(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    with pytest.raises(LegacyUnavailable):
        store.scan_ids(None, 9)
    assert len(store.scan_ids(None, 9)) == 1


def test_a_server_that_is_not_there_is_unavailable() -> None:
    """MF1: and its DSN is not told."""
    text = shop('adapter = "postgres"\ndsn_env = "DSN"', TABLES)
    dsn = "postgresql://shop:secret@127.0.0.1:1/shop"
    with pytest.raises(LegacyUnavailable) as caught:
        PostgresStore(maps(text, {"DSN": dsn})["users"]).ping()
    assert str(caught.value) == "PostgreSQL: OperationalError"


def test_all_that_lacks_is_said_at_once(empty_database: str, program: Program) -> None:
    """D42: columns, zones, floats and the preparation."""
    program.run("ALTER TABLE shop.customers DROP COLUMN name")
    program.run("ALTER TABLE shop.customers ALTER COLUMN created TYPE timestamptz")
    program.run("ALTER TABLE shop.customers ALTER COLUMN updated TYPE timestamp")
    program.run("ALTER TABLE shop.orders ALTER COLUMN amount TYPE float")
    found = maps(shop('adapter = "postgres"\ndsn_env = "DSN"', TABLES), {"DSN": empty_database})
    users, payments = (PostgresStore(found[domain]) for domain in ("users", "payments"))
    with closing(users), pytest.raises(LegacyError) as caught:
        users.ping()
    assert str(caught.value) == (
        "shop.customers: no column name; created has its time zone: leave `zone` out; updated is"
        " a timestamp without time zone: say which, by `zone`; not prepared"
    )
    with closing(payments), pytest.raises(LegacyError, match="amount is a float: money is not"):
        payments.ping()


def test_polling_tells_of_each_change_once(
    opened: Callable[..., PostgresStore], program: Program
) -> None:
    """D30: by updated_at, with an overlap."""
    store = opened("users", 'writers = "legacy"', 'capture = "poll"')
    program.insert("1", "a@x.de")
    program.insert("2", "b@x.de")
    batch = store.tail(9)
    store.ack(batch)
    assert ([each.legacy_id for each in batch], store.tail(9)) == (["1", "2"], [])
    moment = datetime(2024, 1, 2, 0, 0, 1, tzinfo=UTC)
    program.run("UPDATE shop.customers SET updated = %s WHERE id = 1", moment)
    assert [each.legacy_id for each in store.tail(9)] == ["1"]
