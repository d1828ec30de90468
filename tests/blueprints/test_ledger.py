"""The ledger as a client meets it: the money of real payments."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.world import World

CLEARING = "gateways:manual:clearing"
ACCOUNTS = "/v1/ledger/accounts"


def captured(world: World, amount_minor: int = 5000, fee_minor: int = 150) -> str:
    payment_id = world.payment(amount_minor)
    answer = world.command(payment_id, "capture", {"fee_minor": fee_minor})
    assert answer.status_code == 200
    return payment_id


def available(world: World) -> str:
    return f"users:{world.user_id}:available"


def read(world: World, path: str) -> dict[str, Any]:
    answer = world.get(f"{ACCOUNTS}/{path}")
    assert answer.status_code == 200
    return dict(answer.get_json())


def refusal(world: World, path: str) -> tuple[int, str]:
    answer = world.get(f"{ACCOUNTS}/{path}")
    return answer.status_code, answer.get_json()["code"]


def test_a_capture_stands_in_the_ledger(world: World) -> None:
    """Payments page, section 5: clearing owes all, the user has it less the fee."""
    captured(world)

    balances = {
        code: read(world, f"{code}/balance")["posted_minor"]
        for code in (available(world), CLEARING, "platform:fees")
    }

    assert balances == {available(world): 4850, CLEARING: 5000, "platform:fees": 150}


def test_a_balance_has_all_its_fields(world: World) -> None:
    """Ledger page, section 9: amounts in minor units and for people."""
    captured(world)

    found = read(world, f"{available(world)}/balance")

    assert found.pop("as_of").endswith("Z")
    assert (found.pop("effective_at"), found.pop("known_at")) == (None, None)
    assert found == {
        "code": available(world),
        "currency": "EUR",
        "posted_minor": 4850,
        "posted_decimal": "48.50",
        "available_minor": 4850,
        "available_decimal": "48.50",
        "reachable_minor": 4850,
        "reachable_decimal": "48.50",
        "debits_posted_minor": 0,
        "debits_posted_decimal": "0.00",
        "credits_posted_minor": 4850,
        "credits_posted_decimal": "48.50",
        "debits_pending_minor": 0,
        "debits_pending_decimal": "0.00",
        "credits_pending_minor": 0,
        "credits_pending_decimal": "0.00",
        "version": 1,
        "final": False,
    }


def test_a_statement_is_csv_where_that_is_accepted(world: World) -> None:
    """Ledger page, section 9: the same page as records; `Link` leads to the next one."""
    captured(world)
    captured(world, 700, 7)
    path = f"{ACCOUNTS}/{available(world)}/entries?limit=1&order=asc"
    accept = "text/csv, application/json;q=0.5"

    first = world.get(path, Accept=accept)
    following = first.headers["Link"].removeprefix("<").removesuffix('>; rel="next"')
    second = world.get(following, Accept=accept)
    records = [
        record
        for answer in (first, second)
        for record in csv.DictReader(answer.get_data(as_text=True).splitlines())
    ]

    assert first.content_type == "text/csv; charset=utf-8"
    assert [record["balance_after_minor"] for record in records] == ["4850", "5543"]
    assert list(records[0]) == list(read(world, path.removeprefix(f"{ACCOUNTS}/"))["data"][0])
    assert "Link" not in second.headers
    for other in ("*/*", "text/html", "application/json, text/csv"):
        assert world.get(path, Accept=other).content_type == "application/json"


def test_a_past_balance_knows_what_was_posted(world: World) -> None:
    """LT2, LT5: what was reserved then is not known."""
    captured(world)

    before = read(world, f"{CLEARING}/balance?as_of=2020-01-01T00:00:00Z")
    after = read(world, f"{CLEARING}/balance?as_of=2999-01-01T01:00:00%2B01:00")

    assert (before["posted_minor"], before["version"], before["available_minor"]) == (0, 0, None)
    assert (after["posted_minor"], after["final"]) == (5000, False)
    assert (before["as_of"], after["as_of"][:4]) == ("2020-01-01T00:00:00Z", "2999")


def test_a_statement_tells_where_money_came_from(world: World) -> None:
    """LQ2: the reference leads to the payment's event (P30)."""
    payment_id = captured(world)

    page = read(world, f"{available(world)}/entries")

    (entry,) = page["data"]
    assert entry["reference"] == f"payment:{payment_id}:2"
    shown = ("kind", "side", "leg", "posted_minor", "posted_decimal", "counterparty")
    assert [entry[name] for name in shown] == ["post", "credit", 2, 4850, "48.50", CLEARING]
    assert (page["opening_minor"], page["closing_minor"], page["next_cursor"]) == (0, 4850, None)
    assert page["currency"] == "EUR"


def test_a_statement_is_read_page_by_page(world: World) -> None:
    """LQ1: newest first unless asked otherwise; a cursor is refused with other filters."""
    for amount in (100, 200, 300):
        captured(world, amount, 0)
    path = f"{CLEARING}/entries?limit=2"

    first = read(world, path)
    second = read(world, f"{path}&cursor={first['next_cursor']}")
    other = refusal(world, f"{path}&order=asc&cursor={first['next_cursor']}")

    amounts = [[e["posted_minor"] for e in page["data"]] for page in (first, second)]
    assert amounts == [[300, 200], [100]]
    assert (first["opening_minor"], second["closing_minor"]) == (100, 100)
    assert second["next_cursor"] is None
    assert other == (400, "cursor_invalid")


def test_a_code_of_several_currencies_needs_one(world: World) -> None:
    """LA1: 422 currency_ambiguous."""
    captured(world)
    dollars = world.payment(700, currency="USD")
    assert world.command(dollars, "capture").status_code == 200

    for part in ("balance", "entries"):
        assert refusal(world, f"{CLEARING}/{part}") == (422, "currency_ambiguous")
    assert read(world, f"{CLEARING}/balance?currency=USD")["posted_minor"] == 700
    assert read(world, f"{CLEARING}/entries?currency=EUR")["closing_minor"] == 5000


@pytest.mark.parametrize("part", ["balance", "entries"])
@pytest.mark.parametrize(
    "code", ["nobody", "a" * 300, "%00", "Platform:Fees", "platform%2Ffees", "..", "%F0%9F%92%B0"]
)
def test_an_unknown_code_is_not_found(world: World, code: str, part: str) -> None:
    """404, whatever was sent in its place."""
    assert refusal(world, f"{code}/{part}") == (404, "not_found")


def test_another_tenants_account_is_not_found(world: World) -> None:
    """A2: the house accounts of every tenant have the same codes."""
    captured(world)
    world.services.tenants.create("other", "Other", "cli:test")
    world.api_key = world.new_api_key(tenant_id="other")

    for part in ("balance", "entries"):
        assert refusal(world, f"{CLEARING}/{part}") == (404, "not_found")


@pytest.mark.parametrize("part", ["balance", "entries"])
def test_reading_needs_the_scope(world: World, part: str) -> None:
    """Ledger page, section 9: ledger:read."""
    captured(world)
    world.api_key = world.new_api_key(["payments:read", "ledger:post"])

    assert refusal(world, f"{CLEARING}/{part}") == (403, "scope_missing")


@pytest.mark.parametrize(
    "query",
    [
        "balance?currency=eur",
        "balance?currency=",
        "balance?as_of=2026-01-01",
        "balance?as_of=2026-01-01T00:00:00",
        "balance?as_of=now",
        "balance?effective_at=2026-01-01T00:00:00",
        "entries?side=both",
        "entries?order=up",
        "entries?limit=0",
        "entries?limit=201",
        "entries?posted_gte=yesterday",
        "entries?posted_lt=2026-01-01",
        "entries?side=debit&side=credit",
        "entries?page=2",
    ],
)
def test_a_bad_query_is_refused_by_name(world: World, query: str) -> None:
    """AE6: 422 with the parameter."""
    answer = world.get(f"{ACCOUNTS}/{CLEARING}/{query}")

    name = query.partition("?")[2].partition("=")[0]
    problem = answer.get_json()
    assert (answer.status_code, problem["code"]) == (422, "validation_failed")
    assert {fault["parameter"] for fault in problem["errors"]} == {name}


@pytest.mark.parametrize("cursor", ["x", "e30.x", "%E2%82%AC", "a" * 1024])
def test_a_made_up_cursor_is_refused(world: World, cursor: str) -> None:
    """P45."""
    captured(world)

    assert refusal(world, f"{CLEARING}/entries?cursor={cursor}") == (400, "cursor_invalid")
