"""Replay, level 4: the sealed tree, its checkpoints, and what was done to them (LM1 to LM8)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from errors import NotFound, ValidationFailed
from persistence.db import Database, DbSettings
from persistence.embedded_postgres import APP_ROLE, OWNER_ROLE
from services.checkpoint_copies import Copies
from services.checkpoints import SealKeys
from services.replay import Replay, ReplayAsk, RunBy, Trust
from tests.book import TENANT, Book, unchecked_clone
from tests.sealing import KEYS, ORIGIN, seal_all, sealing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from uuid import UUID

    import psycopg

    from services.replay_report import Report
    from tests.conftest import PostgresServer

BY = RunBy(actor="cli:test", host="here", app_version="0.0.1")
# Leaves of the first checkpoint; of the second: a full tile and a partial one.
EARLY, LEAVES = 5, 260


@pytest.fixture(scope="module")
def sealed(
    admin: psycopg.Connection[Any], template: str, postgres: PostgresServer
) -> Iterator[str]:
    """A book with two checkpoints; tests tamper with clones of it."""
    with unchecked_clone(admin, template) as name:
        with Book(postgres.url(name, OWNER_ROLE)) as book:
            book.open("bank", side=-1)
            book.open("users:a")
            db = Database(postgres.url(name, APP_ROLE), DbSettings(pool_size=1))
            for size in (EARLY, LEAVES):
                while book.run("SELECT count(*) FROM ledger_transactions") < [(size,)]:
                    book.post(("bank", "users:a", 1), at=datetime.now(UTC))
                seal_all(sealing(db))
            db.close()
        yield name


@pytest.fixture
def scratch(admin: psycopg.Connection[Any], sealed: str) -> Iterator[str]:
    with unchecked_clone(admin, sealed) as name:
        yield name


@pytest.fixture
def db(postgres: PostgresServer, scratch: str) -> Iterator[Database]:
    opened = Database(postgres.url(scratch, APP_ROLE), DbSettings(pool_size=1))
    yield opened
    opened.close()


class Tampered:
    """A connection of whoever may do anything."""

    def __init__(self, conn: psycopg.Connection[Any]) -> None:
        self.conn = conn

    def run(self, query: str, *params: Any) -> list[tuple[Any, ...]]:
        cursor = self.conn.execute(query.encode(), params)
        return cursor.fetchall() if cursor.description else []

    def leaf(self, idx: int) -> UUID:
        ((tx_id,),) = self.run("SELECT tx_id FROM ledger_leaves WHERE idx = %s", idx)
        return tx_id  # type: ignore[no-any-return]


@pytest.fixture
def book(postgres: PostgresServer, scratch: str) -> Iterator[Tampered]:
    import psycopg  # noqa: PLC0415

    with psycopg.connect(postgres.url(scratch, OWNER_ROLE), autocommit=True) as conn:
        yield Tampered(conn)


def run(db: Database, *, keys: SealKeys = KEYS, copies: Copies | None = None, **ask: Any) -> Report:
    trust = Trust(keys=keys, copies=copies or Copies())
    return Replay(db, trust=trust).run(ReplayAsk(tenant_id=TENANT, **ask), BY)


def found(report: Report) -> list[tuple[str, UUID | None]]:
    return [(f.row.field, f.row.tx_id) for f in report.findings if f.level == "L4"]


def test_a_sealed_book_is_clean(db: Database) -> None:
    """L4: every leaf was hashed anew, every checkpoint compared."""
    report = run(db)

    (tenant,) = report.tenants
    assert report.findings == []
    assert (tenant.levels["L4"].checked, tenant.proven, report.exit_code) == (LEAVES, LEAVES, 0)


@pytest.mark.parametrize(
    "change",
    [
        "actor = actor || '!'",
        "request_id = request_id, reference = 'new'",
        "metadata_hash = decode(repeat('00', 32), 'hex')",
        "effective_at = effective_at - interval '1 microsecond'",
        "forced = true",
        "reason = ''",
    ],
)
@pytest.mark.parametrize("idx", [0, 128, 255])
def test_one_byte_changed_is_found_and_named(
    book: Tampered, db: Database, change: str, idx: int
) -> None:
    """L4: what no other level looks at; the leaf and its transaction are named."""
    tx_id = book.leaf(idx)
    book.run(f"UPDATE ledger_transactions SET {change} WHERE id = %s", tx_id)

    report = run(db, levels=("L4",))

    assert found(report) == [(f"leaf {idx}", tx_id)]
    assert (report.tenants[0].verdict, report.exit_code) == ("damaged", 5)


def test_one_byte_changed_behind_the_last_full_tile_breaks_the_root(
    book: Tampered, db: Database
) -> None:
    """L4: those leaves are stored nowhere, but the checkpoint says what they were."""
    book.run("UPDATE ledger_transactions SET actor = 'x' WHERE id = %s", book.leaf(LEAVES - 1))

    assert found(run(db)) == [(f"root of {LEAVES} leaves", None)]


@pytest.mark.parametrize("idx", [0, 100, LEAVES - 1], ids=["head", "middle", "tail"])
def test_a_transaction_removed_whole_is_found_and_named(
    book: Tampered, db: Database, idx: int
) -> None:
    """L4: with its entries, and the balances set back: a seal knows it all the same."""
    tx_id = book.leaf(idx)
    book.run("DELETE FROM ledger_transactions WHERE id = %s", tx_id)
    book.run("DELETE FROM ledger_entries WHERE tx_id = %s", tx_id)
    book.run(
        "UPDATE ledger_balances AS b SET version = b.version - 1, debits_posted = x.d,"
        " credits_posted = x.c, last_posted_at = x.at FROM (SELECT account_id,"
        " coalesce(sum(posted) FILTER (WHERE side = -1), 0) AS d, max(posted_at) AS at,"
        " coalesce(sum(posted) FILTER (WHERE side = 1), 0) AS c FROM ledger_entries"
        " GROUP BY account_id) AS x WHERE x.account_id = b.account_id"
    )

    report = run(db)

    assert (f"leaf {idx}", tx_id) in found(report)
    if idx == LEAVES - 1:  # Nothing else is left that could tell.
        assert {finding.level for finding in report.findings} == {"L4"}


@pytest.mark.parametrize(
    ("place", "field"),
    [
        (0, "leaf 0"),
        (100, "leaf 100"),
        (255, "leaf 255"),
        (257, "leaf 257"),
        (LEAVES - 1, "tree size"),
    ],
)
def test_a_leaf_removed_is_found(book: Tampered, db: Database, place: int, field: str) -> None:
    """L4: at the head, in the middle, at the tail; its transaction is unsealed then."""
    tx_id = book.leaf(place)
    book.run("DELETE FROM ledger_leaves WHERE idx = %s", place)

    named = found(run(db))

    assert field in {name for name, _ in named}
    assert ("leaf", tx_id) in named


def test_a_tail_cut_off_with_its_leaves_is_found(book: Tampered, db: Database) -> None:
    """L4, Traps: last transactions, leaves and size agree with each other, the note does not."""
    for table in ("ledger_entries WHERE tx_id", "ledger_transactions WHERE id"):
        book.run(f"DELETE FROM {table} IN (SELECT tx_id FROM ledger_leaves WHERE idx >= 258)")
    book.run("DELETE FROM ledger_leaves WHERE idx >= 258")
    book.run("UPDATE ledger_seal_state SET tree_size = 258")

    assert found(run(db)) == [(f"checkpoint of {LEAVES} leaves", None)]


def test_a_tree_shorter_than_a_published_checkpoint_is_found(
    book: Tampered, db: Database, tmp_path: Path
) -> None:
    """LM8, --checkpoint: the checkpoint is gone from the database, a copy is not."""
    ((note,),) = book.run("DELETE FROM ledger_seals WHERE tree_size = %s RETURNING note", LEAVES)
    for table in ("ledger_entries WHERE tx_id", "ledger_transactions WHERE id"):
        book.run(f"DELETE FROM {table} IN (SELECT tx_id FROM ledger_leaves WHERE idx >= 258)")
    book.run("DELETE FROM ledger_leaves WHERE idx >= 258")
    book.run("UPDATE ledger_seal_state SET tree_size = 258")
    folder = tmp_path / TENANT
    folder.mkdir()
    (folder / "checkpoint").write_text(note)

    assert found(run(db)) == []
    given = found(run(db, checkpoints=(note,)))
    assert given == [(f"given checkpoint of {LEAVES} leaves", None)]
    kept = found(run(db, copies=Copies(tmp_path)))
    assert kept == [(f"published checkpoint of {LEAVES} leaves", None)]


def test_a_shorter_tree_signed_again_is_found(book: Tampered, db: Database) -> None:
    """L4: by the right key, and yet it does not continue what was published."""
    ((note,),) = book.run("SELECT note FROM ledger_seals WHERE tree_size = %s", LEAVES)
    book.run("UPDATE ledger_transactions SET actor = 'x' WHERE id = %s", book.leaf(259))
    book.run("DELETE FROM ledger_seals WHERE tree_size = %s", LEAVES)
    seal_all(sealing(db))

    assert found(run(db)) == []
    assert found(run(db, checkpoints=(note,))) == [(f"root of {LEAVES} leaves", None)]


def test_a_forged_note_is_found(book: Tampered, db: Database) -> None:
    """L4: by the tree's very root, but signed by another key."""
    forger = SealKeys(origin=ORIGIN, seeds=(bytes(32),))
    ((root,),) = book.run("SELECT root FROM ledger_seals WHERE tree_size = %s", LEAVES)
    forged = forger.sign_checkpoint(TENANT, LEAVES, root)
    book.run("UPDATE ledger_seals SET note = %s WHERE tree_size = %s", forged, LEAVES)

    report = run(db)

    assert [f.row.found for f in report.findings] == ["not signed by a known key"]


@pytest.mark.parametrize(
    "change",
    [
        "root = decode(repeat('00', 32), 'hex')",
        "note = 'nonsense'",
        "note = replace(note, E'/acme\\n', E'/other\\n')",
        "tree_size = tree_size + 1",
        "tree_size = tree_size - 1",
    ],
)
def test_a_changed_checkpoint_is_found(book: Tampered, db: Database, change: str) -> None:
    """L4: every column of it that matters."""
    book.run(f"UPDATE ledger_seals SET {change} WHERE tree_size = %s", LEAVES)

    assert len(found(run(db))) == 1


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ("root = decode(repeat('00', 32), 'hex')", "root of tile 0"),
        ("hashes = substr(hashes, 1, 8160)", "tile 0 of level 0"),
        ("n = 7", "tile 0 of level 0"),
    ],
)
def test_a_changed_tile_is_found(book: Tampered, db: Database, change: str, field: str) -> None:
    """L4: tiles are what proofs are made of."""
    book.run(f"UPDATE ledger_tiles SET {change}")

    assert found(run(db)) == [(field, None)]


def test_a_hash_changed_in_a_tile_is_told_from_a_changed_transaction(
    book: Tampered, db: Database
) -> None:
    """L4: then the root of a checkpoint fails, too."""
    book.run("UPDATE ledger_tiles SET hashes = set_byte(hashes, 3200, get_byte(hashes, 3200) # 1)")

    fields = [field for field, _ in found(run(db))]

    assert fields == ["leaf 100", "root of tile 0", f"root of {LEAVES} leaves"]


def test_a_row_put_behind_the_watermark_is_found(book: Tampered, db: Database) -> None:
    """L4: nothing unsealed at or below it."""
    ((tx_id,),) = book.run(
        "INSERT INTO ledger_transactions (tenant_id, id, kind, status, posted_at, effective_at,"
        " debit_accounts, credit_accounts, amounts, actor, request_id) SELECT tenant_id,"
        " gen_random_uuid(), 'change', 'applied', posted_at, effective_at, '{}', '{}', '{}',"
        " actor, request_id FROM ledger_transactions WHERE id = %s RETURNING id",
        book.leaf(7),
    )

    assert found(run(db)) == [("leaf", tx_id)]


def test_without_a_key_roots_are_compared_and_nothing_is_proven(db: Database) -> None:
    """L4: who has no key cannot tell who signed."""
    report = run(db, keys=SealKeys(origin=ORIGIN))

    assert (report.exit_code, report.tenants[0].proven) == (0, 0)


# --- From a checkpoint on -----------------------------------------------------------------------


@pytest.mark.parametrize("seal", ["last", EARLY, LEAVES])
def test_a_replay_may_begin_at_a_checkpoint(db: Database, seal: int | str) -> None:
    """Section 13, LR1: --since-seal; what it covers is not read again."""
    report = run(db, since_seal=seal)

    (tenant,) = report.tenants
    entries = 0 if seal in {"last", LEAVES} else 2 * (LEAVES - EARLY)
    assert report.findings == []
    assert tenant.entries == entries
    assert tenant.proven == LEAVES


@pytest.mark.parametrize(
    ("change", "level"),
    [
        ("posted = posted + 1", "L1"),
        ("balance_after = balance_after + 1", "L2"),
        ("version = version + 1000", "L2"),
    ],
)
def test_what_came_after_a_checkpoint_is_checked(
    book: Tampered, db: Database, change: str, level: str
) -> None:
    """LR1: and what was before it is believed."""
    sql = f"UPDATE ledger_entries SET {change} WHERE tx_id = %s AND side = 1"
    book.run(sql, book.leaf(3))
    before = run(db, since_seal=EARLY)
    book.run(sql, book.leaf(200))

    after = run(db, since_seal=EARLY)

    assert before.findings == []
    assert level in {finding.level for finding in after.findings}
    assert {f.row.tx_id for f in after.findings if f.level == level} >= {book.leaf(200)}


def test_a_balance_is_compared_with_what_a_checkpoint_leads_to(
    book: Tampered, db: Database
) -> None:
    """L3: by balance and version."""
    book.run("UPDATE ledger_balances SET credits_posted = credits_posted + 1, version = 1"
             " WHERE normal_side = 1")  # fmt: skip

    report = run(db, since_seal=EARLY)

    assert {(f.level, f.row.field) for f in report.findings} == {
        ("L3", "balance"), ("L3", "version"),
    }  # fmt: skip
    assert report.exit_code == 3


def test_a_wrong_checkpoint_is_not_believed(book: Tampered, db: Database) -> None:
    """LR1: it is verified first, whichever level was asked for."""
    note = KEYS.sign_checkpoint(TENANT, EARLY, bytes(32))
    book.run("UPDATE ledger_seals SET note = %s, root = %s WHERE tree_size = %s",
             note, bytes(32), EARLY)  # fmt: skip

    report = run(db, since_seal=EARLY, levels=("L2",))

    assert found(report) == [(f"root of {EARLY} leaves", None)]


def test_an_unknown_checkpoint_is_not_found(db: Database) -> None:
    """LR8: exit 3; a checkpoint of another tenant's log makes no sense: exit 2."""
    with pytest.raises(NotFound):
        run(db, since_seal=EARLY + 1)
    with pytest.raises(ValidationFailed):
        run(db, checkpoints=(KEYS.sign_checkpoint("nobody", 1, bytes(32)),))
