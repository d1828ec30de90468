"""Cancelling by key, for a client that never saw its answer (K9)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.world import World, new_key

if TYPE_CHECKING:
    from pathlib import Path

    from tests.world import Reply


def body_of(world: World) -> dict[str, Any]:
    return {"amount_minor": 1099, "currency": "EUR", "user_id": world.user_id}


def cancel(world: World, key: str, **headers: str) -> Reply:
    """Cancel by key; it needs none of its own."""
    return world.post(
        "/v1/payments/cancel-by-key", {"idempotency_key": key}, keyed=False, **headers
    )


def test_a_key_that_was_never_seen_never_has_an_effect(world: World) -> None:
    """K9: a tombstone; the late request gets 410, and a second cancellation says the same."""
    key = new_key()
    for _ in range(2):
        answer = cancel(world, key)
        assert (answer.status_code, answer.json) == (
            200,
            {"outcome": "tombstoned", "payment": None},
        )
    late = world.post("/v1/payments", body_of(world), key=key)
    assert (late.status_code, late.json["code"]) == (410, "idempotency_key_cancelled")
    assert late.json["idempotency_key"] == key
    assert world.rows("SELECT count(*) FROM payments") == [(0,)]
    assert world.get(f"/v1/idempotency-keys?key={key}").json["state"] == "cancelled"


def test_a_created_payment_is_cancelled(world: World) -> None:
    """K9: and a repeat finds that it has ended."""
    key = new_key()
    payment_id = world.post("/v1/payments", body_of(world), key=key).json["id"]
    answer = cancel(world, key)
    assert (answer.json["outcome"], answer.json["payment"]["status"]) == ("cancelled", "cancelled")
    assert answer.json["payment"] == world.read(payment_id)
    again = cancel(world, key)
    assert (again.json["outcome"], again.json["payment"]["status"]) == ("ended", "cancelled")


def test_an_authorized_payment_is_voided(world: World) -> None:
    """K9."""
    key = new_key()
    payment_id = world.post("/v1/payments", body_of(world), key=key).json["id"]
    world.command(payment_id, "authorize")
    answer = cancel(world, key)
    assert (answer.json["outcome"], answer.json["payment"]["status"]) == ("voided", "voided")


def test_voiding_by_key_needs_the_scope_to_void(world: World) -> None:
    """K9, A7: who may only create cannot give back an authorisation by a detour."""
    maker, key = world.new_api_key(["payments:create"]), new_key()
    everything, world.api_key = world.api_key, maker
    payment_id = world.post("/v1/payments", body_of(world), key=key).json["id"]
    world.api_key = everything
    world.command(payment_id, "authorize")
    world.api_key = maker
    answer = cancel(world, key)
    assert (answer.status_code, answer.json["required_scope"]) == (403, "payments:void")
    world.api_key = everything
    assert world.read(payment_id)["status"] == "authorized"


def test_money_that_has_moved_is_not_cancelled(world: World) -> None:
    """K9: 409 with what may be done instead."""
    key = new_key()
    payment_id = world.post("/v1/payments", body_of(world), key=key).json["id"]
    world.command(payment_id, "capture")
    answer = cancel(world, key)
    assert (answer.status_code, answer.json["code"]) == (409, "invalid_state")
    assert answer.json["resource_id"] == payment_id
    assert answer.json["payment_status"] == "captured"
    assert answer.json["allowed_actions"] == ["refund", "dispute"]


def test_a_key_of_another_command_is_named(world: World) -> None:
    """K9: it created nothing."""
    key = new_key()
    payment_id = world.authorized()
    world.command(payment_id, "void", key=key)
    answer = cancel(world, key)
    assert (answer.status_code, answer.json["code"]) == (409, "invalid_state")
    assert answer.json["operation"] == f"POST /v1/payments/{payment_id}/void"


def test_anothers_key_is_never_seen(world: World) -> None:
    """K8: a key belongs to one principal."""
    key = new_key()
    payment_id = world.post("/v1/payments", body_of(world), key=key).json["id"]
    mine, world.api_key = world.api_key, world.new_api_key()
    assert cancel(world, key).json["outcome"] == "tombstoned"
    world.api_key = mine
    assert world.read(payment_id)["status"] == "created"


def test_an_expired_key_was_never_seen(world: World, owner: Any) -> None:
    """K10: its tombstone takes the row over."""
    key = new_key()
    world.post("/v1/payments", body_of(world), key=key)
    owner("UPDATE idempotency_keys SET expires_at = now() - interval '1 s'")
    assert cancel(world, key).json["outcome"] == "tombstoned"
    assert world.post("/v1/payments", body_of(world), key=key).status_code == 410


def test_a_tombstone_ends_with_its_time(world: World, owner: Any) -> None:
    """K10: then the key is new again."""
    key = new_key()
    cancel(world, key)
    owner("UPDATE idempotency_keys SET expires_at = now() - interval '1 s'")
    assert world.post("/v1/payments", body_of(world), key=key).status_code == 201


def test_a_copy_in_redis_does_not_outlive_the_key(cached_world: World) -> None:
    """K7, K9: what was cancelled is told by PostgreSQL, whatever Redis says."""
    key = new_key()
    cancel(cached_world, key)
    for _ in range(2):
        assert cached_world.post("/v1/payments", body_of(cached_world), key=key).status_code == 410


@pytest.mark.parametrize("key", ["", "a,b", "a b", "é", "x" * 256, 'a"b'])
def test_what_no_key_can_be_is_refused(world: World, key: str) -> None:
    """K2."""
    answer = cancel(world, key)
    assert (answer.status_code, answer.json["code"]) == (422, "validation_failed")


def test_a_key_of_its_own_is_ignored(world: World) -> None:
    """K9: needs no key, and says that it did not read one."""
    answer = cancel(world, new_key(), Idempotency_Key="k")
    assert (answer.status_code, answer.headers["Idempotency-Status"]) == (200, "ignored")


def test_where_keys_are_not_read_none_can_be_cancelled_before(
    database: str, tmp_path: Path
) -> None:
    """K11: a tombstone would promise what nobody keeps; what is stored can still be ended."""
    world = World(database, tmp_path)
    key = new_key()
    world.post("/v1/payments", body_of(world), key=key)
    off = World(database, tmp_path, FEATURE_IDEMPOTENCY_ENABLED="false")
    off.api_key = world.api_key
    refused = cancel(off, new_key())
    assert (refused.status_code, refused.json["code"]) == (404, "feature_disabled")
    assert cancel(off, key).json["outcome"] == "cancelled"
    off.close()
    world.close()
