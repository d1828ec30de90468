"""What a caller can see and change: a key the tenant's payments, a user its own (P41, A6)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, cast

import psycopg
import pytest

from repos.payments import LIST, LIST_BY_USER
from services.payment_queries import Filters
from tests.world import new_key

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.actors import Actor
    from tests.world import Reply, Session, World


@pytest.fixture
def session(world: World) -> Session:
    """A user who has logged in."""
    return world.new_session()


@pytest.fixture
def as_user(world: World, session: Session) -> Callable[..., Reply]:
    """Send a request as that user: `as_user("GET", path, body, **headers)`."""

    def send(method: str, path: str, body: Any = None, **headers: str) -> Reply:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = world.app.test_client().open(
            path, method=method, json=body, headers={**session.headers, **given}, buffered=True
        )
        return cast("Reply", answer)

    return send


def pay(as_user: Callable[..., Reply], key: str, **more: Any) -> Reply:
    body = {"amount_minor": 1099, "currency": "EUR", **more}
    return as_user("POST", "/v1/payments", body, Idempotency_Key=key)


# --- Users --------------------------------------------------------------------------------------


def test_a_user_pays_for_itself_and_names_nobody_else(
    world: World, session: Session, as_user: Callable[..., Reply]
) -> None:
    """P41: left out or its own id; another's is 404, as if that user did not exist."""
    made = pay(as_user, new_key())
    assert (made.status_code, made.json["user_id"]) == (201, str(session.user_id))
    assert pay(as_user, new_key(), user_id=str(session.user_id)).status_code == 201
    other = pay(as_user, new_key(), user_id=world.user_id)
    assert (other.status_code, other.json["code"]) == (404, "not_found")


def test_a_users_keys_are_its_own(world: World, as_user: Callable[..., Reply]) -> None:
    """Section 7: scope `user:<id>`; the same key of an API client is another request."""
    key = new_key()
    first = pay(as_user, key)
    again = pay(as_user, key)
    assert (again.data, again.headers["Idempotent-Replayed"]) == (first.data, "true")
    body = {"amount_minor": 1, "currency": "EUR", "user_id": world.user_id}
    assert world.post("/v1/payments", body, key=key).headers["Idempotency-Status"] == "stored"
    found = as_user("GET", f"/v1/idempotency-keys?key={key}").json
    assert (found["state"], found["resource_id"]) == ("completed", first.json["id"])


def test_a_user_cancels_by_key_what_it_has_made(
    world: World, as_user: Callable[..., Reply]
) -> None:
    """K9, A7: a payment that was authorised needs a scope that no user holds."""
    one, two = new_key(), new_key()
    pay(as_user, one)
    world.command(pay(as_user, two).json["id"], "authorize")
    path = "/v1/payments/cancel-by-key"
    done = as_user("POST", path, {"idempotency_key": one})
    assert (done.status_code, done.json["outcome"]) == (200, "cancelled")
    refused = as_user("POST", path, {"idempotency_key": two})
    assert (refused.status_code, refused.json["required_scope"]) == (403, "payments:void")


def test_anothers_payment_is_not_there(world: World, as_user: Callable[..., Reply]) -> None:
    """A6: the reach is in the SQL; by any read and by any command that a user may send."""
    payment_id = world.captured(1000)
    capture = world.get(f"/v1/payments/{payment_id}/captures").json["data"][0]["id"]
    refund = world.command(payment_id, "refunds", {"amount_minor": 1}).json["id"]
    dispute = world.disputed(payment_id, 1)
    waiting = world.payment(1000)
    reads = [
        f"/v1/payments/{payment_id}",
        *(f"/v1/payments/{payment_id}/{what}" for what in PARTS),
        f"/v1/captures/{capture}",
        f"/v1/refunds/{refund}",
        f"/v1/disputes/{dispute}",
    ]
    answers = [as_user("GET", path) for path in reads]
    answers.append(as_user("PATCH", f"/v1/payments/{payment_id}", {"description": "x"}))
    answers.append(as_user("POST", f"/v1/payments/{waiting}/cancel", {}, Idempotency_Key="k"))
    assert {(answer.status_code, answer.json["code"]) for answer in answers} == {(404, "not_found")}
    assert world.read(payment_id)["description"] is None
    assert world.read(waiting)["status"] == "created"


PARTS = ("events", "captures", "refunds", "disputes")


def test_a_user_reads_and_describes_its_own(world: World, as_user: Callable[..., Reply]) -> None:
    payment_id = pay(as_user, new_key()).json["id"]
    world.command(payment_id, "capture")
    refund = world.command(payment_id, "refunds", {"amount_minor": 1}).json["id"]
    world.disputed(payment_id, 1)
    assert as_user("GET", f"/v1/refunds/{refund}").json["amount_minor"] == 1
    for what in PARTS:
        assert len(as_user("GET", f"/v1/payments/{payment_id}/{what}").json["data"]) >= 1
    changed = as_user("PATCH", f"/v1/payments/{payment_id}", {"description": "mine"})
    assert (changed.status_code, changed.json["description"]) == (200, "mine")


def test_a_users_list_has_its_own_alone(
    world: World, session: Session, as_user: Callable[..., Reply]
) -> None:
    """P41, P44: naming another user is an empty list, not the own one."""
    world.payment()
    mine = pay(as_user, new_key()).json["id"]

    def ids(query: str) -> list[str]:
        return [each["id"] for each in as_user("GET", f"/v1/payments{query}").json["data"]]

    assert ids("") == [mine]
    assert ids(f"?user_id={session.user_id}") == [mine]
    assert ids(f"?user_id={world.user_id}") == []


def test_a_cursor_of_another_reach_is_refused(
    world: World, session: Session, as_user: Callable[..., Reply]
) -> None:
    """P45: bound to tenant and reach, so a key's cursor opens nothing to a user."""
    for _ in range(2):
        pay(as_user, new_key())
    cursor = world.get("/v1/payments?limit=1").json["next_cursor"]
    assert as_user("GET", f"/v1/payments?cursor={cursor}").json["code"] == "cursor_invalid"
    own = world.get(f"/v1/payments?limit=1&user_id={session.user_id}").json["next_cursor"]
    path = f"/v1/payments?user_id={session.user_id}&cursor={own}"
    assert as_user("GET", path).json["code"] == "cursor_invalid"


# --- Filters ------------------------------------------------------------------------------------


@pytest.fixture
def actor(world: World) -> Actor:
    """A key that reaches the whole tenant."""
    return world.services.credentials.authenticate(world.api_key, "127.0.0.1")


def amounts(world: World, actor: Actor, filters: Filters) -> list[int]:
    """Return the amounts of what a list shows, read one row a page."""
    found: list[int] = []
    cursor = None
    while True:
        shown, cursor = world.services.payment_queries.page(actor, filters, 1, cursor)
        found += [payment["amount_minor"] for payment in shown]
        if cursor is None:
            return found


def test_every_filter_is_exact_and_all_of_them_hold(world: World, actor: Actor) -> None:
    """P44: compared with the same rule in Python, over payments that differ in each of them."""
    users = [world.user_id, str(world.new_user().id)]
    made = []
    for number in range(16):
        payment_id = world.payment(
            100 + number,
            currency=("EUR", "USD")[number % 2],
            user_id=users[number // 2 % 2],
            reference=f"r-{number // 4}-{number}",
            metadata={"shop": str(number % 3), "a.b": str(number % 5)},
        )
        if number % 4 == 3:
            world.command(payment_id, "capture")
        made.append(world.read(payment_id))
    times = sorted(payment["created_at"] for payment in made)
    cases: list[tuple[str, Callable[[dict[str, Any]], bool]]] = [
        ("status=captured", lambda p: p["status"] == "captured"),
        ("status=captured&status=voided", lambda p: p["status"] in {"captured", "voided"}),
        ("currency=USD", lambda p: p["currency"] == "USD"),
        (f"user_id={users[1]}", lambda p: p["user_id"] == users[1]),
        ("reference=r-1-5", lambda p: p["reference"] == "r-1-5"),
        ("amount_gte=105&amount_lte=109", lambda p: 105 <= p["amount_minor"] <= 109),
        ("metadata.shop=1", lambda p: p["metadata"]["shop"] == "1"),
        ("metadata.a.b=2&metadata.shop=0", lambda p: (p["metadata"]["a.b"], p["metadata"]["shop"])
            == ("2", "0")),
        (f"created_gte={times[4]}&created_lt={times[9]}",
            lambda p: times[4] <= p["created_at"] < times[9]),
        (f"currency=EUR&status=created&user_id={users[0]}&amount_gte=104",
            lambda p: (p["currency"], p["status"], p["user_id"]) == ("EUR", "created", users[0])
            and p["amount_minor"] >= 104),
    ]  # fmt: skip
    for query, holds in cases:
        seen: list[dict[str, Any]] = []
        path = f"/v1/payments?limit=2&{query}"
        page = world.get(path).json
        seen += page["data"]
        while page["next_cursor"]:
            page = world.get(f"{path}&cursor={page['next_cursor']}").json
            seen += page["data"]
        assert seen == [payment for payment in made[::-1] if holds(payment)], query


def test_a_page_ends_where_a_payment_is_made_meanwhile(world: World, actor: Actor) -> None:
    """P44: keyset: what comes later is newer than the cursor, and shifts nothing."""
    made = [world.payment(amount) for amount in range(1, 5)]
    shown, cursor = world.services.payment_queries.page(actor, Filters(), 2, None)
    world.payment(99)
    rest, end = world.services.payment_queries.page(actor, Filters(), 2, cursor)
    assert [payment["id"] for payment in shown + rest] == made[::-1]
    assert end is None
    assert amounts(world, actor, Filters(amount_lte=2)) == [2, 1]


# --- The deepest page ---------------------------------------------------------------------------

FILL = """
INSERT INTO payments (tenant_id, id, user_id, amount_minor, currency, status, created_at,
    updated_at)
SELECT 'default', gen_random_uuid(), u.id, 1, 'EUR', 'created', m.at, m.at
FROM users AS u, generate_series(1, 8000) AS n,
    LATERAL (SELECT timestamptz '2020-01-01Z' + n * interval '1 s') AS m (at)
"""


@pytest.mark.parametrize("statement", [LIST, LIST_BY_USER], ids=lambda each: each.name)
def test_a_deep_page_reads_no_more_than_the_first(
    world: World, database_owner: str, statement: Any
) -> None:
    """P44: keyset: the index is entered where the cursor stands, never walked up to it."""
    given: dict[str, Any] = {
        **Filters().of_tenant("default"),
        "user_id": world.user_id,
        "before_id": world.user_id,
        "scan_rows": 10_000,
        "row_limit": 10,
    }
    with psycopg.connect(database_owner) as conn:
        conn.execute(FILL)
        conn.execute("SET enable_seqscan = off; SET enable_sort = off; SET enable_bitmapscan = off")
        conn.execute(b"PREPARE page AS " + statement.query)
        first, deep = (
            blocks(conn, [{**given, "before_at": at}[p.name] for p in statement.file.params])
            for at in ("infinity", "2020-01-01 00:00:20Z")
        )
        conn.rollback()  # Payments without events.
    assert deep <= first


def blocks(conn: psycopg.Connection[Any], values: list[Any]) -> int:
    """Return how many blocks the prepared page touches."""
    written = ", ".join("NULL" if value is None else f"'{value}'" for value in values)
    query = f"EXPLAIN (ANALYZE, BUFFERS, TIMING OFF) EXECUTE page ({written})"
    plan = "\n".join(line for (line,) in conn.execute(query.encode()).fetchall())
    top = plan[plan.index("Buffers:") :].partition("\n")[0]
    return sum(map(int, re.findall(r"(?:hit|read)=(\d+)", top)))
