"""Payments as a client meets them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.world import World


# --- The path of one payment --------------------------------------------------------------------


def test_a_created_payment_waits_for_authorisation(world: World) -> None:
    """P9, P40: nothing has moved yet."""
    answer = world.post(
        "/v1/payments",
        {
            "amount_minor": 1099,
            "currency": "EUR",
            "user_id": world.user_id,
            "reference": "order-1",
            "metadata": {"cart": "17"},
        },
    )
    assert answer.status_code == 201
    assert answer.headers["Location"] == f"/v1/payments/{answer.json['id']}"
    assert answer.headers["ETag"] == '"1"'
    shown = {
        name: answer.json[name]
        for name in ("status", "amount_minor", "amount_decimal", "captured_minor", "metadata")
    }
    assert shown == {
        "status": "created",
        "amount_minor": 1099,
        "amount_decimal": "10.99",
        "captured_minor": 0,
        "metadata": {"cart": "17"},
    }
    assert answer.json["allowed_actions"] == ["authorize", "capture", "cancel", "fail"]


def test_capture_takes_all_that_was_authorised(world: World) -> None:
    payment_id = world.authorized(5000)
    answer = world.command(payment_id, "capture")
    assert answer.status_code == 200
    assert (answer.json["status"], answer.json["captured_minor"]) == ("captured", 5000)
    assert answer.json["allowed_actions"] == ["refund", "dispute"]


def test_capture_of_a_created_payment_is_a_sale(world: World) -> None:
    """P9: it authorises all and captures at once."""
    answer = world.command(world.payment(5000), "capture", {"fee_minor": 150})
    assert answer.json["status"] == "captured"
    assert (answer.json["authorized_minor"], answer.json["captured_minor"]) == (5000, 5000)
    assert answer.json["fee_minor"] == 150


def test_a_partial_capture_of_a_manual_payment_voids_the_rest(world: World) -> None:
    """P9: manual has one capture, the last."""
    answer = world.command(world.authorized(5000), "capture", {"amount_minor": 2000})
    assert answer.json["status"] == "captured"
    assert (answer.json["captured_minor"], answer.json["voided_minor"]) == (2000, 3000)


def test_a_manual_multiple_payment_is_captured_piece_by_piece(world: World) -> None:
    """P9: any number, `final` ends it."""
    payment_id = world.authorized(5000, capture_method="manual_multiple")
    first = world.command(payment_id, "capture", {"amount_minor": 2000}).json
    assert (first["status"], first["capturable_minor"]) == ("partially_captured", 3000)
    last = world.command(payment_id, "capture", {"amount_minor": 1000, "final": True}).json
    assert (last["status"], last["captured_minor"], last["voided_minor"]) == (
        "captured",
        3000,
        2000,
    )


def test_an_automatic_payment_is_captured_with_its_authorisation(world: World) -> None:
    """P9: captured = authorized, in one commit and one event."""
    payment_id = world.payment(5000, capture_method="automatic")
    answer = world.command(payment_id, "authorize", {"amount_minor": 4000})
    assert answer.json["status"] == "captured"
    assert (answer.json["authorized_minor"], answer.json["captured_minor"]) == (4000, 4000)
    events = world.get(f"/v1/payments/{payment_id}/events").json["data"]
    assert [event["type"] for event in events] == ["payment.created", "payment.captured"]


def test_void_gives_back_what_was_authorised(world: World) -> None:
    answer = world.command(world.authorized(5000), "void")
    assert (answer.json["status"], answer.json["voided_minor"]) == ("voided", 5000)
    assert answer.json["end_reason"] == "voided"


def test_void_after_a_partial_capture_keeps_what_was_captured(world: World) -> None:
    payment_id = world.authorized(5000, capture_method="manual_multiple")
    world.command(payment_id, "capture", {"amount_minor": 2000})
    answer = world.command(payment_id, "void")
    assert (answer.json["status"], answer.json["voided_minor"]) == ("captured", 3000)
    assert answer.json["end_reason"] is None


def test_fail_keeps_the_reason(world: World) -> None:
    body = {"failure_code": "card_declined", "failure_message": "Not today."}
    answer = world.command(world.payment(), "fail", body)
    assert (answer.json["status"], answer.json["failure_code"]) == ("failed", "card_declined")


def test_cancel_ends_a_created_payment(world: World) -> None:
    assert world.command(world.payment(), "cancel").json["status"] == "cancelled"


def test_every_change_is_an_event_with_the_amounts_after_it(world: World) -> None:
    """P8, E1: seq is dense, `after` of the last one is the payment's state."""
    payment_id = world.authorized(5000)
    world.command(payment_id, "capture", {"fee_minor": 100})
    events = world.get(f"/v1/payments/{payment_id}/events").json["data"]
    assert [(event["seq"], event["type"]) for event in events] == [
        (1, "payment.created"),
        (2, "payment.authorized"),
        (3, "payment.captured"),
    ]
    now = world.read(payment_id)
    assert {name: now[name] for name in events[-1]["after"]} == events[-1]["after"]
    assert now["version"] == 3


def test_events_are_read_page_by_page(world: World) -> None:
    payment_id = world.authorized()
    world.command(payment_id, "void")
    first = world.get(f"/v1/payments/{payment_id}/events?limit=2").json
    assert (len(first["data"]), first["next_after"]) == (2, 2)
    rest = world.get(f"/v1/payments/{payment_id}/events?after=2").json
    assert ([event["seq"] for event in rest["data"]], rest["next_after"]) == ([3], None)


# --- Refusals -----------------------------------------------------------------------------------

REFUSED = [
    ({"amount_minor": 10_001}, 422, "amount_exceeds_capturable", "/amount_minor"),
    ({"amount_minor": 500, "fee_minor": 501}, 422, "fee_exceeds_amount", "/fee_minor"),
    ({"currency": "USD"}, 422, "currency_mismatch", "/currency"),
    ({"final": False}, 422, "validation_failed", "/final"),
]


@pytest.mark.parametrize(("body", "status", "code", "pointer"), REFUSED)
def test_a_refused_capture_says_why_and_changes_nothing(
    world: World, body: dict[str, Any], status: int, code: str, pointer: str
) -> None:
    payment_id = world.authorized(10_000)
    before = world.read(payment_id)
    answer = world.command(payment_id, "capture", body)
    assert (answer.status_code, answer.json["code"]) == (status, code)
    assert answer.json["errors"][0]["pointer"] == pointer
    assert world.read(payment_id) == before


@pytest.mark.parametrize("command", ["authorize", "capture", "void", "cancel", "fail"])
def test_a_finished_payment_takes_no_command(world: World, command: str) -> None:
    """P10: any pair that is no row of the table is 409, and burns no key."""
    payment_id = world.payment()
    world.command(payment_id, "capture")
    body = {"failure_code": "late"} if command == "fail" else {}
    answer = world.command(payment_id, command, body)
    assert (answer.status_code, answer.json["code"]) == (409, "invalid_state")
    assert answer.json["payment_status"] == "captured"
    assert answer.json["allowed_actions"] == ["refund", "dispute"]
    assert world.read(payment_id)["version"] == 2


def test_more_than_the_amount_cannot_be_authorised(world: World) -> None:
    answer = world.command(world.payment(500), "authorize", {"amount_minor": 501})
    assert answer.json["code"] == "amount_exceeds_authorizable"
    assert answer.json["remaining_minor"] == 500


def test_an_overdue_payment_can_be_voided_and_not_captured(world: World) -> None:
    """P11: overdue is decided by the database's clock, job or no job."""
    payment_id = world.payment()
    world.command(payment_id, "authorize", {"capture_before": "2020-01-01T00:00:00Z"})
    assert world.read(payment_id)["allowed_actions"] == ["void"]
    answer = world.command(payment_id, "capture")
    assert (answer.status_code, answer.json["code"]) == (409, "payment_expired")
    assert world.command(payment_id, "void").json["status"] == "voided"


def test_a_used_reference_is_refused_with_the_place_of_the_first(world: World) -> None:
    """P12: whatever the amount."""
    first = world.payment(500, reference="order-1")
    body = {"amount_minor": 7, "currency": "EUR", "user_id": world.user_id, "reference": "order-1"}
    answer = world.post("/v1/payments", body)
    assert (answer.status_code, answer.json["code"]) == (409, "duplicate_reference")
    assert answer.headers["Location"] == f"/v1/payments/{first}"
    assert answer.json["resource_id"] == first


def test_a_capture_reference_is_unique_within_its_payment(world: World) -> None:
    """P12."""
    payment_id = world.authorized(capture_method="manual_multiple")
    body = {"amount_minor": 10, "reference": "box-1"}
    assert world.command(payment_id, "capture", body).status_code == 200
    answer = world.command(payment_id, "capture", body)
    assert (answer.status_code, answer.json["code"]) == (409, "duplicate_reference")
    assert world.read(payment_id)["captured_minor"] == 10


@pytest.mark.parametrize("currency", ["XAU", "XTS", "ZZZ"])
def test_a_currency_without_minor_unit_is_not_payable(world: World, currency: str) -> None:
    """P4."""
    body = {"amount_minor": 1, "currency": currency, "user_id": world.user_id}
    answer = world.post("/v1/payments", body)
    assert (answer.status_code, answer.json["code"]) == (422, "currency_unsupported")


def test_a_payment_for_nobody_is_refused(world: World) -> None:
    """P41."""
    missing = world.post("/v1/payments", {"amount_minor": 1, "currency": "EUR"})
    assert missing.json["errors"][0] | {"detail": ""} == {
        "pointer": "/user_id",
        "code": "missing",
        "detail": "",
    }
    unknown = "00000000-0000-7000-8000-000000000000"
    answer = world.post("/v1/payments", {"amount_minor": 1, "currency": "EUR", "user_id": unknown})
    assert (answer.status_code, answer.json["code"]) == (422, "user_not_found")


def test_another_tenants_payment_is_not_found(world: World) -> None:
    """A2, P41: by any command, and its events neither."""
    payment_id = world.authorized()
    world.services.tenants.create("other", "Other", "cli:test")
    world.api_key = world.new_api_key(tenant_id="other")
    answers = [
        world.get(f"/v1/payments/{payment_id}"),
        world.get(f"/v1/payments/{payment_id}/events"),
        *(world.command(payment_id, name) for name in ("authorize", "capture", "void", "cancel")),
    ]
    assert {(answer.status_code, answer.json["code"]) for answer in answers} == {(404, "not_found")}
    assert world.get("/v1/payments").json["data"] == []


def test_another_tenants_user_cannot_pay(world: World) -> None:
    world.services.tenants.create("other", "Other", "cli:test")
    stranger = str(world.new_user("other").id)
    answer = world.post("/v1/payments", {"amount_minor": 1, "currency": "EUR", "user_id": stranger})
    assert answer.json["code"] == "user_not_found"


def test_an_old_version_is_refused_and_the_current_one_taken(world: World) -> None:
    """P43: If-Match guards a command in the statement itself."""
    payment_id = world.authorized()
    late = world.command(payment_id, "capture", If_Match='"1"')
    assert (late.status_code, late.json["code"]) == (412, "version_mismatch")
    assert late.json["current_version"] == 2
    assert world.command(payment_id, "capture", If_Match='"2"').status_code == 200


def test_automatic_capture_needs_the_scope_to_capture(world: World) -> None:
    """A7, decision 7: who may only create cannot move money by a flag."""
    world.api_key = world.new_api_key(["payments:create"])
    body = {"amount_minor": 1, "currency": "EUR", "user_id": world.user_id}
    answer = world.post("/v1/payments", {**body, "capture_method": "automatic"})
    assert (answer.status_code, answer.json["required_scope"]) == (403, "payments:capture")
    assert world.post("/v1/payments", body).status_code == 201


def test_a_likely_double_is_named_and_not_refused(world: World) -> None:
    """P13: same user, amount and currency within the window, under another key."""
    first = world.payment(700)
    body = {"amount_minor": 700, "currency": "EUR", "user_id": world.user_id}
    answer = world.post("/v1/payments", body)
    assert answer.status_code == 201
    assert answer.headers["Duplicate-Suspected"] == first
    other = world.post("/v1/payments", {**body, "amount_minor": 701})
    assert "Duplicate-Suspected" not in other.headers


# --- Lists --------------------------------------------------------------------------------------


def test_a_list_is_read_page_by_page_newest_first(world: World) -> None:
    """P44: every payment once, in order."""
    made = [world.payment(amount) for amount in range(1, 8)]
    seen: list[str] = []
    path = "/v1/payments?limit=3"
    while path:
        page = world.get(path).json
        seen += [payment["id"] for payment in page["data"]]
        path = page["next_cursor"] and f"/v1/payments?limit=3&cursor={page['next_cursor']}"
    assert seen == made[::-1]


@pytest.mark.parametrize(
    ("query", "amounts"),
    [
        ("status=captured", [300]),
        ("status=captured&status=created", [300, 200, 100]),
        ("currency=USD", [200]),
        ("reference=r-1", [100]),
        ("amount_gte=200", [300, 200]),
        ("amount_lte=200", [200, 100]),
        ("metadata.shop=7", [100]),
        ("created_gte=2100-01-01T00:00:00Z", []),
        ("created_lt=2100-01-01T00:00:00Z", [300, 200, 100]),
    ],
)
def test_filters_are_joined_by_and(world: World, query: str, amounts: list[int]) -> None:
    """P44."""
    world.payment(100, reference="r-1", metadata={"shop": "7"})
    world.payment(200, currency="USD")
    world.command(world.payment(300), "capture")
    found = world.get(f"/v1/payments?{query}").json["data"]
    assert [payment["amount_minor"] for payment in found] == amounts


def test_a_users_payments_are_listed_alone(world: World) -> None:
    mine = world.payment(5)
    other = str(world.new_user().id)
    world.payment(6, user_id=other)
    found = world.get(f"/v1/payments?user_id={world.user_id}").json["data"]
    assert [payment["id"] for payment in found] == [mine]


def test_a_page_may_be_short_while_there_is_a_next(world: World) -> None:
    """P44: a page reads LIST_SCAN_ROWS rows at most, and says where it stopped."""
    wanted = world.payment(1, reference="the-oldest")
    for _ in range(120):
        world.payment(2)
    world.app.extensions["strongroom"].payment_queries._scan_rows = 100
    first = world.get("/v1/payments?reference=the-oldest").json
    assert first["data"] == []
    second = world.get(f"/v1/payments?reference=the-oldest&cursor={first['next_cursor']}").json
    assert [payment["id"] for payment in second["data"]] == [wanted]
    assert second["next_cursor"] is None


def test_a_cursor_serves_its_own_list_only(world: World) -> None:
    """P45: altered, or for other filters: 400."""
    world.payment()
    world.payment()
    cursor = world.get("/v1/payments?limit=1").json["next_cursor"]
    for query in (f"cursor={cursor[:-1]}x", f"cursor={cursor}&currency=EUR", "cursor=abc"):
        answer = world.get(f"/v1/payments?{query}")
        assert (answer.status_code, answer.json["code"]) == (400, "cursor_invalid")


# --- PATCH ------------------------------------------------------------------------------------


def update(world: World, payment_id: str, body: dict[str, Any], **headers: str) -> Any:
    return world.patch(f"/v1/payments/{payment_id}", body, **headers)


@pytest.mark.parametrize(
    ("patch", "description", "metadata"),
    [
        ({}, "Shoes", {"a": "1", "b": "2"}),
        ({"description": "Boots"}, "Boots", {"a": "1", "b": "2"}),
        ({"description": None}, None, {"a": "1", "b": "2"}),
        ({"metadata": {"a": "9", "c": "3"}}, "Shoes", {"a": "9", "b": "2", "c": "3"}),
        ({"metadata": {"a": None, "z": None}}, "Shoes", {"b": "2"}),
        ({"metadata": {}}, "Shoes", {"a": "1", "b": "2"}),
        ({"metadata": None}, "Shoes", {}),
    ],
)
def test_a_patch_is_merged(
    world: World, patch: dict[str, Any], description: str | None, metadata: dict[str, str]
) -> None:
    """P14: RFC 7396; what changes nothing is no version and no event (P8)."""
    payment_id = world.payment(description="Shoes", metadata={"a": "1", "b": "2"})
    answer = update(world, payment_id, patch)
    assert answer.status_code == 200
    assert (answer.json["description"], answer.json["metadata"]) == (description, metadata)
    is_change = (description, metadata) != ("Shoes", {"a": "1", "b": "2"})
    assert answer.json["version"] == (2 if is_change else 1)
    assert answer.headers["ETag"] == f'"{answer.json["version"]}"'
    assert answer.json == world.read(payment_id)
    events = world.get(f"/v1/payments/{payment_id}/events").json["data"]
    assert [event["type"] for event in events[1:]] == ["payment.updated"] * is_change


@pytest.mark.parametrize(
    ("patch", "pointer", "code"),
    [
        ({"metadata": {f"n{n}": "x" for n in range(50)}}, "/metadata", "too_many"),
        ({"metadata": {f"n{n}": "x" * 500 for n in range(17)}}, "/metadata", "too_large"),
        ({"metadata": {"a": "x" * 501}}, "/metadata/a", "too_long"),
        ({"metadata": {"a b": "x"}}, "/metadata/a b", "invalid_format"),
        ({"metadata": {"a": 1}}, "/metadata/a", "invalid_type"),
        ({"description": ""}, "/description", "too_short"),
        ({"amount_minor": 1}, "/amount_minor", "unknown_field"),
    ],
)
def test_a_refused_patch_changes_nothing(
    world: World, patch: dict[str, Any], pointer: str, code: str
) -> None:
    """P14: the limits are those of what would be stored, 50 names and 8 KiB in all."""
    payment_id = world.payment(metadata={"here": "before"})
    answer = update(world, payment_id, patch)
    assert (answer.status_code, answer.json["code"]) == (422, "validation_failed")
    assert [(fault["pointer"], fault["code"]) for fault in answer.json["errors"]] == [
        (pointer, code)
    ]
    assert world.read(payment_id)["version"] == 1


def test_taking_names_away_makes_room_for_others(world: World) -> None:
    """P14: a patch may name more than may be stored."""
    payment_id = world.payment(metadata={f"n{n}": "x" for n in range(50)})
    patch = {f"n{n}": None for n in range(50)} | {f"m{n}": "x" for n in range(50)}
    assert len(update(world, payment_id, {"metadata": patch}).json["metadata"]) == 50


def test_a_patch_of_an_older_version_is_refused(world: World) -> None:
    """P43."""
    payment_id = world.authorized()
    late = update(world, payment_id, {"description": "x"}, If_Match='"1"')
    assert (late.status_code, late.json["current_version"]) == (412, 2)
    assert update(world, payment_id, {"description": "x"}, If_Match='"2"').status_code == 200


def test_a_patch_needs_no_key_and_keeps_one(world: World) -> None:
    """K3: made by the server; given, it is a key like any other."""
    payment_id = world.payment()
    made = update(world, payment_id, {"description": "x"})
    assert made.headers["Idempotency-Status"] == "generated"
    first = update(world, payment_id, {"description": "y"}, Idempotency_Key="k")
    update(world, payment_id, {"description": "z"})
    again = update(world, payment_id, {"description": "y"}, Idempotency_Key="k")
    assert (again.data, again.headers["Idempotency-Status"]) == (first.data, "replayed")
    assert world.read(payment_id)["description"] == "z"


def test_a_payment_at_its_end_can_be_described(world: World) -> None:
    """Section 3: update has no guard."""
    payment_id = world.payment()
    world.command(payment_id, "cancel")
    assert update(world, payment_id, {"description": "x"}).json["status"] == "cancelled"


# --- Conditional reads, captures, limits ------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "status"),
    [('"2"', 304), ('W/"2"', 304), ('"1", "2"', 304), ("*", 304), ('"1"', 200), ("2", 200)],
)
def test_who_has_a_payment_is_not_sent_it_again(world: World, header: str, status: int) -> None:
    """Section 6: 304 on If-None-Match."""
    payment_id = world.authorized()
    answer = world.get(f"/v1/payments/{payment_id}", If_None_Match=header)
    assert (answer.status_code, answer.headers["ETag"]) == (status, '"2"')
    assert bool(answer.data) is (status == 200)


def test_an_overdue_payment_is_always_sent(world: World, lapse: Callable[[str], None]) -> None:
    """Section 6: the clock has changed what may be done with it, without a version."""
    payment_id = world.authorized()
    lapse(payment_id)
    answer = world.get(f"/v1/payments/{payment_id}", If_None_Match='"2"')
    assert (answer.status_code, answer.json["allowed_actions"]) == (200, ["void"])


def test_captures_are_listed_newest_first(world: World) -> None:
    """Section 6, P12: a used reference leads to the capture that has it."""
    payment_id = world.authorized(1000, capture_method="manual_multiple")
    world.command(payment_id, "capture", {"amount_minor": 100, "reference": "box-1"})
    world.command(payment_id, "capture", {"fee_minor": 5, "final": True})
    found = world.get(f"/v1/payments/{payment_id}/captures").json["data"]
    assert [(each["amount_minor"], each["fee_minor"], each["final"]) for each in found] == [
        (900, 5, True),
        (100, 0, False),
    ]
    again = world.command(payment_id, "capture", {"amount_minor": 1, "reference": "box-1"})
    assert (again.status_code, again.json["code"]) == (409, "duplicate_reference")
    assert world.get(again.headers["Location"]).json == found[1]


def test_an_authorisation_holds_a_year_at_most(world: World) -> None:
    """P9."""
    answer = world.command(world.payment(), "authorize", {"capture_before": "2100-01-01T00:00:00Z"})
    assert (answer.status_code, answer.json["errors"][0]["pointer"]) == (422, "/capture_before")


def test_an_authorisation_in_another_currency_is_refused(world: World) -> None:
    """P5: a command may repeat the currency."""
    payment_id = world.payment()
    answer = world.command(payment_id, "authorize", {"currency": "USD"})
    assert (answer.status_code, answer.json["code"]) == (422, "currency_mismatch")
    assert world.command(payment_id, "authorize", {"currency": "EUR"}).status_code == 200


def test_the_answer_to_a_late_authorisation_knows_that_it_is_overdue(world: World) -> None:
    """P42: the first answer and the next read agree."""
    payment_id = world.payment()
    body = {"capture_before": "2020-01-01T00:00:00Z"}
    answer = world.command(payment_id, "authorize", body)
    assert answer.json["allowed_actions"] == ["void"]
    assert answer.json == world.read(payment_id)
