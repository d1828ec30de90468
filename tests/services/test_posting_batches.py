"""Batches: as if sent one after another, in groups, or all or none; written once (LP9, LP10)."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from uuid_utils.compat import uuid7

import observability
from errors import AccountNotFound, BatchRejected, BatchTooLarge, ValidationFailed
from services.ledger_writes import LedgerWrites
from services.posting_batches import BatchSettings, Faulty, PostingBatches
from services.postings import Order
from tests.teller import ACTOR, Expected, Teller, posting

if TYPE_CHECKING:
    from services.posting_requests import Posting
    from tests.world import World


@pytest.fixture
def teller(world: World) -> Teller:
    """A bank on the debit side, and three customers with a floor of 0; `a` has 1,000."""
    made = Teller(world)
    made.open("bank", "debit")
    for code in "abc":
        made.open(code, floor=0)
    assert made.post(("bank", "a", 1000)) == "created"
    return made


def test_each_is_decided_on_what_those_before_it_have_left(teller: Teller) -> None:
    """LP9: the second spends what the first brought; the third finds too little, the fourth not."""
    outcomes = teller.batch(
        [
            posting(("a", "b", 600)),
            posting(("b", "c", 500)),
            posting(("a", "c", 500)),
            posting(("a", "c", 400)),
        ]
    )

    assert outcomes == ["created", "created", "insufficient_funds", "created"]
    assert teller.balances("a", "b", "c") == [0, 100, 900]


def test_a_batch_changes_a_balance_once(teller: Teller) -> None:
    """LP10: 300 legs on one account are one row version, 300 entries and dense versions."""
    before = _row_version(teller)

    teller.batch([posting(("a", "b", 1), ("a", "c", 1)) for _ in range(150)])

    assert teller.balances("a", "b", "c") == [700, 150, 150]
    assert teller.balance("a")["version"] == 301
    assert _row_version(teller) != before
    ((writers,),) = teller.world.rows(
        "SELECT count(DISTINCT b.xmin::text) FROM ledger_balances AS b WHERE b.version > 1"
    )
    assert writers == 1


def _row_version(teller: Teller) -> Any:
    return teller.world.rows(
        "SELECT b.xmin::text FROM ledger_balances AS b JOIN ledger_accounts AS a"
        " USING (account_id) WHERE a.code = 'a'"
    )


def test_one_bad_item_fails_no_other(teller: Teller) -> None:
    """LP9, LP12: faults of every kind among good ones, each with its code."""
    used = posting(("a", "b", 1))
    teller.send(used)
    teller.open("frozen")
    teller.change("frozen", status="frozen")
    fault = ValidationFailed(errors=({"pointer": "/legs", "code": "missing", "detail": "."},))

    outcomes = teller.batch(
        [
            posting(("a", "b", 10)),
            posting(("a", "a", 1)),
            posting(("a", "nobody", 1)),
            posting(("a", "b", 10**6)),
            posting(("a", "frozen", 1)),
            posting(("a", "b", 2), id=used.id),
            used,
            posting(("a", "b", 1), reference="payment:x"),
            posting(("a", "b", 1), expect=[Expected("a", 77)]),
            Faulty(fault=fault),
            posting(("a", "b", 20)),
        ]
    )

    assert outcomes == [
        "created", "same_account", "account_not_found", "insufficient_funds", "account_frozen",
        "transaction_id_reused", "existing", "reference_reserved", "expectation_failed",
        "validation_failed", "created",
    ]  # fmt: skip
    assert teller.balances("a", "b") == [969, 31]


def test_pointers_lead_into_the_batch(teller: Teller) -> None:
    """Section 9: /transactions/17/legs/0/amount_minor."""
    asked = [posting(("a", "b", 1)), posting(("a", "b", 1), ("a", "nobody", 1))]
    order = Order(actor=ACTOR, request_id="test")

    results = teller.services.posting_batches.post(order, asked, is_whole=False)

    assert [each["index"] for each in results] == [0, 1]
    assert [each["errors"] for each in results] == [
        [],
        [
            {
                "pointer": "/transactions/1/legs/1/credit",
                "code": "account_not_found",
                "detail": AccountNotFound().detail,
            }
        ],
    ]


@pytest.mark.parametrize("same", [True, False])
def test_an_id_twice_in_a_batch_is_settled_by_the_first(teller: Teller, same: bool) -> None:
    """LP10: existing or conflict; a third one too."""
    first = posting(("a", "b", 5))
    later = first if same else posting(("a", "b", 6), id=first.id)

    outcomes = teller.batch([first, posting(("a", "c", 1)), later, later])

    assert (
        outcomes == ["created", "created"] + ["existing" if same else "transaction_id_reused"] * 2
    )
    assert teller.balances("b") == [5]


def test_an_id_that_was_not_taken_serves_the_next(teller: Teller) -> None:
    """LP9: as if one after another: the first was invalid, so the id is free."""
    tx_id = uuid7()
    wrong = posting(("a", "b", 5), id=tx_id, expect=[Expected("a", 9)])

    outcomes = teller.batch([wrong, posting(("a", "b", 7), id=tx_id), wrong])

    assert outcomes == ["expectation_failed", "created", "transaction_id_reused"]
    assert teller.balances("b") == [7]


def test_a_stored_refusal_holds_its_id_in_the_batch(teller: Teller) -> None:
    """LP7, LP9."""
    short = posting(("b", "a", 5))

    assert teller.batch([short, posting(("a", "b", 50)), short]) == [
        "insufficient_funds", "created", "insufficient_funds",
    ]  # fmt: skip
    assert teller.count(status="rejected") == 1


def test_a_reference_twice_in_a_batch_is_used_by_the_first_that_passes(teller: Teller) -> None:
    """LP9, LP12."""
    outcomes = teller.batch(
        [
            posting(("b", "a", 5), reference="r"),
            posting(("a", "b", 5), reference="r"),
            posting(("a", "b", 5), reference="r"),
            posting(("a", "b", 5), reference="s"),
        ]
    )

    assert outcomes == ["insufficient_funds", "created", "duplicate_reference", "created"]


# --- Groups, and all or none --------------------------------------------------------------------


def test_neighbours_of_a_group_stand_or_fall_together(teller: Teller) -> None:
    """LP9: the culprit has its code, the others group_failed; what stands between is its own."""
    outcomes = teller.batch(
        [
            posting(("a", "b", 100), group="x"),
            posting(("b", "c", 100), group="x"),
            posting(("a", "b", 10)),
            posting(("a", "b", 1), group="x"),
            posting(("a", "c", 10**6), group="x"),
            posting(("a", "b", 1), group="x"),
            posting(("a", "b", 20), group="y"),
        ]
    )

    assert outcomes == [
        "created", "created", "created", "group_failed", "insufficient_funds", "group_failed",
        "created",
    ]  # fmt: skip
    assert teller.balances("a", "b", "c") == [870, 30, 100]


def test_a_failed_group_burns_no_id(teller: Teller) -> None:
    """LP9: nor a reference."""
    group = [
        posting(("a", "b", 1), group="x", reference="r"),
        posting(("c", "b", 1), group="x"),
    ]
    assert teller.batch(group) == ["group_failed", "insufficient_funds"]
    teller.post(("a", "c", 1))

    assert teller.batch(group) == ["created", "created"]
    assert teller.count(status="rejected") == 0


def test_a_group_that_was_posted_is_there_when_it_comes_again(teller: Teller) -> None:
    """LP9, LP7: a lost answer; only a refusal among them fails the group."""
    group = [posting(("a", "b", 1), group="x"), posting(("a", "b", 2), group="x")]
    teller.batch(group)

    assert teller.batch(group) == ["existing", "existing"]
    assert teller.batch([*group, posting(("a", "b", 3), group="x")]) == [
        "existing", "existing", "created",
    ]  # fmt: skip
    short = posting(("c", "a", 9))
    teller.outcome(short)
    wanted = posting(("c", "a", 9), id=short.id, group="y")
    assert teller.batch([posting(("a", "b", 1), group="y"), wanted]) == [
        "group_failed", "insufficient_funds",
    ]  # fmt: skip


def test_a_bad_item_fails_its_group_only(teller: Teller) -> None:
    """LP9: what cannot be read, too."""
    outcomes = teller.batch(
        [
            posting(("a", "b", 1), group="x"),
            Faulty(fault=ValidationFailed(), group="x"),
            posting(("a", "b", 1), group="y"),
        ]
    )

    assert outcomes == ["group_failed", "validation_failed", "created"]


def test_what_a_failed_group_did_is_undone_for_those_after_it(teller: Teller) -> None:
    """LP9: ids, references, balances, versions."""
    tx_id = uuid7()
    outcomes = teller.batch(
        [
            posting(("a", "b", 900), group="x", reference="r", id=tx_id),
            posting(("a", "nobody", 1), group="x"),
            posting(("a", "c", 900), reference="r", id=tx_id, expect=[Expected("a", 1)]),
        ]
    )

    assert outcomes == ["group_failed", "account_not_found", "created"]
    assert teller.balances("a", "b", "c") == [100, 0, 900]


def test_all_means_all(teller: Teller) -> None:
    """LP9: one refusal undoes everything, and is named."""
    good = [posting(("a", "b", 1)), posting(("a", "c", 1))]
    bad = posting(("a", "b", 10**6))

    with pytest.raises(BatchRejected) as raised:
        teller.batch([*good, bad], is_whole=True)

    (fault,) = raised.value.errors
    assert (fault["pointer"], fault["code"]) == (
        "/transactions/2/legs/0/amount_minor", "insufficient_funds",
    )  # fmt: skip
    assert teller.count() == 1
    assert teller.batch(good, is_whole=True) == ["created", "created"]
    assert teller.batch(good, is_whole=True) == ["existing", "existing"]


def test_a_dry_run_of_a_batch_leaves_no_row(teller: Teller) -> None:
    """LP14."""
    asked = [posting(("a", "b", 1)), posting(("b", "c", 1)), posting(("b", "c", 1))]

    assert teller.batch(asked, dry_run=True) == ["created", "created", "insufficient_funds"]
    assert teller.count() == 1
    assert teller.batch(asked) == ["created", "created", "insufficient_funds"]


@pytest.mark.parametrize(
    ("limits", "size"), [((2, 99, 99), 3), ((9, 5, 99), 3)], ids=["transactions", "legs"]
)
def test_a_batch_has_its_limits(teller: Teller, limits: tuple[int, int, int], size: int) -> None:
    """Section 14: 413 batch_too_large, before anything is done."""
    batches = PostingBatches(
        LedgerWrites(teller.services.db),
        BatchSettings(
            transactions_max=limits[0], legs_max=limits[1], transaction_legs_max=limits[2]
        ),
    )
    asked = [posting(("a", "b", 1), ("a", "c", 1)) for _ in range(size)]

    with pytest.raises(BatchTooLarge):
        batches.post(Order(actor=ACTOR, request_id="test"), asked, is_whole=False)
    assert teller.count() == 1


def test_a_transaction_has_its_limit_of_legs(teller: Teller) -> None:
    """Section 14: LEDGER_LEGS_MAX."""
    legs = [("a", "b", 1)] * 501

    assert teller.post(*legs) == "batch_too_large"
    assert teller.batch([posting(*legs), posting(("a", "b", 1))]) == ["batch_too_large", "created"]


# --- As if one after another --------------------------------------------------------------------


def _random_batch(rng: random.Random, ids: list[Any], *, calm: bool) -> list[Posting]:
    """Return postings with faults of every kind among them, some with an earlier id.

    `calm`: without any, but that an account may be short.
    """
    asked = []
    for _ in range(rng.randint(1, 12)):
        legs: list[Any] = [
            (*rng.sample(["bank", "a", "b", "c"], 2), rng.choice([1, 5, 50, 400]))
            for _ in range(rng.choice([1, 1, 2, 3]))
        ]
        more: dict[str, Any] = {}
        if calm:
            asked.append(posting(*legs, metadata={"n": "1"} if rng.random() < 0.3 else None))
            continue
        if rng.random() < 0.1:
            legs[0] = ("a", rng.choice(["a", "nobody"]), 1)
        if rng.random() < 0.2:
            more["reference"] = f"r{rng.randint(1, 5)}"
        if rng.random() < 0.1:
            more["expect"] = [Expected(rng.choice("abc"), rng.randint(0, 9))]
        tx_id = rng.choice(ids) if ids and rng.random() < 0.2 else uuid7()
        asked.append(posting(*legs, id=tx_id, **more))
        ids.append(tx_id)
    return asked


@pytest.mark.parametrize("seed", range(12))
def test_a_batch_is_the_same_items_one_by_one(world: World, seed: int) -> None:
    """LP9: outcomes, balances, versions, rows: of two books that were asked the same."""
    rng = random.Random(seed)
    one, all_ = Teller(world), Teller(world)
    books = {"one": one, "all": all_}
    for name in books:
        for code in ("bank", "a", "b", "c"):
            floor = None if code == "bank" else 0
            one.open(f"{name}:{code}", "debit" if code == "bank" else "credit", floor=floor)
    ids: list[Any] = []
    for _ in range(6):
        asked = _random_batch(rng, ids, calm=seed % 2 == 0)
        singly = [one.outcome(_in(each, "one")) for each in asked]
        at_once = all_.batch([_in(each, "all") for each in asked])
        assert at_once == singly, f"seed {seed}"
    for code in ("bank", "a", "b", "c"):
        assert one.balance(f"one:{code}") == one.balance(f"all:{code}")
    assert _rows(one, "one") == _rows(one, "all")


def _rows(teller: Teller, book: str) -> list[Any]:
    """Return the book's applied transactions with their entries, without ids and times."""
    return teller.world.rows(
        "SELECT t.kind, t.status, t.reason, split_part(t.reference, ':', 2),"
        " t.hold_id IS NULL, t.reverses,"
        " t.final, t.forced, t.effective_at = t.posted_at, t.amounts, t.stripes, t.released,"
        " t.metadata, t.metadata_hash, t.actor, t.request_id, (SELECT array_agg(ROW(split_part("
        "a.code, ':', 2), e.stripe, e.version, e.leg, e.side, e.posted, e.pending, e.balance_after,"
        " e.posted_at = t.posted_at, e.effective_at = t.effective_at)::text"
        " ORDER BY e.leg, e.side) FROM ledger_entries AS e JOIN ledger_accounts AS a USING"
        " (account_id) WHERE e.tx_id = t.id), (SELECT array_agg(split_part(a.code, ':', 2)"
        " ORDER BY x.n) FROM unnest(t.debit_accounts || t.credit_accounts) WITH ORDINALITY"
        " AS x (id, n) JOIN ledger_accounts AS a ON a.account_id = x.id)"
        " FROM ledger_transactions AS t WHERE t.status = 'applied' AND EXISTS (SELECT FROM"
        " ledger_accounts AS b WHERE b.account_id = t.debit_accounts[1]"
        " AND starts_with(b.code, %s)) ORDER BY t.posted_at, t.id",
        f"{book}:",
    )


def test_a_batch_in_one_go_is_the_same_items_one_by_one(world: World) -> None:
    """LP9, LP10: stripes, limits, holds, kinds, references, metadata: the same rows."""
    one, all_ = Teller(world), Teller(world)
    for book in ("one", "all"):
        one.open(f"{book}:bank", "debit")
        one.open(f"{book}:hot", stripes=4)
        one.open(f"{book}:a", floor=0, ceiling_minor=950)
        assert one.post((f"{book}:bank", f"{book}:a", 500)) == "created"
        one.hold(f"{book}:a", f"{book}:bank", 100)
    asked = [
        posting(("a", "hot", 100), ("bank", "a", 300)),
        posting(("bank", "hot", 7), kind="adjust", metadata={"reason": "left out"}),
        posting(("hot", "a", 200), reference="r"),
        posting(("bank", "a", 1), ("hot", "a", 1), ("a", "bank", 802)),
    ]

    assert [one.outcome(_in(each, "one")) for each in asked] == ["created"] * 4
    observability.begin(context := observability.Context())
    assert all_.batch([_in(each, "all") for each in asked]) == ["created"] * 4

    assert context.db_statements == 1
    assert _rows(one, "one") == _rows(one, "all")
    for code in ("bank", "hot", "a"):
        assert one.balance(f"one:{code}") == one.balance(f"all:{code}")


@pytest.mark.parametrize(
    ("legs", "outcome"),
    [
        ([("a", "hot", 101)], "insufficient_funds"),
        ([("bank", "a", 902)], "ceiling_exceeded"),
        ([("a", "hot", 150), ("bank", "a", 60)], "created"),
    ],
    ids=["floor", "ceiling", "after the last leg"],
)
def test_what_a_batch_in_one_go_cannot_do_is_done_item_by_item(
    teller: Teller, legs: list[Any], outcome: str
) -> None:
    """LP6, LI5: reserved money counts, limits are looked at after all legs."""
    teller.open("hot", stripes=4)
    teller.change("a", ceiling_minor=1900)
    assert teller.post(("a", "b", 800)) == "created"
    teller.hold("a", "b", 100)
    teller.hold("b", "a", 799)

    assert teller.batch([posting(("b", "c", 1)), posting(*legs)]) == ["created", outcome]


def test_times_of_a_batch_follow_its_order(teller: Teller) -> None:
    """LP4: by a microsecond each, after all that its accounts have seen; the log has its order."""
    asked = [posting((*pair, 1)) for pair in (("a", "b"), ("bank", "c"), ("a", "c"))]
    order = Order(actor=ACTOR, request_id="test")

    results = teller.services.posting_batches.post(order, asked, is_whole=False)

    times = [each["posted_at"] for each in results]
    assert times == [times[0] + timedelta(microseconds=n) for n in range(3)]
    stored = teller.world.rows(
        "SELECT posted_at, id FROM ledger_transactions ORDER BY posted_at DESC LIMIT 3"
    )
    assert stored[::-1] == [(time, each.id) for time, each in zip(times, asked, strict=True)]


def _in(asked: Posting, book: str) -> Posting:
    """Return the posting in another book: other accounts, another id, another reference."""
    legs = [(f"{book}:{leg.debit}", f"{book}:{leg.credit}", leg.amount_minor) for leg in asked.legs]
    expect = [Expected(f"{book}:{each.account}", each.version) for each in asked.expect]
    assert asked.id
    tx_id = asked.id if book == "one" else type(asked.id)(int=asked.id.int ^ 1)
    reference = asked.reference and f"{book}:{asked.reference}"
    more: dict[str, Any] = {"kind": asked.kind, "metadata": asked.metadata, "expect": expect}
    return posting(*legs, id=tx_id, reference=reference, **more)
