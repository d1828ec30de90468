"""Writers that want the same accounts at once: nothing waits in a circle, every sum is exact.

LEDGER_RACE_S says for how many seconds the long ones run: 60 shows it well, the ordinary suite has
less time. RACE_SEED repeats what they draw, RACE_ROUNDS sets the rounds of the short ones.
"""

from __future__ import annotations

import os
import random
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from uuid_utils.compat import uuid7

from services.holds import expire_holds
from services.jobs import Ask, Run
from services.ledger_writes import LedgerWrites
from services.posting_requests import json_text
from services.replay import Replay, ReplayAsk, RunBy
from tests.sealing import BATCH, sealing
from tests.teller import ACTOR, TENANT, Teller, at_once, posting
from tests.world import World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime
    from uuid import UUID

    from services.posting_requests import Posting

SECONDS = float(os.environ.get("LEDGER_RACE_S", "3"))
ROUNDS = int(os.environ.get("RACE_ROUNDS", "6"))
SEED = int(os.environ.get("RACE_SEED", str(random.randrange(10**6))))
WRITERS = 16
ACCOUNTS = ("bank", "a", "b", "c", "d")
CHECKS = sorted((Path(__file__).parents[2] / "sql/checks").glob("ledger_*.sql"))


@pytest.fixture
def teller(database: str, tmp_path: Path) -> Iterator[Teller]:
    """A bank without a floor, and four customers with 1,000 each."""
    sys.stderr.write(f"RACE_SEED={SEED}\n")
    world = World(database, tmp_path, DB_POOL_SIZE="20")
    world.be_patient()  # A busy machine may hold a lock for long: no test fails on a time.
    made = Teller(world)
    made.open("bank", "debit")
    for code in ACCOUNTS[1:]:
        made.open(code, floor=0)
        assert made.post(("bank", code, 1000)) == "created"
    yield made
    world.close()


def assert_clean(teller: Teller, admin_url: str) -> None:
    """No deadlock has been met, and a replay from the first row finds nothing."""
    by = RunBy(actor="cli:test", host="test", app_version="0")
    report = Replay(teller.services.db).run(ReplayAsk(tenant_id=TENANT), by)
    assert report.tenants[0].verdict == "clean"
    teller.services.db.close()  # Whoever leaves tells what he has met.
    with psycopg.connect(admin_url, autocommit=True) as conn:
        while conn.execute(
            "SELECT FROM pg_stat_activity WHERE datname = current_database()"
            " AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
        ).fetchone():
            time.sleep(0.001)
        found = conn.execute(
            "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
        ).fetchone()
    assert found == (0,)


# --- Crossing writers ---------------------------------------------------------------------------


@dataclass
class Writer:
    """Somebody who posts whatever comes to mind, in any order of accounts and ids."""

    teller: Teller
    number: int
    until: float
    codes: Sequence[str] = ACCOUNTS
    told: Counter[str] = field(default_factory=Counter)
    sent: list[UUID] = field(default_factory=list)
    held: list[UUID] = field(default_factory=list)

    def work(self) -> Counter[str]:
        """Post until the time is over; return how often each outcome was told."""
        self.rng = random.Random(SEED * 100 + self.number)
        acts = (self.transfer, self.transfer, self.legs, self.batch, self.hold, self.end, self.undo)
        while time.monotonic() < self.until:
            self.rng.choice(acts)()
        return self.told

    def some(self, count: int, **more: Any) -> Posting:
        """Return a posting of so many legs between any accounts."""
        legs = [
            (*self.rng.sample(self.codes, 2), self.rng.choice([1, 7, 60])) for _ in range(count)
        ]
        return posting(*legs, **more)  # type: ignore[arg-type]

    def tell(self, asked: Posting) -> None:
        outcome = self.teller.outcome(asked)
        self.told[outcome] += 1
        if outcome == "created" and asked.id:
            (self.held if asked.kind == "hold" else self.sent).append(asked.id)

    def transfer(self) -> None:
        self.tell(self.some(1))

    def legs(self) -> None:
        self.tell(self.some(self.rng.randint(2, 4)))

    def batch(self) -> None:
        asked = [
            self.some(self.rng.randint(1, 2), group=self.rng.choice([None, "x"])) for _ in range(12)
        ]
        self.rng.shuffle(asked)  # Ids cross those of other batches.
        self.told.update(self.teller.batch(asked))

    def hold(self) -> None:
        self.tell(self.some(1, kind="hold", expires_in_s=3600))

    def end(self) -> None:
        if self.held:
            kind = self.rng.choice(["capture", "void"])
            self.tell(posting(kind=kind, hold_id=self.held.pop()))

    def undo(self) -> None:
        if self.sent:
            self.tell(posting(kind="reverse", reverses=self.sent.pop()))


EXPECTED = {"created", "insufficient_funds", "group_failed", "not_reversible"}


def slowly(teller: Teller, url: str, until: float, codes: Sequence[str]) -> Counter[str]:
    """Post in transactions that stay open for a while after they have locked and written."""
    rng = random.Random(SEED)
    told: Counter[str] = Counter()
    writes = teller.services.postings._writes
    with psycopg.connect(url) as conn:
        while time.monotonic() < until:
            debit, credit = rng.sample(codes, 2)
            asked = posting((debit, credit, 1), (credit, debit, 1))
            request = json_text(writes.request([(asked, uuid7())], "key:slow", "slow"))
            found = conn.execute("SELECT outcome FROM ledger_post(%s, %s)", [TENANT, request])
            told.update(outcome for (outcome,) in found)
            conn.execute("SELECT pg_sleep(%s)", [rng.random() / 20])
            conn.commit()
    return told


class Witness:
    """Somebody who looks at the book while it is written: every snapshot must be right."""

    def __init__(self, teller: Teller, admin_url: str) -> None:
        self.teller = teller
        self.admin_url = admin_url
        self.seals = sealing(teller.services.db)
        self.final: dict[tuple[str, datetime], Any] = {}
        self.looks = 0

    def watch(self, done: Event) -> None:
        """Look until told to stop."""
        with psycopg.connect(self.admin_url, autocommit=True) as conn:
            while not done.is_set():
                self.look(conn)

    def look(self, conn: psycopg.Connection[Any]) -> None:
        """Ask every invariant (LI1 to LI5), and note what has become final."""
        for path in CHECKS:
            assert conn.execute(path.read_bytes()).fetchall() == [], path.name
        self.seals.seal(TENANT, BATCH, at_once=True)
        moment = self.seals.state(TENANT).sealed_through
        if moment is not None:
            self.final |= {(code, moment): self.past(code, moment) for code in ACCOUNTS}
        self.looks += 1

    def past(self, code: str, moment: datetime) -> Any:
        """Return what was posted at a moment that the watermark has passed."""
        found = self.teller.services.ledger.balance(ACTOR, code, "EUR", moment)
        assert found["final"], (code, moment)
        return found["posted_minor"], found["version"]


def test_crossing_writers_meet_no_deadlock_and_leave_an_exact_book(
    teller: Teller, database: str, database_admin: str
) -> None:
    """LP2, LI1 to LI5, LT4, LT5: transfers, batches, holds, reversals, slow transactions.

    16 writers on 5 accounts: no error, no deadlock, every snapshot right, no final answer changes.
    """
    until = time.monotonic() + SECONDS
    writers = [Writer(teller, number, until).work for number in range(WRITERS - 2)]
    slow = [partial(slowly, teller, database, until, ACCOUNTS)] * 2
    witness, done = Witness(teller, database_admin), Event()
    with ThreadPoolExecutor(1) as pool:
        watching = pool.submit(witness.watch, done)
        told = sum(at_once([*writers, *slow]), Counter[str]())
        done.set()
        watching.result()

    sys.stderr.write(f"{told} {witness.looks} looks\n")
    assert set(told) <= EXPECTED, told
    assert told["created"] > WRITERS
    assert sum(teller.balances(*ACCOUNTS[1:])) == teller.balances("bank")[0]
    assert {place: witness.past(*place) for place in witness.final} == witness.final
    assert_clean(teller, database_admin)


def test_hot_accounts_are_exact_at_every_moment_and_grow_online(
    teller: Teller, database: str, database_admin: str
) -> None:
    """LS1 to LS5: stripes with floors, more of them while writers work; no snapshot is wrong."""
    codes = ("bank", "hot", "warm")
    teller.open("hot", floor=0, stripes=4)
    teller.open("warm", floor=-100, stripes=2)
    assert teller.post(("bank", "hot", 500)) == "created"
    until = time.monotonic() + SECONDS
    writers = [Writer(teller, number, until, codes).work for number in range(WRITERS - 3)]
    slow = partial(slowly, teller, database, until, codes)
    witness, done = Witness(teller, database_admin), Event()
    with ThreadPoolExecutor(2) as pool:
        watching = pool.submit(witness.watch, done)
        growing = pool.submit(grow, teller, until)
        told = sum(at_once([*writers, slow]), Counter[str]())
        assert growing.result() == 16
        done.set()
        watching.result()

    sys.stderr.write(f"{told} {witness.looks} looks\n")
    assert set(told) <= EXPECTED, told
    assert told["created"] > WRITERS
    assert teller.balance("hot")["available_minor"] >= 0
    assert teller.balance("warm")["available_minor"] >= -100
    assert_clean(teller, database_admin)


def grow(teller: Teller, until: float) -> int:
    """Give the hot account more rows, little by little; return how many it has in the end."""
    stripes = 4
    while stripes < 16:
        stripes += 3
        teller.change("hot", stripes=stripes)
        time.sleep(max(0, until - time.monotonic()) / 4)
    return stripes


# --- The same thing at once ---------------------------------------------------------------------


def test_one_id_from_many_threads_is_posted_once(teller: Teller) -> None:
    """LI6, LP7: one is created, the others are told so; with another request all conflict."""
    for legs in ([("a", "b", 1)], [("a", "b", 1), ("b", "c", 1)]) * ROUNDS:
        asked = posting(*legs)
        other = posting(("a", "b", 2), id=asked.id)
        told = Counter(at_once([partial(teller.outcome, asked)] * 18))
        assert told == {"created": 1, "existing": 17}
        assert Counter(at_once([partial(teller.outcome, other)] * 4)) == {
            "transaction_id_reused": 4
        }
    assert teller.balances("a") == [1000 - 2 * ROUNDS]


def test_two_requests_under_one_id_have_one_winner(teller: Teller) -> None:
    """LI6: whichever came first is stored, the other conflicts."""
    for _ in range(ROUNDS):
        tx_id = uuid7()
        asked = [posting(("a", "b", amount), id=tx_id) for amount in (1, 2, 3, 4)]
        told = at_once([partial(teller.outcome, each) for each in asked])
        assert Counter(told) == {"created": 1, "transaction_id_reused": 3}


def test_a_reference_is_taken_once(teller: Teller) -> None:
    """LI6, LP12: in transfers, several legs and batches; others are told by its code."""
    for number in range(ROUNDS):
        one = [("a", "b", 1)]
        asked = [posting(*legs, reference=f"r{number}") for legs in (one, one * 2) * 3]
        calls: list[Any] = [partial(teller.outcome, each) for each in asked]
        calls += [
            lambda number=number: teller.batch([posting(("a", "b", 1), reference=f"r{number}")])[0]
        ] * 3
        assert Counter(at_once(calls)) == {"created": 1, "duplicate_reference": 8}


@pytest.mark.parametrize(
    "kinds", [("capture",), ("capture", "void"), ("capture", "void", "expire")]
)
def test_a_hold_is_resolved_by_one(
    teller: Teller, kinds: tuple[str, ...], database_owner: str
) -> None:
    """LH3, LI6: captures, voids and the job that expires, all at once."""
    for _ in range(ROUNDS):
        hold_id = teller.hold("a", "b", 10)
        calls: list[Callable[[], Any]] = []
        for kind in kinds:
            if kind == "expire":
                teller.overdue(hold_id, database_owner)
                calls += [partial(expired, teller)] * 2
            else:
                calls += [partial(getattr(teller, kind), hold_id)] * (12 // len(kinds))
        told = Counter(at_once(calls))
        assert told["created"] + told["expired"] == 1
        assert set(told) <= {"created", "expired", "hold_resolved", "hold_expired", "nothing"}
        resolved = teller.world.rows(
            "SELECT count(*) FROM ledger_transactions WHERE hold_id = %s AND final"
            " AND status = 'applied' AND kind IN ('capture', 'void', 'expire')", hold_id,
        )  # fmt: skip
        assert resolved == [(1,)]
    assert teller.balance("a")["available_minor"] == teller.balances("a")[0]


def expired(teller: Teller) -> str:
    """Let the job run; it says whether it has ended a hold."""
    db = teller.services.db
    ended = sum(expire_holds(db, LedgerWrites(db), Run(ask=Ask(), stop=Event(), batch_max=10)))
    return "expired" if ended else "nothing"


def test_captures_together_never_take_more_than_is_held(teller: Teller) -> None:
    """LH2: 8 pieces of 30 out of 100: three are taken, ten remain."""
    for _ in range(ROUNDS):
        hold_id = teller.hold("a", "b", 100)
        told = at_once([partial(teller.capture, hold_id, 30, final=False)] * 8)
        assert Counter(told) == {"created": 3, "capture_exceeds_hold": 5}
        assert teller.capture(hold_id, 10) == "created"
        teller.post(("b", "a", 100))


def test_a_transaction_is_reversed_by_one(teller: Teller) -> None:
    """LH6, LI6."""
    for _ in range(ROUNDS):
        asked = posting(("a", "b", 10), ("a", "c", 10))
        teller.send(asked)
        assert asked.id
        told = at_once([partial(teller.reverse, asked.id)] * 8)
        assert Counter(told) == {"created": 1, "already_reversed": 7}
    assert teller.balances("a", "b", "c") == [1000] * 3


@pytest.mark.parametrize("stripes", [1, 4])
def test_the_last_money_is_spent_once(teller: Teller, stripes: int) -> None:
    """LP3, LS3: 12 want 30 out of 100: three get it, to the cent, spread over stripes or not."""
    teller.open("purse", floor=0, stripes=stripes)
    for _ in range(ROUNDS):
        parts = [partial(teller.post, ("bank", "purse", 25))] * 4
        assert Counter(at_once(parts)) == {"created": 4}
        told = at_once([partial(teller.post, ("purse", "a", 30))] * 12)
        assert Counter(told) == {"created": 3, "insufficient_funds": 9}
        assert teller.post(("purse", "bank", 10)) == "created"


def test_opposite_batches_do_not_wait_for_each_other(teller: Teller, database_admin: str) -> None:
    """LP2: accounts in opposite orders, and somebody holds the one in the middle.

    So both kinds have gone as far as they can: a deadlock, were accounts not sorted.
    """
    legs = [("a", "b", 1), ("b", "c", 1), ("c", "d", 1)] * 5
    ids = sorted(uuid7() for _ in legs)
    there = [posting(each, id=tx_id) for each, tx_id in zip(legs, ids, strict=True)]
    back = [posting((leg[1], leg[0], 1), id=tx_id) for leg, tx_id in zip(legs, ids, strict=True)]
    calls = [partial(teller.batch, there), partial(teller.batch, back[::-1])] * 4
    with psycopg.connect(database_admin) as other:
        other.execute(
            "SELECT FROM ledger_balances WHERE account_id IN"
            " (SELECT account_id FROM ledger_accounts WHERE code = 'b') FOR UPDATE"
        )
        told = let_go(other, calls, database_admin)
    assert told == {"created": 15, "existing": 45, "transaction_id_reused": 60}
    assert_clean(teller, database_admin)


def test_opposite_ids_do_not_wait_for_each_other(
    teller: Teller, database: str, database_admin: str
) -> None:
    """LP2: ids in opposite orders on different accounts; somebody is about to take the middle one.

    A deadlock, were claims not made by id.
    """
    ids = sorted(uuid7() for _ in range(15))
    there = [posting(("a", "b", 1), id=tx_id) for tx_id in ids]
    back = [posting(("c", "d", 1), id=tx_id) for tx_id in reversed(ids)]
    calls = [partial(teller.batch, there), partial(teller.batch, back)] * 4
    teller.open("e", floor=None)
    teller.open("f", floor=None)
    writes = teller.services.postings._writes
    middle = writes.request([(posting(("e", "f", 1)), ids[7])], "key:other", "other")
    with psycopg.connect(database) as other:
        other.execute("SELECT outcome FROM ledger_post(%s, %s)", [TENANT, json_text(middle)])
        told = let_go(other, calls, database_admin)
    assert told == {"created": 15, "existing": 45, "transaction_id_reused": 60}
    assert_clean(teller, database_admin)


def let_go(
    other: psycopg.Connection[Any], calls: Sequence[Callable[[], Any]], admin_url: str
) -> Counter[str]:
    """Call all at once, let `other` go when all of them wait, and return what they were told."""
    with psycopg.connect(admin_url, autocommit=True) as onlooker, ThreadPoolExecutor(1) as pool:
        told = pool.submit(at_once, calls)
        while waiting(onlooker) < len(calls):
            assert not told.done()
        other.rollback()
        return Counter(chain.from_iterable(told.result()))


def test_accounts_are_locked_in_one_order_whatever_is_asked(
    teller: Teller, database_admin: str
) -> None:
    """LP2: all wait for the first account that somebody holds, and none has locked a later one."""
    out, back = [("bank", "c", 1), ("c", "d", 1)], [("d", "c", 1), ("c", "bank", 1)]
    held, made = teller.hold("d", "bank", 1), posting(*back)
    teller.send(made)
    assert made.id
    calls: list[Callable[[], Any]] = [
        partial(teller.post, out[0]),
        partial(teller.post, back[1]),
        partial(teller.post, *out),
        partial(teller.post, *back),
        partial(teller.batch, [posting(each) for each in out]),
        partial(teller.batch, [posting(each) for each in back]),
        partial(teller.capture, held),
        partial(teller.reverse, made.id),
    ]
    ours = "SELECT account_id FROM ledger_accounts WHERE code "
    with (
        psycopg.connect(database_admin) as other,
        psycopg.connect(database_admin, autocommit=True) as onlooker,
        ThreadPoolExecutor(1) as pool,
    ):
        other.execute(
            f"SELECT FROM ledger_balances WHERE account_id IN ({ours} = 'bank') FOR UPDATE"
        )
        told = pool.submit(at_once, calls)
        while waiting(onlooker) < len(calls):
            assert not told.done()
        free = other.execute(
            f"SELECT FROM ledger_balances WHERE account_id IN ({ours} <> 'bank')"
            " FOR UPDATE SKIP LOCKED"
        ).rowcount
        other.rollback()
        assert free == len(ACCOUNTS) - 1
        assert set(told.result()[:4]) == {"created"}


def waiting(conn: psycopg.Connection[Any]) -> int:
    """Return how many others wait for a lock."""
    found = conn.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND wait_event_type = 'Lock'"
    ).fetchone()
    return int(found[0]) if found else 0
