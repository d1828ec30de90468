"""Proofs and receipts: whoever has them can check them alone (LM1, LM5, LM7)."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest

from errors import CursorInvalid, FeatureDisabled, NotFound, NotSealed
from persistence.db import Database, DbSettings
from services.actors import Actor
from services.cursors import Cursors
from services.proofs import Proofs
from services.seal_tiles import TreeBroken
from tests import second_opinion
from tests.book import TENANT, Book, unchecked_clone
from tests.sealing import KEYS, NO_KEYS, ORIGIN, seal_all, sealing

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

    from tests.conftest import PostgresServer

(KEY,) = KEYS.signing(TENANT)
OWNER = UUID(int=7)
CURSORS = Cursors(b"s" * 32)


def actor(tenant_id: str = TENANT, owner_id: UUID | None = None) -> Actor:
    return Actor(tenant_id, "key:1", frozenset({"ledger:read"}), owner_id=owner_id, key_id="1")


@pytest.fixture
def db(database: str) -> Iterator[Database]:
    opened = Database(database, DbSettings(pool_size=1))
    yield opened
    opened.close()


@pytest.fixture
def proofs(db: Database) -> Proofs:
    return Proofs(db, CURSORS, KEYS)


@pytest.fixture
def book(database_owner: str) -> Iterator[Book]:
    with Book(database_owner) as made:
        made.open("bank", side=-1)
        made.open("users:a", owner_id=OWNER)
        made.open("users:b", owner_id=UUID(int=8))
        yield made


def fill(book: Book, db: Database, *counts: int) -> list[UUID]:
    """Post so many transactions, seal, post more, seal ..., one checkpoint each."""
    ids = []
    for count in counts:
        ids += [book.post(("bank", "users:a", n + 1), at=datetime.now(UTC)) for n in range(count)]
        seal_all(sealing(db))
    return ids


def raw(texts: list[str]) -> list[bytes]:
    return [base64.b64decode(text) for text in texts]


def opened(note: str) -> tuple[int, bytes]:
    """Return size and root of a checkpoint that the key has signed."""
    origin, size, root = second_opinion.opened_note(note, str(KEY))
    assert origin == f"{ORIGIN}/{TENANT}"
    return int(size), base64.b64decode(root)


def holds(proof: dict[str, Any]) -> bool:
    """Tell what the second implementation says of a proof of inclusion."""
    size, root = opened(proof["checkpoint"])
    leaf = second_opinion.leaf_bytes(proof["leaf"])
    path = raw(proof["hashes"])
    return second_opinion.root_of_path(proof["index"], size, leaf, path) == root


# --- Inclusion ----------------------------------------------------------------------------------


def test_every_transaction_can_be_proved(book: Book, db: Database, proofs: Proofs) -> None:
    """LM2, LM5: in the newest checkpoint, and in any that is not older than it."""
    ids = fill(book, db, 3, 4)
    for index, tx_id in enumerate(ids):
        proof = proofs.proof(actor(), tx_id)
        assert (proof["index"], proof["tree_size"]) == (index, 7)
        assert proof["leaf"]["id"] == str(tx_id)
        assert holds(proof)
    first = proofs.proof(actor(), ids[0], 3)
    assert first["tree_size"] == 3
    assert holds(first)


def test_a_leaf_says_what_was_posted(book: Book, db: Database, proofs: Proofs) -> None:
    """LM1: accounts by code; its text is all that a checker needs."""
    (tx_id,) = fill(book, db, 1)
    leaf = proofs.proof(actor(), tx_id)["leaf"]
    assert leaf["legs"] == [["bank", "users:a", "EUR", 1]]
    assert (leaf["v"], leaf["tenant"], leaf["kind"], leaf["actor"]) == (
        1, TENANT, "post", "key:test",
    )  # fmt: skip


def test_what_is_not_sealed_cannot_be_proved_yet(book: Book, db: Database, proofs: Proofs) -> None:
    """Section 9: 409 not_sealed, to be asked again; a tree that never held it is not found."""
    tx_id = book.post(("bank", "users:a", 1), at=datetime.now(UTC))
    with pytest.raises(NotSealed):
        proofs.proof(actor(), tx_id)
    seal_all(sealing(db, NO_KEYS))
    with pytest.raises(NotSealed):
        proofs.proof(actor(), tx_id)
    seal_all(sealing(db))
    (later,) = fill(book, db, 1)
    with pytest.raises(NotFound):
        proofs.proof(actor(), later, 1)
    assert holds(proofs.proof(actor(), later))


def test_who_may_ask_for_a_transaction(book: Book, db: Database, proofs: Proofs) -> None:
    """LA6: the tenant's keys, and whose account it touches."""
    (tx_id,) = fill(book, db, 1)
    assert holds(proofs.proof(actor(owner_id=OWNER), tx_id))
    others = [actor(owner_id=UUID(int=8)), actor("other"), actor(owner_id=UUID(int=9))]
    for other in others:
        with pytest.raises(NotFound):
            proofs.proof(other, tx_id)
        with pytest.raises(NotFound):
            proofs.receipt(other, tx_id)
    with pytest.raises(NotFound):
        proofs.proof(actor(), uuid4())


# --- Checkpoints --------------------------------------------------------------------------------


def test_a_checkpoint_is_a_signed_note(book: Book, db: Database, proofs: Proofs) -> None:
    """LM5: the newest, or the one of a size."""
    with pytest.raises(NotSealed):
        proofs.checkpoint(TENANT)
    fill(book, db, 2, 3)
    assert opened(proofs.checkpoint(TENANT))[0] == 5
    assert opened(proofs.checkpoint(TENANT, 2))[0] == 2
    for size in (1, 3, 6):
        with pytest.raises(NotFound):
            proofs.checkpoint(TENANT, size)
    with pytest.raises(NotFound):
        proofs.checkpoint("other", 2)


def test_checkpoints_are_listed_by_pages(book: Book, db: Database, proofs: Proofs) -> None:
    """LQ1: newest first, by keyset."""
    fill(book, db, 1, 1, 1)
    page = proofs.checkpoints(TENANT, 2, None)
    assert [each["tree_size"] for each in page["data"]] == [3, 2]
    assert opened(page["data"][0]["checkpoint"]) == (3, base64.b64decode(page["data"][0]["root"]))
    rest = proofs.checkpoints(TENANT, 2, page["next_cursor"])
    assert [each["tree_size"] for each in rest["data"]] == [1]
    assert rest["next_cursor"] is None
    with pytest.raises(CursorInvalid):
        proofs.checkpoints("other", 2, page["next_cursor"])


def test_a_later_tree_begins_as_the_earlier_one(book: Book, db: Database, proofs: Proofs) -> None:
    """LM4: proved between any two checkpoints."""
    fill(book, db, 2, 3, 4)
    for first, second in ((2, 5), (2, 9), (5, 9), (9, 9)):
        found = proofs.consistency(TENANT, first, second)
        assert (found["from_size"], found["to_size"]) == (first, second)
        assert [opened(note)[0] for note in found["checkpoints"]] == [first, second]
        rows = book.run("SELECT ledger_leaf(t, '') FROM ledger_transactions AS t")
        assert len(rows) == 9
    assert proofs.consistency(TENANT, 2, None)["to_size"] == 9
    for first, second in ((5, 2), (1, 9), (2, 8)):
        with pytest.raises(NotFound):
            proofs.consistency(TENANT, first, second)


def test_keys_are_shown_with_their_time(book: Book, db: Database, proofs: Proofs) -> None:
    """Section 9: in the form that signed notes have, under both names."""
    assert proofs.keys(TENANT) == []
    (tx_id,) = fill(book, db, 1)
    (key,) = proofs.keys(TENANT)
    assert key["checkpoint_key"] == str(KEY)
    assert key["valid_until"] is None
    assert second_opinion.opened_note(proofs.receipt(actor(), tx_id), key["receipt_key"])


# --- Receipts -----------------------------------------------------------------------------------


def test_a_receipt_binds_before_the_seal(book: Book, db: Database, proofs: Proofs) -> None:
    """LM7: the same hash that is sealed later."""
    tx_id = book.post(("bank", "users:a", 1), at=datetime.now(UTC))
    receipt = proofs.receipt(actor(), tx_id)
    seal_all(sealing(db))
    proof = proofs.proof(actor(), tx_id)

    name = f"{ORIGIN}/{TENANT}/receipt"
    (signed_by,) = [line.split()[1] for line in receipt.splitlines() if line.startswith("\u2014")]
    assert signed_by == name
    lines = receipt.partition("\n\n")[0].splitlines()
    assert lines == [
        f"{ORIGIN}/{TENANT}", str(tx_id), proof["leaf_hash"], proof["leaf"]["posted_at"],
    ]  # fmt: skip
    assert proofs.receipt(actor(), tx_id) == receipt


def test_receipts_need_a_key(book: Book, db: Database) -> None:
    """Section 14."""
    tx_id = book.post(("bank", "users:a", 1))
    with pytest.raises(FeatureDisabled):
        Proofs(db, CURSORS, NO_KEYS).receipt(actor(), tx_id)


# --- What was tampered with ---------------------------------------------------------------------


@pytest.fixture
def scratch(admin: psycopg.Connection[Any], template: str) -> Iterator[str]:
    with unchecked_clone(admin, template) as name:
        yield name


def test_no_proof_is_given_that_does_not_hold(postgres: PostgresServer, scratch: str) -> None:
    """LM10: a changed transaction has none, and a forged checkpoint gives none."""
    from persistence.embedded_postgres import APP_ROLE, OWNER_ROLE  # noqa: PLC0415

    db = Database(postgres.url(scratch, APP_ROLE), DbSettings(pool_size=1))
    with Book(postgres.url(scratch, OWNER_ROLE)) as book:
        book.open("bank", side=-1)
        book.open("users:a")
        ids = fill(book, db, 2, 2)
        proofs = Proofs(db, CURSORS, KEYS)
        book.run("UPDATE ledger_transactions SET amounts = '{77}' WHERE id = %s", ids[0])
        with pytest.raises(TreeBroken):
            proofs.proof(actor(), ids[0])
        book.run("UPDATE ledger_seals SET root = '\\x00' WHERE tree_size = 4")
        with pytest.raises(TreeBroken):
            proofs.consistency(TENANT, 2, 4)
    db.close()
