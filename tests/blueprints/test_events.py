"""The event feed as a client meets it."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.world import World


def feed(world: World, **query: Any) -> dict[str, Any]:
    answer = world.app.test_client().get(
        "/v1/events", query_string=query, headers={"Authorization": f"Bearer {world.api_key}"}
    )
    assert answer.status_code == 200, answer.json
    return dict(answer.json or {})


def refusal(world: World, **query: Any) -> tuple[int, str]:
    answer = world.app.test_client().get(
        "/v1/events", query_string=query, headers={"Authorization": f"Bearer {world.api_key}"}
    )
    assert answer.json is not None
    return answer.status_code, answer.json["code"]


def types(page: dict[str, Any]) -> list[str]:
    return [event["type"] for event in page["data"]]


def test_an_empty_feed_has_no_position_yet(world: World) -> None:
    """E3: the next page is the first one again."""
    assert feed(world) == {"data": [], "next_after": None, "caught_up": True}


def test_the_feed_has_all_events_in_their_order(world: World) -> None:
    """E3: of all payments, each as the payment's own list shows it."""
    first, second = world.authorized(1000), world.payment(2000)
    assert world.command(first, "capture").status_code == 200

    page = feed(world)

    assert [(e["payment_id"], e["seq"]) for e in page["data"]] == [
        (first, 1),
        (first, 2),
        (second, 1),
        (first, 3),
    ]
    assert types(page)[-1] == "payment.captured"
    assert page["caught_up"] is True
    (event,) = world.get(f"/v1/payments/{second}/events").json["data"]
    assert page["data"][2] == event


def test_a_reader_goes_on_where_its_page_ended(world: World) -> None:
    """E3: page by page, then page after page of what is new."""
    made = [world.payment() for _ in range(5)]
    seen, after, pages = [], None, 0
    while True:
        page = feed(world, limit=2, **({"after": after} if after else {}))
        seen += [event["payment_id"] for event in page["data"]]
        after, pages = page["next_after"], pages + 1
        if page["caught_up"]:
            break
    assert (seen, pages) == (made, 3)
    assert feed(world, after=after) == {"data": [], "next_after": after, "caught_up": True}
    last = world.payment()
    assert [event["payment_id"] for event in feed(world, after=after)["data"]] == [last]


def test_a_full_page_that_is_the_last_says_so(world: World) -> None:
    world.payment()
    world.payment()
    assert feed(world, limit=2)["caught_up"] is True
    assert feed(world, limit=1)["caught_up"] is False


def test_a_reader_may_ask_for_some_types(world: World) -> None:
    """E3: what it did not ask for is passed, so it is not looked at again."""
    world.authorized()
    world.payment()

    page = feed(world, type=["payment.authorized", "payment.captured"])

    assert types(page) == ["payment.authorized"]
    assert page["caught_up"] is True
    assert feed(world, after=page["next_after"])["data"] == []


def test_a_page_of_one_type_is_cut_at_its_limit(world: World) -> None:
    for _ in range(3):
        world.authorized()
    page = feed(world, type="payment.authorized", limit=2)
    assert (len(page["data"]), page["caught_up"]) == (2, False)
    rest = feed(world, type="payment.authorized", limit=2, after=page["next_after"])
    assert (len(rest["data"]), rest["caught_up"]) == (1, True)


def test_a_position_serves_other_types_too(world: World) -> None:
    """E3: it is a place in the one feed of a tenant."""
    world.authorized()
    after = feed(world, type="payment.created", limit=1)["next_after"]
    assert types(feed(world, after=after)) == ["payment.authorized"]


def test_a_position_of_another_tenant_is_refused(world: World) -> None:
    """P45: 400, whoever wrote it."""
    world.payment()
    after = feed(world)["next_after"]
    world.services.tenants.create("acme", "Acme", "cli:test")
    world.api_key = world.new_api_key(tenant_id="acme")
    assert feed(world)["data"] == []
    assert refusal(world, after=after) == (400, "cursor_invalid")


@pytest.mark.parametrize("change", ["x", "x.y", "", "payments"])
def test_a_forged_position_is_refused(world: World, change: str) -> None:
    """P45: altered, or of another list."""
    world.payment()
    world.payment()
    after = feed(world, limit=1)["next_after"]
    forged = {"x": f"{after[:-3]}xyz", "x.y": "x.y", "": "*"}.get(change)
    if change == "payments":
        forged = world.get("/v1/payments?limit=1").json["next_cursor"]
    assert refusal(world, after=forged) == (400, "cursor_invalid")


@pytest.mark.parametrize(
    "query",
    [{"limit": 0}, {"limit": 1001}, {"type": "payment.unheard_of"}, {"before": "x"}, {"after": ""}],
)
def test_a_bad_query_is_told(world: World, query: dict[str, Any]) -> None:
    assert refusal(world, **query) == (422, "validation_failed")


def test_another_tenants_events_are_not_there(world: World) -> None:
    """A6: the reach is the tenant of the key."""
    world.services.tenants.create("acme", "Acme", "cli:test")
    world.payment()
    world.api_key = world.new_api_key(tenant_id="acme")
    assert feed(world)["data"] == []


def test_an_event_is_named_by_payment_and_number(world: World) -> None:
    """Section 8: a webhook's id is the same."""
    payment_id = world.payment()
    (event,) = feed(world)["data"]
    assert event["id"] == f"{payment_id}-1"
    assert uuid.UUID(event["payment_id"]) == uuid.UUID(payment_id)
