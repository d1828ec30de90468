"""The job `ledger-seal`: all books, each second; and once, by hand (LM3, LM4)."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import psycopg
import pytest

from persistence.db import Database, DbSettings
from services.jobs import Ask, Finding, Run
from services.seal_job import SealJob
from tests.book import TENANT, Book
from tests.sealing import sealing

if TYPE_CHECKING:
    from collections.abc import Iterator


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
        for amount in range(1, 8):
            made.post(("bank", "users:a", amount))
        yield made


def run(job: SealJob, **ask: object) -> list[int]:
    """Do one run of the job."""
    asked = Ask(**ask)  # type: ignore[arg-type]
    return list(job.work(Run(ask=asked, stop=threading.Event(), batch_max=3)))


def until_sealed(job: SealJob, book: Book, **ask: object) -> list[int]:
    done: list[int] = []
    while book.run("SELECT 1 FROM ledger_transactions AS t WHERE NOT EXISTS"
                   " (SELECT FROM ledger_leaves AS s WHERE s.tx_id = t.id)"):  # fmt: skip
        done += run(job, **ask)
    return done


def test_all_books_are_sealed_in_batches(book: Book, db: Database) -> None:
    """LM3: a batch a yield; a full one is followed by the next at once."""
    done = until_sealed(SealJob(db, sealing(db)), book)
    assert sum(done) == 7
    assert max(done) == 3
    tenants = book.run("SELECT tenant_id, tree_size FROM ledger_seal_state ORDER BY tenant_id")
    assert (TENANT, 7) in tenants
    assert ("default", 0) in tenants


def test_one_tenant_is_sealed_alone(book: Book, db: Database) -> None:
    """OJ1: --tenant."""
    until_sealed(SealJob(db, sealing(db)), book, tenant_id=TENANT)
    assert book.run("SELECT tenant_id FROM ledger_seal_state") == [(TENANT,)]


def test_a_dry_run_only_counts(book: Book, db: Database) -> None:
    """OJ1."""
    assert run(SealJob(db, sealing(db)), tenant_id=TENANT, dry_run=True) == [7]
    assert book.run("SELECT 1 FROM ledger_seal_state") == []


def test_a_tree_that_was_stopped_is_a_finding_once(book: Book, db: Database) -> None:
    """LM4: the alarm; after it the job goes on for the others."""
    job = SealJob(db, sealing(db))
    until_sealed(job, book)
    book.run("UPDATE ledger_seals SET note = 'x'")
    book.post(("bank", "users:a", 9), at=book.run("SELECT clock_timestamp()")[0][0])
    found: list[str] = []
    for _ in range(1000):
        try:
            run(job)
        except Finding as finding:
            found.append(str(finding))
        if found and book.run("SELECT 1 FROM ledger_seal_state WHERE tree_size = 8"):
            break
    reason = "the last checkpoint is unreadable: not a text, an empty line and signatures"
    assert found == [f"{TENANT}: {reason}"]


def test_once_waits_for_what_runs(book: Book, db: Database, database_owner: str) -> None:
    """LT4: at most so long; then it says that it has not finished."""
    job = SealJob(db, sealing(db))
    stop = threading.Event()
    with psycopg.connect(database_owner) as slow:
        slow.execute("SELECT pg_current_xact_id()")
        done = job.once(TENANT, 3, 0.2, stop)
        assert (done.is_done, done.leaves) == (False, 0)
    done = job.once(TENANT, 3, 60, stop)
    assert (done.is_done, done.leaves, done.state.signed_size) == (True, 7, 7)


def test_once_ends_when_it_is_told_to(book: Book, db: Database, database_owner: str) -> None:
    """OJ4: a signal."""
    stop = threading.Event()
    stop.set()
    with psycopg.connect(database_owner) as slow:
        slow.execute("SELECT pg_current_xact_id()")
        assert not SealJob(db, sealing(db)).once(TENANT, 3, 60, stop).is_done
