"""Holds over HTTP: placed, captured, voided, expired, once (ledger page, section 6)."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest

from services.holds import expire_holds
from services.jobs import Ask, Run
from services.ledger_writes import LedgerWrites
from tests.teller import Teller
from tests.till import HOLDS, TRANSACTIONS, Till, leg, refusal, transaction

if TYPE_CHECKING:
    from tests.world import World


@pytest.fixture
def till(world: World) -> Till:
    return Till(world)


def state(till: Till, hold_id: str) -> tuple[str, int, int]:
    """Return status, captured and remaining of a hold."""
    found = till.world.get(f"{HOLDS}/{hold_id}").json
    return found["status"], found["captured_minor"], found["remaining_minor"]


def test_a_hold_is_answered_as_it_stands(till: Till) -> None:
    """LH1, section 9: 201 with amount, remaining, expires_at; nothing is posted yet."""
    answer = till.hold("a", "b", 400, expires_in_s=600, reference="h1", metadata={"cart": "9"})

    found = answer.json
    assert (answer.status_code, answer.headers["Location"]) == (201, f"{HOLDS}/{found['id']}")
    members = ("status", "amount_minor", "remaining_minor", "remaining_decimal")
    assert [found[name] for name in members] == ["open", 400, 400, "4.00"]
    lives = datetime.fromisoformat(found["expires_at"]) - datetime.fromisoformat(found["posted_at"])
    assert (lives, found["metadata"], found["reference"]) == (
        timedelta(seconds=600), {"cart": "9"}, "h1",
    )  # fmt: skip
    read = till.world.get(answer.headers["Location"]).json
    shared = set(found) & set(read)
    assert {name: found[name] for name in shared} == {name: read[name] for name in shared}

    spent, earned = till.balance("a"), till.balance("b")
    assert (spent["posted_minor"], spent["available_minor"]) == (1000, 600)
    assert (earned["posted_minor"], earned["reachable_minor"]) == (0, 400)


def test_a_hold_that_comes_again_is_answered_the_same(till: Till) -> None:
    """LP7: by its id, and by a key."""
    asked = transaction(("a", "b", 400))
    first, again = till.send(HOLDS, asked), till.send(HOLDS, asked)
    assert (again.status_code, again.headers["Idempotent-Replayed"]) == (200, "true")
    assert again.json == first.json

    del asked["id"]
    first, again = (till.world.post(HOLDS, asked, key="h-1") for _ in range(2))
    assert (first.status_code, first.json) == (201, again.json)
    assert till.balance("a")["available_minor"] == 200


def test_a_hold_is_captured_whole_or_in_part(till: Till) -> None:
    """LH2: the rest is released unless final is false; never more than remains."""
    whole = till.hold("a", "b", 100).json["id"]
    part = till.hold("a", "b", 100).json["id"]
    pieces = till.hold("a", "b", 100).json["id"]

    assert till.capture(whole).status_code == 201
    assert till.capture(part, amount_minor=30).status_code == 201
    first = till.capture(pieces, amount_minor=30, final=False).json
    assert (first["final"], first["released_minor"]) == (False, 30)
    assert state(till, pieces) == ("open", 30, 70)
    assert refusal(till.capture(pieces, amount_minor=71)) == (
        422, "capture_exceeds_hold", ["/amount_minor"],
    )  # fmt: skip
    last = till.capture(pieces, amount_minor=70, final=False).json
    assert (last["final"], last["released_minor"]) == (True, 70)

    assert [state(till, each) for each in (whole, part, pieces)] == [
        ("captured", 100, 0), ("captured", 30, 0), ("captured", 100, 0),
    ]  # fmt: skip
    assert till.world.get(f"{HOLDS}/{pieces}").json["resolved_by"] == last["id"]
    assert till.posted("a", "b") == [770, 230]
    assert till.balance("a")["available_minor"] == 770


def test_a_void_releases_what_remains(till: Till) -> None:
    """LH3: what was taken before stays."""
    hold_id = till.hold("a", "b", 100).json["id"]
    till.capture(hold_id, amount_minor=30, final=False)

    answer = till.void(hold_id, metadata={"why": "out of stock"})

    assert (answer.status_code, answer.json["kind"]) == (201, "void")
    assert state(till, hold_id) == ("voided", 30, 0)
    assert till.balance("a")["available_minor"] == 970


@pytest.mark.parametrize("first", ["capture", "void"])
@pytest.mark.parametrize("second", ["capture", "void"])
def test_a_hold_is_resolved_once(till: Till, first: str, second: str) -> None:
    """LH3, LI6: 409 hold_resolved; the same id again has its first answer."""
    hold_id = till.hold("a", "b", 100).json["id"]
    again = {"id": str(uuid4())}
    place = f"{HOLDS}/{hold_id}/{first}"
    assert till.send(place, again).status_code == 201

    late = getattr(till, second)(hold_id)

    assert refusal(late)[:2] == (409, "hold_resolved")
    assert till.send(place, again).headers["Idempotent-Replayed"] == "true"
    assert till.balance("a")["available_minor"] == (900 if first == "capture" else 1000)


def test_resolving_under_a_key_happens_once(till: Till) -> None:
    """LP7: with a key instead of an id."""
    hold_id = till.hold("a", "b", 100).json["id"]
    path = f"{HOLDS}/{hold_id}/capture"

    first, again = (till.world.post(path, {}, key="c-1") for _ in range(2))

    assert (first.status_code, again.headers["Idempotent-Replayed"]) == (201, "true")
    assert first.json == again.json
    assert till.posted("b") == [100]


def expired(till: Till) -> int:
    """Let the job run once; return how many holds it has ended."""
    db = till.world.services.db
    run = Run(ask=Ask(), stop=threading.Event(), batch_max=10)
    return sum(expire_holds(db, LedgerWrites(db), run))


def test_an_overdue_hold_expires(till: Till, database_owner: str) -> None:
    """LH4: capture is 409 hold_expired at once; the job frees the money, once."""
    hold_id = till.hold("a", "b", 400).json["id"]
    Teller(till.world).overdue(UUID(hold_id), database_owner)

    assert refusal(till.capture(hold_id))[:2] == (409, "hold_expired")
    assert till.world.get(f"{HOLDS}/{hold_id}").json["status"] == "expired"
    assert [expired(till), expired(till)] == [1, 0]

    assert state(till, hold_id) == ("expired", 0, 0)
    assert till.balance("a")["available_minor"] == 1000
    assert refusal(till.capture(hold_id))[:2] == (409, "hold_resolved")
    (found,) = till.world.get(f"{TRANSACTIONS}?kind=expire").json["data"]
    assert (found["hold_id"], found["actor"]) == (hold_id, "job:expire-holds")


@pytest.mark.parametrize("what", ["hold", "capture", "void"])
def test_a_dry_run_of_a_hold_leaves_no_row(till: Till, what: str) -> None:
    """LP14."""
    hold_id = till.hold("a", "b", 100).json["id"]
    before = till.written()

    if what == "hold":
        answer = till.hold("a", "b", 900, dry_run=True)
    else:
        answer = getattr(till, what)(hold_id, dry_run=True)

    assert (answer.status_code, answer.json["dry_run"]) == (200, True)
    assert (till.written(), state(till, hold_id)) == (before, ("open", 0, 100))


def test_open_holds_are_listed(till: Till) -> None:
    """LQ1: the first to expire first; by account on either side, by time."""
    late = till.hold("a", "b", 1, expires_in_s=900).json
    soon = till.hold("a", "b", 2, expires_in_s=300).json
    done = till.hold("a", "b", 3).json["id"]
    till.void(done)
    bank = till.hold("bank", "b", 4, expires_in_s=600).json["id"]

    def ids(query: str = "") -> list[Any]:
        return [each["id"] for each in till.world.get(HOLDS + query).json["data"]]

    assert ids() == [soon["id"], bank, late["id"]]
    assert ids("?account=a&currency=EUR") == [soon["id"], late["id"]]
    until = soon["expires_at"].replace("+", "%2B")
    assert ids(f"?expires_before={until}") == []
    first = till.world.get(f"{HOLDS}?limit=2").json
    assert ids(f"?limit=2&cursor={first['next_cursor']}") == [late["id"]]


BAD: dict[str, tuple[dict[str, Any], int, str, str]] = {
    "two legs": ({"legs": [leg("a", "b", 1)] * 2}, 422, "validation_failed", "/legs"),
    "no leg": ({"legs": []}, 422, "validation_failed", "/legs"),
    "no time": ({"expires_in_s": 0}, 422, "validation_failed", "/expires_in_s"),
    "too long": ({"expires_in_s": 7_776_001}, 422, "validation_failed", "/expires_in_s"),
    "same account": ({"legs": [leg("a", "a", 1)]}, 422, "same_account", "/legs/0/credit"),
    "unknown": ({"legs": [leg("a", "no", 1)]}, 422, "account_not_found", "/legs/0/credit"),
    "currency": ({"legs": [leg("a", "b", 1, "USD")]}, 422, "currency_mismatch", "/legs/0/debit"),
    "reserved": ({"reference": "payment:x"}, 422, "reference_reserved", "/reference"),
    "backdated": ({"effective_at": "2026-01-01T00:00:00Z"}, 422, "validation_failed",
                  "/effective_at"),
    "too much": ({"legs": [leg("a", "b", 1001)]}, 422, "insufficient_funds",
                 "/legs/0/amount_minor"),
}  # fmt: skip


def test_bad_holds_have_their_code_and_hold_nothing(till: Till) -> None:
    """Section 9: codes and pointers."""
    for named, (more, status, code, pointer) in BAD.items():
        answer = till.send(HOLDS, {**transaction(("a", "b", 1)), **more})
        assert refusal(answer) == (status, code, [pointer]), named
    assert till.balance("a")["available_minor"] == 1000
    assert till.world.get(HOLDS).json["data"] == []


@pytest.mark.parametrize("what", ["capture", "void"])
def test_what_is_no_hold_is_not_found(till: Till, what: str) -> None:
    """Section 9: 404, for a transaction of another kind too."""
    posted = till.post(("a", "b", 1)).json["id"]
    for hold_id in (posted, str(uuid4())):
        assert refusal(getattr(till, what)(hold_id))[:2] == (404, "not_found")
        assert till.world.get(f"{HOLDS}/{hold_id}").status_code == 404


def test_a_frozen_account_is_not_captured_from_and_gives_back(till: Till) -> None:
    """LA9."""
    hold_id = till.hold("a", "b", 100).json["id"]
    till.change("a", status="frozen")

    assert refusal(till.capture(hold_id))[:2] == (409, "account_frozen")
    assert till.void(hold_id).status_code == 201
