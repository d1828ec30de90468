"""Idempotency over HTTP: the table of the payments page, row by row (K1 to K11)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest

from blueprints import edge
from services import idempotency
from tests.world import World, new_key

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.world import Reply

# What differs between an answer and its repetition: the request itself, and that it is one.
OWN = {"X-Request-ID", "Idempotency-Status", "Idempotent-Replayed"}


@pytest.fixture(params=["without Redis", "with Redis"])
def either_world(request: pytest.FixtureRequest) -> World:
    """Both ways a repeat can be answered: by PostgreSQL alone, and with Redis' help."""
    name = "world" if request.param == "without Redis" else "cached_world"
    made: World = request.getfixturevalue(name)
    return made


def body_of(world: World, **more: Any) -> dict[str, Any]:
    return {"amount_minor": 1099, "currency": "EUR", "user_id": world.user_id, **more}


def headers_of(answer: Reply) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name not in OWN}


def test_a_repeat_gets_the_first_answer_byte_for_byte(either_world: World) -> None:
    """K6: same status, body and headers; said to be a replay."""
    world, key = either_world, new_key()
    first = world.post("/v1/payments", body_of(world), key=key)
    again = world.post("/v1/payments", body_of(world), key=key)
    assert (first.status_code, first.data) == (again.status_code, again.data)
    assert headers_of(first) == headers_of(again)
    assert first.headers["Idempotency-Status"] == "stored"
    assert again.headers["Idempotency-Status"] == "replayed"
    assert again.headers["Idempotent-Replayed"] == "true"
    assert world.rows("SELECT count(*) FROM payments") == [(1,)]


def test_a_repeated_capture_moves_money_once(either_world: World) -> None:
    """FI3: one effect per key."""
    world, key = either_world, new_key()
    payment_id = world.authorized(capture_method="manual_multiple")
    answers = [
        world.command(payment_id, "capture", {"amount_minor": 100}, key=key) for _ in range(3)
    ]
    assert len({answer.data for answer in answers}) == 1
    assert world.read(payment_id)["captured_minor"] == 100
    assert world.rows("SELECT count(*) FROM ledger_transactions") == [(1,)]


def test_the_answer_stays_when_the_payment_moves_on(either_world: World) -> None:
    """K6: a replay is the first answer, not the present state."""
    world, key = either_world, new_key()
    first = world.post("/v1/payments", body_of(world), key=key)
    world.command(first.json["id"], "capture")
    assert world.post("/v1/payments", body_of(world), key=key).data == first.data


def test_another_body_under_a_used_key_is_refused(either_world: World) -> None:
    """422, and which part differs, never a value."""
    world, key = either_world, new_key()
    world.post("/v1/payments", body_of(world), key=key)
    answer = world.post("/v1/payments", body_of(world, amount_minor=31337), key=key)
    assert (answer.status_code, answer.json["code"]) == (422, "idempotency_key_reused")
    assert answer.json["differs"] == ["request"]
    assert answer.json["idempotency_key"] == key
    assert answer.json["safe_new_key"] is True
    assert "31337" not in answer.text


def test_a_used_key_is_refused_on_another_route(either_world: World) -> None:
    """A key bound to its operation cannot replay another endpoint's answer."""
    world, key = either_world, new_key()
    one, two = world.authorized(), world.authorized()
    world.command(one, "void", key=key)
    for payment_id, name in ((two, "void"), (one, "capture")):
        answer = world.command(payment_id, name, key=key)
        assert (answer.status_code, answer.json["differs"]) == (422, ["operation"])
    assert world.read(two)["status"] == "authorized"


def test_order_and_escapes_of_the_body_do_not_matter(world: World) -> None:
    """K5: the fingerprint is of the document, not of its bytes."""
    key = new_key()
    body = body_of(world, description="Käse")
    first = world.post("/v1/payments", body, key=key)
    shuffled = json.dumps(dict(reversed(body.items())), indent=2, ensure_ascii=True)
    again = world.app.test_client().post(
        "/v1/payments",
        data=shuffled,
        content_type="application/json",
        headers={"Authorization": f"Bearer {world.api_key}", "Idempotency-Key": key},
    )
    assert again.data == first.data


def test_a_default_given_and_a_default_left_out_differ(world: World) -> None:
    """K5."""
    key = new_key()
    world.post("/v1/payments", body_of(world), key=key)
    answer = world.post("/v1/payments", body_of(world, capture_method="manual"), key=key)
    assert answer.json["code"] == "idempotency_key_reused"


def test_a_refusal_leaves_the_key_free(either_world: World) -> None:
    """Nothing is stored for a 4xx: the corrected body may use the key."""
    world, key = either_world, new_key()
    refused = world.post("/v1/payments", body_of(world, currency="XAU"), key=key)
    assert refused.status_code == 422
    assert world.post("/v1/payments", body_of(world), key=key).status_code == 201


def test_an_invalid_body_is_refused_only_after_the_key_was_looked_up(either_world: World) -> None:
    """K1: under a used key it is another request; under a new one it is invalid."""
    world, key = either_world, new_key()
    world.post("/v1/payments", body_of(world), key=key)
    used = world.post("/v1/payments", body_of(world, amount_minor=-1), key=key)
    assert used.json["code"] == "idempotency_key_reused"
    fresh = world.post("/v1/payments", body_of(world, amount_minor=-1))
    assert fresh.json["code"] == "validation_failed"


def test_a_missing_key_is_refused(world: World) -> None:
    answer = world.post("/v1/payments", body_of(world), keyed=False)
    assert (answer.status_code, answer.json["code"]) == (400, "idempotency_key_required")


@pytest.mark.parametrize("key", ["", "a,b", "a b", "é", "x" * 256, '"a', "a\\b", '"a"b"'])
def test_a_bad_key_is_refused(world: World, key: str) -> None:
    """K2."""
    answer = world.post("/v1/payments", body_of(world), key=key)
    assert (answer.status_code, answer.json["code"]) == (400, "idempotency_key_invalid")


def test_a_quoted_key_is_the_same_key(world: World) -> None:
    """K2: the structured form of RFC 8941."""
    key = new_key()
    first = world.post("/v1/payments", body_of(world), key=key)
    assert world.post("/v1/payments", body_of(world), key=f'"{key}"').data == first.data


def test_the_server_makes_a_key_where_none_is_required(database: str, tmp_path: Path) -> None:
    """K3: it is told, so that the client can repeat the request with it."""
    world = World(database, tmp_path, IDEMPOTENCY_KEY_REQUIRED="false")
    first = world.post("/v1/payments", body_of(world), keyed=False)
    made = first.headers["Idempotency-Key"]
    assert (first.headers["Idempotency-Status"], made[:5]) == ("generated", "auto-")
    assert world.post("/v1/payments", body_of(world), key=made).data == first.data
    world.close()


def test_with_the_feature_off_a_key_is_not_read(database: str, tmp_path: Path) -> None:
    """K11: each write is a new one; stored keys decide again once it is on."""
    world = World(database, tmp_path, FEATURE_IDEMPOTENCY_ENABLED="false")
    answers = [world.post("/v1/payments", body_of(world), key="same") for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert {answer.headers["Idempotency-Status"] for answer in answers} == {"ignored"}
    assert answers[0].json["id"] != answers[1].json["id"]
    world.close()


def test_stored_keys_decide_again_once_the_feature_is_on_again(
    world: World, database: str, tmp_path: Path
) -> None:
    """K11: look-up and references stay meanwhile."""
    key = new_key()
    first = world.post("/v1/payments", body_of(world, reference="order-1"), key=key)
    silent = World(database, tmp_path / "silent", FEATURE_IDEMPOTENCY_ENABLED="false")
    silent.api_key = world.api_key
    looked_up = silent.get(f"/v1/idempotency-keys?key={key}").json
    assert (looked_up["state"], looked_up["resource_id"]) == ("completed", first.json["id"])
    refused = silent.post("/v1/payments", body_of(world, reference="order-1"), key=key)
    assert (refused.status_code, refused.json["code"]) == (409, "duplicate_reference")
    silent.close()
    again = world.post("/v1/payments", body_of(world, reference="order-1"), key=key)
    assert (again.data, again.headers["Idempotent-Replayed"]) == (first.data, "true")


def test_a_key_on_a_read_is_ignored(world: World) -> None:
    answer = world.get("/v1/payments", Idempotency_Key="k")
    assert answer.headers["Idempotency-Status"] == "ignored"


def test_another_client_may_use_the_same_key(either_world: World) -> None:
    """A key belongs to a principal: another API key, another tenant: another request."""
    world, key = either_world, new_key()
    first = world.post("/v1/payments", body_of(world), key=key).json["id"]
    world.api_key = world.new_api_key()
    assert world.post("/v1/payments", body_of(world), key=key).json["id"] != first


def test_a_revoked_credential_may_not_replay(either_world: World) -> None:
    """Who may not act may not replay."""
    world, key = either_world, new_key()
    world.post("/v1/payments", body_of(world), key=key)
    world.services.api_keys.revoke("default", world.api_key.split("_")[2], "cli:test", None)
    assert world.post("/v1/payments", body_of(world), key=key).status_code == 401


def test_who_has_lost_the_scope_may_not_replay(
    either_world: World, owner: Callable[..., None]
) -> None:
    """Section 7: 403, whatever is stored; with the scope again it is repeated."""
    world, key = either_world, new_key()
    first = world.post("/v1/payments", body_of(world), key=key)
    owner("UPDATE api_keys SET scopes = '{payments:read}'")
    refused = world.post("/v1/payments", body_of(world), key=key)
    assert (refused.status_code, refused.json["required_scope"]) == (403, "payments:create")
    owner("UPDATE api_keys SET scopes = '{payments:create}'")
    assert world.post("/v1/payments", body_of(world), key=key).data == first.data


def test_a_body_that_newer_rules_refuse_is_repeated(
    world: World, owner: Callable[..., None]
) -> None:
    """K1: an earlier release took it, so its answer stands."""
    key, old = new_key(), body_of(world, amount_minor=-1)
    first = world.post("/v1/payments", body_of(world), key=key)
    owner("UPDATE idempotency_keys SET fingerprint = %s", idempotency.fingerprint([], old))
    again = world.post("/v1/payments", old, key=key)
    assert (again.status_code, again.data) == (201, first.data)


@pytest.mark.parametrize("ends", ["commits", "fails"])
def test_without_redis_a_twin_waits_for_the_first_and_is_told_to_come_back(
    world: World, database: str, ends: str
) -> None:
    """Section 7, P25: the primary key decides; a 503 is never stored, the same key goes on."""
    import psycopg  # noqa: PLC0415

    key = new_key()
    made = world.post("/v1/payments", body_of(world), key=key).json["id"]
    with psycopg.connect(database) as first:  # The first request, as if it were about to commit.
        taken = first.execute("DELETE FROM idempotency_keys RETURNING *").fetchone()
        assert taken is not None
        late = world.post("/v1/payments", body_of(world), key=key)
        assert (late.status_code, late.json["code"]) == (503, "contention")
        assert (late.json["retryable"], late.json["safe_new_key"]) == (True, False)
        assert "Retry-After" in late.headers
        first.rollback() if ends == "commits" else first.commit()
    again = world.post("/v1/payments", body_of(world), key=key)
    assert again.status_code == 201
    assert (again.json["id"] == made) is (ends == "commits")


def test_an_expired_key_is_a_new_request(world: World, database_admin: str) -> None:
    """K10: purged or not; it is taken over."""
    import psycopg  # noqa: PLC0415

    key = new_key()
    first = world.post("/v1/payments", body_of(world), key=key).json["id"]
    with psycopg.connect(database_admin, autocommit=True) as conn:
        conn.execute("UPDATE idempotency_keys SET expires_at = now() - interval '1 s'")
    second = world.post("/v1/payments", body_of(world), key=key)
    assert (second.status_code, second.json["id"] == first) == (201, False)
    assert world.post("/v1/payments", body_of(world), key=key).data == second.data


def test_a_reference_outlives_its_key(world: World, database_admin: str) -> None:
    """P12: where keys are forgotten, the reference still refuses."""
    import psycopg  # noqa: PLC0415

    key = new_key()
    world.post("/v1/payments", body_of(world, reference="order-1"), key=key)
    with psycopg.connect(database_admin, autocommit=True) as conn:
        conn.execute("DELETE FROM idempotency_keys")
    again = world.post("/v1/payments", body_of(world, reference="order-1"), key=key)
    assert again.json["code"] == "duplicate_reference"


def test_a_cancelled_key_is_gone(world: World) -> None:
    """410 for a request that comes after its key was cancelled."""
    scope = world.services.api_keys.authenticate(world.api_key, "127.0.0.1").subject
    world.rows(
        "INSERT INTO idempotency_keys (tenant_id, scope, key, operation, fingerprint,"
        " fingerprint_version, kind, request_id, created_at, expires_at)"
        " VALUES ('default', %s, 'gone', 'cancel', '\\x00', 1, 'cancelled', 'r', now(),"
        " now() + interval '1 day') RETURNING key",
        scope,
    )
    answer = world.post("/v1/payments", body_of(world), key="gone")
    assert (answer.status_code, answer.json["code"]) == (410, "idempotency_key_cancelled")


# --- Fingerprints -------------------------------------------------------------------------------


def test_a_stored_key_is_compared_as_it_was_stored(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """K5: a release that reads requests in another way replays what an earlier one stored."""
    key, body = new_key(), body_of(world)
    first = world.post("/v1/payments", body, key=key)
    monkeypatch.setitem(idempotency.FINGERPRINTS, 2, lambda *_: b"another way" + bytes(21))
    monkeypatch.setattr(idempotency, "FINGERPRINT_VERSION", 2)
    monkeypatch.setattr(edge, "FINGERPRINT_VERSION", 2)
    assert world.post("/v1/payments", body, key=key).data == first.data
    other = world.post("/v1/payments", {**body, "amount_minor": 7}, key=key)
    assert (other.status_code, other.json["differs"]) == (422, ["request"])
    later = new_key()
    world.post("/v1/payments", body, key=later)
    versions = world.rows("SELECT fingerprint_version FROM idempotency_keys ORDER BY created_at")
    assert versions == [(1,), (2,)]


def test_a_key_of_a_later_release_is_repeated(world: World, owner: Callable[..., None]) -> None:
    """K5: after a rollback it cannot be compared; to repeat moves nothing, to refuse might."""
    key = new_key()
    first = world.post("/v1/payments", body_of(world), key=key)
    owner("UPDATE idempotency_keys SET fingerprint_version = 9, fingerprint = sha256('x')")
    assert world.post("/v1/payments", body_of(world), key=key).data == first.data
    elsewhere = world.command(first.json["id"], "capture", key=key)
    assert elsewhere.json["differs"] == ["operation"]


def test_a_query_is_part_of_the_request(world: World) -> None:
    """K5: sorted; headers stay out."""
    one = idempotency.fingerprint([("b", "2"), ("a", "1")], {"x": 1})
    assert idempotency.fingerprint([("a", "1"), ("b", "2")], {"x": 1}) == one
    assert idempotency.fingerprint([("a", "1")], {"x": 1}) != one
    assert idempotency.fingerprint([("b", "2"), ("a", "1")], {"x": "1"}) != one


def test_the_answer_of_a_merge_patch_is_repeated(world: World) -> None:
    """Section 7: PATCH with a key, in either media type of RFC 7396."""
    payment_id, key = world.payment(), new_key()
    answers = [
        world.app.test_client().patch(
            f"/v1/payments/{payment_id}",
            data='{"metadata": {"a": "1"}}',
            content_type=media_type,
            headers={"Authorization": f"Bearer {world.api_key}", "Idempotency-Key": key},
        )
        for media_type in ("application/merge-patch+json", "application/json")
    ]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].data == answers[1].data
    assert answers[1].headers["Idempotent-Replayed"] == "true"


# --- Look-up ------------------------------------------------------------------------------------


def test_a_key_can_be_looked_up(world: World) -> None:
    """K8."""
    key = "order/../17%2F"
    made = world.post("/v1/payments", body_of(world), key=key).json["id"]
    answer = world.get(f"/v1/idempotency-keys?{urlencode({'key': key})}")
    facts = {name: answer.json[name] for name in ("key", "state", "status", "resource_id")}
    assert facts == {"key": key, "state": "completed", "status": 201, "resource_id": made}
    assert answer.json["operation"] == "POST /v1/payments"


def test_an_unused_key_is_unknown_and_anothers_too(world: World) -> None:
    """K8: own scope only."""
    key = new_key()
    world.post("/v1/payments", body_of(world), key=key)
    assert world.get("/v1/idempotency-keys?key=never").json["state"] == "unknown"
    world.api_key = world.new_api_key()
    assert world.get(f"/v1/idempotency-keys?key={key}").json["state"] == "unknown"


# --- Redis is a hint ----------------------------------------------------------------------------


def hint_of(world: World, key: str) -> str:
    actor = world.services.api_keys.authenticate(world.api_key, "127.0.0.1")
    return f"idem:{{default/{actor.subject}}}:{key}"


def test_a_running_request_is_waited_for_and_then_409(cached_world: World) -> None:
    """K1: another's mark is not an answer; after IDEMPOTENCY_WAIT_MS the client is told."""
    world, key = cached_world, new_key()
    world.services.idempotency._settings = type(world.services.idempotency._settings)(wait_ms=30)
    world.services.kv.claim(hint_of(world, key), b"m-another", 5_000)
    answer = world.post("/v1/payments", body_of(world), key=key)
    assert (answer.status_code, answer.json["code"]) == (409, "idempotency_in_progress")
    assert (answer.json["retryable"], answer.json["safe_new_key"]) == (True, False)
    assert answer.headers["Retry-After"] == "1"
    looked_up = world.get(f"/v1/idempotency-keys?key={key}").json
    assert looked_up["state"] == "in_progress"


@pytest.mark.parametrize("rubbish", [b"", b"x", b"c", b"c" + bytes(40), b'c{"id": 1}'])
def test_rubbish_in_redis_is_not_believed(cached_world: World, rubbish: bytes) -> None:
    """K7: a copy counts with its MAC only; PostgreSQL decides."""
    world, key = cached_world, new_key()
    world.services.kv.put(hint_of(world, key), rubbish, 60)
    answer = world.post("/v1/payments", body_of(world), key=key)
    assert (answer.status_code, answer.headers["Idempotency-Status"]) == (201, "stored")


def test_a_copy_moved_to_another_key_is_not_believed(cached_world: World) -> None:
    """K7: the MAC covers the key, so one answer cannot be planted under another."""
    world = cached_world
    one, two = new_key(), new_key()
    first = world.post("/v1/payments", body_of(world), key=one)
    copy = world.services.kv.get(hint_of(world, one))
    assert copy is not None
    world.services.kv.put(hint_of(world, two), copy, 60)
    assert world.post("/v1/payments", body_of(world), key=two).json["id"] != first.json["id"]


def test_a_refused_request_takes_its_mark_away(cached_world: World) -> None:
    """The corrected body must not wait for the mark's end."""
    world, key = cached_world, new_key()
    world.post("/v1/payments", body_of(world, currency="XAU"), key=key)
    assert world.services.kv.get(hint_of(world, key)) is None


def limited_world(database: str, redis_url: str, var_dir: Path) -> World:
    world = World(
        database,
        var_dir,
        redis_url,
        REDIS_TIMEOUT_MS="5000",
        RATE_LIMIT_ENABLED="true",
        RATE_LIMIT_KEY_WRITE="1/minute",
        WEB_CONCURRENCY="1",
    )
    if redis_url != "off":
        world.services.kv.open()
        assert world.services.kv.wait_for("closed", 30)
    return world


def test_a_refusal_by_quota_leaves_no_mark_and_no_row(
    database: str, kv_url: str, tmp_path: Path
) -> None:
    """OR2, OU1: the mark of the same trip is taken back, and no statement is sent."""
    world, key = limited_world(database, kv_url, tmp_path), new_key()
    assert world.post("/v1/payments", body_of(world)).status_code == 201
    answer = world.post("/v1/payments", body_of(world), key=key)
    assert (answer.status_code, answer.json["code"]) == (429, "rate_limited")
    assert world.services.kv.get(hint_of(world, key)) is None
    assert world.rows("SELECT count(*) FROM payments") == [(1,)]
    world.close()


def test_without_redis_keyed_requests_are_limited_too(database: str, tmp_path: Path) -> None:
    """OR4; a key that the server made is counted like any other."""
    world = limited_world(database, "off", tmp_path)
    assert world.post("/v1/payments", body_of(world)).status_code == 201
    assert world.post("/v1/payments", body_of(world)).status_code == 429
    world.close()
