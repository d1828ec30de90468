"""The book against a model of it that does one thing at a time: any order of commands (LI1 to LI6).

LEDGER_STEPS makes it longer. The examples are hypothesis' own: a failure prints the shortest one.
"""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule
from hypothesis.stateful import run_state_machine_as_test as run
from uuid_utils.compat import uuid7

from errors import BatchRejected, Contention, DuplicateReference, LimitBelowBalance
from services.replay import Replay, ReplayAsk, RunBy
from tests.ledger_model import Account, Model
from tests.teller import TENANT, Expected, Teller, posting

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from services.posting_requests import Posting
    from tests.world import World

EXAMPLES = int(os.environ.get("LEDGER_EXAMPLES", "8"))
STEPS = int(os.environ.get("LEDGER_STEPS", "25"))
BALANCE = ("posted_minor", "available_minor", "reachable_minor", "version")
NAMES = ("bank", "a", "b", "c")
AMOUNTS = st.sampled_from([1, 3, 10, 40, 100, 400])
LEGS = st.lists(
    st.tuples(st.sampled_from(NAMES), st.sampled_from([*NAMES * 5, "nobody"]), AMOUNTS),
    min_size=1,
    max_size=3,
)
# Of the accounts whose codes begin so: conservation, components, limits, holds.
SUMS = """
SELECT jsonb_build_object(
    'posted is conserved', sum(b.debits_posted) = sum(b.credits_posted),
    'pending is conserved', sum(b.debits_pending) = sum(b.credits_pending),
    'no counter is negative', min(least(
        b.debits_posted, b.credits_posted, b.debits_pending, b.credits_pending)) >= 0,
    'no floor is passed', bool_and(coalesce(ledger_available(b) >= b.floor, true)),
    'no ceiling is passed', bool_and(coalesce(ledger_reachable(b) <= b.ceiling, true)),
    'pending is what open holds keep', bool_and(
        (b.debits_pending, b.credits_pending) = (h.debits, h.credits)),
    'counters are sums of entries', bool_and(
        (b.debits_posted, b.credits_posted, b.version) = (e.debits, e.credits, e.count))
)
FROM ledger_accounts AS a
JOIN ledger_balances AS b USING (tenant_id, account_id)
CROSS JOIN LATERAL (
    SELECT
        coalesce(sum(x.remaining) FILTER (WHERE x.debit_account = a.account_id), 0) AS debits,
        coalesce(sum(x.remaining) FILTER (WHERE x.credit_account = a.account_id), 0) AS credits
    FROM ledger_holds AS x
) AS h
CROSS JOIN LATERAL (
    SELECT
        coalesce(sum(x.posted) FILTER (WHERE x.side = -1), 0) AS debits,
        coalesce(sum(x.posted) FILTER (WHERE x.side = 1), 0) AS credits, count(*) AS count
    FROM ledger_entries AS x
    WHERE x.account_id = a.account_id
) AS e
WHERE starts_with(a.code, %s)
"""
LIMITS = st.sampled_from([None, -50, 0, 20, 500])
MORE = st.fixed_dictionaries(
    {},
    optional={
        "reference": st.sampled_from(["r1", "r2", "r3", "r4"]),
        "expect": st.tuples(st.sampled_from(NAMES), st.integers(0, 6)).map(lambda e: [e]),
    },
)


class Book(RuleBasedStateMachine):
    """A book of its own per example: its accounts and references carry its number."""

    teller: Teller
    number = 0
    ids: Bundle[Posting] = Bundle("ids")
    holds: Bundle[Posting] = Bundle("holds")

    @initialize()
    def open(self) -> None:
        """A bank without a floor, and three customers."""
        type(self).number += 1
        self.model = Model()
        for name in NAMES:
            is_bank = name == "bank"
            floor = None if is_bank else 0
            self.teller.open(self._code(name), "debit" if is_bank else "credit", floor=floor)
            self.model.accounts[self._code(name)] = Account(-1 if is_bank else 1, floor)

    def _code(self, name: str) -> str:
        return f"book{self.number}:{name}"

    def _posting(self, legs: Any, more: dict[str, Any], **given: Any) -> Posting:
        named = [(self._code(debit), self._code(credit), amount) for debit, credit, amount in legs]
        more = {**more, **given}
        if "reference" in more:
            more["reference"] = f"{self.number}:{more['reference']}"
        if "expect" in more:
            more["expect"] = [Expected(self._code(name), n) for name, n in more["expect"]]
        return posting(*named, **more)

    def _both(self, asked: Posting) -> Posting:
        expected = self.model.outcome(asked)
        assert self.teller.outcome(asked) == expected
        return asked

    # --- Commands -------------------------------------------------------------------------------

    @rule(target=ids, legs=LEGS, more=MORE)
    def post(self, legs: Any, more: dict[str, Any]) -> Posting:
        """Post one to three legs."""
        return self._both(self._posting(legs, more))

    @rule(
        target=ids,
        leg=st.tuples(
            st.just("bank"), st.sampled_from("abc"), st.sampled_from([500, 500, 500, 10**15 - 1])
        ),
    )
    def bring(self, leg: Any) -> Posting:
        """Let money in, so that there is something to spend."""
        return self._both(self._posting([leg], {}))

    @rule(
        targets=(ids, holds),
        debit=st.sampled_from(("bank", *NAMES)),
        credit=st.sampled_from(NAMES),
        amount=AMOUNTS,
    )
    def hold(self, debit: str, credit: str, amount: int) -> Posting:
        """Place a hold."""
        more = {"kind": "hold", "expires_in_s": 3600}
        return self._both(self._posting([(debit, credit, amount)], more))

    @rule(target=ids, of=holds | ids, amount=st.none() | AMOUNTS, final=st.none() | st.booleans())
    def capture(self, of: Posting, amount: int | None, final: bool | None) -> Posting:
        """Capture a hold, or what is none."""
        given: dict[str, Any] = {"amount_minor": amount, "final": final}
        more = {name: value for name, value in given.items() if value is not None}
        return self._both(self._posting([], more, kind="capture", hold_id=of.id))

    @rule(target=ids, of=holds)
    def void(self, of: Posting) -> Posting:
        """Void a hold, or what is none."""
        return self._both(self._posting([], {}, kind="void", hold_id=of.id))

    @rule(target=ids, of=ids)
    def reverse(self, of: Posting) -> Posting:
        """Reverse whatever there is."""
        return self._both(self._posting([], {}, kind="reverse", reverses=of.id))

    @rule(again=ids)
    def repeat(self, again: Posting) -> None:
        """Send something again."""
        self._both(again)

    @rule(again=ids, legs=LEGS)
    def reuse(self, again: Posting, legs: Any) -> None:
        """Send something else under an id."""
        self._both(self._posting(legs, {}, id=again.id))

    @rule(
        batch=st.lists(
            st.tuples(LEGS, MORE, st.sampled_from([None, None, "x", "y"])), min_size=1, max_size=7
        ),
        again=ids,
        is_whole=st.sampled_from([False, False, True]),
    )
    def post_batch(self, batch: Any, again: Posting, is_whole: bool) -> None:
        """Post several, in groups, with an id in them that may be known."""
        asked = [self._posting(legs, more, group=group) for legs, more, group in batch]
        if again.kind == "post":
            asked.insert(len(asked) // 2, again)
        expected = self.model.batch(asked, is_whole=is_whole)
        if is_whole and set(expected) - {"created", "existing"}:
            with pytest.raises(BatchRejected) as raised:
                self.teller.batch(asked, is_whole=True)
            assert raised.value.errors[0]["code"] in expected
        else:
            assert self.teller.batch(asked, is_whole=is_whole) == expected

    @rule(name=st.sampled_from(NAMES), status=st.sampled_from(["open", "open", "frozen"]))
    def freeze(self, name: str, status: str) -> None:
        """Freeze an account, or open it again."""
        self.teller.change(self._code(name), status=status)
        self.model.accounts[self._code(name)].status = status

    @rule(name=st.sampled_from(NAMES), floor=LIMITS, ceiling=LIMITS)
    def limit(self, name: str, floor: int | None, ceiling: int | None) -> None:
        """Set limits, unless the balance breaks them."""
        account = self.model.accounts[self._code(name)]
        breaks = (floor is not None and floor != account.floor and account.available < floor) or (
            ceiling is not None and ceiling != account.ceiling and account.reachable > ceiling
        )
        change = partial(
            self.teller.change, self._code(name), floor_minor=floor, ceiling_minor=ceiling
        )
        if breaks:
            with pytest.raises(LimitBelowBalance):
                change()
        else:
            change()
            account.floor, account.ceiling = floor, ceiling

    # --- What always holds ----------------------------------------------------------------------

    @invariant()
    def balances_agree(self) -> None:
        """Every balance is that of the model, to the version."""
        for code, account in getattr(self, "model", Model()).accounts.items():
            found = self.teller.balance(code)
            assert [found[name] for name in BALANCE] == [
                account.posted, account.available, account.reachable, account.version,
            ]  # fmt: skip

    @invariant()
    def sums_are_right(self) -> None:
        """Blnk's list, by the stored rows alone: what was refused or done has left a right book."""
        if self.number and hasattr(self, "model"):
            ((found,),) = self.teller.world.rows(SUMS, self._code(""))
            assert all(found.values()), found


def test_the_book_answers_as_the_model(world: World) -> None:
    """LI1 to LI6, LP6 to LP10, LH1 to LH6: any commands in any order, groups and faults among them.

    Afterwards a replay from the first row finds nothing, as do the queries of sql/checks (AT3).
    """
    Book.teller = Teller(world)
    run(
        Book,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    by = RunBy(actor="cli:test", host="test", app_version="0")
    report = Replay(world.services.db).run(ReplayAsk(tenant_id=TENANT), by)
    assert report.tenants[0].verdict == "clean"
    assert report.tenants[0].transactions > 0


# --- What is sent again -------------------------------------------------------------------------


def test_what_was_taken_meanwhile_is_looked_at_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """LP12: an index was faster than the look; after some tries it is 503 contention."""
    teller = Teller(world)
    teller.open("bank", "debit")
    teller.open("a")
    writes = world.services.postings._writes
    calls = _failing(writes, monkeypatch, times=2)

    assert teller.post(("bank", "a", 1), ("bank", "a", 2)) == "created"
    assert calls() == 3

    _failing(writes, monkeypatch, times=99)
    with pytest.raises(Contention) as raised:
        teller.send(posting(("bank", "a", 1), ("bank", "a", 2)))
    assert raised.value.headers["Retry-After"] == "1"


def _failing(writes: Any, monkeypatch: pytest.MonkeyPatch, times: int) -> Callable[[], int]:
    """Let the first so many calls meet a reference that another one has just taken."""
    from repos import postings  # noqa: PLC0415

    count = 0
    record = (
        postings.record.__wrapped__ if hasattr(postings.record, "__wrapped__") else postings.record
    )

    def sometimes(*args: Any, **given: Any) -> Any:
        nonlocal count
        count += 1
        if count <= times:
            raise DuplicateReference
        return record(*args, **given)

    sometimes.__wrapped__ = record  # type: ignore[attr-defined]
    monkeypatch.setattr(postings, "record", sometimes)
    return lambda: count


def test_ids_are_of_version_7(world: World) -> None:
    """Decision 12: they grow, so that indexes do."""
    made: UUID = world.services.postings._writes.new_id()
    assert (made.version, made < uuid7()) == (7, True)
