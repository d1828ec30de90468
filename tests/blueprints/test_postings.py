"""Transactions and their reversal over HTTP (ledger page, sections 4, 6, 7 and 9)."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from blueprints.fields import MOST_AMOUNT_MINOR
from tests.sealing import KEYS, ORIGIN
from tests.till import TRANSACTIONS, Till, leg, refusal, transaction
from tests.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def till(world: World) -> Till:
    return Till(world)


def test_a_transaction_is_answered_as_it_stands(till: Till) -> None:
    """Section 9: 201, its place, every column, legs by code, amounts twice, balances left."""
    asked = transaction(("a", "b", 250), reference="inv-1", metadata={"order": "7"})

    answer = till.send(TRANSACTIONS, asked)

    found = answer.json
    assert (answer.status_code, answer.headers["Location"]) == (
        201,
        f"{TRANSACTIONS}/{asked['id']}",
    )
    assert found["legs"] == [leg("a", "b", 250) | {"amount_decimal": "2.50"}]
    assert {name: found[name] for name in ("id", "kind", "status", "reason", "reference")} == {
        "id": asked["id"], "kind": "post", "status": "applied", "reason": None,
        "reference": "inv-1",
    }  # fmt: skip
    assert (found["metadata"], found["dry_run"]) == ({"order": "7"}, False)
    assert found["posted_at"] == found["effective_at"]
    assert [(each["account"], each["posted_minor"]) for each in found["balances"]] == [
        ("a", 750), ("b", 250),
    ]  # fmt: skip
    read = till.world.get(answer.headers["Location"]).json
    shared = set(found) & set(read)
    assert {name: found[name] for name in shared} == {name: read[name] for name in shared}
    assert (read["reversed_by"], read["sealed"]) == (None, None)


def test_several_legs_are_all_or_nothing(till: Till) -> None:
    """LP5, LP6: one header, an entry on either side of each; a short third leg undoes all."""
    till.open("usd:a", currency="USD", floor_minor=None)
    till.open("usd:b", currency="USD")

    good = till.post(("a", "b", 100), ("usd:a", "usd:b", 120, "USD"), ("b", "a", 30))
    bad = till.post(("a", "b", 10), ("usd:a", "usd:b", 10, "USD"), ("a", "b", 10_000))

    assert (good.status_code, refusal(bad)) == (
        201, (422, "insufficient_funds", ["/legs/0/amount_minor"]),
    )  # fmt: skip
    assert till.posted("a", "b", "usd:a", "usd:b") == [930, 70, -120, 120]


def test_a_lost_answer_is_fetched_by_the_same_id(till: Till) -> None:
    """LP7: existing: 200, Idempotent-Replayed, the same answer; nothing is posted again."""
    asked = transaction(("a", "b", 250))
    first, again = till.send(TRANSACTIONS, asked), till.send(TRANSACTIONS, asked)

    assert (again.status_code, again.headers["Idempotent-Replayed"]) == (200, "true")
    assert again.json == first.json
    assert till.posted("a") == [750]

    other = till.send(TRANSACTIONS, {**asked, "legs": [leg("a", "b", 251)]})
    assert refusal(other)[:2] == (422, "transaction_id_reused")
    assert till.posted("a") == [750]


def test_a_key_serves_where_there_is_no_id(till: Till) -> None:
    """LP7: a key alone stores the answer; a refusal leaves no row and burns nothing."""
    asked = {"legs": [leg("a", "b", 1100)]}
    before = till.written()

    refused = till.world.post(TRANSACTIONS, asked, key="k-1")
    assert (refusal(refused)[:2], till.written()) == ((422, "insufficient_funds"), before)

    till.post(("bank", "a", 100))
    first = till.world.post(TRANSACTIONS, asked, key="k-1")
    again = till.world.post(TRANSACTIONS, asked, key="k-1")
    other = till.world.post(TRANSACTIONS, {"legs": [leg("a", "b", 1)]}, key="k-1")

    assert (first.status_code, first.headers["Idempotency-Status"]) == (201, "stored")
    assert (again.status_code, again.headers["Idempotent-Replayed"]) == (201, "true")
    assert first.json == again.json
    assert refusal(other)[1] == "idempotency_key_reused"
    assert till.posted("a", "b") == [0, 1100]


def test_several_legs_under_a_key_are_posted_once(till: Till) -> None:
    """LP7: the function, too."""
    asked = {"legs": [leg("a", "b", 10), leg("a", "bank", 20)]}
    first = till.world.post(TRANSACTIONS, asked, key="k-2")
    again = till.world.post(TRANSACTIONS, asked, key="k-2")

    assert (first.status_code, again.headers["Idempotent-Replayed"]) == (201, "true")
    assert (first.json, till.posted("a", "b")) == (again.json, [970, 10])


def test_neither_key_nor_id_is_refused(till: Till) -> None:
    """Section 9: an id, or a dry run, needs no key."""
    asked = transaction(("a", "b", 1))
    tx_id = asked.pop("id")
    assert refusal(till.send(TRANSACTIONS, asked))[:2] == (400, "idempotency_key_required")
    assert till.send(TRANSACTIONS, {**asked, "dry_run": True}).status_code == 200
    assert till.send(TRANSACTIONS, {**asked, "id": tx_id}).status_code == 201


def test_a_key_beside_an_id_is_not_read(till: Till) -> None:
    """LP7: the id decides, and the answer says so."""
    asked = transaction(("a", "b", 1))
    first = till.world.post(TRANSACTIONS, asked, key="k-3")
    other = till.world.post(TRANSACTIONS, transaction(("a", "b", 1)), key="k-3")

    assert [first.status_code, other.status_code] == [201, 201]
    assert first.headers["Idempotency-Status"] == "ignored"
    assert till.world.rows("SELECT count(*) FROM idempotency_keys") == [(0,)]


# --- Dry run, references, times, expectations ---------------------------------------------------


@pytest.mark.parametrize("named", [True, False])
def test_a_dry_run_answers_and_leaves_no_row(till: Till, named: bool) -> None:
    """LP14: 200 with what it would have left, or the refusal; the id stays free."""
    asked = transaction(("a", "b", 250), dry_run=True)
    if not named:
        asked.pop("id")
    before = till.written()

    good = till.send(TRANSACTIONS, asked)
    bad = till.post(("a", "b", 1001), dry_run=True)

    assert (good.status_code, good.json["dry_run"]) == (200, True)
    assert [each["posted_minor"] for each in good.json["balances"]] == [750, 250]
    assert refusal(bad)[:2] == (422, "insufficient_funds")
    assert till.written() == before
    if named:
        assert till.send(TRANSACTIONS, {**asked, "dry_run": False}).status_code == 201


def test_a_reference_is_used_once(till: Till) -> None:
    """Section 9: 409 with the place of the first; the service's own names are refused."""
    first = till.post(("a", "b", 1), reference="inv 4711")
    second = till.post(("a", "b", 2), reference="inv 4711")

    assert refusal(second) == (409, "duplicate_reference", ["/reference"])
    assert second.headers["Location"] == first.headers["Location"]
    assert refusal(till.post(("a", "b", 1), reference="payment:1:x"))[:2] == (
        422, "reference_reserved",
    )  # fmt: skip
    assert till.posted("b") == [1]


def test_a_transaction_may_count_earlier(till: Till) -> None:
    """LT1: posted now, effective then; ahead, or too long ago, is refused with its pointer."""
    now = datetime.now(UTC)
    then = now - timedelta(days=30)

    good = till.post(("a", "b", 5), effective_at=then.isoformat())
    ahead = till.post(("a", "b", 5), effective_at=(now + timedelta(hours=1)).isoformat())
    old = till.post(("a", "b", 5), effective_at=(now - timedelta(days=367)).isoformat())

    assert datetime.fromisoformat(good.json["effective_at"]) == then
    assert datetime.fromisoformat(good.json["posted_at"]) >= now
    assert refusal(ahead) == (422, "effective_at_in_future", ["/effective_at"])
    assert refusal(old) == (422, "effective_at_too_old", ["/effective_at"])
    assert till.posted("b") == [5]


def test_a_closed_period_takes_nothing_more(till: Till) -> None:
    """LT1: on or before closed_through."""
    today = datetime.now(UTC).date()
    till.world.rows(
        "UPDATE ledger_settings SET closed_through = %s WHERE tenant_id = 'default' RETURNING 1",
        today - timedelta(days=1),
    )  # fmt: skip
    late = datetime.now(UTC) - timedelta(days=1)

    assert refusal(till.post(("a", "b", 5), effective_at=late.isoformat())) == (
        422, "period_closed", ["/effective_at"],
    )  # fmt: skip
    assert till.post(("a", "b", 5)).status_code == 201


def test_an_expected_version_guards_against_what_came_between(till: Till) -> None:
    """LP13: what was read is what is posted on."""
    version = till.balance("a")["version"]
    expect = [{"account": "a", "currency": "EUR", "version": version}]

    assert till.post(("a", "b", 5), expect=expect).status_code == 201
    late = till.post(("a", "b", 5), expect=expect)

    assert refusal(late) == (409, "expectation_failed", ["/expect/0/version"])
    assert till.posted("b") == [5]


def test_a_receipt_comes_with_the_answer(database: str, tmp_path: Path) -> None:
    """LM7: before the seal; the same as is read later. Without a key to sign nothing is posted."""
    seed = base64.b64encode(KEYS.seeds[0]).decode()
    world = World(database, tmp_path, LEDGER_SEAL_KEY=seed, LEDGER_ORIGIN=ORIGIN)
    try:
        till = Till(world)
        asked = transaction(("a", "b", 1))
        plain = till.send(TRANSACTIONS, asked).json
        signed = till.send(TRANSACTIONS, {**asked, "receipt": True})
    finally:
        world.close()

    assert plain["receipt"] is None
    assert signed.status_code == 200
    assert signed.json["receipt"].splitlines()[:2] == [f"{ORIGIN}/default", asked["id"]]


def test_without_a_key_to_sign_no_receipt_is_promised(till: Till) -> None:
    """LM7: and nothing is posted."""
    before = till.written()
    assert refusal(till.post(("a", "b", 1), receipt=True))[:2] == (404, "feature_disabled")
    assert till.written() == before


# --- Reversal -----------------------------------------------------------------------------------


def test_a_transaction_is_reversed_once(till: Till) -> None:
    """LH6: the mirror of every leg; both say of each other."""
    first = till.post(("a", "b", 100), ("bank", "b", 5)).json

    back = till.reverse(first["id"], reference="undo-1", metadata={"why": "typo"})
    again = till.reverse(first["id"])

    assert (back.status_code, back.json["kind"], back.json["reverses"]) == (
        201, "reverse", first["id"],
    )  # fmt: skip
    assert [(each["debit"], each["credit"]) for each in back.json["legs"]] == [
        ("b", "a"), ("b", "bank"),
    ]  # fmt: skip
    assert till.world.get(f"{TRANSACTIONS}/{first['id']}").json["reversed_by"] == back.json["id"]
    assert refusal(again)[:2] == (409, "already_reversed")
    assert till.posted("a", "b", "bank") == [1000, 0, 1000]


def test_what_cannot_be_reversed_is_said(till: Till) -> None:
    """LH6: limits hold, a reversal or a hold is none; what does not exist is 404."""
    spent = till.post(("a", "b", 100)).json["id"]
    till.post(("b", "bank", 60))
    hold_id = till.hold("a", "b", 10).json["id"]
    undone = till.post(("a", "b", 1)).json["id"]
    mirror = till.reverse(undone).json["id"]

    assert refusal(till.reverse(spent))[:2] == (422, "insufficient_funds")
    assert refusal(till.reverse(hold_id))[:2] == (409, "not_reversible")
    assert refusal(till.reverse(mirror))[:2] == (409, "not_reversible")
    assert refusal(till.reverse(str(uuid4())))[:2] == (404, "not_found")
    assert till.posted("a", "b") == [900, 40]


def test_a_reversal_is_tried_without_effect(till: Till) -> None:
    """LP14."""
    first = till.post(("a", "b", 100)).json["id"]
    before = till.written()

    assert till.reverse(first, dry_run=True).status_code == 200
    assert till.written() == before
    assert till.reverse(first).status_code == 201


# --- Bad input ----------------------------------------------------------------------------------

LEG = leg("a", "b", 10)
BAD: dict[str, tuple[Any, int, str, str]] = {
    "no legs": ({"legs": []}, 422, "validation_failed", "/legs"),
    "legs left out": ({"legs": None}, 422, "validation_failed", "/legs"),
    "one side only": (
        {"legs": [{**LEG, "credit": None}]}, 422, "validation_failed", "/legs/0/credit",
    ),
    "nothing": ({"legs": [{**LEG, "amount_minor": 0}]}, 422, "validation_failed",
                "/legs/0/amount_minor"),
    "less": ({"legs": [{**LEG, "amount_minor": -1}]}, 422, "validation_failed",
             "/legs/0/amount_minor"),
    "a fraction": ({"legs": [{**LEG, "amount_minor": 1.5}]}, 422, "validation_failed",
                   "/legs/0/amount_minor"),
    "a text": ({"legs": [{**LEG, "amount_minor": "1"}]}, 422, "validation_failed",
               "/legs/0/amount_minor"),
    "too much": ({"legs": [{**LEG, "amount_minor": 10**15}]}, 422, "validation_failed",
                 "/legs/0/amount_minor"),
    "same account": ({"legs": [LEG, leg("b", "b", 1)]}, 422, "same_account", "/legs/1/credit"),
    "unknown": ({"legs": [LEG, leg("a", "nobody", 1)]}, 422, "account_not_found", "/legs/1/credit"),
    "no code at all": ({"legs": [leg("A!", "b", 1)]}, 422, "account_not_found", "/legs/0/debit"),
    "frozen": ({"legs": [leg("bank", "ice", 1)]}, 409, "account_frozen", "/legs/0"),
    "closed": ({"legs": [leg("bank", "shut", 1)]}, 409, "account_closed", "/legs/0"),
    "mixed currencies": ({"legs": [leg("a", "usd", 1)]}, 422, "currency_mismatch",
                         "/legs/0/credit"),
    "other currency": ({"legs": [leg("a", "b", 1, "USD")]}, 422, "currency_mismatch",
                       "/legs/0/debit"),
    "no currency": ({"legs": [leg("a", "b", 1, "eur")]}, 422, "validation_failed",
                    "/legs/0/currency"),
    "floor": ({"legs": [leg("a", "b", 1001)]}, 422, "insufficient_funds", "/legs/0/amount_minor"),
    "ceiling": ({"legs": [leg("bank", "full", 11)]}, 422, "ceiling_exceeded",
                "/legs/0/amount_minor"),
    "overflow": ({"legs": [leg("bank", "brim", MOST_AMOUNT_MINOR)] * 2}, 422, "amount_overflow",
                 "/legs/0/amount_minor"),
    "a time without zone": ({"effective_at": "2026-01-01T00:00:00"}, 422, "validation_failed",
                            "/effective_at"),
    "no time": ({"effective_at": "yesterday"}, 422, "validation_failed", "/effective_at"),
    "another kind": ({"kind": "capture"}, 422, "validation_failed", "/kind"),
    "no reason": ({"kind": "adjust"}, 422, "validation_failed", "/metadata/reason"),
    "long reference": ({"reference": "x" * 256}, 422, "validation_failed", "/reference"),
    "unprintable": ({"reference": "a\tb"}, 422, "validation_failed", "/reference"),
    "no uuid": ({"id": "1"}, 422, "validation_failed", "/id"),
    "expecting nobody": ({"expect": [{"account": "nobody", "currency": "EUR", "version": 0}]}, 422,
                         "account_not_found", "/expect/0/account"),
    "too many legs": ({"legs": [LEG] * 501}, 413, "batch_too_large", ""),
    "unknown member": ({"memo": "x"}, 422, "validation_failed", "/memo"),
}  # fmt: skip


STORED = {
    "account_frozen",
    "account_closed",
    "insufficient_funds",
    "ceiling_exceeded",
    "amount_overflow",
}


@pytest.fixture
def strict(till: Till) -> Till:
    """With accounts that are frozen, closed, full, of another currency, at the counter's end."""
    till.open("ice")
    till.open("shut")
    till.open("full", ceiling_minor=10)
    till.open("usd", currency="USD")
    till.open("brim", floor_minor=None)
    till.change("ice", status="frozen")
    till.change("shut", status="closed")
    # 4,611 of the largest amounts bring a counter near its end.
    legs = [("bank", "brim", MOST_AMOUNT_MINOR)] * 461
    assert till.batch(*[transaction(*legs) for _ in range(10)], mode="all").status_code == 201
    return till


def test_bad_input_has_its_code_and_leaves_nothing_half_done(strict: Till) -> None:
    """Section 9: code and pointer of each; no entry, no balance, at most the stored refusal."""
    for named, (more, status, code, pointer) in BAD.items():
        asked = {"id": str(uuid4()), "legs": [LEG], **more}
        ((headers, *others),) = strict.written()

        answer = strict.send(TRANSACTIONS, asked)

        pointers = [pointer] if pointer else []
        assert refusal(answer) == (status, code, pointers), named
        assert strict.written() == [(headers + (code in STORED), *others)], named
        if code in STORED:
            again = strict.send(TRANSACTIONS, asked)
            assert (again.json["code"], again.headers["Idempotent-Replayed"]) == (code, "true")


def test_a_correction_needs_an_operator(till: Till) -> None:
    """Section 9: kind adjust: ledger:admin, and a reason."""
    asked = transaction(("a", "b", 1), kind="adjust", metadata={"reason": "till was wrong"})
    weak = till.world.new_api_key(["ledger:post"])

    refused = till.send(TRANSACTIONS, asked, Authorization=f"Bearer {weak}")
    done = till.send(TRANSACTIONS, asked)

    assert (refused.status_code, refused.json["code"]) == (403, "scope_missing")
    assert (done.status_code, done.json["kind"]) == (201, "adjust")


def test_a_stranger_to_the_account_is_not_told_what_it_holds(till: Till) -> None:
    """Section 9: available_minor and the limit only to those who may read it."""
    asked = transaction(("a", "b", 1001))
    weak = till.world.new_api_key(["ledger:post"])

    told = till.send(TRANSACTIONS, {**asked, "id": str(uuid4())}).json
    untold = till.send(TRANSACTIONS, asked, Authorization=f"Bearer {weak}").json

    assert (told["available_minor"], told["floor_minor"]) == (1000, 0)
    assert "available_minor" not in untold


def test_books_do_not_see_each_other(till: Till) -> None:
    """Decision 6: another tenant's accounts, ids and references are as if they were not."""
    till.world.services.tenants.create("other", "Other", "cli:test")
    key = till.world.new_api_key(tenant_id="other")
    ours = till.post(("a", "b", 1), reference="r1").json
    foreign = {"Authorization": f"Bearer {key}"}

    assert till.world.get(f"{TRANSACTIONS}/{ours['id']}", **foreign).status_code == 404
    assert refusal(till.send(TRANSACTIONS, transaction(("a", "b", 1)), **foreign))[1] == (
        "account_not_found"
    )


@pytest.fixture
def silent_world(database: str, tmp_path: Path) -> Iterator[World]:
    made = World(database, tmp_path, FEATURE_LEDGER_ENABLED="false")
    yield made
    made.close()


def test_a_ledger_that_is_off_takes_nothing_and_is_read(silent_world: World) -> None:
    """Section 14: writes are 404 feature_disabled, reads work."""
    for path in (TRANSACTIONS, f"{TRANSACTIONS}/batch", "/v1/ledger/holds"):
        answer = silent_world.post(path, {})
        assert (answer.status_code, answer.json["code"]) == (404, "feature_disabled")
    assert silent_world.get(TRANSACTIONS).json == {"data": [], "next_cursor": None}
