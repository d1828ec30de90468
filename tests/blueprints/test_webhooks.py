"""Webhook endpoints as a client meets them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args
from uuid import uuid4

import pytest

from blueprints.bodies.payments import EventType
from services.job_catalogue import catalogue
from services.jobs import Ask, Jobs, JobSettings
from services.webhook_messages import EVENT_TYPES
from services.webhooks import ENDPOINTS_MAX
from tests.clients import auth_jobs
from tests.receivers import Authority, Receiver, receiving
from tests.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.world import Reply

PATH = "/v1/webhook-endpoints"
URL = "https://shop.example.org/hook"


def call(world: World, method: str, path: str = "", body: Any = None, **query: Any) -> Reply:
    answer: Any = world.app.test_client().open(
        PATH + path,
        method=method,
        json=body,
        query_string=query,
        headers={"Authorization": f"Bearer {world.api_key}"},
    )
    return answer  # type: ignore[no-any-return]


def made(world: World, **body: Any) -> dict[str, Any]:
    answer = call(world, "POST", body={"url": URL, **body})
    assert answer.status_code == 201, answer.json
    return dict(answer.json)


def test_an_endpoint_shows_its_secret_once(world: World) -> None:
    """Section 9: in the answer that makes it, which nobody may keep."""
    answer = call(world, "POST", body={"url": URL, "description": "the shop"})
    assert answer.status_code == 201
    assert answer.headers["Cache-Control"] == "no-store"
    endpoint = dict(answer.json)
    assert answer.headers["Location"] == f"{PATH}/{endpoint['id']}"
    secret = endpoint.pop("secret")
    assert secret.startswith("whsec_")
    assert endpoint == {
        "id": endpoint["id"],
        "url": URL,
        "description": "the shop",
        "event_types": [],
        "status": "active",
        "disabled_reason": None,
        "failing_since": None,
        "last_success_at": None,
        "previous_until": None,
        "created_at": endpoint["created_at"],
        "updated_at": endpoint["created_at"],
    }
    assert call(world, "GET", f"/{endpoint['id']}").json == endpoint
    assert call(world, "GET").json == {"data": [endpoint]}


def test_a_key_is_not_needed_and_not_kept(world: World) -> None:
    """A9: an answer with a secret is never kept for replay."""
    client = world.app.test_client()
    headers = {"Authorization": f"Bearer {world.api_key}", "Idempotency-Key": "k-1"}
    first, second = (client.post(PATH, json={"url": URL}, headers=headers) for _ in range(2))
    assert first.headers["Idempotency-Status"] == "ignored"
    assert (first.json or {})["id"] != (second.json or {})["id"]


@pytest.mark.parametrize(
    "url",
    [
        "http://shop.example.org/",
        "https://127.0.0.1/",
        "https://2130706433/",
        "https://169.254.169.254/latest/meta-data/",
        "https://[::ffff:10.0.0.1]/",
        "https://localhost/",
        "https://ada:secret@shop.example.org/",
        "https://shop.example.org:22/",
    ],
)
def test_a_url_that_points_inside_is_refused(world: World, url: str) -> None:
    """W4: when it is made and when it is changed; nothing is changed, and it is not repeated."""
    endpoint = made(world)
    for answer in (
        call(world, "POST", body={"url": url}),
        call(world, "PATCH", f"/{endpoint['id']}", {"url": url}),
    ):
        assert (answer.status_code, answer.json["code"]) == (422, "validation_failed")
        (fault,) = answer.json["errors"]
        assert (fault["pointer"], fault["code"]) == ("/url", "url_refused")
        assert url not in answer.text
    assert [each["url"] for each in call(world, "GET").json["data"]] == [URL]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/url"),
        ({"url": 1}, "/url"),
        ({"url": ""}, "/url"),
        ({"url": "https://a.example/" + "a" * 2048}, "/url"),
        ({"url": URL, "event_types": ["payment.captred"]}, "/event_types/0"),
        ({"url": URL, "description": None}, "/description"),
        ({"url": URL, "secret": "whsec_x"}, "/secret"),
    ],
)
def test_a_bad_body_is_told(world: World, body: dict[str, Any], pointer: str) -> None:
    """AE5."""
    answer = call(world, "POST", body=body)
    assert answer.status_code == 422
    assert [fault["pointer"] for fault in answer.json["errors"]] == [pointer]


def test_a_change_leaves_the_rest_as_it_is(world: World) -> None:
    """RFC 7396: null removes, what is left out stays."""
    endpoint = made(world, description="the shop", event_types=["payment.captured"])
    path = f"/{endpoint['id']}"
    other = "https://shop.example.org:8443/other"
    changed = call(world, "PATCH", path, {"url": other}).json
    assert (changed["url"], changed["description"]) == (other, "the shop")
    assert changed["event_types"] == ["payment.captured"]
    changed = call(world, "PATCH", path, {"description": None, "event_types": []}).json
    assert (changed["url"], changed["description"], changed["event_types"]) == (other, None, [])
    assert "secret" not in changed


def test_an_endpoint_is_disabled_and_enabled(world: World) -> None:
    """Section 9."""
    path = f"/{made(world)['id']}"
    off = call(world, "PATCH", path, {"status": "disabled"}).json
    assert (off["status"], off["disabled_reason"]) == ("disabled", "by_request")
    on = call(world, "PATCH", path, {"status": "active"}).json
    assert (on["status"], on["disabled_reason"]) == ("active", None)
    assert call(world, "PATCH", path, {"status": "deleted"}).status_code == 422


def test_a_deleted_endpoint_is_not_there(world: World) -> None:
    """Section 9."""
    path = f"/{made(world)['id']}"
    gone = call(world, "DELETE", path)
    assert (gone.status_code, gone.data) == (204, b"")
    for method, rest, body in (
        ("GET", "", None),
        ("PATCH", "", {"url": URL}),
        ("DELETE", "", None),
        ("POST", "/rotate-secret", None),
        ("POST", "/test", None),
        ("GET", "/deliveries", None),
        ("POST", "/redeliver", {"event_id": f"{uuid4()}-1"}),
        ("POST", "/redeliver", {"failed_since": "2026-01-01T00:00:00Z"}),
    ):
        answer = call(world, method, path + rest, body)
        assert (answer.status_code, answer.json["code"]) == (404, "not_found"), (method, rest)
    assert call(world, "GET").json == {"data": []}


def test_another_tenants_endpoint_is_not_there(world: World) -> None:
    """A6."""
    path = f"/{made(world)['id']}"
    world.services.tenants.create("acme", "Acme", "cli:test")
    world.api_key = world.new_api_key(tenant_id="acme")
    assert call(world, "GET").json == {"data": []}
    for method, rest, body in (
        ("GET", "", None),
        ("PATCH", "", {"url": URL}),
        ("DELETE", "", None),
        ("POST", "/rotate-secret", None),
        ("POST", "/test", None),
        ("GET", "/deliveries", None),
        ("POST", "/redeliver", {"event_id": f"{uuid4()}-1"}),
    ):
        assert call(world, method, path + rest, body).status_code == 404, (method, rest)


def test_a_tenant_has_a_bounded_number_of_endpoints(world: World) -> None:
    """Each event would be one more delivery for each of them."""
    ids = [made(world)["id"] for _ in range(ENDPOINTS_MAX)]
    answer = call(world, "POST", body={"url": URL})
    assert (answer.status_code, answer.json["code"]) == (409, "webhook_endpoints_full")
    call(world, "DELETE", f"/{ids[0]}")
    made(world)


def test_a_rotation_shows_the_new_secret_once(world: World) -> None:
    """W2."""
    endpoint = made(world)
    rotated = call(world, "POST", f"/{endpoint['id']}/rotate-secret").json
    assert rotated["secret"] not in {endpoint["secret"], None}
    shown = call(world, "GET", f"/{endpoint['id']}").json
    assert shown["previous_until"] == rotated["previous_until"] is not None
    assert "secret" not in shown


def test_what_was_done_is_audited(world: World) -> None:
    """A52: by whom; never the secret or the URL, which may hold one."""
    endpoint = made(world)
    path = f"/{endpoint['id']}"
    call(world, "PATCH", path, {"status": "disabled"})
    call(world, "POST", f"{path}/rotate-secret")
    call(world, "DELETE", path)
    rows = world.rows(
        "SELECT event, starts_with(subject, 'key:'), details FROM audit_log"
        " WHERE starts_with(event, 'webhook') ORDER BY id"
    )
    assert [(event, by_key) for event, by_key, _ in rows] == [
        ("webhook_endpoint_created", True),
        ("webhook_endpoint_changed", True),
        ("webhook_secret_rotated", True),
        ("webhook_endpoint_deleted", True),
    ]
    assert all(details["endpoint_id"] == endpoint["id"] for _, _, details in rows)


def test_secrets_are_sealed_in_the_database(world: World) -> None:
    """Section 9: a dump signs nothing."""
    endpoint = made(world)
    ((sealed,),) = world.rows("SELECT secret_enc FROM webhook_endpoints")
    assert endpoint["secret"].encode() not in sealed
    assert len(sealed) == len(b"made\0") + 12 + 32 + 16


def test_types_are_those_of_the_description() -> None:
    """AE8: the API's list, and the command's."""
    assert get_args(EventType) == EVENT_TYPES


# --- Calls and deliveries -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def receiver(authority: Authority) -> Iterator[Receiver]:
    with receiving(authority) as running:
        yield running


@pytest.fixture
def near(
    database: str, tmp_path: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> Iterator[World]:
    """The service, which may call this machine and trusts the authority."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    world = World(database, tmp_path, WEBHOOK_ALLOW_PRIVATE="true")
    yield world
    world.close()


def fan_out(world: World) -> None:
    """Make deliveries, and send none."""
    db = world.services.db
    jobs = catalogue(db, lambda: iter(()), None, None, None, auth_jobs(db))  # type: ignore[arg-type]
    assert Jobs(db, jobs, JobSettings(), "here:1").run("fan-out-webhooks", Ask()) is not None


def test_a_test_call_tells_how_it_went(near: World, receiver: Receiver) -> None:
    """Section 9: signed, not stored, not repeated."""
    from standardwebhooks import Webhook  # noqa: PLC0415  # Here alone.

    endpoint = made(near, url=receiver.url)
    answer = call(near, "POST", f"/{endpoint['id']}/test").json
    assert answer.pop("duration_ms") >= 0
    assert answer == {"delivered": True, "status": 204, "error": None}
    (sent,) = receiver.received
    told = Webhook(endpoint["secret"]).verify(sent.body, sent.headers)
    assert (told["type"], told["data"]) == ("webhook.test", {"endpoint_id": endpoint["id"]})
    receiver.answer = lambda _: (500, {})
    assert call(near, "POST", f"/{endpoint['id']}/test").json["delivered"] is False
    assert call(near, "GET", f"/{endpoint['id']}/deliveries").json["data"] == []


def test_a_test_call_to_nobody_is_told_by_a_code(near: World) -> None:
    """W4."""
    endpoint = made(near, url="https://localhost:1/")
    answer = call(near, "POST", f"/{endpoint['id']}/test").json
    assert (answer["delivered"], answer["status"]) == (False, None)
    assert answer["error"] == "connection_failed"


def test_few_endpoints_are_tested_at_once(near: World, receiver: Receiver) -> None:
    """A test waits for somebody else, so it must not take all threads."""
    endpoint = made(near, url=receiver.url)
    tests = near.services.webhooks._tests
    with tests, tests:
        answer = call(near, "POST", f"/{endpoint['id']}/test")
    assert (answer.status_code, answer.json["code"]) == (503, "overloaded")
    assert call(near, "POST", f"/{endpoint['id']}/test").status_code == 200


def test_deliveries_are_listed_newest_first(near: World, receiver: Receiver) -> None:
    """Section 9: the log."""
    endpoint = made(near, url=receiver.url)
    payment_id = near.authorized()
    fan_out(near)
    page = call(near, "GET", f"/{endpoint['id']}/deliveries").json
    assert page["next_cursor"] is None
    assert [each["event_id"] for each in page["data"]] == [f"{payment_id}-2", f"{payment_id}-1"]
    second, first = page["data"]
    assert (first["state"], first["type"], first["attempts"]) == ("pending", "payment.created", 0)
    assert first["next_attempt_at"] is not None
    assert second["next_attempt_at"] is None
    assert first["last_status"] is first["last_error"] is first["last_attempt_at"] is None


def test_deliveries_are_read_page_by_page(near: World, receiver: Receiver) -> None:
    """P44, P45: by a signed cursor that serves its own list only."""
    endpoint = made(near, url=receiver.url)
    path = f"/{endpoint['id']}/deliveries"
    for _ in range(5):
        near.payment()
    fan_out(near)
    seen, cursor = [], None
    while True:
        page = call(near, "GET", path, limit=2, **({"cursor": cursor} if cursor else {})).json
        seen += [each["event_id"] for each in page["data"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert len(seen) == len(set(seen)) == 5
    first = call(near, "GET", path, limit=2).json["next_cursor"]
    answer = call(near, "GET", path, limit=2, cursor=first, state="failed")
    assert (answer.status_code, answer.json["code"]) == (400, "cursor_invalid")


def test_deliveries_of_one_state_are_listed(
    near: World, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P44: a page may be short before the end."""
    monkeypatch.setattr("services.webhooks.SCAN_ROWS", 2)
    endpoint = made(near, url=receiver.url)
    path = f"/{endpoint['id']}/deliveries"
    for _ in range(3):
        near.payment()
    fan_out(near)
    assert len(call(near, "GET", path, state="pending").json["data"]) == 3
    page = call(near, "GET", path, state="failed", limit=1).json
    assert page["data"] == []
    rest = call(near, "GET", path, state="failed", limit=1, cursor=page["next_cursor"]).json
    assert rest == {"data": [], "next_cursor": None}


def test_an_event_is_queued_again(near: World, receiver: Receiver) -> None:
    """Section 9."""
    endpoint = made(near, url=receiver.url)
    event_id = f"{near.payment()}-1"
    path = f"/{endpoint['id']}/redeliver"
    assert call(near, "POST", path, {"event_id": event_id}).status_code == 404
    fan_out(near)
    answer = call(near, "POST", path, {"event_id": event_id}).json
    assert answer == {"queued": 1, "more": False}
    answer = call(near, "POST", path, {"failed_since": "2026-01-01T00:00:00Z"}).json
    assert answer == {"queued": 0, "more": False}


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"event_id": "x"},
        {"event_id": f"{uuid4()}"},
        {"event_id": f"{uuid4()}-0"},
        {"failed_since": "yesterday"},
        {"event_id": f"{uuid4()}-1", "failed_since": "2026-01-01T00:00:00Z"},
    ],
)
def test_a_redelivery_names_one_thing(world: World, body: dict[str, Any]) -> None:
    path = f"/{made(world)['id']}/redeliver"
    assert call(world, "POST", path, body).status_code == 422
