"""What the legacy program wrote is marked, and ids are at hand before they are needed."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from legacy import capture
from legacy.refusals import GateFailed
from legacy.stores import open_store
from tests.legacy.conftest import user
from tests.legacy.maps import maps, shop

if TYPE_CHECKING:
    from pathlib import Path

    from legacy.mirror import Scope
    from tests.legacy.conftest import Move

SHOP = """
CREATE TABLE customers (id INTEGER PRIMARY KEY, mail TEXT, pw TEXT, name TEXT, verified INTEGER,
    created TEXT, updated TEXT, is_active INTEGER);
INSERT INTO customers VALUES (1, 'a@x.org', NULL, 'Ada', 0, '2020-01-01 00:00:00',
    '2020-01-01 00:00:00Z', 1);
"""


def scope(move: Move, domain: str = "users") -> Scope:
    state = move.phases.state("default", domain)
    assert state is not None
    return move.mirror.scope(state)


@pytest.fixture
def polled(move: Move, tmp_path: Path) -> Path:
    """Users in phase 2 over a SQLite file that is asked for what has changed."""
    file = tmp_path / "shop.db"
    head = f'adapter = "sqlite"\npath = "{file}"\nwriters = "legacy"\ncapture = "poll"'
    mapping = maps(shop(head).partition("[payments]")[0])["users"]
    store = open_store(mapping, our_database_url="")
    with closing(sqlite3.connect(file)) as conn:
        conn.executescript(SHOP + store.prepare_sql())  # type: ignore[attr-defined]
    columns = frozenset(mapping.by_name)
    move.relink("users", store=store, compare=mapping, columns=columns, writers="legacy")
    move.attach("users")
    move.force("users", 2)
    move.backfilled()
    return file


def write(file: Path, statement: str) -> None:
    with closing(sqlite3.connect(file)) as conn, conn:
        conn.execute(statement)


def test_a_table_without_triggers_is_asked_for_what_changed(move: Move, polled: Path) -> None:
    """D30: poll; a program that raises no versions is followed by what its rows say."""
    move.mirror.run_once()
    move.copy_all()
    write(polled, "UPDATE customers SET name = 'Bea', updated = '2021-01-01 00:00:00Z'")
    write(
        polled,
        "INSERT INTO customers SELECT 2, 'b@x.org', NULL, 'Carl', 0, created, updated, 1"
        " FROM customers",
    )
    move.mirror.run_once()
    move.copy_all()
    rows = move.sql("SELECT legacy_id, display_name FROM users ORDER BY 1")
    assert rows == [("1", "Bea"), ("2", "Carl")]
    assert capture.take(move.db, scope(move)) == 0


def test_what_polling_misses_is_found_before_new_decides(move: Move, polled: Path) -> None:
    """D30: deleted for good, or changed at an old time; all rows are compared under the lock."""
    write(polled, "INSERT INTO customers SELECT 2, 'b@x.org', pw, name, 0, created, updated, 1"
          " FROM customers")  # fmt: skip
    move.mirror.run_once()
    move.copy_all()
    move.force("users", 3)
    move.clean_digest()
    write(polled, "UPDATE customers SET mail = 'no address' WHERE id = 1")
    with pytest.raises(GateFailed) as refused:
        move.step(wait_ms=60_000, writers_stopped=True)
    assert [each["pointer"] for each in refused.value.errors] == ["/gates/compared"]
    write(polled, "UPDATE customers SET mail = 'c@x.org' WHERE id = 1")
    write(polled, "DELETE FROM customers WHERE id = 2")
    assert move.step(wait_ms=60_000, writers_stopped=True).to_phase == 4
    rows = move.sql("SELECT legacy_id, email, status::text FROM users ORDER BY 1")
    assert rows == [("1", "c@x.org", "active"), ("2", None, "deleted")]


def test_ids_are_taken_in_advance_and_given_while_legacy_is_away(move: Move) -> None:
    """D26: each once; rows that new makes have theirs before they can be sent."""
    store = move.store["users"]
    store.capabilities = type(store.capabilities)(
        writes=True, capture="trigger", versions=True, fence=True, ids=True
    )
    store.program_writes(user("1"))
    move.attach("users")
    move.force("users", 4)
    capture.fill_pool(move.db, scope(move), 10)
    capture.fill_pool(move.db, scope(move), 10)
    assert move.sql("SELECT count(*)::int FROM legacy_id_pool") == [(10,)]
    store.down = True
    made = [move.new_user()]
    move.mirror.run_once()
    given = move.sql("SELECT legacy_id FROM users WHERE id = ANY(%s::uuid[])", made)
    pool = move.sql("SELECT legacy_id FROM legacy_id_pool WHERE taken_at IS NOT NULL")
    assert given == pool
    store.down = False
    capture.fill_pool(move.db, scope(move), 10)
    assert move.sql("SELECT count(*)::int FROM legacy_id_pool") == [(10,)]
    held = scope(move)
    with move.db.transaction() as conn:
        ids = capture.take_ids(conn, held, 12)
    assert (len(set(ids)), set(ids) & {each for (each,) in given}) == (12, set())


def test_no_ids_are_taken_where_none_are_needed(move: Move) -> None:
    """D26: a store that has none, a phase in which legacy makes the rows."""
    move.attach("users")
    move.force("users", 4)
    capture.fill_pool(move.db, scope(move), 10)
    assert move.sql("SELECT count(*)::int FROM legacy_id_pool") == [(0,)]
