"""Whole books over HTTP: balances, trial balance, closing, events, effective balances."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.sealing import seal_all, sealing
from tests.teller import Teller

if TYPE_CHECKING:
    from tests.world import World

PAST = "2026-01-31T12:00:00Z"


def test_a_trial_balance_has_two_columns_and_equal_totals(world: World) -> None:
    """Section 9: amounts for programs and for people."""
    Teller(world).examples()

    page = world.get("/v1/ledger/trial-balance").json

    assert [(row["code"], row["debit_decimal"], row["credit_minor"]) for row in page["data"]] == [
        ("bank", "10.00", 0), ("shop", "0.00", 1000),
    ]  # fmt: skip
    assert page["totals"] == [
        {
            "currency": "EUR", "debit_minor": 1000, "debit_decimal": "10.00",
            "credit_minor": 1000, "credit_decimal": "10.00",
        }
    ]  # fmt: skip
    assert (page["as_of"], page["final"], page["next_cursor"]) == (None, False, None)


def test_balances_may_be_of_the_past(world: World) -> None:
    Teller(world).examples()

    page = world.get(f"/v1/ledger/balances?as_of={PAST}&depth=1").json

    assert [(row["debit_minor"], row["credit_minor"]) for row in page["data"]] == [(0, 0), (0, 0)]


def test_an_effective_balance_says_of_when_it_is(world: World) -> None:
    """LT3."""
    Teller(world).examples()
    path = "/v1/ledger/accounts/shop/balance"

    found = world.get(f"{path}?effective_at={PAST}&known_at={PAST}").json

    assert (found["posted_minor"], found["effective_at"], found["known_at"]) == (0, PAST, PAST)


@pytest.mark.parametrize(
    "query",
    [
        f"accounts/shop/balance?as_of={PAST}&effective_at={PAST}",
        f"accounts/shop/balance?known_at={PAST}",
        "balances?depth=0",
        "balances?prefix=shops",
        "trial-balance?depth=11",
        "events?limit=1001",
    ],
)
def test_what_makes_no_sense_is_422(world: World, query: str) -> None:
    assert world.get(f"/v1/ledger/{query}").status_code == 422


def test_a_closed_period_takes_no_posting(world: World) -> None:
    """LT1, section 9: PUT /closing needs ledger:admin; what counts from then is 422."""
    teller = Teller(world)
    teller.examples()
    closed = world.put("/v1/ledger/closing", {"closed_through": "2026-10-31"})
    body = {
        "id": "7f000000-0000-4000-8000-000000000001",
        "effective_at": "2026-10-31T23:59:59Z",
        "legs": [{"debit": "bank", "credit": "shop", "amount_minor": 1, "currency": "EUR"}],
    }

    refused = world.post("/v1/ledger/transactions", body)
    body["effective_at"] = "2026-11-01T00:00:00Z"
    taken = world.post("/v1/ledger/transactions", body)

    assert (closed.status_code, closed.json["closed_through"]) == (200, "2026-10-31")
    assert (refused.status_code, refused.json["code"]) == (422, "period_closed")
    assert taken.status_code == 201
    assert world.get("/v1/ledger/closing").json["closed_through"] == "2026-10-31"
    back = world.put("/v1/ledger/closing", {"closed_through": None})
    assert (back.status_code, back.json["errors"][0]["pointer"]) == (422, "/reopen")


def test_the_feed_shows_transactions_with_their_legs(world: World) -> None:
    """Section 9: GET /v1/ledger/events?after=."""
    tx_id, hold_id = Teller(world).examples()
    seal_all(sealing(world.services.db), "default")

    first = world.get("/v1/ledger/events?limit=1").json
    second = world.get(f"/v1/ledger/events?after={first['next_after']}").json

    assert [(row["index"], row["id"], row["kind"]) for row in first["data"] + second["data"]] == [
        (0, str(tx_id), "post"), (1, str(hold_id), "hold"),
    ]  # fmt: skip
    assert first["data"][0]["legs"][0]["amount_decimal"] == "10.00"
    assert (first["caught_up"], second["caught_up"]) == (False, True)
