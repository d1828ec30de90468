"""The gate in the database itself: who may write in which phase, and who waits (D5, D6, D20)."""

from __future__ import annotations

import os
import threading
from contextlib import closing
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import psycopg
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.database  # Runs on 16 too.

GATE = 1397902407
ROUNDS = int(os.environ.get("RACE_ROUNDS", "20"))


@pytest.fixture
def switch(owner: Callable[..., None]) -> Callable[[int], None]:
    """Attach `users` of the tenant `default`, and put it into a phase."""
    owner("SELECT legacy_switch('users', true)")

    def run(phase: int) -> None:
        owner(
            "INSERT INTO migration_state (tenant_id, domain, phase, moved_by, adapter)"
            " VALUES ('default', 'users', %s, 'test', 'memory')"
            " ON CONFLICT (tenant_id, domain) DO UPDATE SET phase = excluded.phase",
            phase,
        )

    return run


@pytest.fixture
def conn(database: str) -> Iterator[psycopg.Connection[Any]]:
    with closing(psycopg.connect(database, autocommit=True)) as made:
        yield made


def insert(conn: psycopg.Connection[Any], tenant: str = "default") -> str:
    made = str(uuid4())
    conn.execute(
        "INSERT INTO users (tenant_id, id, email, email_norm) VALUES (%s, %s, %s, %s)",
        (tenant, made, f"{made}@example.org", f"{made}@example.org"),
    )
    return made


def marks(conn: psycopg.Connection[Any]) -> list[str]:
    return [row[0] for row in conn.execute("SELECT entity_id FROM mirror_marks").fetchall()]


def mirrored(conn: psycopg.Connection[Any], write: Callable[[], object]) -> None:
    with conn.transaction():
        conn.execute("SET LOCAL strongroom.mirror = 'on'")
        write()


def test_without_a_state_row_the_gate_lets_everybody_through(
    conn: psycopg.Connection[Any], owner: Callable[..., None]
) -> None:
    """D4: no state row is as finished, with the triggers on or off; nothing is marked."""
    insert(conn)
    owner("SELECT legacy_switch('users', true)")
    insert(conn)
    assert marks(conn) == []


@pytest.mark.parametrize("phase", [1, 2, 3])
def test_who_is_not_the_mirror_is_refused_while_legacy_decides(
    conn: psycopg.Connection[Any], switch: Callable[[int], None], phase: int
) -> None:
    """D5: psql and an old release too; the mirror's copies come in, and leave no mark."""
    before = insert(conn)
    switch(phase)
    for statement in (
        "UPDATE users SET version = version + 1 WHERE id = %s",
        "UPDATE users SET display_name = 'x' WHERE id = %s",
    ):
        with pytest.raises(psycopg.Error) as caught:
            conn.execute(statement.encode(), (before,))
        assert caught.value.sqlstate == "LG001"
    with pytest.raises(psycopg.Error) as caught:
        insert(conn)
    assert caught.value.sqlstate == "LG001"
    mirrored(conn, lambda: insert(conn))
    assert marks(conn) == []


@pytest.mark.parametrize("phase", [4, 5])
def test_a_write_leaves_a_mark_once_new_decides(
    conn: psycopg.Connection[Any], switch: Callable[[int], None], phase: int
) -> None:
    """D20: in its own transaction; and the mirror may copy nothing into new any more (D1)."""
    switch(phase)
    made = insert(conn)
    conn.execute("UPDATE users SET version = version + 1 WHERE id = %s", (made,))
    assert marks(conn) == [made, made]
    with pytest.raises(psycopg.Error) as caught:
        mirrored(conn, lambda: insert(conn))
    assert caught.value.sqlstate == "LG001"


def test_another_tenant_does_not_notice(
    conn: psycopg.Connection[Any], switch: Callable[[int], None], owner: Callable[..., None]
) -> None:
    """D5: tenants move one by one."""
    owner("INSERT INTO tenants (tenant_id, name) VALUES ('other', 'Other')")
    switch(1)
    made = insert(conn, "other")
    found = conn.execute("SELECT tenant_id FROM users WHERE id = %s", (made,)).fetchall()
    assert (found, marks(conn)) == ([("other",)], [])


def test_a_change_must_raise_the_version(
    conn: psycopg.Connection[Any], switch: Callable[[int], None]
) -> None:
    """D20: LG002; the legacy id that the mirror notes is none, once."""
    switch(4)
    made = insert(conn)
    with pytest.raises(psycopg.Error) as caught:
        conn.execute("UPDATE users SET display_name = 'x' WHERE id = %s", (made,))
    assert caught.value.sqlstate == "LG002"
    conn.execute("UPDATE users SET legacy_id = '7' WHERE id = %s", (made,))
    assert marks(conn) == [made]
    with pytest.raises(psycopg.Error) as caught:
        conn.execute("UPDATE users SET legacy_id = '8' WHERE id = %s", (made,))
    assert caught.value.sqlstate == "LG002"


def test_only_read_committed_may_write(
    conn: psycopg.Connection[Any], switch: Callable[[int], None]
) -> None:
    """D6: above it the phase would come from a snapshot older than the lock."""
    switch(4)
    conn.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    with pytest.raises(psycopg.Error) as caught, conn.transaction():
        insert(conn)
    assert caught.value.sqlstate == "LG003"


def test_a_writer_that_waited_through_the_switch_sees_the_new_phase(
    conn: psycopg.Connection[Any], database: str, switch: Callable[[int], None]
) -> None:
    """D6: lock and read are two statements, each with its own snapshot."""
    switch(3)
    codes: list[str | None] = []

    def write() -> None:
        with closing(psycopg.connect(database, autocommit=True)) as mine:
            try:
                insert(mine)
                codes.append(None)
            except psycopg.Error as error:
                codes.append(error.sqlstate)

    for phase, expected in ((4, None), (3, "LG001")) * 2:
        with conn.transaction():
            conn.execute("SELECT pg_advisory_xact_lock(%s, hashtext('default/users'))", (GATE,))
            thread = threading.Thread(target=write)
            thread.start()
            _wait_for_waiter(database)
            conn.execute("UPDATE migration_state SET phase = %s", (phase,))
        thread.join()
        assert codes.pop() == expected


def _wait_for_waiter(database: str) -> None:
    with closing(psycopg.connect(database, autocommit=True)) as mine:
        while not mine.execute(
            "SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        ).fetchall():
            pass


def test_no_writer_runs_under_another_phase_than_it_saw(
    conn: psycopg.Connection[Any], database: str, switch: Callable[[int], None]
) -> None:
    """T8: writers race switches; each row stands where its phase says, none in between."""
    switch(3)
    stop = threading.Event()
    faults: list[str] = []

    def write() -> None:
        with closing(psycopg.connect(database, autocommit=True)) as mine:
            while not stop.is_set():
                try:
                    with mine.transaction():
                        insert(mine)
                        # Under the lock that the trigger took the phase cannot move.
                        found = mine.execute("SELECT phase FROM migration_state").fetchone()
                        if found is None or found[0] != 4:
                            faults.append(f"wrote in phase {found}")
                except psycopg.Error as error:
                    if error.sqlstate != "LG001":
                        faults.append(str(error.sqlstate))

    writers = [threading.Thread(target=write) for _ in range(4)]
    for thread in writers:
        thread.start()
    for number in range(ROUNDS):
        with conn.transaction():
            conn.execute("SELECT pg_advisory_xact_lock(%s, hashtext('default/users'))", (GATE,))
            conn.execute("UPDATE migration_state SET phase = %s", (4 - number % 2,))
    stop.set()
    for thread in writers:
        thread.join()
    assert faults == []
