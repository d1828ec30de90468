"""Batches over HTTP: each for itself, groups, all or none, lines of JSON (ledger page, LP9)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from tests.till import TRANSACTIONS, Till, leg, refusal, transaction
from tests.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.world import Reply

BATCH = f"{TRANSACTIONS}/batch"


@pytest.fixture
def till(world: World) -> Till:
    return Till(world)


def results(answer: Reply) -> list[tuple[str, str | None]]:
    """Return outcome and code of each transaction."""
    assert answer.status_code in {200, 201}, answer.json
    found = answer.json["results"]
    assert [each["index"] for each in found] == list(range(len(found)))
    return [(each["outcome"], each["code"]) for each in found]


CREATED = ("created", None)


def test_each_has_its_own_result_in_order(till: Till) -> None:
    """LP9, section 9: index, id, outcome, code, time; pointers lead into the batch."""
    first = transaction(("a", "b", 600))
    short = transaction(("a", "b", 600))
    after = transaction(("b", "a", 600))

    answer = till.batch(first, short, after, first, {**first, "legs": [leg("a", "b", 1)]})

    assert results(answer) == [
        CREATED, ("rejected", "insufficient_funds"), CREATED, ("existing", None),
        ("conflict", "transaction_id_reused"),
    ]  # fmt: skip
    found = answer.json["results"]
    assert [each["id"] for each in found[:3]] == [first["id"], short["id"], after["id"]]
    assert found[1]["errors"][0]["pointer"] == "/transactions/1/legs/0/amount_minor"
    assert found[3]["posted_at"] == found[0]["posted_at"]
    assert till.posted("a", "b") == [1000, 0]


def test_every_fault_is_of_its_own_item(till: Till) -> None:
    """Section 9, issue's bad input: each code; the good ones between are posted all the same."""
    till.open("ice")
    till.open("shut")
    till.open("usd", currency="USD")
    till.change("ice", status="frozen")
    till.change("shut", status="closed")
    good = ("a", "b", 1)
    taken = transaction(good, reference="r1")
    bad: list[tuple[Any, str, str, str]] = [
        ({"id": str(uuid4()), "legs": []}, "invalid", "validation_failed", "/legs"),
        (transaction(("a", "a", 1)), "invalid", "same_account", "/legs/0/credit"),
        (transaction(("a", "no", 1)), "invalid", "account_not_found", "/legs/0/credit"),
        (transaction(("a", "usd", 1)), "invalid", "currency_mismatch", "/legs/0/credit"),
        (transaction(("bank", "ice", 1)), "rejected", "account_frozen", "/legs/0"),
        (transaction(("bank", "shut", 1)), "rejected", "account_closed", "/legs/0"),
        (transaction(("a", "b", 9999)), "rejected", "insufficient_funds", "/legs/0/amount_minor"),
        (transaction(good, reference="r1"), "invalid", "duplicate_reference", "/reference"),
        (transaction(good, reference="payment:x"), "invalid", "reference_reserved", "/reference"),
        (transaction(good, effective_at="2999-01-01T00:00:00Z"), "invalid",
         "effective_at_in_future", "/effective_at"),
        (transaction(good, effective_at="1999-01-01T00:00:00Z"), "invalid",
         "effective_at_too_old", "/effective_at"),
        (transaction(good, effective_at="soon"), "invalid", "validation_failed", "/effective_at"),
        (transaction(*[good] * 501), "invalid", "batch_too_large", ""),
        ({**taken, "legs": [leg("a", "b", 2)]}, "conflict", "transaction_id_reused", ""),
        ({"legs": [leg(*good)]}, "invalid", "validation_failed", "/id"),
        ({**transaction(good), "kind": "hold"}, "invalid", "validation_failed", "/kind"),
        (None, "invalid", "validation_failed", ""),
        ("x", "invalid", "validation_failed", ""),
    ]  # fmt: skip

    answer = till.batch(taken, *[item for item, *_ in bad], transaction(good))

    found = answer.json["results"]
    assert results(answer) == [CREATED, *[row[1:3] for row in bad], CREATED]
    for place, (_, _, _, pointer) in enumerate(bad, 1):
        pointers = [each["pointer"] for each in found[place]["errors"]]
        assert pointers == [f"/transactions/{place}{pointer}"]
    assert till.posted("a", "b", "bank") == [998, 2, 1000]


def test_all_or_none(till: Till) -> None:
    """LP9: 201, or 422 with the culprit's place and nothing written; ids stay free."""
    batch = [transaction(("a", "b", 600)), transaction(("a", "b", 600))]
    before = till.written()

    bad = till.batch(*batch, mode="all")
    assert refusal(bad) == (422, "batch_rejected", ["/transactions/1/legs/0/amount_minor"])
    assert till.written() == before

    till.post(("bank", "a", 200))
    good = till.batch(*batch, mode="all")
    again = till.batch(*batch, mode="all")

    assert (good.status_code, results(good)) == (201, [CREATED] * 2)
    assert (again.status_code, results(again)) == (200, [("existing", None)] * 2)
    assert till.posted("a", "b") == [0, 1200]


def test_a_group_stands_or_falls_as_one(till: Till) -> None:
    """LP9: linked neighbours: the culprit has its code, the others group_failed; no id burns."""
    linked = [
        transaction(("a", "b", 900), group="x"),
        transaction(("a", "b", 900), group="x"),
        transaction(("b", "a", 1), group="x"),
    ]
    alone = transaction(("a", "b", 950), group="y")

    answer = till.batch(*linked, alone)

    assert results(answer) == [
        ("invalid", "group_failed"), ("invalid", "insufficient_funds"), ("invalid", "group_failed"),
        CREATED,
    ]  # fmt: skip
    assert till.posted("a", "b") == [50, 950]
    till.post(("bank", "a", 2000))
    assert results(till.batch(*linked)) == [CREATED] * 3


def test_a_dry_run_of_a_batch_leaves_nothing(till: Till) -> None:
    """LP14: by the body, or by the query."""
    batch = [transaction(("a", "b", 600)), transaction(("a", "b", 600))]
    before = till.written()

    by_body = till.batch(*batch, dry_run=True)
    by_query = till.send(f"{BATCH}?dry_run=true", {"transactions": batch})

    assert results(by_body) == results(by_query)
    assert results(by_body) == [CREATED, ("rejected", "insufficient_funds")]
    assert till.written() == before


# --- Lines of JSON ------------------------------------------------------------------------------


def lines(
    till: Till, data: str, query: str = "", content_type: str = "application/x-ndjson"
) -> Any:
    """POST lines."""
    headers = {"Authorization": f"Bearer {till.world.api_key}", "Content-Type": content_type}
    return till.world.app.test_client().post(BATCH + query, data=data, headers=headers)


@pytest.mark.parametrize("end", ["", "\n", "\r\n\n"])
def test_lines_are_a_batch(till: Till, end: str) -> None:
    """Section 9: NDJSON, one transaction a line, mode in the query."""
    batch = [transaction(("a", "b", 1)) for _ in range(3)]
    data = "\n".join(map(json.dumps, batch)) + end

    assert results(lines(till, data)) == [CREATED] * 3
    assert results(lines(till, data, "?mode=all")) == [("existing", None)] * 3
    assert till.posted("b") == [3]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        ("", "invalid_json"),
        ("{", "invalid_json"),
        ('{"id": 1} {"id": 2}', "invalid_json"),
        ('{"id": 1}, {"id": 2}', "invalid_json"),
        ('{"id": 1}]}{"a":[1', "invalid_json"),
        ('{"id": 1}\n{"id": 1, "id": 2}', "invalid_json"),
    ],
)
def test_what_is_no_line_is_refused_whole(till: Till, data: str, code: str) -> None:
    """AE1: nothing of it is posted."""
    before = till.written()
    answer = lines(till, f"{json.dumps(transaction(('a', 'b', 1)))}\n{data}" if data else data)
    assert answer.json["code"] == code
    assert till.written() == before


def test_a_line_that_is_no_transaction_fails_alone(till: Till) -> None:
    """LP9."""
    data = f"{json.dumps(transaction(('a', 'b', 1)))}\n17\n"
    assert results(lines(till, data)) == [CREATED, ("invalid", "validation_failed")]


# --- Limits -------------------------------------------------------------------------------------


@pytest.fixture
def narrow(database: str, tmp_path: Path) -> Iterator[Till]:
    world = World(
        database, tmp_path, LEDGER_BATCH_MAX="3", LEDGER_LEGS_MAX="2", LEDGER_BATCH_MAX_BYTES="2048"
    )
    yield Till(world)
    world.close()


def test_a_batch_has_its_limits(narrow: Till) -> None:
    """Section 14: 413 batch_too_large, whatever was too much; nothing is posted."""
    good = [transaction(("a", "b", 1)) for _ in range(3)]
    before = narrow.written()

    for answer in (
        narrow.batch(*good, transaction(("a", "b", 1))),
        narrow.batch(transaction(("a", "b", 1), metadata={"x": "x" * 500, "y": "y" * 1500})),
        narrow.post(*[("a", "b", 1)] * 3),
    ):
        assert refusal(answer)[:2] == (413, "batch_too_large")
    assert narrow.written() == before
    assert results(narrow.batch(*good)) == [CREATED] * 3


def test_a_batch_is_not_empty(till: Till) -> None:
    """Section 9."""
    assert refusal(till.batch()) == (422, "validation_failed", ["/transactions"])


def test_a_full_batch_is_posted_in_one_call(till: Till) -> None:
    """Section 14: 8,190 transactions; LP10: an update for each distinct balance."""
    till.world.be_patient()
    batch = [transaction(("bank", "b", 1)) for _ in range(8_190)]

    assert set(results(till.batch(*batch))) == {CREATED}

    assert till.posted("b") == [8_190]
    assert till.balance("b")["version"] == 8_190
    assert refusal(till.batch(*batch, transaction(("bank", "b", 1))))[0] == 413
