"""The list of currencies (P3, P4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.world import World


def test_every_currency_is_listed_with_its_exponent(world: World) -> None:
    """P3: the list of 2026-01-01 has 178 codes."""
    found = {each["code"]: each for each in world.get("/v1/currencies").json["data"]}
    assert len(found) == 178
    assert found["EUR"] == {
        "code": "EUR",
        "numeric_code": 978,
        "name": "Euro",
        "exponent": 2,
        "published_on": "2026-01-01",
        "withdrawn_on": None,
        "payable": True,
    }
    exponents = {code: found[code]["exponent"] for code in ("JPY", "KWD", "CLF", "XAU")}
    assert exponents == {"JPY": 0, "KWD": 3, "CLF": 4, "XAU": None}


def test_what_is_payable_can_be_paid_and_the_rest_not(world: World) -> None:
    """P4: the list and the command say the same of every code."""
    for each in world.get("/v1/currencies").json["data"]:
        body = {"amount_minor": 1, "currency": each["code"], "user_id": world.user_id}
        answer = world.post("/v1/payments", body)
        assert (answer.status_code == 201) is each["payable"], each
