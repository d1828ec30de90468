"""Sealing: the watermark, leaves, tiles and checkpoints of a book (LT4 to LT7, LM1 to LM5, LM8)."""

from __future__ import annotations

import json
import random
import threading
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any
from uuid import UUID

import psycopg
import pytest

from persistence.db import Database, DbSettings
from services.canonical_json import canonical, digest
from services.checkpoint_copies import Copies
from services.checkpoints import SealKeys
from services.seal_tiles import Tiles, TreeBroken
from tests import second_opinion
from tests.book import START, TENANT, Book, unchecked_clone
from tests.sealing import KEYS, NO_KEYS, ORIGIN, seal_all, sealing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from services.seals import Sealed, Seals
    from tests.conftest import PostgresServer

(KEY,) = KEYS.signing(TENANT)


@pytest.fixture
def db(database: str) -> Iterator[Database]:
    opened = Database(database, DbSettings(pool_size=2))
    yield opened
    opened.close()


@pytest.fixture
def book(database_owner: str) -> Iterator[Book]:
    with Book(database_owner) as made:
        made.open("bank", side=-1)
        made.open("users:a")
        made.open("users:b")
        yield made


@pytest.fixture
def seals(db: Database) -> Seals:
    return sealing(db)


def leaves(book: Book) -> list[bytes]:
    """Return every leaf's text, in the order of the tree, by the second implementation."""
    ids = [row[0] for row in book.run("SELECT tx_id FROM ledger_leaves ORDER BY idx")]
    return [second_opinion.leaf_bytes(leaf_of(book, tx_id)) for tx_id in ids]


def leaf_of(book: Book, tx_id: UUID) -> dict[str, Any]:
    """Say once more what a leaf is, column by column (LM1)."""
    cursor = book.conn.execute("SELECT * FROM ledger_transactions WHERE id = %s", (tx_id,))
    names = [column.name for column in cursor.description or ()]
    row = dict(zip(names, cursor.fetchone() or (), strict=True))
    accounts = {n: rest for n, *rest in book.run(
        "SELECT account_id, code, currency FROM ledger_accounts")}  # fmt: skip
    sides = zip(row["debit_accounts"], row["credit_accounts"], row["amounts"], strict=True)
    found = {
        "v": 1,
        "tenant": row["tenant_id"],
        "legs": [
            [accounts[d][0], accounts[c][0], accounts[d][1], amount] for d, c, amount in sides
        ],
        "metadata_sha256": row["metadata_hash"] and row["metadata_hash"].hex(),
        "request_sha256": row["request_hash"] and row["request_hash"].hex(),
    }
    found |= {name: row[name] for name in ("kind", "status", "reason", "reference", "actor")}
    found |= {name: row[name] for name in ("final", "forced", "released")}
    found |= {name: row[name] and str(row[name]) for name in ("id", "hold_id", "reverses")}
    for name in ("posted_at", "effective_at", "expires_at"):
        found[name] = row[name] and row[name].astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return {name: value for name, value in found.items() if value is not None}


def notes(book: Book) -> list[list[str]]:
    """Return the lines of every checkpoint, opened by the second implementation."""
    rows = book.run("SELECT note FROM ledger_seals ORDER BY tree_size")
    return [second_opinion.opened_note(note, str(KEY)) for (note,) in rows]


def b64(data: bytes) -> str:
    import base64  # noqa: PLC0415

    return base64.b64encode(data).decode()


# --- Leaves and checkpoints ---------------------------------------------------------------------


def test_every_transaction_is_a_leaf_in_the_order_of_posting(book: Book, seals: Seals) -> None:
    """LM1, LM3: and the signed root is that of a second implementation."""
    ids = [book.post(("bank", "users:a", n)) for n in range(1, 6)]

    state = seal_all(seals)

    assert book.run("SELECT tx_id, idx, late FROM ledger_leaves ORDER BY idx") == [
        (tx_id, idx, False) for idx, tx_id in enumerate(ids)
    ]
    assert (state.tree_size, state.signed_size, state.has_more) == (5, 5, False)
    root = second_opinion.tree_hash(leaves(book))
    assert notes(book)[-1] == [f"{ORIGIN}/{TENANT}", "5", b64(root)]


def test_a_leaf_says_all_of_its_transaction(book: Book, db: Database, seals: Seals) -> None:
    """LM1: every column, texts that need escapes, several legs, none at all."""
    metadata = {"note": 'a "quote", a \\ and \u00e4\u20ac\n', "b": "2"}
    book.post(
        ("bank", "users:a", 999_999_999_999_999), ("users:a", "users:b", 1),
        reference='ref "1" \\', metadata=json.dumps(metadata), metadata_hash=digest(metadata),
        request_hash=sha256(b"request").digest(), actor="key:\u00e4\t1",
        effective_at=START - timedelta(days=3, microseconds=1),
    )  # fmt: skip
    hold_id = book.hold("users:a", "users:b", 25)
    book.post(("users:a", "users:b", 5), kind="capture", hold_id=hold_id, final=False, released=5)
    book.run("UPDATE ledger_holds SET remaining = 20")
    book.post(("users:a", "bank", 900), kind="reverse", reverses=hold_id, forced=True)
    book.post(kind="change", expires_at=START)
    book.post(
        ("users:a", "users:b", 7), status="rejected", reason="insufficient_funds", unbooked=True
    )

    seal_all(seals)

    texts = leaves(book)
    assert len(texts) == 6
    with db.read() as conn:
        assert Tiles(conn, TENANT, 6).root(6) == second_opinion.tree_hash(texts)
    assert all(canonical(json.loads(text)) == text for text in texts)


def test_nothing_is_signed_without_a_key(book: Book, db: Database) -> None:
    """Section 14: the watermark moves all the same, and old rows are sealed later."""
    book.post(("bank", "users:a", 1))

    state = seal_all(sealing(db, NO_KEYS))

    assert (state.tree_size, state.signed_size) == (1, 0)
    assert notes(book) == []
    assert seal_all(sealing(db)).signed_size == 1


def test_a_book_that_rests_is_signed_once(book: Book, seals: Seals) -> None:
    """LM4: the same tree twice would say nothing new."""
    book.post(("bank", "users:a", 1))
    seal_all(seals)
    seal_all(seals)
    book.post(("bank", "users:a", 1), at=datetime.now(UTC))
    seal_all(seals)
    assert [lines[1] for lines in notes(book)] == ["1", "2"]


def test_an_empty_book_has_a_watermark_and_no_checkpoint(book: Book, seals: Seals) -> None:
    """LT4."""
    state = seal_all(seals)
    assert (state.tree_size, state.signed_size) == (0, 0)


def test_checkpoints_are_not_signed_too_often(book: Book, db: Database) -> None:
    """LEDGER_SEAL_EVERY_S: leaves and watermark do not wait for it."""
    book.post(("bank", "users:a", 1))
    slow = sealing(db)
    slow._sign_every_s = 3_600
    seal_all(slow)
    book.post(("bank", "users:a", 2), at=datetime.now(UTC))
    while slow.state(TENANT).tree_size < 2:
        slow.seal(TENANT, 1000)
    assert slow.state(TENANT).signed_size == 1


def test_large_trees_are_kept_in_tiles(book: Book, db: Database, seals: Seals) -> None:
    """LM2: 70,000 leaves fill tiles of two levels; roots and proofs are those of the RFC."""
    count = 70_000
    book.run(
        "INSERT INTO ledger_transactions (tenant_id, id, kind, status, posted_at, effective_at,"
        " debit_accounts, credit_accounts, amounts, actor, request_id)"
        " SELECT %s, gen_random_uuid(), 'change', 'applied', t, t, '{}', '{}', '{}', 'key:1', 'r'"
        " FROM generate_series(1, %s) AS n, LATERAL (SELECT %s + n * interval '1 ms') AS x (t)",
        TENANT, count, START,
    )  # fmt: skip
    seal_all(seals, batch=9_999)

    rows = book.run("SELECT ledger_leaf(t, '') FROM ledger_leaves AS s"
                    " JOIN ledger_transactions AS t ON t.id = s.tx_id ORDER BY s.idx")  # fmt: skip
    texts = [text.encode() for (text,) in rows]
    root = second_opinion.tree_hash(texts)
    assert notes(book)[-1][1:] == [str(count), b64(root)]
    tiles = book.run("SELECT level, count(*) FROM ledger_tiles GROUP BY level ORDER BY level")
    assert tiles == [(0, count >> 8), (1, count >> 16)]
    from services import merkle  # noqa: PLC0415

    with db.read() as conn:
        for size in (1, 255, 256, 257, 65_535, 65_536, 65_537, count):
            tree = Tiles(conn, TENANT, count)
            assert tree.root(size) == second_opinion.tree_hash(texts[:size])
            index = random.Random(size).randrange(size)
            path = merkle.inclusion(tree.subtree, index, size)
            assert path == second_opinion.audit_path(index, texts[:size])
            first = random.Random(-size).randrange(size) + 1
            path = merkle.consistency(tree.subtree, first, size)
            assert path == second_opinion.consistency_path(first, texts[:size])


def test_a_batch_ends_with_a_whole_moment(book: Book, seals: Seals) -> None:
    """LM3: transactions of one time are not torn apart, or one could be forgotten."""
    book.open("users:c")
    for _ in range(3):
        moment = book.now + timedelta(milliseconds=1)
        book.post(("bank", "users:a", 1), at=moment)
        book.post(("users:b", "users:c", 1), at=moment)
    seal_all(seals, through=book.now, batch=1)
    assert book.run("SELECT count(*) FROM ledger_leaves") == [(6,)]


# --- The watermark ------------------------------------------------------------------------------


def test_the_watermark_waits_for_what_runs(book: Book, seals: Seals, database_owner: str) -> None:
    """LT4: a posting that has its id and its time is not passed, however long it takes."""
    seal_all(seals)
    with psycopg.connect(database_owner) as slow:
        at = slow.execute(
            "WITH x AS MATERIALIZED (SELECT pg_current_xact_id() AS id)"
            " SELECT clock_timestamp() FROM x WHERE id IS NOT NULL"
        ).fetchone()
        assert at is not None
        for _ in range(5):
            seals.seal(TENANT, 1000, at_once=True)
        mark = seals.state(TENANT).sealed_through
        assert mark is not None
        assert mark < at[0]
        slow.rollback()
    assert (seal_all(seals).sealed_through or START) > at[0]


def test_a_posting_in_flight_is_sealed_in_its_order(
    book: Book, db: Database, seals: Seals, database_owner: str
) -> None:
    """LT4, LM3: the fast one that came after it does not go before it."""
    now = datetime.now(UTC)
    with psycopg.connect(database_owner) as slow:
        slow.execute("SELECT pg_current_xact_id()")
        late_id = _bare(slow, now)
        fast_id = _bare(book.conn, now + timedelta(milliseconds=1))
        for _ in range(5):
            seals.seal(TENANT, 1000, at_once=True)
        assert seals.state(TENANT).tree_size == 0
        slow.commit()
    seal_all(seals)
    ids = [row[0] for row in book.run("SELECT tx_id FROM ledger_leaves ORDER BY idx")]
    assert ids == [late_id, fast_id]
    assert book.run("SELECT count(*) FROM ledger_leaves WHERE late") == [(0,)]


def test_ticks_of_another_server_are_dropped(book: Book, seals: Seals) -> None:
    """LT7: after a restore elsewhere its ids say nothing."""
    seal_all(seals)
    book.run("UPDATE ledger_seal_state SET tick_node = 'another', tick_xid = '1',"
             " tick_at = '2999-01-01Z'")  # fmt: skip
    before = seals.state(TENANT).sealed_through

    seals.seal(TENANT, 1000, at_once=True)

    assert seals.state(TENANT).sealed_through == before
    ((tick,),) = book.run("SELECT tick_at FROM ledger_seal_state")
    assert tick < datetime.now(UTC) + timedelta(seconds=1)


def test_the_watermark_never_goes_back(book: Book, seals: Seals) -> None:
    """LT5: though a tick is of an earlier time, as after a clock was set back."""
    seal_all(seals)
    book.run("UPDATE ledger_seal_state SET sealed_through = now() + interval '1 hour'")
    high = seals.state(TENANT).sealed_through
    for _ in range(5):
        seals.seal(TENANT, 1000, at_once=True)
    assert seals.state(TENANT).sealed_through == high


def test_a_row_behind_the_watermark_is_sealed_as_late(book: Book, seals: Seals) -> None:
    """LT6: found, counted, and at a place of its own; what is sealed stays where it is."""
    first = book.post(("bank", "users:a", 1), at=datetime.now(UTC))
    mark = seal_all(seals).sealed_through
    assert mark is not None
    book.open("users:c")
    late = book.post(("users:b", "users:c", 2), at=mark - timedelta(seconds=1))
    seen: list[Sealed | None] = [seals.seal(TENANT, 1000, at_once=True)]
    assert [each.late for each in seen if each] == [1]
    assert book.run("SELECT tx_id, late FROM ledger_leaves ORDER BY idx") == [
        (first, False), (late, True),
    ]  # fmt: skip
    assert notes(book)[-1][1] == "2"


def test_a_row_far_behind_the_watermark_is_sealed_by_hand(book: Book, seals: Seals) -> None:
    """LT6: nobody looks there each second; replay-ledger finds it, ledger-seal --late mends it."""
    seal_all(seals)
    tx_id = book.post(("bank", "users:a", 2), at=START)
    seal_all(seals)
    assert book.run("SELECT 1 FROM ledger_leaves") == []

    sealed = seals.seal_late(TENANT, 1000)

    assert (sealed and sealed.late, book.run("SELECT tx_id, late FROM ledger_leaves")) == (
        1, [(tx_id, True)],
    )  # fmt: skip


def test_one_worker_seals_at_a_time(book: Book, seals: Seals, database_owner: str) -> None:
    """LM3: another one does not wait, and no writer is held up."""
    seals.state(TENANT)
    with psycopg.connect(database_owner) as other:
        other.execute("SELECT FROM ledger_seal_state FOR NO KEY UPDATE")
        assert seals.seal(TENANT, 1000, at_once=True) is None
        book.post(("bank", "users:a", 1))
    assert seal_all(seals).tree_size == 1


def test_an_idle_book_costs_no_transaction_id(book: Book, seals: Seals) -> None:
    """LM3: its watermark is moved once a minute."""
    book.post(("bank", "users:a", 1))
    seal_all(seals)
    before = book.run("SELECT tick_xid::text FROM ledger_seal_state")
    seals.seal(TENANT, 1000)
    assert book.run("SELECT tick_xid::text FROM ledger_seal_state") == before
    book.run("UPDATE ledger_seal_state SET sealed_through = sealed_through - interval '61 s'")
    seals.seal(TENANT, 1000)
    assert book.run("SELECT tick_xid::text FROM ledger_seal_state") != before


# --- Writers beside it --------------------------------------------------------------------------


def test_nothing_is_late_beside_overlapping_writers(
    book: Book, seals: Seals, database_owner: str
) -> None:
    """LT4, LM3: fast and slow ones; each row is sealed once, in order, and no writer waits.

    The seed is in the writers' number; each posts as LP4 says: id, then clock.
    """
    stop, posted, failed = threading.Event(), [0], list[BaseException]()

    def write(number: int) -> None:
        rng = random.Random(number)
        try:
            with psycopg.connect(database_owner) as conn:
                conn.execute("SET lock_timeout = '1s'")
                while not stop.is_set():
                    conn.execute("SELECT pg_current_xact_id()")
                    stop.wait(rng.choice([0, 0, 0, 0.001, 0.02]))
                    _bare(conn, None)
                    stop.wait(rng.choice([0, 0, 0.001, 0.03]))
                    conn.commit()
                    posted[0] += 1
        except BaseException as error:  # noqa: BLE001
            failed.append(error)

    writers = [threading.Thread(target=write, args=(number,)) for number in range(6)]
    for writer in writers:
        writer.start()
    rounds = 0
    while rounds < 60 or posted[0] < 300:
        assert not failed
        seals.seal(TENANT, 50, at_once=True)
        rounds += 1
    stop.set()
    for writer in writers:
        writer.join()
    state = seal_all(seals)

    assert failed == []
    ((count,),) = book.run("SELECT count(*) FROM ledger_transactions")
    assert state.tree_size == count
    assert book.run("SELECT 1 FROM ledger_leaves WHERE late") == []
    in_order = "SELECT id FROM ledger_transactions ORDER BY posted_at, id"
    assert book.run("SELECT tx_id FROM ledger_leaves ORDER BY idx") == book.run(in_order)


def _bare(conn: psycopg.Connection[Any], at: datetime | None) -> UUID:
    """Insert a header without legs, with the clock as its time if none is given."""
    row = conn.execute(
        "INSERT INTO ledger_transactions (tenant_id, id, kind, status, posted_at, effective_at,"
        " debit_accounts, credit_accounts, amounts, actor, request_id) SELECT %s,"
        " gen_random_uuid(), 'change', 'applied', t, t, '{}', '{}', '{}', 'key:1', 'r'"
        " FROM (SELECT coalesce(%s, clock_timestamp()) AS t) AS x RETURNING id",
        (TENANT, at),
    ).fetchone()
    assert row is not None
    return UUID(str(row[0]))


# --- What is not signed -------------------------------------------------------------------------


@pytest.fixture
def scratch(admin: psycopg.Connection[Any], template: str) -> Iterator[str]:
    with unchecked_clone(admin, template) as name:
        yield name


@pytest.fixture
def damaged(postgres: PostgresServer, scratch: str) -> Iterator[tuple[Book, Seals]]:
    """A book of 300 sealed transactions that a test may damage."""
    from persistence.embedded_postgres import APP_ROLE, OWNER_ROLE  # noqa: PLC0415

    db = Database(postgres.url(scratch, APP_ROLE), DbSettings(pool_size=1))
    with Book(postgres.url(scratch, OWNER_ROLE)) as made:
        made.open("bank", side=-1)
        made.open("users:a")
        for _ in range(300):
            _bare(made.conn, None)
        seals = sealing(db)
        seal_all(seals)
        yield made, seals
    db.close()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("UPDATE ledger_tiles SET root = overlay(root PLACING '\\x00' FROM 1)", "another root"),
        ("DELETE FROM ledger_tiles", "not there"),
        ("UPDATE ledger_seals SET note = replace(note, '300', '299')", "not signed"),
        ("UPDATE ledger_seals SET note = 'x'", "unreadable"),
        ("UPDATE ledger_transactions SET actor = 'key:2'", "another root"),
        ("DELETE FROM ledger_transactions", "not there"),
        ("UPDATE ledger_seals SET note = (SELECT note FROM ledger_seals LIMIT 1)", None),
    ],
)
def test_a_tree_that_does_not_continue_is_not_signed(
    damaged: tuple[Book, Seals], change: str, says: str | None
) -> None:
    """LM4: the reason is kept, the alarm rings once, and nothing more is signed."""
    book, seals = damaged
    book.run(change.replace("%", "%%"))
    _bare(book.conn, None)
    found = []
    for _ in range(20):
        sealed = seals.seal(TENANT, 1000, at_once=True)
        found += [sealed.stopped] if sealed and sealed.stopped else []
    if says is None:
        assert found == []
        return
    assert len(found) == 1
    assert says in found[0]
    state = seals.state(TENANT)
    assert (state.stopped_reason, state.signed_size) == (found[0], 300)


def test_a_stopped_tree_is_signed_again_when_all_agrees(damaged: tuple[Book, Seals]) -> None:
    """LM4: a person decides, and only once it is mended."""
    book, seals = damaged
    ((root,),) = book.run("SELECT root FROM ledger_tiles")
    book.run("UPDATE ledger_tiles SET root = %s", bytes(32))
    _bare(book.conn, None)
    for _ in range(20):
        seals.seal(TENANT, 1000, at_once=True)
    assert "another root" in (seals.resume(TENANT) or "")
    assert seals.state(TENANT).stopped_reason is not None

    book.run("UPDATE ledger_tiles SET root = %s", root)

    assert seals.resume(TENANT) is None
    assert seal_all(seals).signed_size == 301


def test_a_tree_shorter_than_a_published_one_is_not_signed(
    book: Book, db: Database, tmp_path: Path
) -> None:
    """LM8: a restore to an earlier state; the copy outside knows more."""
    book.post(("bank", "users:a", 1))
    copies = Copies(tmp_path)
    copies.publish(TENANT, 9, KEYS.sign_checkpoint(TENANT, 9, bytes(32)), START)
    seals = sealing(db, copies=copies)
    while seals.state(TENANT).stopped_reason is None:
        seals.seal(TENANT, 1000, at_once=True)
    assert seals.state(TENANT).stopped_reason == (
        "the published checkpoint is of 9 leaves, the tree has 0"
    )
    assert notes(book) == []


def test_a_published_tree_of_other_leaves_is_not_continued(
    book: Book, db: Database, tmp_path: Path
) -> None:
    """LM8: as many leaves as there were, but not the same."""
    book.post(("bank", "users:a", 1))
    copies = Copies(tmp_path)
    seal_all(sealing(db, NO_KEYS))
    copies.publish(TENANT, 1, KEYS.sign_checkpoint(TENANT, 1, bytes(32)), START)
    seals = sealing(db, copies=copies)
    seals.seal(TENANT, 1000, at_once=True)
    assert "another root" in (seals.state(TENANT).stopped_reason or "")


def test_another_origin_is_another_log(book: Book, db: Database) -> None:
    """LM5, LM8: what an operator decides on after a restore; it begins anew."""
    book.post(("bank", "users:a", 1))
    seal_all(sealing(db))
    book.post(("bank", "users:a", 2), at=datetime.now(UTC))
    other = SealKeys(origin="pay2.example.com", seeds=KEYS.seeds)
    assert seal_all(sealing(db, other)).signed_size == 2


def test_a_replaced_key_goes_on_with_the_same_log(book: Book, db: Database) -> None:
    """LM5: its public half is believed; the table says from when to when each has signed."""
    book.post(("bank", "users:a", 1))
    seal_all(sealing(db))
    book.post(("bank", "users:a", 2), at=datetime.now(UTC))
    unknown = SealKeys(origin=ORIGIN, seeds=(bytes(32),))
    seal_all(sealing(db, unknown))
    assert "not signed by a known key" in (sealing(db).state(TENANT).stopped_reason or "")

    known = sealing(db, SealKeys(origin=ORIGIN, seeds=(bytes(32),), former=(KEY.public,)))
    assert known.resume(TENANT) is None
    assert seal_all(known).signed_size == 2
    rows = book.run("SELECT public_key, valid_until IS NULL FROM ledger_seal_keys ORDER BY 2")
    (new,) = unknown.signing(TENANT)
    assert rows == [(KEY.public, False), (new.public, True)]


def test_a_tree_cannot_be_read_beyond_its_end(book: Book, db: Database, seals: Seals) -> None:
    """LM2."""
    book.post(("bank", "users:a", 1))
    seal_all(seals)
    with db.read() as conn, pytest.raises(TreeBroken):
        Tiles(conn, TENANT, 2).root(2)
