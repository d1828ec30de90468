"""Reading while legacy decides: its rows, as they are this moment (2.1, D8, D14)."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from errors import DeadlineExceeded
from legacy import names
from legacy.canonical import uuid8
from legacy.store import LegacyUnavailable
from observability import Context, begin
from tests.legacy.sample_rows import LONG_AGO, captured, payment, soon, user
from tests.legacy.shops import PAYER

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.legacy.shops import Shop

    Make = Callable[[int], Shop]


def ours(legacy_id: str, domain: str = "payments") -> str:
    return str(uuid8("default", domain, legacy_id))


def sold(world: Shop, *ids: str, payer: str = "1", **given: Any) -> None:
    """Let legacy have payments; ids are numbers."""
    for each in ids:
        row = payment(each, payer, **{"reference": each, "gateway": "shop", **given})
        world.store().create(row, f"op{each}", soon())


@pytest.mark.parametrize("phase", [1, 3])
def test_a_payment_is_what_legacy_says_now(shop_world: Make, phase: int) -> None:
    """2.1: whatever new has of it; its parts are those that new has."""
    world = shop_world(phase)
    sold(world, "5")
    world.program_writes("5", **captured(1_000))
    found = world.get(f"/v1/payments/{ours('5')}")
    assert (found.status_code, found.json["status"], found.json["captured_minor"]) == (
        *(200, "captured"),
        1_000,
    )
    assert (found.json["user_id"], found.json["legacy_id"]) == (PAYER, "5")
    assert found.headers["ETag"] == '"2"'
    world.program_writes("5", **captured(1_000, refunded=1_000))
    assert world.get(f"/v1/payments/{ours('5')}").json["status"] == "refunded"
    for part in ("events", "captures", "refunds", "disputes"):
        assert world.get(f"/v1/payments/{ours('5')}/{part}").json["data"] == []
    assert world.get(f"/v1/payments/{uuid4()}").json["code"] == "not_found"
    assert world.get(f"/v1/payments/{uuid4()}/events").json["code"] == "not_found"


def test_what_legacy_cannot_hold_is_as_new_has_it(shop_world: Make) -> None:
    """V3: and the version is the one that a command is held to."""
    world = shop_world(2)
    made = world.payment(900, capture_method="manual_multiple")
    world.command(made, "authorize")
    world.command(made, "capture", {"amount_minor": 300, "final": False})
    found = world.get(f"/v1/payments/{made}")
    assert (found.json["status"], found.json["captured_minor"]) == ("partially_captured", 300)
    assert found.json["capture_method"] == "manual_multiple"
    void = f"/v1/payments/{made}/void"
    stale: Any = {"If-Match": '"1"'}
    refused = world.post(void, **stale)
    assert refused.json["code"] == "version_mismatch"
    fresh: Any = {"If-Match": found.headers["ETag"]}
    assert world.post(void, **fresh).status_code == 200


@pytest.mark.parametrize("phase", [1, 3])
def test_payments_are_listed_in_the_order_of_legacy(shop_world: Make, phase: int) -> None:
    """D14: page by page, filtered by what both can; any other filter is refused."""
    world = shop_world(phase)
    world.store("users").create(user("2"), "op2", soon())
    sold(world, *map(str, range(1, 6)))
    sold(world, "6", payer="2", **captured(1_000))
    first = world.get("/v1/payments?limit=4").json
    rest = world.get(f"/v1/payments?limit=4&cursor={first['next_cursor']}").json
    listed = [each["legacy_id"] for each in [*first["data"], *rest["data"]]]
    assert (listed, rest["next_cursor"]) == ([*"123456"], None)

    def ids(query: str) -> list[str]:
        return [each["legacy_id"] for each in world.get(f"/v1/payments?{query}").json["data"]]

    assert ids("status=captured") == ["6"]
    assert ids("status=captured&status=created") == [*"123456"]
    assert ids(f"user_id={ours('2', 'users')}") == ["6"]
    assert ids(f"user_id={uuid4()}") == []
    assert ids(f"created_gte={LONG_AGO.isoformat()[:19]}Z&created_lt=2020-01-02T00:00:00Z") == [
        *"123456"
    ]
    assert ids("created_lt=2020-01-01T00:00:00Z") == []
    for query in ("currency=EUR", "reference=1", "amount_gte=1", "metadata.a=b"):
        refused = world.get(f"/v1/payments?{query}")
        assert (refused.status_code, refused.json["code"]) == (409, "filter_unavailable"), query
    exported = world.get("/v1/payments/export?format=ndjson").get_data(as_text=True)
    assert exported.count("\n") == 7  # The last line says that it is all.
    world.in_phase(4)
    stale = world.get(f"/v1/payments?cursor={first['next_cursor']}")
    assert stale.json["code"] == "cursor_invalid"


def test_a_row_that_breaks_our_rules_is_left_out_of_lists(shop_world: Make) -> None:
    """D25: by itself it is refused; the others are shown."""
    world = shop_world(2)
    sold(world, "1", "2", "3")
    world.store()._held["2"].raw["currency"] = "euro"
    data = world.get("/v1/payments").json["data"]
    assert [each["legacy_id"] for each in data] == ["1", "3"]
    assert world.get(f"/v1/payments/{ours('2')}").json["code"] in {
        *("domain_follows_legacy", "not_found"),
    }


def test_a_user_sees_nothing_of_others(shop_world: Make) -> None:
    """P41: in legacy's rows neither."""
    world = shop_world(2)
    sold(world, "1")
    sold(world, "2", payer="9")
    token = world.asked
    session = world.token_of("1")
    assert token("GET", f"/v1/payments/{ours('1')}", session).status_code == 200
    assert token("GET", f"/v1/payments/{ours('2')}", session).status_code == 404
    shown = token("GET", "/v1/payments", session).json["data"]
    assert [each["legacy_id"] for each in shown] == ["1"]


@pytest.mark.parametrize("phase", [1, 3])
def test_users_are_what_legacy_says_now(shop_world: Make, phase: int) -> None:
    """2.1: one, lists, `me`; operators whom legacy never had are found here."""
    world = shop_world(phase)
    world.store("users").create(user("2", status="disabled"), "op2", soon())
    world.program_writes("1", "users", display_name="Ada", email="ada@example.org")
    operator = world.operator.token
    one = world.asked("GET", f"/v1/admin/users/{PAYER}", operator).json
    assert (one["display_name"], one["email"], one["id"]) == ("Ada", "ada@example.org", PAYER)
    listed = world.asked("GET", "/v1/admin/users?limit=1", operator).json
    rest = world.asked("GET", f"/v1/admin/users?cursor={listed['next_cursor']}", operator).json
    names_ = [each["email"] for each in [*listed["data"], *rest["data"]]]
    assert (names_, rest["next_cursor"]) == (["ada@example.org", "user2@example.org"], None)
    for query, expected in (
        ("status=disabled", ["user2@example.org"]),
        ("email=ADA@example.org", ["ada@example.org"]),
        ("email=nobody@example.org", []),
    ):
        data = world.asked("GET", f"/v1/admin/users?{query}", operator).json["data"]
        assert [each["email"] for each in data] == expected
    assert world.asked("GET", "/v1/auth/me", operator).json["user"]["role"] == "operator"
    absent = world.asked("GET", f"/v1/admin/users/{uuid4()}", operator)
    assert absent.status_code == 404


def test_reads_say_that_legacy_is_away(shop_world: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """MF1: its domain alone; from phase 4 on nobody notices."""
    world = shop_world(3)
    made = world.payment(900)

    def down(*_: Any) -> Any:
        raise LegacyUnavailable("down")

    for name in ("get_many", "find", "page"):
        monkeypatch.setattr(world.store(), name, down)
    for path in (f"/v1/payments/{made}", "/v1/payments"):
        answer = world.get(path)
        assert (answer.status_code, answer.json["code"]) == (503, "legacy_unavailable")
        assert answer.headers["Retry-After"] == "1"
    assert world.get("/v1/currencies").status_code == 200
    world.in_phase(4)
    assert world.get(f"/v1/payments/{made}").status_code == 200


# --- Ids that cannot be read backwards ----------------------------------------------------------


class Ids:
    """A store of numbers that cannot look for an id of ours, as SQL stores cannot."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.calls = 0

    def scan_ids(self, after: str | None, limit: int) -> list[str]:
        self.calls += 1
        first = 1 if after is None else int(after) + 1
        return [str(n) for n in range(first, min(first + limit, self.count + 1))]


def link(count: int) -> Any:
    compare = SimpleNamespace(our_id=ours)
    return SimpleNamespace(store=Ids(count), compare=compare, names={})


def test_an_id_made_of_a_legacy_id_is_found_by_making_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """D26: once; afterwards its name is known."""
    monkeypatch.setattr(names, "IDS_AT_ONCE", 10)
    there = link(35)
    assert names.find(there, ours("33")) == "33"
    assert there.store.calls == 4
    assert names.find(there, ours("33")) == "33"
    assert there.store.calls == 4
    assert names.find(there, ours("36")) is None


def test_the_search_ends_at_the_deadline_of_its_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "IDS_AT_ONCE", 10)
    begin(Context(deadline=0.0))
    try:
        with pytest.raises(DeadlineExceeded):
            names.find(link(35), ours("33"))
    finally:
        begin(Context())


def test_names_are_kept_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "KEPT_MAX", 3)
    there = link(10)
    for number in range(1, 6):
        names.note(there, ours(str(number)), str(number))
    assert len(there.names) <= 3
