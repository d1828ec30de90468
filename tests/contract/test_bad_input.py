"""What a client can get wrong about money: the code, what would have been possible, and no trace.

Each case is sent with a key; after it every table is as it was, and the key is still free.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

import pytest

from tests.world import new_key

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.world import Reply, World

TABLES = (
    *("payments", "payment_events", "payment_captures", "payment_refunds", "payment_disputes"),
    *("idempotency_keys", "ledger_transactions", "ledger_entries", "ledger_balances"),
    *("webhook_endpoints", "webhook_deliveries"),
)
CONTENT = " UNION ALL ".join(
    f"SELECT '{table}', count(*), md5(string_agg(t::text, '|' ORDER BY t::text)) FROM {table} AS t"
    for table in TABLES
)
DISPUTE = {"reason": "fraud", "reference": "case-9"}
NOBODY = "00000000-0000-7000-8000-000000000000"


def created(world: World) -> str:
    """1,000 promised."""
    return world.payment(1_000, reference="order-1")


def authorized(world: World) -> str:
    """1,000 to capture, by one capture."""
    return world.authorized(1_000)


def part(world: World) -> str:
    """400 of 1,000 captured with a fee of 40, and 100 of them given back."""
    payment_id = world.authorized(1_000, capture_method="manual_multiple")
    taken = {"amount_minor": 400, "fee_minor": 40, "reference": "box-1"}
    assert world.command(payment_id, "capture", taken).status_code == 200
    given = {"amount_minor": 100, "fee_minor": 10, "reference": "return-1"}
    assert world.command(payment_id, "refunds", given).status_code == 201
    world.disputed(payment_id, 50, reference="case-1")
    return payment_id


def sold(world: World) -> str:
    """1,000 captured, 30 of them a fee."""
    return world.captured(1_000, fee_minor=30)


def spent(world: World) -> str:
    """Captured, and the user has 400 of the 1,000 left."""
    payment_id = world.captured(1_000)
    world.resolve(world.disputed(world.captured(600)), "lost", fee_minor=600)
    return payment_id


def voided(world: World) -> str:
    """Ended without a capture."""
    payment_id = world.authorized(1_000)
    world.command(payment_id, "void")
    return payment_id


def left(amount_minor: int) -> dict[str, Any]:
    """What would have been possible."""
    return {"remaining_minor": amount_minor}


def state(status: str, *actions: str) -> dict[str, Any]:
    """What may be done instead."""
    return {"payment_status": status, "allowed_actions": list(actions)}


CAPTURABLE, REFUNDABLE = "amount_exceeds_capturable", "amount_exceeds_refundable"
CASES: list[tuple[Callable[[World], str], str, dict[str, Any], int, str, dict[str, Any]]] = [
    # Too much.
    (created, "authorize", {"amount_minor": 1_001}, 422, "amount_exceeds_authorizable", left(1000)),
    (created, "capture", {"amount_minor": 1_001}, 422, CAPTURABLE, left(1_000)),
    (authorized, "capture", {"amount_minor": 1_001}, 422, CAPTURABLE, left(1_000)),
    (part, "capture", {"amount_minor": 601}, 422, CAPTURABLE, left(600)),
    (sold, "refunds", {"amount_minor": 1_001}, 422, REFUNDABLE, left(1_000)),
    (part, "refunds", {"amount_minor": 251}, 422, REFUNDABLE, left(250)),
    (sold, "disputes", {"amount_minor": 1_001, **DISPUTE}, 422, REFUNDABLE, left(1_000)),
    (part, "disputes", {"amount_minor": 251, **DISPUTE}, 422, REFUNDABLE, left(250)),
    (authorized, "capture", {"fee_minor": 1_001}, 422, "fee_exceeds_amount", left(1_000)),
    (part, "capture", {"amount_minor": 5, "fee_minor": 6}, 422, "fee_exceeds_amount", left(5)),
    (sold, "refunds", {"fee_minor": 31}, 422, "fee_exceeds_amount", left(30)),
    (part, "refunds", {"fee_minor": 31}, 422, "fee_exceeds_amount", left(30)),
    (spent, "refunds", {"amount_minor": 401}, 422, "insufficient_funds", {"available_minor": 400}),
    # Of nothing, and in the wrong state.
    (created, "refunds", {}, 409, "invalid_state",
     state("created", "authorize", "capture", "cancel", "fail")),
    (authorized, "refunds", {}, 409, "invalid_state", state("authorized", "capture", "void")),
    (voided, "refunds", {}, 409, "invalid_state", state("voided")),
    (voided, "disputes", DISPUTE, 409, "invalid_state", state("voided")),
    (voided, "capture", {}, 409, "invalid_state", state("voided")),
    (voided, "void", {}, 409, "invalid_state", state("voided")),
    (sold, "authorize", {}, 409, "invalid_state", state("captured", "refund", "dispute")),
    (sold, "capture", {}, 409, "invalid_state", state("captured", "refund", "dispute")),
    (sold, "cancel", {}, 409, "invalid_state", state("captured", "refund", "dispute")),
    (sold, "fail", {"failure_code": "late"}, 409, "invalid_state",
     state("captured", "refund", "dispute")),
    # Another currency.
    (created, "authorize", {"currency": "USD"}, 422, "currency_mismatch", {}),
    (authorized, "capture", {"currency": "USD"}, 422, "currency_mismatch", {}),
    (sold, "refunds", {"currency": "USD"}, 422, "currency_mismatch", {}),
    (sold, "disputes", {"currency": "USD", **DISPUTE}, 422, "currency_mismatch", {}),
    # What only one kind of payment can do.
    (authorized, "capture", {"amount_minor": 5, "final": False}, 422, "validation_failed", {}),
]  # fmt: skip


def send(world: World, path: str, content: str, key: str, method: str = "POST") -> Reply:
    """Send these bytes: `1.0` and `1e2` are lost on the way through Python's own writer."""
    headers = {"Authorization": f"Bearer {world.api_key}", "Idempotency-Key": key}
    answer = world.app.test_client().open(
        path,
        method=method,
        data=content,
        content_type="application/json",
        headers=headers,
        buffered=True,
    )
    return cast("Reply", answer)


def key_is_free(world: World, key: str) -> bool:
    """Whether nothing is stored under a key."""
    return bool(world.get(f"/v1/idempotency-keys?key={key}").json["state"] == "unknown")


@pytest.mark.parametrize(
    ("made", "name", "body", "status", "code", "members"),
    CASES,
    ids=[
        f"{made.__name__}-{name}-{code}-{n}" for n, (made, name, _, _, code, _) in enumerate(CASES)
    ],
)
def test_a_refused_command_says_what_would_have_been_possible(
    world: World,
    made: Callable[[World], str],
    name: str,
    body: dict[str, Any],
    status: int,
    code: str,
    members: dict[str, Any],
) -> None:
    """P10, P46: too much, of nothing, in the wrong state, of another currency."""
    payment_id, key = made(world), new_key()
    before = world.rows(CONTENT)
    answer = world.command(payment_id, name, body, key=key)
    assert (answer.status_code, answer.json["code"]) == (status, code)
    assert {each: answer.json[each] for each in members} == members
    assert answer.json["retryable"] is False
    assert world.rows(CONTENT) == before
    assert key_is_free(world, key)


# --- Amounts that are none ----------------------------------------------------------------------

NO_AMOUNTS = {
    "-1": "amount_out_of_range",
    "0": "amount_out_of_range",
    "1000000000000000": "amount_out_of_range",
    "-0.5": "amount_not_integer",
    "0.1": "amount_not_integer",
    "10.99": "amount_not_integer",
    "1.0": "amount_not_integer",
    "1e2": "amount_not_integer",
    '"1"': "amount_not_integer",
    "true": "amount_not_integer",
    "null": "amount_not_integer",
    "[1]": "amount_not_integer",
    "{}": "amount_not_integer",
}


@pytest.mark.parametrize("name", ["create", "authorize", "capture", "refunds", "disputes"])
def test_an_amount_is_a_positive_integer_of_minor_units(world: World, name: str) -> None:
    """P1, P2: nothing is rounded, converted or guessed, in any command."""
    made = {"authorize": created, "capture": authorized}.get(name, sold)
    path = "/v1/payments" if name == "create" else f"/v1/payments/{made(world)}/{name}"
    rest = {"create": {"currency": "EUR", "user_id": world.user_id}, "disputes": DISPUTE}
    rest_text = json.dumps(rest.get(name, {}))[1:]
    before = world.rows(CONTENT)
    for text, code in NO_AMOUNTS.items():
        comma = ", " if name in rest else ""
        answer = send(world, path, f'{{"amount_minor": {text}{comma}{rest_text}', new_key())
        assert (answer.status_code, answer.json["code"]) == (422, "validation_failed"), text
        (fault,) = answer.json["errors"]
        assert (fault["pointer"], fault["code"]) == ("/amount_minor", code), text
    assert world.rows(CONTENT) == before


@pytest.mark.parametrize("currency", ["usd", "EU", "EURO", "USD\n", "XAU", "XTS", "ZZZ", ""])
def test_a_currency_is_one_that_can_be_paid_in(world: World, currency: str) -> None:
    """P4: matched whole."""
    before = world.rows(CONTENT)
    body = {"amount_minor": 1, "currency": currency, "user_id": world.user_id}
    answer = world.post("/v1/payments", body)
    assert answer.status_code == 422
    assert answer.json["code"] in {"validation_failed", "currency_unsupported"}
    assert answer.json["errors"][0]["pointer"] == "/currency"
    assert world.rows(CONTENT) == before


# --- Versions, references, ids ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("made", "name", "body"),
    [
        (authorized, "capture", {}),
        (authorized, "void", {}),
        (sold, "refunds", {}),
        (sold, "disputes", DISPUTE),
        (sold, "", {"description": "new"}),
    ],
)
def test_a_stale_version_is_refused_with_the_current_one(
    world: World, made: Callable[[World], str], name: str, body: dict[str, Any]
) -> None:
    """P43: older, later, weak, of another kind."""
    payment_id = made(world)
    before = world.rows(CONTENT)
    for if_match in ('"1"', '"99"', 'W/"2"', '"x"'):
        if name:
            answer = world.command(payment_id, name, body, If_Match=if_match)
        else:
            answer = world.patch(f"/v1/payments/{payment_id}", body, If_Match=if_match)
        assert (answer.status_code, answer.json["code"]) == (412, "version_mismatch")
        assert answer.json["current_version"] == 2
    assert world.rows(CONTENT) == before


@pytest.mark.parametrize(
    ("name", "body", "place"),
    [
        ("capture", {"reference": "box-1"}, "/v1/captures/"),
        ("refunds", {"reference": "return-1"}, "/v1/refunds/"),
        ("disputes", {**DISPUTE, "reference": "case-1"}, "/v1/disputes/"),
    ],
)
def test_a_used_reference_leads_to_the_first(
    world: World, name: str, body: dict[str, Any], place: str
) -> None:
    """P12: whatever the amount."""
    payment_id = part(world)
    before = world.rows(CONTENT)
    for amount_minor in (1, 100_000):
        answer = world.command(payment_id, name, {**body, "amount_minor": amount_minor})
        assert (answer.status_code, answer.json["code"]) == (409, "duplicate_reference")
        first = world.get(answer.headers["Location"]).json
        assert answer.headers["Location"] == f"{place}{answer.json['resource_id']}"
        assert (first["id"], first["reference"]) == (answer.json["resource_id"], body["reference"])
    assert world.rows(CONTENT) == before


def test_a_used_reference_of_a_payment_leads_to_it(world: World) -> None:
    """P12: of one user; another may have the same."""
    payment_id = created(world)
    body = {"amount_minor": 7, "currency": "JPY", "reference": "order-1"}
    answer = world.post("/v1/payments", {**body, "user_id": world.user_id})
    assert (answer.status_code, answer.json["resource_id"]) == (409, payment_id)
    assert answer.headers["Location"] == f"/v1/payments/{payment_id}"
    other = str(world.new_user().id)
    assert world.post("/v1/payments", {**body, "user_id": other}).status_code == 201


COMMANDS: list[tuple[str, dict[str, Any]]] = [
    ("authorize", {}),
    ("capture", {}),
    ("void", {}),
    ("cancel", {}),
    ("fail", {"failure_code": "no"}),
    ("refunds", {}),
    ("disputes", DISPUTE),
]


def test_foreign_ids_are_not_there(world: World) -> None:
    """P41, A2: another tenant's, nobody's, and what is no id, all alike."""
    payment_id = part(world)
    dispute_id = world.get(f"/v1/payments/{payment_id}/disputes").json["data"][0]["id"]
    world.services.tenants.create("other", "Other", "cli:test")
    world.api_key = world.new_api_key(tenant_id="other")
    before = world.rows(CONTENT)
    for each in (payment_id, NOBODY, "1", payment_id.upper(), f"{{{payment_id}}}"):
        answers = [world.command(each, name, body) for name, body in COMMANDS]
        answers += [
            world.get(f"/v1/payments/{each}"),
            world.get(f"/v1/payments/{each}/events"),
            world.patch(f"/v1/payments/{each}", {"description": "mine"}),
        ]
        assert {(a.status_code, a.json["code"]) for a in answers} == {(404, "not_found")}
    assert world.resolve(dispute_id, "won").status_code == 404
    assert world.rows(CONTENT) == before


# --- Cursors and addresses ----------------------------------------------------------------------


def test_forged_cursors_open_nothing(world: World) -> None:
    """P45: altered, of another list, of other filters, of another tenant, made up."""
    payment_id = part(world)
    for _ in range(2):
        world.payment(5)
    cursor = world.get("/v1/payments?limit=1").json["next_cursor"]
    assert world.get(f"/v1/payments?limit=1&cursor={cursor}").status_code == 200
    feed = world.get("/v1/events?limit=1").json["next_after"]
    paths = [
        f"/v1/payments?cursor={cursor[:-1]}{'A' if cursor[-1] != 'A' else 'B'}",
        f"/v1/payments?cursor=A{cursor[1:]}",
        f"/v1/payments?status=created&cursor={cursor}",
        f"/v1/payments?user_id={world.user_id}&cursor={cursor}",
        f"/v1/payments?cursor={feed}",
        f"/v1/payments/{payment_id}/captures?cursor={cursor}",
        f"/v1/payments/{payment_id}/refunds?cursor={cursor}",
        f"/v1/payments/{payment_id}/disputes?cursor={cursor}",
        f"/v1/events?after={cursor}",
        "/v1/events?after=W10.AAAA",
        "/v1/payments?cursor=eyJpZCI6MX0",
    ]
    answers = [world.get(path) for path in paths]
    world.services.tenants.create("other", "Other", "cli:test")
    world.api_key = world.new_api_key(tenant_id="other")
    answers += [world.get(f"/v1/payments?cursor={cursor}"), world.get(f"/v1/events?after={feed}")]
    assert [(a.status_code, a.json["code"]) for a in answers] == [(400, "cursor_invalid")] * 13


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/",
        "https://10.1.2.3/",
        "https://[::1]/",
        "https://[64:ff9b::a00:1]/",
        "https://169.254.169.254/latest/meta-data/",
        "https://localhost/",
        "http://shop.example.org/",
        "https://shop.example.org:5432/",
        "https://user@shop.example.org/",
    ],
)
def test_a_webhook_does_not_point_inside(world: World, url: str) -> None:
    """W4: neither when it is made nor when it is changed."""
    answer = world.post("/v1/webhook-endpoints", {"url": "https://shop.example.org/"}, keyed=False)
    place = f"/v1/webhook-endpoints/{answer.json['id']}"
    before = world.rows(CONTENT)
    refused = [
        world.post("/v1/webhook-endpoints", {"url": url}, keyed=False),
        world.patch(place, {"url": url}),
    ]
    for each in refused:
        assert (each.status_code, each.json["errors"][0]["code"]) == (422, "url_refused")
    assert world.rows(CONTENT) == before
