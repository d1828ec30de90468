"""Exports of payments: all that pass, in one snapshot, in constant memory (P41, P44, P40)."""

from __future__ import annotations

import csv
import io
import json
import tracemalloc
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from services import payment_exports
from services.export_lines import ExportLines
from tests.world import World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.world import Reply

# As many payments as wished, each with the event that made it: as commands would have left them.
MANY = """
WITH made AS (
    INSERT INTO payments (tenant_id, id, user_id, reference, amount_minor, currency, metadata,
        status, created_at, updated_at)
    SELECT 'default', gen_random_uuid(), %s, 'many-' || n, n, 'EUR',
        jsonb_build_object('text', repeat('x', 400)), 'created', now(), now()
    FROM generate_series(%s::int, %s::int) AS n
    RETURNING tenant_id, id, created_at
)
INSERT INTO payment_events (tenant_id, payment_id, seq, type, status_to, after, actor, request_id,
    key, created_at)
SELECT tenant_id, id, 1, 'payment.created', 'created', '{"status": "created", "end_reason": null,
    "capture_before": null, "authorized_minor": 0, "captured_minor": 0, "voided_minor": 0,
    "refunded_minor": 0, "disputed_minor": 0, "charged_back_minor": 0, "fee_minor": 0,
    "fee_refunded_minor": 0}', 'cli:test', 'request', 'many', created_at
FROM made
"""
EXPORTS = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%%payments/export%%' AND pid <> pg_backend_pid()"  # noqa: E501


def lines(world: World, query: str = "") -> list[dict[str, Any]]:
    """Return an export without its last line, which is checked."""
    answer = world.get(f"/v1/payments/export{query}")
    assert answer.status_code == 200, answer.json
    return list(ExportLines(io.BytesIO(answer.data)))


def records(world: World, query: str = "") -> list[dict[str, str]]:
    """Return an export as CSV, read by the standard library."""
    answer = world.get(f"/v1/payments/export?format=csv{query}")
    assert (answer.status_code, answer.content_type) == (200, "text/csv; charset=utf-8")
    return list(csv.DictReader(io.StringIO(answer.text, newline="")))


def test_an_export_has_every_payment_as_it_is_read_alone(world: World) -> None:
    """P40: oldest first; the last line counts and hashes those before it."""
    ids = [world.payment(1_000), world.captured(2_000, fee_minor=20), world.authorized(3_000)]
    found = lines(world)
    assert found == [world.read(payment_id) for payment_id in ids]
    answer = world.get("/v1/payments/export")
    assert answer.content_type == "application/x-ndjson; charset=utf-8"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="payments.ndjson"'


def test_an_export_without_payments_is_an_end(world: World) -> None:
    """Nothing is not the same as cut off."""
    reader = ExportLines(io.BytesIO(world.get("/v1/payments/export").data))
    assert (list(reader), reader.end["count"]) == ([], 0)
    assert records(world) == []


@pytest.mark.parametrize(
    ("query", "amounts"),
    [
        ("?status=captured", [2_000]),
        ("?status=captured&status=created", [1_000, 2_000]),
        ("?currency=JPY", [3_000]),
        ("?reference=order-1", [1_000]),
        ("?amount_gte=1001&amount_lte=2999", [2_000]),
        ("?metadata.shop=berlin", [1_000]),
        ("?created_gte=2999-01-01T00:00:00Z", []),
        ("?created_lt=2001-01-01T00:00:00Z", []),
    ],
)
def test_the_filters_are_those_of_the_list(world: World, query: str, amounts: list[int]) -> None:
    """P44."""
    world.payment(1_000, reference="order-1", metadata={"shop": "berlin"})
    world.captured(2_000)
    world.authorized(3_000, currency="JPY")
    assert [each["amount_minor"] for each in lines(world, query)] == amounts
    listed = world.get(f"/v1/payments{query}").json["data"]
    assert sorted(each["amount_minor"] for each in listed) == amounts


@pytest.mark.parametrize("query", ["?format=xml", "?limit=1", "?cursor=x", "?status=lost", "?x=1"])
def test_what_is_no_filter_is_refused(world: World, query: str) -> None:
    """AE6."""
    answer = world.get(f"/v1/payments/export{query}")
    assert (answer.status_code, answer.json["code"]) == (422, "validation_failed")


def test_a_record_has_a_cell_for_each_member(world: World) -> None:
    """RFC 4180: a header, CRLF, quotes doubled; null is empty, metadata is JSON."""
    payment_id = world.captured(1_099, description='say "hi",\r\nthen go', metadata={"a": "ä"})
    (record,) = records(world)
    payment = world.read(payment_id)
    assert list(record) == list(payment)
    assert record["description"] == payment["description"]
    assert (record["amount_minor"], record["amount_decimal"]) == ("1099", "10.99")
    assert (record["failure_code"], record["allowed_actions"]) == ("", "refund dispute")
    assert json.loads(record["metadata"]) == payment["metadata"]


@pytest.mark.parametrize("first", ["=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b"])
def test_no_cell_begins_a_formula(world: World, first: str) -> None:
    """What a payer writes is not computed by who opens the file; NDJSON has it as it is."""
    text = f"{first}HYPERLINK(1)"
    world.payment(description=text)
    assert [each["description"] for each in records(world)] == [f"'{text}"]
    assert [each["description"] for each in lines(world)] == [text]


def test_reach_is_that_of_the_list(world: World) -> None:
    """P41, A2: a user its own, a key its tenant's, and naming another user finds nothing."""
    mine = world.new_session()
    body = {"amount_minor": 5, "currency": "EUR", "user_id": str(mine.user_id)}
    made = world.post("/v1/payments", body).json["id"]
    world.payment(7)

    def ids(query: str = "", **headers: str) -> list[str]:
        answer = world.app.test_client().get(
            f"/v1/payments/export{query}", headers=headers, buffered=True
        )
        return [each["id"] for each in ExportLines(io.BytesIO(answer.data))]

    assert ids(**mine.headers) == ids(f"?user_id={mine.user_id}", **mine.headers) == [made]
    assert ids(f"?user_id={world.user_id}", **mine.headers) == []
    assert [each["id"] for each in lines(world, f"?user_id={mine.user_id}")] == [made]
    world.services.tenants.create("other", "Other", "cli:test")
    other = world.new_api_key(tenant_id="other")
    assert ids(Authorization=f"Bearer {other}") == []
    without = world.new_api_key(["payments:create"])
    refused = world.app.test_client().get(
        "/v1/payments/export", headers={"Authorization": f"Bearer {without}"}
    )
    assert refused.status_code == 403


def opened(world: World, query: str = "") -> Reply:
    """Begin an export and read nothing of it yet."""
    headers = {"Authorization": f"Bearer {world.api_key}"}
    return world.app.test_client().get(f"/v1/payments/export{query}", headers=headers)  # type: ignore[return-value]


def test_an_export_shows_one_moment(world: World, owner: Callable[..., None]) -> None:
    """What is committed while it runs is not in it, new or changed."""
    owner(MANY, world.user_id, 1, 1_200)
    answer = opened(world)
    body = answer.iter_encoded()
    first = next(body)
    last_id = world.rows("SELECT id::text FROM payments ORDER BY created_at DESC, id DESC LIMIT 1")
    assert world.command(last_id[0][0], "cancel").status_code == 200
    world.payment(9)
    found = list(ExportLines(io.BytesIO(first + b"".join(body))))
    answer.close()
    assert {each["status"] for each in found} == {"created"}
    assert len(found) == 1_200


@pytest.mark.parametrize("read", [0, 1])
def test_who_stops_reading_gives_connection_and_slot_back(
    world: World, owner: Callable[..., None], database_admin: str, read: int
) -> None:
    """OS1: more exports than there are slots, each left in the middle."""
    owner(MANY, world.user_id, 1, 1_200)
    with psycopg.connect(database_admin, autocommit=True) as conn:
        for _ in range(world.services.config.web_threads):
            answer = opened(world)
            assert answer.status_code == 200
            for _ in range(read):
                next(answer.iter_encoded())
            assert conn.execute(EXPORTS).fetchone() == (1,)
            answer.close()
            wait_for(lambda: conn.execute(EXPORTS).fetchone() == (0,))


def wait_for(is_true: Callable[[], bool]) -> None:
    """A backend notices the closed socket by itself: within 240 s or the test ends."""
    while not is_true():
        pass


def test_exports_beyond_the_slots_are_refused(world: World, owner: Callable[..., None]) -> None:
    """OS1: each holds a connection outside of the pool, so there are few."""
    owner(MANY, world.user_id, 1, 1_200)
    held = [opened(world) for _ in range(max(1, world.services.config.web_threads // 4))]
    refused = world.get("/v1/payments/export")
    assert (refused.status_code, refused.json["code"]) == (503, "overloaded")
    for answer in held:
        answer.close()
    assert len(lines(world)) == 1_200


def peak_bytes(world: World, query: str) -> tuple[int, int]:
    """Return the most that an export held at once, and how much it wrote."""
    answer = opened(world, query)
    tracemalloc.start()
    try:
        written = sum(len(piece) for piece in answer.iter_encoded())
        return tracemalloc.get_traced_memory()[1], written
    finally:
        tracemalloc.stop()
        answer.close()


@pytest.mark.parametrize("kind", ["ndjson", "csv"])
def test_ten_times_the_payments_take_the_same_memory(
    world: World, owner: Callable[..., None], monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """By the bytes that Python holds, not by time; a tenth of the rows a fetch, to be quick."""
    monkeypatch.setattr(payment_exports, "FETCH_ROWS", 50)
    owner(MANY, world.user_id, 1, 3_300)
    peak_bytes(world, f"?format={kind}&amount_lte=300")  # What is made once is not counted.
    few, _ = peak_bytes(world, f"?format={kind}&amount_lte=300")
    many, written = peak_bytes(world, f"?format={kind}&amount_gte=301")
    assert many < 1.2 * few
    assert many < written / 2


@pytest.fixture
def small_world(database: str, tmp_path: Any) -> Iterator[World]:
    """With a limit of two heavy requests a minute."""
    limits = {"RATE_LIMIT_ENABLED": "true", "RATE_LIMIT_HEAVY": "2/minute"}
    made = World(database, tmp_path / "small", WEB_CONCURRENCY="1", **limits)
    yield made
    made.close()


def test_exports_are_counted_as_heavy(small_world: World) -> None:
    """operations.md, section 4: a limit of their own beside that of reads."""
    codes = [small_world.get("/v1/payments/export").status_code for _ in range(3)]
    assert codes == [200, 200, 429]
    assert small_world.get("/v1/payments").status_code == 200
