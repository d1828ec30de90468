"""Our API while legacy decides: the same answers, written to legacy by intents (2.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import bcrypt
import pytest

from legacy.canonical import uuid8
from legacy.store import LegacyUnavailable
from tests.legacy.conftest import payment, soon, user
from tests.legacy.shops import PAYER
from tests.world import new_key

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.legacy.shops import Shop


@pytest.mark.parametrize("phase", [1, 2, 3])
def test_a_payment_is_made_in_legacy(shop_world: Callable[[int], Shop], phase: int) -> None:
    """2.1: legacy first; new has it from phase 2 on, with the same id and amounts."""
    world = shop_world(phase)
    made = world.payment(900, description="tea", reference="77")
    (sent,) = world.rows_of().values()
    assert (sent.row["amount_minor"], sent.row["status"], sent.version) == (900, "created", 1)
    assert sent.row["id"] == made
    here = world.rows("SELECT id::text, legacy_id FROM payments")
    assert here == ([] if phase == 1 else [(made, sent.id)])


def test_commands_are_decided_by_the_same_rules(shop_world: Callable[[int], Shop]) -> None:
    """2.3: over legacy's row; refusals too. The checks compare new and its ledger."""
    world = shop_world(2)
    made = world.payment(900)
    assert world.command(made, "authorize").status_code == 200
    assert world.command(made, "refunds").json["code"] == "invalid_state"
    answer = world.command(made, "capture", {"amount_minor": 900})
    assert (answer.status_code, answer.json["status"]) == (200, "captured")
    refund = world.command(made, "refunds", {"amount_minor": 300})
    assert refund.status_code == 201, refund.json
    (sent,) = world.rows_of().values()
    assert (sent.row["captured_minor"], sent.row["refunded_minor"], sent.version) == (900, 300, 4)
    assert world.rows("SELECT version, status::text, refunded_minor::int FROM payments") == [
        (4, "partially_refunded", 300)
    ]
    assert world.rows("SELECT id::text FROM payment_refunds") == [(refund.json["id"],)]


def test_what_the_legacy_program_did_counts(shop_world: Callable[[int], Shop]) -> None:
    """2.3, step 1: the decision is made over legacy's row, however old new's is."""
    world = shop_world(2)
    made = world.payment(900)
    (before,) = world.rows_of().values()
    ended = {**before.row, "status": "cancelled", "end_reason": "cancelled"}
    world.store().replace(ended, 1, "program", soon())
    assert world.command(made, "capture").json["code"] == "invalid_state"


@pytest.mark.parametrize("phase", [1, 3])
def test_a_key_used_again_gives_the_same_answer(
    shop_world: Callable[[int], Shop], phase: int
) -> None:
    """2.3: one effect; another body under the key is refused."""
    world = shop_world(phase)
    key, body = new_key(), {"amount_minor": 900, "currency": "EUR", "user_id": PAYER}
    first, again = (world.post("/v1/payments", body, key=key) for _ in range(2))
    assert (first.status_code, first.json["id"]) == (201, again.json["id"])
    assert again.headers["Idempotency-Status"] == "replayed"
    other = world.post("/v1/payments", {**body, "amount_minor": 1}, key=key)
    assert other.json["code"] == "idempotency_key_reused"
    assert len(world.rows_of()) == 1


def test_a_lost_answer_is_rolled_forward(
    shop_world: Callable[[int], Shop],
    monkeypatch: pytest.MonkeyPatch,
    owner: Callable[..., None],
) -> None:
    """D10, D11: 503, then 409, then the answer; legacy is written once."""
    world = shop_world(2)
    store = world.store()
    create = store.create

    def lost(*given: Any) -> Any:
        create(*given)
        raise LegacyUnavailable("lost")

    monkeypatch.setattr(store, "create", lost)
    key, body = new_key(), {"amount_minor": 900, "currency": "EUR", "user_id": PAYER}
    assert world.post("/v1/payments", body, key=key).json["code"] == "outcome_unknown"
    waiting = world.post("/v1/payments", body, key=key)
    assert waiting.json["code"] == "idempotency_in_progress"
    owner("UPDATE migration_intents SET lease_until = now() - interval '1 s'")
    monkeypatch.setattr(store, "create", create)
    world.parts.mirror.run_once()
    answer = world.post("/v1/payments", body, key=key)
    assert answer.status_code == 201
    (sent,) = world.rows_of().values()
    assert sent.row["id"] == answer.json["id"]
    assert world.rows("SELECT status FROM migration_intents") == [("applied",)]
    assert world.rows("SELECT id::text FROM payments") == [(answer.json["id"],)]


def test_a_write_that_was_never_sent_is_sent_by_the_mirror(
    shop_world: Callable[[int], Shop],
    monkeypatch: pytest.MonkeyPatch,
    owner: Callable[..., None],
) -> None:
    """D10: still the expected version: step 3 again."""
    world = shop_world(2)
    store = world.store()
    create = store.create

    def down(*_: Any) -> Any:
        raise LegacyUnavailable("down")

    monkeypatch.setattr(store, "create", down)
    body = {"amount_minor": 900, "currency": "EUR", "user_id": PAYER}
    assert world.post("/v1/payments", body).status_code == 503
    assert world.rows_of() == {}
    owner("UPDATE migration_intents SET lease_until = now() - interval '1 s'")
    monkeypatch.setattr(store, "create", create)
    world.parts.mirror.run_once()
    assert len(world.rows_of()) == 1


def test_legacy_down_is_said_and_changes_nothing(
    shop_world: Callable[[int], Shop], monkeypatch: pytest.MonkeyPatch
) -> None:
    """MF1: 503 legacy_unavailable; other domains go on."""
    world = shop_world(2)
    made = world.payment(900)

    def down(*_: Any) -> Any:
        raise LegacyUnavailable("down")

    monkeypatch.setattr(world.store(), "get_many", down)
    answer = world.command(made, "capture")
    assert (answer.status_code, answer.json["code"]) == (503, "legacy_unavailable")
    assert world.get("/v1/currencies").status_code == 200
    assert world.rows("SELECT status FROM migration_intents") == [("applied",)]


def test_from_phase_four_on_new_is_written_and_marked(shop_world: Callable[[int], Shop]) -> None:
    """2.1: no request calls legacy; the mirror does (D22)."""
    world = shop_world(3)
    made = world.payment(900)
    world.rows("UPDATE migration_state SET phase = 4 RETURNING 1")
    assert world.command(made, "capture").status_code == 200
    (before,) = world.rows_of().values()
    assert before.row["status"] == "created"
    world.parts.mirror.run_once()
    (after,) = world.rows_of().values()
    assert (after.row["status"], after.row["captured_minor"]) == ("captured", 900)


def test_a_payment_of_legacy_alone_can_be_captured(shop_world: Callable[[int], Shop]) -> None:
    """Phase 1: new is empty, and stays so; the id is ours all the same (D26)."""
    world = shop_world(1)
    held = {"status": "authorized", "authorized_minor": 1_000, "reference": "5"}
    world.store().create(payment("5", "1", gateway="shop", **held), "op", soon())
    made = str(uuid8("default", "payments", "5"))
    answer = world.command(made, "capture")
    assert (answer.status_code, answer.json["status"]) == (200, "captured"), answer.json
    assert world.rows_of()["5"].row["status"] == "captured"
    assert world.rows("SELECT 1 FROM payments") == []


def test_a_payment_waits_here_for_a_user_who_is_not_here_yet(
    shop_world: Callable[[int], Shop], owner: Callable[..., None]
) -> None:
    """D25: legacy has it, which is what counts; the mirror brings it with its user."""
    world = shop_world(2)
    world.store("users").create(user("2"), "op2", soon())
    made = world.payment(900, user_id=str(uuid8("default", "users", "2")))
    assert world.rows("SELECT 1 FROM payments") == []
    owner(
        "INSERT INTO mirror_marks (tenant_id, domain, entity_id, origin)"
        " VALUES ('default', 'users', '2', 'test')"
    )
    world.parts.mirror.run_once()
    assert world.rows("SELECT id::text FROM payments") == [(made,)]


# --- Logging in ---------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", [1, 2, 3])
def test_people_log_in_while_legacy_decides(shop_world: Callable[[int], Shop], phase: int) -> None:
    """D15, D40: legacy's row is applied first, and nothing is rehashed."""
    world = shop_world(phase)
    store = world.store("users")
    (before,) = store.get_many(["1"]).values()
    for version, password in enumerate(("correct horse battery", "staple of batteries"), 1):
        hashed = bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()
        row = {**before.row, "legacy_password_hash": hashed}
        store.replace(row, version, f"program{version}", soon())
        assert world.log_in(password, "USER1@example.org").status_code == 200
    assert world.log_in("correct horse battery", "USER1@example.org").status_code == 401
    assert world.rows("SELECT password_hash FROM users WHERE legacy_id = '1'") == [(None,)]


def test_a_better_hash_is_stored_once_new_decides(shop_world: Callable[[int], Shop]) -> None:
    """D40: only ours is written; legacy's stays, so that the way back locks nobody out."""
    world = shop_world(3)
    hashed = bcrypt.hashpw(b"correct horse battery", bcrypt.gensalt(4)).decode()
    store = world.store("users")
    (before,) = store.get_many(["1"]).values()
    store.replace({**before.row, "legacy_password_hash": hashed}, 1, "program", soon())
    assert world.log_in("correct horse battery", "USER1@example.org").status_code == 200
    world.rows("UPDATE migration_state SET phase = 4 RETURNING 1")
    assert world.log_in("correct horse battery", "USER1@example.org").status_code == 200
    (kept,) = world.rows(
        "SELECT password_algo, legacy_password_hash FROM users WHERE legacy_id = '1'"
    )
    assert kept == ("argon2id", hashed)
    world.parts.mirror.run_once()
    assert store.get_many(["1"])["1"].row["legacy_password_hash"] == hashed
    world.rows("UPDATE migration_state SET phase = 3 RETURNING 1")
    assert world.log_in("correct horse battery", "USER1@example.org").status_code == 200
